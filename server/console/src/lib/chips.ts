/** What filters are on, each in words and how to be without it. */
import { NO_FILTERS, type Filters } from './filters';
import type { Catalog } from './strings';
import type { Catalogs, Named } from './wire';

export interface Chip {
  label: string;
  without: Partial<Filters>;
}

export function chipsOf({ q, status, neighborhood, agency }: Filters, catalogs: Catalogs, t: Catalog): Chip[] {
  return [
    ...(q ? [{ label: `«${q}»`, without: { q: NO_FILTERS.q } }] : []),
    ...(status ? [{ label: t.face[status], without: { status: null } }] : []),
    ...(neighborhood === null ? [] : [{ label: nameOf(catalogs.neighborhoods, neighborhood), without: { neighborhood: null } }]),
    ...(agency === null ? [] : [{ label: nameOf(catalogs.agencies, agency), without: { agency: null } }]),
  ];
}

/** The number stands for a name that the catalog no longer has, or has not yet brought. */
function nameOf(catalog: Named[], id: number): string {
  return catalog.find((known) => known.id === id)?.name ?? String(id);
}
