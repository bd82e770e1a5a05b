/** Search as people write, and filters in the address. */
import { describe, expect, test } from 'vitest';
import { filtersFrom, matches, NO_FILTERS, writeFilters, type Filters } from './filters';
import { sampleRow } from './samples';
import { finds, fold } from './text';

const q = (query: string): Filters => ({ ...NO_FILTERS, q: query });

describe('search', () => {
  test.each([
    ['lampara', 'without accents'],
    ['LÁMPARA', 'with accents and capitals'],
    ['lopez mateos', 'by neighborhood'],
    ['cuauhtémoc 594', 'by street and number'],
    ['30849', 'by the number of the folio'],
    ['siac-030849', 'by the whole folio'],
    ['roberto', 'by person'],
    ['k7m2q9tx', 'by provisional folio'],
    ['', 'empty'],
  ])('finds "%s" (%s)', (query) => {
    expect(matches(sampleRow(30849), q(query))).toBe(true);
  });

  test.each(['bache', 'lampara bache', 'lanpara', '30850'])('does not find "%s"', (query) => {
    expect(matches(sampleRow(30849), q(query))).toBe(false);
  });

  test('folds accents of every letter, and ñ to n as the city types it', () => {
    expect(fold('Dirección ÑANDÚ')).toBe('direccion nandu');
    expect(finds('montaña', ['MONTANA'])).toBe(true);
  });
});

describe('status', () => {
  test('a conflict is found under its own name and under its state', () => {
    const row = sampleRow(1, { status: 'in_progress', conflict: true });
    expect(matches(row, { ...NO_FILTERS, status: 'conflict' })).toBe(true);
    expect(matches(row, { ...NO_FILTERS, status: 'in_progress' })).toBe(true);
  });

  test('to be confirmed is a part of done', () => {
    const row = sampleRow(1, { status: 'done', unconfirmed: true });
    expect(matches(row, { ...NO_FILTERS, status: 'done' })).toBe(true);
    expect(matches(row, { ...NO_FILTERS, status: 'done_unconfirmed' })).toBe(true);
    expect(matches({ ...row, unconfirmed: false }, { ...NO_FILTERS, status: 'done_unconfirmed' })).toBe(false);
  });
});

test('an agency matches wherever it is in charge, alone or with others', () => {
  const row = sampleRow(1, { agency_ids: [4, 7] });
  expect(matches(row, { ...NO_FILTERS, agency: 7 })).toBe(true);
  expect(matches(row, { ...NO_FILTERS, agency: 1 })).toBe(false);
});

describe('the address', () => {
  test('keeps every filter', () => {
    const filters: Filters = { q: 'lámpara fundida', status: 'conflict', neighborhood: 3, agency: 7 };
    const params = new URLSearchParams();
    writeFilters(filters, params);
    expect(filtersFrom(new URLSearchParams(params.toString()))).toEqual(filters);
  });

  test('written by somebody else gives what can be understood', () => {
    expect(filtersFrom(new URLSearchParams('estado=perdida&colonia=x&q='))).toEqual(NO_FILTERS);
    expect(filtersFrom(new URLSearchParams('colonia=-1&dependencia=1.5'))).toEqual(NO_FILTERS);
  });
});
