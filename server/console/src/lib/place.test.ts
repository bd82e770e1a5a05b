/** Places and their addresses. */
import { describe, expect, test } from 'vitest';
import { NO_FILTERS } from './filters';
import { addressOf, AGENCIES, HOME, LIST, placeFrom, type Place } from './place';

const read = (address: string): Place => placeFrom(new URLSearchParams(address.slice(1)));

describe('an address', () => {
  test.each<[string, Place]>([
    ['/', LIST],
    ['/?vista=inicio', HOME],
    ['/?vista=reporte-por-area', AGENCIES],
    ['/?vista=reporte-por-area&de=2018-01-01&a=2021-10-26', { ...AGENCIES, range: { from: '2018-01-01', to: '2021-10-26' } }],
    [
      '/?estado=pending&dependencia=7&peticion=0a',
      { ...LIST, filters: { ...NO_FILTERS, status: 'pending', agency: 7 }, petition: '0a' },
    ],
  ])('%s is written and read back', (address, place) => {
    expect(addressOf(place)).toBe(address);
    expect(read(address)).toEqual(place);
  });

  test('with a screen or a day that does not exist gives what can be understood', () => {
    expect(read('/?vista=otra&peticion=')).toEqual(LIST);
    expect(read('/?vista=reporte-por-area&de=2021-02-30&a=ayer')).toEqual(AGENCIES);
  });
});
