/** What the palette finds. */
import { expect, test } from 'vitest';
import { commandsFor, type Command } from './commands';

const command = (name: string): Command => ({ kind: 'Lista', name, run: () => {} });
const all = ['Pendiente de atención', 'Atendida', 'Reporte Estadístico por Área'].map(command);
const search = command('Buscar');
const names = (query: string): string[] => commandsFor(query, all, search).map(({ name }) => name);

test('everything is offered before a word is typed', () => {
  expect(names(' ')).toEqual(all.map(({ name }) => name));
});

test('words find names and kinds without accents; the search of petitions is always last', () => {
  expect(names('estadistico area')).toEqual(['Reporte Estadístico por Área', 'Buscar']);
  expect(names('lista atendida')).toEqual(['Atendida', 'Buscar']);
  expect(names('030849')).toEqual(['Buscar']);
});
