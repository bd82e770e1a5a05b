/** Saved views: their names, and how they are kept. */
import { describe, expect, test } from 'vitest';
import { NO_FILTERS, type Filters } from './filters';
import { MAX_VIEWS, readViews, renamed, viewOf, viewProblem, without, withView, written, type SavedView } from './views';

const pending: Filters = { ...NO_FILTERS, status: 'pending', agency: 7 };
const views: SavedView[] = [
  { name: 'Alumbrado', filters: pending },
  { name: 'Fugas', filters: { ...NO_FILTERS, q: 'fuga de agua' } },
];

describe('a name', () => {
  test.each([
    ['  ', null, 'empty'],
    ['fúgas', null, 'taken'],
    ['Baches', null, null],
    ['Fugas', 'Fugas', null],
    ['Alumbrado', 'Fugas', 'taken'],
  ])('"%s" for %s: %s', (name, renamed, expected) => {
    expect(viewProblem(views, name, renamed)).toBe(expected);
  });

  test('of one view too many is refused, and a rename still is not', () => {
    const many = Array.from({ length: MAX_VIEWS }, (_, n) => ({ name: `Vista ${n}`, filters: NO_FILTERS }));
    expect(viewProblem(many, 'Otra', null)).toBe('full');
    expect(viewProblem(many, 'Otra', 'Vista 3')).toBeNull();
  });
});

test('views are added at the end, renamed in place and taken away', () => {
  const added = withView(views, ' Baches ', NO_FILTERS);
  expect(added.map(({ name }) => name)).toEqual(['Alumbrado', 'Fugas', 'Baches']);
  expect(renamed(added, 'Fugas', 'Agua').map(({ name }) => name)).toEqual(['Alumbrado', 'Agua', 'Baches']);
  expect(without(added, 'Alumbrado').map(({ name }) => name)).toEqual(['Fugas', 'Baches']);
});

test('the view on screen is the one with the same filters', () => {
  expect(viewOf(views, { ...pending })?.name).toBe('Alumbrado');
  expect(viewOf(views, { ...pending, q: 'x' })).toBeNull();
});

describe('what was kept', () => {
  test('is read as it was written', () => {
    expect(readViews(written(views))).toEqual(views);
  });

  test.each([[null], ['{"half'], ['{}'], ['[null, 3, {"name":"","query":""}, {"name":"x"}]']])('%s gives no view', (text) => {
    expect(readViews(text)).toEqual([]);
  });
});
