/** A range of days of the city, both included, as reports take it: `YYYY-MM-DD`, null where it has no bound. */
import { CITY_ZONE } from './dates';

export interface Range {
  from: string | null;
  to: string | null;
}

export const ALL_DAYS: Range = { from: null, to: null };

/** The choices that save typing dates. */
export const QUICK_RANGES = ['all', 'year', 'month'] as const;
export type QuickRange = (typeof QUICK_RANGES)[number];

const ISO_DAY = new Intl.DateTimeFormat('en-CA', { timeZone: CITY_ZONE, dateStyle: 'short' });

/** The city's day at this moment. */
export function isoDay(ms: number): string {
  return ISO_DAY.format(ms);
}

/** The day when it is one of the calendar, null otherwise. */
export function validDay(written: string | null): string | null {
  if (!written || !/^\d{4}-\d{2}-\d{2}$/.test(written)) return null;
  const date = new Date(`${written}T00:00:00Z`);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(written) ? written : null;
}

/** All days, or from the first of this year or month until today. */
export function quickRange(quick: QuickRange, today: string): Range {
  if (quick === 'all') return ALL_DAYS;
  const start = quick === 'year' ? `${today.slice(0, 4)}-01-01` : `${today.slice(0, 7)}-01`;
  return { from: start, to: today };
}

export function sameRange(a: Range, b: Range): boolean {
  return a.from === b.from && a.to === b.to;
}

/** "2021-10-26" → "26/10/2021" */
export function dayWords(iso: string): string {
  return iso.split('-').reverse().join('/');
}
