/** What live rows and pages do to the list. */
import { describe, expect, test } from 'vitest';
import { NO_FILTERS } from './filters';
import { firstPage, furtherPage, knownRow, liveRow, showWaiting, WAITING_LIMIT, type ListState } from './rows';
import { sampleRow } from './samples';

const page = (folios: number[], next: string | null = null): ListState =>
  firstPage({ rows: folios.map((folio) => sampleRow(folio)), next, seq: 10, total: null, corrected: null });
const folios = (rows: { folio: string | null }[]): (string | null)[] =>
  rows.map((row) => row.folio?.slice(-2) ?? null);

describe('a row of the stream', () => {
  test('changes in place and glows once', () => {
    const list = liveRow(page([3, 2, 1]), sampleRow(2, { status: 'referred', seq: 11 }), NO_FILTERS, true);
    expect(folios(list.rows)).toEqual(['03', '02', '01']);
    expect(list.rows[1]?.status).toBe('referred');
    expect(list.glow).toEqual({ [sampleRow(2).id]: 1 });
    expect(list.seq).toBe(11);
  });

  test('told twice, or older than what is shown, changes nothing', () => {
    const once = liveRow(page([1]), sampleRow(1, { comments: 2, seq: 12 }), NO_FILTERS, true);
    const again = liveRow(once, sampleRow(1, { comments: 2, seq: 12 }), NO_FILTERS, true);
    const older = liveRow(again, sampleRow(1, { comments: 1, seq: 11 }), NO_FILTERS, true);
    expect(older.rows[0]?.comments).toBe(2);
    expect(older.glow).toEqual(once.glow);
  });

  test('of one own act does not glow', () => {
    const list = liveRow(page([1]), sampleRow(1, { seq: 11 }), NO_FILTERS, true, true);
    expect(list.glow).toEqual({});
  });

  test('stays where it is when it no longer matches the filter', () => {
    const pending = { ...NO_FILTERS, status: 'pending' as const };
    const list = liveRow(page([2, 1]), sampleRow(2, { status: 'done', seq: 11 }), pending, true);
    expect(list.rows.map((row) => row.status)).toEqual(['done', 'pending']);
  });
});

describe('a new petition', () => {
  test('goes on top when nobody is in the list', () => {
    expect(folios(liveRow(page([2, 1]), sampleRow(3, { seq: 11 }), NO_FILTERS, true).rows)).toEqual(['03', '02', '01']);
  });

  test('waits while somebody is, and comes when asked for, newest first', () => {
    let list = liveRow(page([1]), sampleRow(2, { seq: 11 }), NO_FILTERS, false);
    list = liveRow(list, sampleRow(3, { seq: 12 }), NO_FILTERS, false);
    expect([folios(list.rows), folios(list.waiting)]).toEqual([['01'], ['03', '02']]);
    const shown = showWaiting(list);
    expect([folios(shown.rows), shown.waiting]).toEqual([['03', '02', '01'], []]);
  });

  test('that changes while it waits is the newer one when shown', () => {
    let list = liveRow(page([1]), sampleRow(2, { seq: 11 }), NO_FILTERS, false);
    list = liveRow(list, sampleRow(2, { seq: 12, status: 'referred' }), NO_FILTERS, false);
    expect(list.waiting.map((row) => row.status)).toEqual(['referred']);
  });

  test('without folio yet stands above all', () => {
    expect(folios(liveRow(page([9]), sampleRow(null, { seq: 11 }), NO_FILTERS, true).rows)).toEqual([null, '09']);
  });

  test('that does not match the filters is left out', () => {
    const other = { ...NO_FILTERS, neighborhood: 99 };
    expect(liveRow(page([1]), sampleRow(2, { seq: 11 }), other, true).rows).toHaveLength(1);
  });

  test('older than the last row comes with its page, not now', () => {
    const list = liveRow(page([9, 8], 'more'), sampleRow(2, { seq: 11 }), NO_FILTERS, true);
    expect(folios(list.rows)).toEqual(['09', '08']);
    expect(folios(liveRow(page([9, 8]), sampleRow(2, { seq: 11 }), NO_FILTERS, true).rows)).toEqual(['09', '08', '02']);
  });

  test('beyond the limit only says that there are more', () => {
    let list = page([1]);
    for (let n = 0; n <= WAITING_LIMIT; n += 1) list = liveRow(list, sampleRow(n + 2, { seq: 11 + n }), NO_FILTERS, false);
    expect(list.waiting).toHaveLength(WAITING_LIMIT);
    expect(list.overflow).toBe(true);
  });
});

test('a further page does not double rows that are already here or wait', () => {
  let list = liveRow(page([9, 8], 'c'), sampleRow(10, { seq: 11 }), NO_FILTERS, false);
  list = furtherPage(list, { rows: [sampleRow(10), sampleRow(8), sampleRow(7)], next: null, seq: 12, total: null, corrected: null });
  expect(folios(list.rows)).toEqual(['09', '08', '10', '07']);
  expect(list.waiting).toEqual([]);
});

test('the answer to an act replaces its row without a glow', () => {
  const list = knownRow(page([1]), sampleRow(1, { status: 'referred', seq: 11 }), NO_FILTERS);
  expect(list.rows[0]?.status).toBe('referred');
  expect(list.glow).toEqual({});
});

describe('the total', () => {
  const pending = { ...NO_FILTERS, status: 'pending' as const };
  const counted = (total: number | null): ListState => ({ ...page([2, 1]), total });

  test('grows with a new petition, shown or waiting', () => {
    const shown = liveRow(counted(29_397), sampleRow(3, { seq: 11 }), NO_FILTERS, true);
    expect(liveRow(shown, sampleRow(4, { seq: 12 }), NO_FILTERS, false).total).toBe(29_399);
  });

  test('shrinks with a row that leaves the filter, and grows when it is back', () => {
    const left = liveRow(counted(2), sampleRow(2, { status: 'done', seq: 11 }), pending, true);
    expect(left.total).toBe(1);
    expect(liveRow(left, sampleRow(2, { seq: 12 }), pending, true).total).toBe(2);
  });

  test('shrinks with a waiting row that leaves the filter', () => {
    const waits = liveRow(counted(2), sampleRow(3, { seq: 11 }), pending, false);
    expect(liveRow(waits, sampleRow(3, { status: 'done', seq: 12 }), pending, false).total).toBe(2);
  });

  test('that the relay did not say stays unsaid', () => {
    expect(liveRow(counted(null), sampleRow(3, { seq: 11 }), NO_FILTERS, true).total).toBeNull();
  });
});

test('where the relay corrected the words, live rows are let in by the corrected ones', () => {
  const typed = { ...NO_FILTERS, q: 'lanpara' };
  const corrected = { ...page([1]), corrected: 'lampara' };
  expect(folios(liveRow(corrected, sampleRow(2, { seq: 11 }), typed, true).rows)).toEqual(['02', '01']);
  expect(folios(liveRow(page([1]), sampleRow(2, { seq: 11 }), typed, true).rows)).toEqual(['01']);
});
