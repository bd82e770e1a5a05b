/** Events and conflicts told in words: which sentence of the catalog says what happened. */
import { ApiError } from './api';
import { dateTime } from './dates';
import { dayWords, type Range } from './range';
import type { ListState } from './rows';
import type { Catalog } from './strings';
import type { Outcome, PetitionEvent } from './wire';

export function roleName(role: string, t: Catalog): string {
  return t.role[role] ?? role;
}

export function eventWords(event: PetitionEvent, t: Catalog): string {
  const said = t.event[event.kind];
  if (event.kind === 'final_state' && event.outcome) return `${said} ${t.detail.as(t.outcome[event.outcome])}`;
  const toAgency = event.kind === 'referred' || event.kind === 'assigned' || event.kind === 'referral_proposed';
  return toAgency && event.agency ? `${said} ${t.detail.to(event.agency)}` : said;
}

/** The end a side of a conflict stands for; null when it is no end (a reopening, a referral). */
function endOf(side: PetitionEvent): Outcome | null {
  if (side.kind === 'done' || side.kind === 'not_applicable') return side.kind;
  return side.kind === 'final_state' ? side.outcome : null;
}

/** "Usted la marcó como Atendida el 26/10/2021 10:32" */
export function sideWords(side: PetitionEvent, me: string, t: Catalog): string {
  const when = dateTime(side.at);
  const end = endOf(side);
  const mine = side.by === me;
  if (!end) return t.detail.sideOther(mine ? t.you : side.by, eventWords(side, t), when);
  return mine ? t.detail.sideYou(t.outcome[end], when) : t.detail.side(side.by, t.outcome[end], when);
}

/** The sentence for a failure: the server's own where it wrote one. */
export function errorWords(error: unknown, t: Catalog): string {
  if (error instanceof ApiError) {
    if (error.sentence) return error.sentence;
    if (error.status === 0) return t.errors.unreachable;
  }
  return t.errors.unknown;
}

/** "29,397 peticiones" */
export function countWords({ rows, next, total }: ListState, t: Catalog): string {
  return total === null ? t.list.shown(rows.length, next !== null) : t.list.total(total);
}

/** What a reader hears of a list that was asked for: how many, and of which words if not of those typed. */
export function foundWords(state: ListState, t: Catalog): string {
  const count = countWords(state, t);
  return state.corrected === null ? count : `${t.list.corrected(state.corrected)}: ${count}`;
}

/** "Del 01/01/2018 al 26/10/2021" */
export function rangeWords({ from, to }: Range, t: Catalog): string {
  if (from && to) return t.report.between(dayWords(from), dayWords(to));
  if (from) return t.report.since(dayWords(from));
  return to ? t.report.until(dayWords(to)) : t.report.allDays;
}
