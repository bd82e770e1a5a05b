/** Dates as the counter writes them: dd/mm/aaaa hh:mm of Mexico City, by the time-zone database. */

export const CITY_ZONE = 'America/Mexico_City';

const PARTS = new Intl.DateTimeFormat('es-MX', {
  timeZone: CITY_ZONE,
  day: '2-digit',
  month: '2-digit',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});

function parts(ms: number): Record<string, string> {
  return Object.fromEntries(PARTS.formatToParts(ms).map(({ type, value }) => [type, value]));
}

/** "26/10/2021" */
export function day(ms: number): string {
  const { day, month, year } = parts(ms);
  return `${day}/${month}/${year}`;
}

/** "09:05" */
export function hour(ms: number): string {
  const { hour, minute } = parts(ms);
  return `${hour}:${minute}`;
}

/** "26/10/2021 09:05" */
export function dateTime(ms: number): string {
  return `${day(ms)} ${hour(ms)}`;
}
