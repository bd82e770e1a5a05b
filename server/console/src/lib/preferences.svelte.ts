/** What this person chose for this screen: language, theme, width of the detail, open or closed menu. */
import { remember, remembered } from './storage';
import { CATALOGS, type Catalog, type Locale } from './strings';

export type Theme = 'light' | 'dark';

/** Bounds of the detail pane's width (CSS pixels). */
export const PANE_MIN = 360;
export const PANE_MAX = 760;
const PANE_DEFAULT = 424;

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

  /** Writes language and theme on the document, where styles, paper and screen readers look for them. */
  apply(): void {
    const root = document.documentElement;
    root.lang = this.locale;
    root.dataset['theme'] = this.theme;
    root.style.setProperty('--page-word', JSON.stringify(this.t.report.page));
    root.style.setProperty('--page-of-word', JSON.stringify(this.t.report.pageOf));
  }
}

export const prefs = new Preferences();
