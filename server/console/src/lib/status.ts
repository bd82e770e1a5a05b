/** The one face a petition shows in the list: a shape, a word and a colour, never colour alone. */
import type { Row, StatusFilter } from './wire';

/** Equal to the filter's names on purpose: what is seen is what can be asked for. */
export type Face = StatusFilter;

type Stated = Pick<Row, 'status' | 'unconfirmed' | 'conflict'>;

export function faceOf(row: Stated): Face {
  if (row.conflict) return 'conflict';
  return row.status === 'done' && row.unconfirmed ? 'done_unconfirmed' : row.status;
}
