/** Where one is in the console, and the address that says so: what can be linked, reloaded and gone back to. */
import { filtersFrom, NO_FILTERS, writeFilters, type Filters } from './filters';
import { ALL_DAYS, validDay, type Range } from './range';

export type View = 'petitions' | 'home' | 'agencies';

export interface Place {
  view: View;
  /** Of the list; none on the other screens. */
  filters: Filters;
  /** The petition open beside the list. */
  petition: string | null;
  /** Of a report. */
  range: Range;
}

/** The names of the screens in the address; the list is the address without a name. */
const NAMES: Record<Exclude<View, 'petitions'>, string> = { home: 'inicio', agencies: 'reporte-por-area' };

export const LIST: Place = { view: 'petitions', filters: NO_FILTERS, petition: null, range: ALL_DAYS };
export const HOME: Place = { ...LIST, view: 'home' };
export const AGENCIES: Place = { ...LIST, view: 'agencies' };

/** Whatever stands in an address gives a place: what is not understood is left out. */
export function placeFrom(params: URLSearchParams): Place {
  switch (params.get('vista')) {
    case NAMES.home:
      return HOME;
    case NAMES.agencies:
      return { ...AGENCIES, range: { from: validDay(params.get('de')), to: validDay(params.get('a')) } };
    default:
      return { ...LIST, filters: filtersFrom(params), petition: params.get('peticion') || null };
  }
}

/** Relative to the page: "/" or "/?…". */
export function addressOf({ view, filters, petition, range }: Place): string {
  const params = new URLSearchParams();
  if (view === 'petitions') {
    writeFilters(filters, params);
    if (petition) params.set('peticion', petition);
  } else params.set('vista', NAMES[view]);
  if (view === 'agencies') {
    if (range.from) params.set('de', range.from);
    if (range.to) params.set('a', range.to);
  }
  return params.size > 0 ? `/?${params}` : '/';
}
