/** Saved views: filters a person gave a name to. Pure; where they are kept is `views.svelte.ts`'s matter. */
import { filtersFrom, sameFilters, writeFilters, type Filters } from './filters';
import { fold } from './text';

export interface SavedView {
  /** Unique among a person's views, accents and case aside. */
  name: string;
  filters: Filters;
}

/** Longest name (characters), and most views of one person: the rail must stay readable. */
export const MAX_VIEW_NAME = 40;
export const MAX_VIEWS = 20;

/** Why a view cannot be called this, or not be added. */
export type ViewProblem = 'empty' | 'taken' | 'full';

/** @param renamed the view that is to change its name; null for a new one. */
export function viewProblem(views: SavedView[], name: string, renamed: string | null): ViewProblem | null {
  const wanted = fold(name.trim());
  if (!wanted) return 'empty';
  if (views.some((view) => view.name !== renamed && fold(view.name) === wanted)) return 'taken';
  return renamed === null && views.length >= MAX_VIEWS ? 'full' : null;
}

export function withView(views: SavedView[], name: string, filters: Filters): SavedView[] {
  return [...views, { name: name.trim(), filters }];
}

export function renamed(views: SavedView[], before: string, after: string): SavedView[] {
  return views.map((view) => (view.name === before ? { ...view, name: after.trim() } : view));
}

export function without(views: SavedView[], name: string): SavedView[] {
  return views.filter((view) => view.name !== name);
}

/** The view that is on screen, if any. */
export function viewOf(views: SavedView[], filters: Filters): SavedView | null {
  return views.find((view) => sameFilters(view.filters, filters)) ?? null;
}

/** As kept: each view's filters are the query of its address, which later versions of the page understand too. */
export function written(views: SavedView[]): string {
  return JSON.stringify(
    views.map(({ name, filters }) => {
      const params = new URLSearchParams();
      writeFilters(filters, params);
      return { name, query: params.toString() };
    }),
  );
}

/** What can be understood of what was kept. */
export function readViews(text: string | null): SavedView[] {
  try {
    const kept: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(kept) ? kept.flatMap(readView).slice(0, MAX_VIEWS) : [];
  } catch {
    return [];
  }
}

function readView(kept: unknown): SavedView[] {
  const { name, query } = (kept ?? {}) as { name?: unknown; query?: unknown };
  if (typeof name !== 'string' || typeof query !== 'string' || !name) return [];
  return [{ name: name.slice(0, MAX_VIEW_NAME), filters: filtersFrom(new URLSearchParams(query)) }];
}
