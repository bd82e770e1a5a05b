/** Text as people search it: without accents, case or punctuation. Slips of the fingers are the relay's to forgive. */

/** "Dirección de Alumbrado" → "direccion de alumbrado". */
export function fold(text: string): string {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
}

/** The folded words of a text; a folio counts whole and as its number. */
export function words(text: string): string[] {
  return fold(text).match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** Whether every word of `query` is somewhere in `texts`. An empty query is in everything. */
export function finds(query: string, texts: (string | null)[]): boolean {
  const present = texts.flatMap((text) => (text ? words(text) : []));
  return words(query).every((wanted) => present.some((word) => word.includes(wanted)));
}
