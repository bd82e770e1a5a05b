/** The filters of the list, how they live in the page's address, and which live rows they let in. */
import { finds } from './text';
import { STATUS_FILTERS, type Row, type StatusFilter } from './wire';

export interface Filters {
  q: string;
  status: StatusFilter | null;
  neighborhood: number | null;
  agency: number | null;
}

export const NO_FILTERS: Filters = { q: '', status: null, neighborhood: null, agency: null };

/** Longest search kept (characters); the address bar is not a place for essays. */
export const MAX_QUERY = 200;

export function sameFilters(a: Filters, b: Filters): boolean {
  return a.q === b.q && a.status === b.status && a.neighborhood === b.neighborhood && a.agency === b.agency;
}

export function hasFilters(filters: Filters): boolean {
  return !sameFilters(filters, NO_FILTERS);
}

/** Whatever stands in an address gives valid filters: what is not understood is left out. */
export function filtersFrom(params: URLSearchParams): Filters {
  const status = params.get('estado');
  return {
    q: (params.get('q') ?? '').slice(0, MAX_QUERY),
    status: STATUS_FILTERS.find((known) => known === status) ?? null,
    neighborhood: catalogId(params.get('colonia')),
    agency: catalogId(params.get('dependencia')),
  };
}

function catalogId(written: string | null): number | null {
  return written !== null && /^\d{1,15}$/.test(written) ? Number(written) : null;
}

export function writeFilters(filters: Filters, params: URLSearchParams): void {
  set(params, 'q', filters.q || null);
  set(params, 'estado', filters.status);
  set(params, 'colonia', filters.neighborhood === null ? null : String(filters.neighborhood));
  set(params, 'dependencia', filters.agency === null ? null : String(filters.agency));
}

function set(params: URLSearchParams, name: string, value: string | null): void {
  if (value === null) params.delete(name);
  else params.set(name, value);
}

/** Whether a row's status is what the filter asks for. A conflict is looked for under its own name. */
export function statusMatches(row: Row, wanted: StatusFilter): boolean {
  if (wanted === 'conflict') return row.conflict;
  if (wanted === 'done_unconfirmed') return row.status === 'done' && row.unconfirmed;
  return row.status === wanted;
}

/** Whether a row that arrives live belongs in the list as it is filtered now. */
export function matches(row: Row, filters: Filters): boolean {
  if (filters.status && !statusMatches(row, filters.status)) return false;
  if (filters.neighborhood !== null && row.neighborhood_id !== filters.neighborhood) return false;
  if (filters.agency !== null && !row.agency_ids.includes(filters.agency)) return false;
  return finds(filters.q, [
    row.folio,
    row.provisional,
    row.title,
    row.location,
    row.neighborhood,
    row.petitioner,
  ]);
}
