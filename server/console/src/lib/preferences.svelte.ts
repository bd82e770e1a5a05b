/** What this person chose for this screen: language, theme, width of the detail, open or closed menu. */
import { CATALOGS, type Catalog, type Locale } from './strings';

export type Theme = 'light' | 'dark';

/** Bounds of the detail pane's width (CSS pixels). */
export const PANE_MIN = 360;
export const PANE_MAX = 760;
const PANE_DEFAULT = 424;

const PREFIX = 'manzana.';

/** Storage may be switched off in a browser; a choice then lasts as long as the page. */
function remembered(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

function remember(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // Nothing depends on it.
  }
}

function firstTheme(): Theme {
  const chosen = remembered('theme');
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

export function boundedPane(width: number): number {
  return Math.round(Math.min(PANE_MAX, Math.max(PANE_MIN, width || PANE_DEFAULT)));
}

class Preferences {
  locale = $state<Locale>(remembered('locale') === 'en' ? 'en' : 'es-MX');
  theme = $state<Theme>(firstTheme());
  pane = $state(boundedPane(Number(remembered('pane'))));
  railOpen = $state(remembered('rail') !== 'closed');

  get t(): Catalog {
    return CATALOGS[this.locale];
  }

  toggleLocale(): void {
    this.locale = this.locale === 'en' ? 'es-MX' : 'en';
    remember('locale', this.locale);
    this.apply();
  }

  toggleTheme(): void {
    this.theme = this.theme === 'dark' ? 'light' : 'dark';
    remember('theme', this.theme);
    this.apply();
  }

  toggleRail(): void {
    this.railOpen = !this.railOpen;
    remember('rail', this.railOpen ? 'open' : 'closed');
  }

  setPane(width: number): void {
    this.pane = boundedPane(width);
    remember('pane', String(this.pane));
  }

  /** Writes language and theme on the document, where styles and screen readers look for them. */
  apply(): void {
    document.documentElement.lang = this.locale;
    document.documentElement.dataset['theme'] = this.theme;
  }
}

export const prefs = new Preferences();
