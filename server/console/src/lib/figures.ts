/** Numbers as the counter reads them: thousands apart, in both languages alike. */

const FIGURE = new Intl.NumberFormat('es-MX', { useGrouping: true });

/** 29397 → "29,397" */
export function figure(n: number): string {
  return FIGURE.format(n);
}
