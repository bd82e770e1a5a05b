/** The report by area: its days, its bars, its words. */
import { describe, expect, test } from 'vitest';
import { barsOf } from './bars';
import { figure } from './figures';
import { rangeWords } from './prose';
import { isoDay, quickRange, validDay } from './range';
import { CATALOGS } from './strings';
import type { AgencyReport, AgencyRow } from './wire';

const NO_PERCENT = { pending: '0', in_progress: '0', done: '0', not_applicable: '0' };

function row(agency: string | null, pending: number, done: number): AgencyRow {
  return { agency, total: pending + done, pending, in_progress: 0, done, not_applicable: 0, percent: NO_PERCENT };
}

const report: AgencyReport = {
  from: null,
  to: null,
  rows: [row('Alumbrado', 761, 14_429), row('Agua Potable', 290, 22), row(null, 0, 2)],
  totals: row(null, 1_051, 14_453),
  seq: 1,
  made_at: 0,
};

describe('days', () => {
  test('are those of the city, with its old summer time and without', () => {
    expect(isoDay(Date.UTC(2021, 9, 27, 4, 59))).toBe('2021-10-26');
    expect(isoDay(Date.UTC(2021, 9, 27, 5, 0))).toBe('2021-10-27');
    expect(isoDay(Date.UTC(2023, 9, 27, 5, 59))).toBe('2023-10-26');
  });

  test.each([
    ['2021-10-26', '2021-10-26'],
    ['2021-02-29', null],
    ['2021-13-01', null],
    ['26/10/2021', null],
    ['', null],
    [null, null],
  ])('%s is read as %s', (written, expected) => {
    expect(validDay(written)).toBe(expected);
  });

  test('of the quick choices end today', () => {
    expect(quickRange('all', '2021-10-26')).toEqual({ from: null, to: null });
    expect(quickRange('year', '2021-10-26')).toEqual({ from: '2021-01-01', to: '2021-10-26' });
    expect(quickRange('month', '2021-10-26')).toEqual({ from: '2021-10-01', to: '2021-10-26' });
  });

  test.each([
    ['2018-01-01', '2021-10-26', 'Del 01/01/2018 al 26/10/2021'],
    ['2018-01-01', null, 'Desde el 01/01/2018'],
    [null, '2021-10-26', 'Hasta el 26/10/2021'],
    [null, null, 'Todas las fechas'],
  ])('from %s to %s read "%s"', (from, to, words) => {
    expect(rangeWords({ from, to }, CATALOGS['es-MX'])).toBe(words);
  });
});

describe('bars', () => {
  test('stand by size and measure themselves against the longest', () => {
    expect(barsOf(report, 'pending')).toEqual([
      { agency: 'Alumbrado', value: 761, length: 1 },
      { agency: 'Agua Potable', value: 290, length: 290 / 761 },
    ]);
  });

  test('may stand in another order than the table', () => {
    const more = { ...report, rows: [row('A', 1, 9), row('B', 5, 0)] };
    expect(barsOf(more, 'pending').map(({ agency }) => agency)).toEqual(['B', 'A']);
  });

  test('of nothing are none', () => {
    expect(barsOf(report, 'not_applicable')).toEqual([]);
  });
});

test('figures have their thousands apart', () => {
  expect([0, 999, 1_455, 29_397, 1_000_000].map(figure)).toEqual(['0', '999', '1,455', '29,397', '1,000,000']);
});
