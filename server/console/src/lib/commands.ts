/** What the palette offers: every place, list, view and switch, found by any of its words; and the search of petitions. */
import type { Desk } from './desk.svelte';
import { NO_FILTERS, type Filters } from './filters';
import { AGENCIES, HOME, LIST, type Place } from './place';
import type { Catalog } from './strings';
import { finds } from './text';
import { STATUS_FILTERS, type Role } from './wire';

export interface Command {
  /** What kind of thing it is, in words. */
  kind: string;
  name: string;
  run: () => void;
}

/** The switches of the screen, which the palette does not own. */
export interface Switches {
  theme: () => void;
  language: () => void;
  dark: boolean;
}

export function commandsOf(desk: Desk, role: Role, switches: Switches, t: Catalog): Command[] {
  const place = (kind: string, name: string, to: Place): Command => ({ kind, name, run: () => desk.go(to) });
  const list = (filters: Partial<Filters>): Place => ({ ...LIST, filters: { ...NO_FILTERS, ...filters } });
  const action = (name: string, run: () => void): Command => ({ kind: t.palette.action, name, run });
  return [
    place(t.palette.place, t.menu.home, HOME),
    place(t.palette.place, t.menu.petitions, LIST),
    ...(role === 'supervisor' ? [place(t.palette.place, t.menu.finalState, list({ status: 'conflict' }))] : []),
    place(t.palette.place, t.screen.agencies, AGENCIES),
    ...desk.views.all.map(({ name, filters }) => place(t.palette.view, name, list(filters))),
    ...STATUS_FILTERS.map((status) => place(t.palette.list, t.face[status], list({ status }))),
    action(switches.dark ? t.bar.toLight : t.bar.toDark, switches.theme),
    action(t.bar.languageLabel, switches.language),
    action(t.keys.title, () => (desk.dialog = { kind: 'keys' })),
    action(t.bar.signOut, () => void desk.signOut()),
  ];
}

/** The commands that a query names, and last of all the petitions it may mean. */
export function commandsFor(query: string, commands: Command[], search: Command): Command[] {
  const named = commands.filter(({ kind, name }) => finds(query, [kind, name]));
  return query.trim() ? [...named, search] : named;
}

export function searchCommand(desk: Desk, query: string, t: Catalog): Command {
  const q = query.trim();
  const run = (): void => desk.go({ ...LIST, filters: { ...NO_FILTERS, q } });
  return { kind: t.palette.list, name: t.palette.search(q), run };
}
