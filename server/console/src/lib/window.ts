/**
 * Which rows of a long list stand in the document: those in sight, a margin around them, and the one that has the
 * keyboard's focus wherever it is. Rows are equally high, so this is arithmetic; what measures each row and places it
 * absolutely (the usual libraries) could not keep a real `<table>` with its columns.
 */

/** Height (CSS pixels) of every row: two lines of text. */
export const ROW_HEIGHT = 55;
/** Rows kept above and below what is in sight, so that a flick or a Tab meets rows and not a blank. */
export const MARGIN_ROWS = 12;

export interface Sight {
  /** How far the list is scrolled (CSS pixels). */
  top: number;
  /** Height of what is seen (CSS pixels), the table's head included. */
  height: number;
}

/** A row that stands in the document, and how many rows before it do not. */
export interface Placed {
  index: number;
  gap: number;
}

export interface Window {
  rows: Placed[];
  /** Rows after the last one placed. */
  rest: number;
}

/** @param pinned the index of the row that must stay in the document; negative when there is none. */
export function windowOf({ top, height }: Sight, count: number, pinned = -1): Window {
  const first = bounded(Math.floor(top / ROW_HEIGHT) - MARGIN_ROWS, count);
  const end = bounded(Math.ceil((top + height) / ROW_HEIGHT) + MARGIN_ROWS, count);
  const indexes = Array.from({ length: end - first }, (_, n) => first + n);
  if (pinned >= 0 && pinned < first) indexes.unshift(pinned);
  else if (pinned >= end && pinned < count) indexes.push(pinned);
  const rows = indexes.map((index, at) => ({ index, gap: index - (indexes[at - 1] ?? -1) - 1 }));
  return { rows, rest: count - 1 - (indexes.at(-1) ?? -1) };
}

/**
 * How far to scroll so that a row is whole in sight, below the head; where it is already, nothing moves.
 * @param head height (CSS pixels) of the table's head, which stays at the top of what is seen.
 */
export function scrollTo({ top, height }: Sight, head: number, index: number): number {
  const above = index * ROW_HEIGHT;
  const below = above + ROW_HEIGHT + head - height;
  return Math.max(0, Math.min(above, Math.max(top, below)));
}

function bounded(index: number, count: number): number {
  return Math.min(count, Math.max(0, index));
}
