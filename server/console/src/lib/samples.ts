/** Rows for the unit tests: shaped like the city's own. */
import type { Row } from './wire';

/** A petition with this folio number; the rest may be told otherwise. */
export function sampleRow(folio: number | null, rest: Partial<Row> = {}): Row {
  return {
    id: String(folio ?? 0).padStart(32, '0'),
    folio: folio === null ? null : `SIAC-${String(folio).padStart(6, '0')}`,
    provisional: 'K7M2Q9TX',
    title: 'LAMPARA FUNDIDA',
    agency: 'Dirección de Alumbrado Publico',
    agencies: ['Dirección de Alumbrado Publico'],
    agency_ids: [1],
    petitioner: 'ROBERTO G. E.',
    neighborhood: 'COL. ADOLFO LÓPEZ MATEOS',
    neighborhood_id: 3,
    location: 'CUAUHTEMOC 594 ENTRE 18 DE MARZO Y JUAN DE LA BARRERA',
    status: 'pending',
    unconfirmed: false,
    conflict: false,
    review: false,
    priority: 'normal',
    created_at: Date.UTC(2021, 9, 26, 14, 0),
    channel: 'Vía Jefes de Manzana',
    comments: 0,
    seq: 10,
    ...rest,
  };
}
