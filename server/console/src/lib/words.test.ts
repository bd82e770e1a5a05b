/** Words, dates, and the acts a form becomes. */
import { describe, expect, test } from 'vitest';
import { isStale, missing, newDraft, switchAct, toRequest } from './acts';
import { ApiError } from './api';
import { dateTime, day } from './dates';
import { errorWords, eventWords, foundWords, sideWords } from './prose';
import { EMPTY_LIST } from './rows';
import { sampleRow } from './samples';
import { faceOf } from './status';
import { CATALOGS } from './strings';
import type { PetitionEvent } from './wire';

const t = CATALOGS['es-MX'];
const side = (rest: Partial<PetitionEvent>): PetitionEvent => ({
  id: '1',
  kind: 'done',
  at: Date.UTC(2021, 9, 26, 15, 32),
  clamped: false,
  by: 'Ventanilla',
  role: 'counter',
  agency: null,
  reason: null,
  next_at: null,
  note: null,
  outcome: null,
  evidence: 0,
  ...rest,
});

describe('status', () => {
  const plain = { unconfirmed: false, conflict: false };
  test.each([
    [{ ...plain, status: 'pending' as const }, 'Pendiente de atención'],
    [{ ...plain, status: 'referred' as const }, 'Turnada'],
    [{ ...plain, status: 'in_progress' as const }, 'En desarrollo'],
    [{ ...plain, status: 'done' as const }, 'Atendida'],
    [{ ...plain, status: 'done' as const, unconfirmed: true }, 'Atendida por confirmar'],
    [{ ...plain, status: 'not_applicable' as const }, 'No procede'],
    [{ ...plain, status: 'in_progress' as const, conflict: true }, 'En conflicto'],
  ])('%o reads "%s"', (row, words) => {
    expect(t.face[faceOf(row)]).toBe(words);
  });
});

describe('dates', () => {
  test('are those of Mexico City, with and without its old summer time', () => {
    expect(dateTime(Date.UTC(2021, 9, 26, 15, 5))).toBe('26/10/2021 10:05');
    expect(dateTime(Date.UTC(2023, 9, 26, 15, 5))).toBe('26/10/2023 09:05');
  });

  test('change at the city’s midnight', () => {
    expect(dateTime(Date.UTC(2023, 0, 1, 6, 0))).toBe('01/01/2023 00:00');
    expect(day(Date.UTC(2023, 0, 1, 5, 59))).toBe('31/12/2022');
  });
});

describe('a conflict', () => {
  test('is told with who, what and when', () => {
    expect(sideWords(side({ kind: 'not_applicable' }), 'Ana', t)).toBe(
      'Ventanilla la marcó como No procede el 26/10/2021 10:32',
    );
  });

  test('says "Usted" to the one who did it', () => {
    expect(sideWords(side({ by: 'Ana' }), 'Ana', t)).toBe('Usted la marcó como Atendida el 26/10/2021 10:32');
  });

  test('tells a reopening as what it is', () => {
    expect(sideWords(side({ kind: 'reopened' }), 'Ana', t)).toBe('Ventanilla: La reabrió, el 26/10/2021 10:32');
  });
});

test('events are told with the agency or outcome they carry', () => {
  expect(eventWords(side({ kind: 'referred', agency: 'CMAS' }), t)).toBe('La turnó a CMAS');
  expect(eventWords(side({ kind: 'final_state', outcome: 'done' }), t)).toBe('Definió el estado final como Atendida');
});

test('an error is the sentence of the server, or ours when there was none', () => {
  expect(errorWords(new ApiError(422, 'refused', 'No se puede.'), t)).toBe('No se puede.');
  expect(errorWords(new ApiError(0, 'unreachable', null), t)).toBe(t.errors.unreachable);
  expect(errorWords(new ApiError(502, 'unknown', null), t)).toBe(t.errors.unknown);
});

describe('a list', () => {
  const list = { ...EMPTY_LIST, rows: Array.from({ length: 50 }, (_, n) => sampleRow(n)), next: 'more' };
  test.each([
    [{ ...list, total: 29_397 }, '29,397 peticiones'],
    [list, 'Se muestran las 50 más nuevas'],
    [{ ...list, rows: [sampleRow(1)], next: null }, '1 petición'],
    [{ ...list, total: 12, corrected: 'lampara' }, 'Se muestran resultados de «lampara»: 12 peticiones'],
  ])('is told in words', (state, words) => {
    expect(foundWords(state, t)).toBe(words);
  });
});

test('both languages have every key help, and the same keys', () => {
  const keys = Object.values(CATALOGS).map((catalog) => catalog.home.keyHelp.map(([key]) => key));
  expect(keys[0]).toEqual(keys[1]);
});

describe('an act', () => {
  test('carries the heads its form was opened with, whatever the page shows later', () => {
    const draft = { ...newDraft('not_applicable', ['a']), reason: ' Obra programada ' };
    expect(isStale(draft, ['b'])).toBe(true);
    expect(toRequest(draft, () => 'k').request).toEqual({
      act: 'not_applicable',
      heads: ['a'],
      reason: 'Obra programada',
      key: 'k',
    });
  });

  test('sent again unchanged has the same key; changed, another', () => {
    let keys = 0;
    const newKey = (): string => `key ${++keys}`;
    const first = toRequest({ ...newDraft('comment', ['a']), text: 'hola' }, newKey);
    const again = toRequest(first.draft, newKey);
    const edited = toRequest({ ...again.draft, text: 'hola otra vez' }, newKey);
    expect([first, again, edited].map(({ request }) => request.key)).toEqual(['key 1', 'key 1', 'key 2']);
  });

  test('half typed keeps its text and heads when another act is chosen; blank, it takes what is shown', () => {
    const typed = { ...newDraft('comment', ['a']), text: 'hola' };
    expect(switchAct(typed, 'refer', ['b'])).toMatchObject({ act: 'refer', text: 'hola', heads: ['a'] });
    expect(switchAct(newDraft('comment', ['a']), 'refer', ['b']).heads).toEqual(['b']);
  });

  test('says what it still lacks', () => {
    expect(missing(newDraft('comment', []))).toBe('text');
    expect(missing(newDraft('refer', []))).toBe('agency');
    expect(missing({ ...newDraft('not_applicable', []), reason: '  ' })).toBe('reason');
    expect(missing({ ...newDraft('final_state', []), outcome: 'done' })).toBeNull();
  });

  test('is stale only when the heads differ, not their order', () => {
    expect(isStale(newDraft('comment', ['a', 'b']), ['b', 'a'])).toBe(false);
  });
});
