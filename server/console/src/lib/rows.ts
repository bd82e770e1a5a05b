/**
 * The list as a value: what a page of the server and a row of the live stream do to it.
 * Pure functions; nothing here knows of the screen, the network or the clock.
 *
 * Rows stand newest first by creation. A row that changes stays where it is, so that nothing moves under
 * the pointer; a row that is new goes on top, or waits when somebody is reading the list.
 */
import { matches, type Filters } from './filters';
import type { ListAnswer, Row } from './wire';

/** New rows held back while someone reads; beyond it the list is asked for again when they are wanted. */
export const WAITING_LIMIT = 200;

export interface ListState {
  rows: Row[];
  /** New rows that wait for the reader, newest first. */
  waiting: Row[];
  /** More rows waited than are kept: showing them means asking for the list again. */
  overflow: boolean;
  /** Where the next page begins; null at the end of the list. */
  next: string | null;
  /** The city's position this list reflects. */
  seq: number;
  /** How many match in all, kept up as rows come and change; null when the relay did not say. */
  total: number | null;
  /** The words the relay really looked for, when those typed were found nowhere. */
  corrected: string | null;
  /** How many times each row was changed by the stream: the screen glows once for each. */
  glow: Record<string, number>;
}

export const EMPTY_LIST: ListState = {
  rows: [],
  waiting: [],
  overflow: false,
  next: null,
  seq: 0,
  total: null,
  corrected: null,
  glow: {},
};

/** Creation order as a reader sees it: the folio's number; a petition still without one is the newest. */
export function creationOrder(row: Row): number {
  const digits = row.folio?.match(/(\d+)$/)?.[1];
  return digits === undefined ? Number.MAX_SAFE_INTEGER : Number(digits);
}

export function firstPage(answer: ListAnswer): ListState {
  const { rows, next, seq, total, corrected } = answer;
  return { ...EMPTY_LIST, rows, next, seq, total, corrected };
}

/** Adds a further page; rows already here (they moved, or came live) are not doubled. */
export function furtherPage(state: ListState, answer: ListAnswer): ListState {
  const known = new Set(state.rows.map((row) => row.id));
  const fresh = answer.rows.filter((row) => !known.has(row.id));
  const arrived = new Set(fresh.map((row) => row.id));
  return {
    ...state,
    rows: [...state.rows, ...fresh],
    waiting: state.waiting.filter((row) => !arrived.has(row.id)),
    next: answer.next,
  };
}

/**
 * A row from the stream.
 * @param calm the list stands at its top and nobody is in it: new rows may move it.
 * @param own the change is this person's own act: it does not glow.
 */
export function liveRow(state: ListState, row: Row, filters: Filters, calm: boolean, own = false): ListState {
  const moved = { ...state, seq: Math.max(state.seq, row.seq) };
  const at = state.rows.findIndex((known) => known.id === row.id);
  if (at >= 0) return changed(moved, at, row, filters, own);
  const waits = state.waiting.findIndex((known) => known.id === row.id);
  if (waits >= 0) return changedWaiting(moved, waits, row, filters);
  if (!wanted(state, row, filters) || isBelow(state, row)) return moved;
  const more = counted(moved, 1);
  return calm && state.waiting.length === 0
    ? glowing({ ...more, rows: inOrder([row], state.rows) }, row.id)
    : held(more, row);
}

/** The row of an answer the page itself asked for; it replaces, and never glows. */
export function knownRow(state: ListState, row: Row, filters: Filters): ListState {
  const at = state.rows.findIndex((known) => known.id === row.id);
  return at < 0 ? state : changed(state, at, row, filters, true);
}

/** "3 nuevas" was pressed, or the reader went away. */
export function showWaiting(state: ListState): ListState {
  const shown: ListState = { ...state, rows: inOrder(state.waiting, state.rows), waiting: [] };
  return state.waiting.reduce((list, row) => glowing(list, row.id), shown);
}

function changed(state: ListState, at: number, row: Row, filters: Filters, own: boolean): ListState {
  const before = state.rows[at];
  // A reconnect repeats rows, and an answer may overtake the stream: only what is newer counts.
  if (!before || row.seq <= before.seq) return state;
  const more = Number(wanted(state, row, filters)) - Number(wanted(state, before, filters));
  const after = counted({ ...state, rows: state.rows.with(at, row) }, more);
  return own ? after : glowing(after, row.id);
}

function changedWaiting(state: ListState, at: number, row: Row, filters: Filters): ListState {
  if (wanted(state, row, filters)) return { ...state, waiting: state.waiting.with(at, row) };
  return counted({ ...state, waiting: state.waiting.toSpliced(at, 1) }, -1);
}

/** Whether the list as it was asked for holds this row: by the corrected words where the relay had to correct. */
function wanted(state: ListState, row: Row, filters: Filters): boolean {
  return matches(row, state.corrected === null ? filters : { ...filters, q: state.corrected });
}

function counted(state: ListState, more: number): ListState {
  return state.total === null ? state : { ...state, total: state.total + more };
}

/** Older than the last row shown while further pages exist: it will come with its page. */
function isBelow(state: ListState, row: Row): boolean {
  const last = state.rows.at(-1);
  return state.next !== null && last !== undefined && creationOrder(row) < creationOrder(last);
}

function held(state: ListState, row: Row): ListState {
  if (state.waiting.length >= WAITING_LIMIT) return { ...state, overflow: true };
  return { ...state, waiting: inOrder([row], state.waiting) };
}

/** Merges newcomers into rows that stand in creation order, newcomers first among equals. */
function inOrder(newcomers: Row[], rows: Row[]): Row[] {
  return newcomers.reduceRight((list, row) => {
    const at = list.findIndex((known) => creationOrder(known) <= creationOrder(row));
    return at < 0 ? [...list, row] : list.toSpliced(at, 0, row);
  }, rows);
}

function glowing(state: ListState, id: string): ListState {
  return { ...state, glow: { ...state.glow, [id]: (state.glow[id] ?? 0) + 1 } };
}
