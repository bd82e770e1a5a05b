/** Active filters in words. */
import { expect, test } from 'vitest';
import { chipsOf } from './chips';
import { NO_FILTERS } from './filters';
import { CATALOGS } from './strings';

const t = CATALOGS['es-MX'];
const catalogs = { neighborhoods: [{ id: 5, name: 'COL. CENTRO' }], agencies: [] };

test('no filter is no chip', () => {
  expect(chipsOf(NO_FILTERS, catalogs, t)).toEqual([]);
});

test('each filter is a chip that takes it away; a name not known yet is its number', () => {
  expect(chipsOf({ q: 'fuga', status: 'pending', neighborhood: 5, agency: 7 }, catalogs, t)).toEqual([
    { label: '«fuga»', without: { q: '' } },
    { label: 'Pendiente de atención', without: { status: null } },
    { label: 'COL. CENTRO', without: { neighborhood: null } },
    { label: '7', without: { agency: null } },
  ]);
});
