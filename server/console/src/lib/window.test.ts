/** Which rows of a long list stand in the document. */
import { describe, expect, test } from 'vitest';
import { MARGIN_ROWS, ROW_HEIGHT, scrollTo, windowOf, type Window } from './window';

const HEAD = 47;
const HEIGHT = 10 * ROW_HEIGHT;
const indexes = (window: Window): number[] => window.rows.map(({ index }) => index);
/** Rows placed, and rows that only their height stands for: together always the whole list. */
const total = ({ rows, rest }: Window): number => rows.reduce((sum, { gap }) => sum + gap + 1, rest);

describe('the window', () => {
  test('of a short list is all of it', () => {
    expect(windowOf({ top: 0, height: HEIGHT }, 3)).toEqual({
      rows: [
        { index: 0, gap: 0 },
        { index: 1, gap: 0 },
        { index: 2, gap: 0 },
      ],
      rest: 0,
    });
  });

  test('of an empty list is empty', () => {
    expect(windowOf({ top: 0, height: HEIGHT }, 0)).toEqual({ rows: [], rest: 0 });
  });

  test('at the top has a margin below', () => {
    const window = windowOf({ top: 0, height: HEIGHT }, 29_397);
    expect(indexes(window)).toEqual(Array.from({ length: 10 + MARGIN_ROWS }, (_, n) => n));
    expect(total(window)).toBe(29_397);
  });

  test('in the middle has a margin on both sides and stands for every row', () => {
    const window = windowOf({ top: 500.5 * ROW_HEIGHT, height: HEIGHT }, 29_397);
    expect(indexes(window).at(0)).toBe(500 - MARGIN_ROWS);
    expect(indexes(window).at(-1)).toBe(510 + MARGIN_ROWS);
    expect(total(window)).toBe(29_397);
  });

  test.each([
    [3, 0],
    [900, -1],
  ])('keeps the focused row %i, far from what is seen', (pinned, at) => {
    const window = windowOf({ top: 400 * ROW_HEIGHT, height: HEIGHT }, 1_000, pinned);
    expect(indexes(window).at(at)).toBe(pinned);
    expect(total(window)).toBe(1_000);
  });

  test('does not double a focused row that is in sight, nor keep one that is gone', () => {
    const sight = { top: 400 * ROW_HEIGHT, height: HEIGHT };
    expect(windowOf(sight, 1_000, 405)).toEqual(windowOf(sight, 1_000));
    expect(windowOf(sight, 1_000, 1_000)).toEqual(windowOf(sight, 1_000));
  });

  test('scrolled beyond a list that became shorter is still one', () => {
    const window = windowOf({ top: 900 * ROW_HEIGHT, height: HEIGHT }, 20);
    expect(total(window)).toBe(20);
  });
});

describe('scrolling to a row', () => {
  const sight = { top: 100 * ROW_HEIGHT, height: HEIGHT };

  test('that is in sight moves nothing', () => {
    expect(scrollTo(sight, HEAD, 104)).toBe(sight.top);
  });

  test('above brings it right below the head, below brings it whole to the edge', () => {
    expect(scrollTo(sight, HEAD, 40)).toBe(40 * ROW_HEIGHT);
    expect(scrollTo(sight, HEAD, 200)).toBe(201 * ROW_HEIGHT + HEAD - HEIGHT);
  });

  test('never goes above the list', () => {
    expect(scrollTo({ top: 0, height: HEIGHT }, HEAD, 0)).toBe(0);
  });
});
