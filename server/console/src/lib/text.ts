/** Text as people search it: without accents, case or punctuation, and forgiving one slip of the fingers. */

/** Words shorter than this (characters) must match exactly: one slip in "luz" is another word. */
const TYPO_MIN_LENGTH = 5;

/** "Dirección de Alumbrado" → "direccion de alumbrado". */
export function fold(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}

/** The folded words of a text; a folio counts whole and as its number. */
export function words(text: string): string[] {
  return fold(text).match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** Whether `a` becomes `b` by at most one insertion, deletion, replacement or swap of neighbours. */
export function withinOneSlip(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  let start = 0;
  while (start < a.length && a[start] === b[start]) start += 1;
  let enda = a.length;
  let endb = b.length;
  while (enda > start && endb > start && a[enda - 1] === b[endb - 1]) {
    enda -= 1;
    endb -= 1;
  }
  const restA = a.slice(start, enda);
  const restB = b.slice(start, endb);
  if (restA.length <= 1 && restB.length <= 1) return true;
  return restA.length === 2 && restB.length === 2 && restA[0] === restB[1] && restA[1] === restB[0];
}

function wordFound(wanted: string, present: string[]): boolean {
  if (present.some((word) => word.includes(wanted))) return true;
  return wanted.length >= TYPO_MIN_LENGTH && present.some((word) => withinOneSlip(wanted, word));
}

/** Whether every word of `query` is somewhere in `texts`. An empty query is in everything. */
export function finds(query: string, texts: (string | null)[]): boolean {
  const present = texts.flatMap((text) => (text ? words(text) : []));
  return words(query).every((wanted) => wordFound(wanted, present));
}
