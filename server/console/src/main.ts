/** Starts the console in the page. */
import '@fontsource-variable/inter/wght.css';
import { mount } from 'svelte';
import App from './App.svelte';
import './app.css';
import { prefs } from './lib/preferences.svelte';

prefs.apply();
const target = document.getElementById('app');
if (!target) throw new Error('the page has no #app');
export default mount(App, { target });
