/**
 * The city the stand-in relay knows: its agencies with the numbers of its printed report (pending, in progress, done,
 * not applicable), its newest six petitions, and, where a test or a person wants the list at full size, all 29,397.
 */

/** The first six are the agencies of the six petitions; the others stand as the report prints them. */
const REPORT = `Dirección de Alumbrado Publico|761|1|14426|2
CMAS - Alcantarillado y Saneamiento|255|1|4|1
Maquinaria Pesada|955|1|3807|134
Servicios Municipales|910|0|1861|255
Dirección de Limpia Publica|5|0|646|27
Dirección de Obras Públicas|329|0|430|2
Dirección de Ornatos|852|0|2071|141
Dirección de Desarrollo Urbano|100|0|458|17
CMAS - Agua Potable|290|0|14|8
Protección y Control Animal|6|0|198|34
CMAS - Facturación|8|0|0|0
CMAS - Control de Usuarios|8|0|0|0
Transito Estatal|17|0|43|48
Coordinación de Atención Ciudadana|0|0|90|0
Dirección de Protección Civil|1|0|31|6
Dirección de Comercio|0|0|34|0
Secretaría de Gobernación|0|0|25|1
Presidencia Municipal|0|0|24|0
Dirección de Ingresos|0|0|20|3
Dirección de Fomento Agropecuario, Medio Ambiente y Desarrollo Sustentable|11|0|1|0
Dirección de Gobernación|0|0|10|2
Secretaría de Obras Públicas|3|0|7|2`
  .split('\n')
  .map((line) => line.split('|'));

export const AGENCIES = REPORT.map(([name]) => name);
export const NEIGHBORHOODS = ['COL. IQUIISA', 'COL. PETROLERA', 'COL. ADOLFO LÓPEZ MATEOS', 'FRA. CIUDAD OLMECA', 'COL. CENTRO'];
export const SAMPLES = [
  [30851, 'LAMPARA FUNDIDA', 0, 'FERNANDO DEL ROSARIO A. T.', 0, 'CHABACANO 7-N ENTRE ALAMO Y CLAVE', 'Redes Sociales'],
  [30850, 'COLADERA TAPADA', 1, 'OSVALDO F.', 1, 'NUEVO LEON ENTRE MEXICO Y MICHOACAN', 'Vía Web'],
  [30849, 'LUMINARIA FUNDIDA', 0, 'ROBERTO G. E.', 2, 'CUAUHTEMOC 594 ENTRE 18 DE MARZO Y JUAN DE LA BARRERA', 'Vía Jefes de Manzana'],
  [30848, 'LAMPARA FUNDIDA', 0, 'GUADALUPE P. P.', 3, 'ENTRE BOULEVAR TEOCALLI Y JAGUAR', 'Redes Sociales'],
  [30847, 'REHABILITACION DE CALLE', 2, 'ROBERTO G. E.', 2, 'CUAUHTEMOC ENTRE 18 DE MARZO Y JUAN DE LA BARRERA', 'Vía Jefes de Manzana'],
  [30846, 'REPARACION DE CALLE', 3, 'SANDRA LUZ S. D.', 4, 'JUVENTINO ROSAS 1207 ENTRE MELCHOR OCAMPO Y INDEPENDENCIA', 'Vía Ventanilla'],
];
const SUBJECTS = ['LAMPARA FUNDIDA', 'BACHE', 'PODA DE ARBOL', 'FUGA DE AGUA', 'RECOLECCION DE BASURA', 'ALCANTARILLA SIN TAPA'];
const STREETS = ['HIDALGO', 'MORELOS', 'CEDRO', 'QUEVEDO', 'LERDO', 'ZARAGOZA', 'AQUILES SERDAN'];
const STATES = ['pending', 'in_progress', 'done', 'not_applicable'];
const FIRST_FOLIO = 1_455;
/** 01/01/2018 08:00 in Mexico City, and the pause between two petitions that ends in October of 2021. */
const OPENING = Date.UTC(2018, 0, 1, 14, 0);
const PAUSE_MS = 4_090_000;

/** The rest of the 29,397 petitions, so that with the six the report is the printed one. */
export function wholeCity() {
  const owed = REPORT.flatMap(([, ...counts], agency) =>
    STATES.map((status, column) => {
      const shown = status === 'pending' ? SAMPLES.filter((sample) => sample[2] === agency).length : 0;
      return { agency, status, left: Number(counts[column]) - shown };
    }),
  ).filter(({ left }) => left > 0);
  const rows = [];
  let left = owed.reduce((sum, { left }) => sum + left, 0);
  for (let turn = 0; left > 0; turn += 1, left -= 1) {
    const { agency, status } = draw(owed, (turn * 7_919) % left);
    const folio = FIRST_FOLIO + turn;
    const place = `${STREETS[turn % STREETS.length]} ${(turn * 13) % 900} ENTRE ${STREETS[(turn + 3) % STREETS.length]} Y ${STREETS[(turn + 5) % STREETS.length]}`;
    rows.push([folio, SUBJECTS[turn % SUBJECTS.length], agency, 'JOSE M. H.', turn % NEIGHBORHOODS.length, place, 'Vía Telefónica', status, OPENING + turn * PAUSE_MS]);
  }
  return rows;
}

/** Takes the nth of what is owed, so that agencies and states mix as they do in the whole. */
function draw(owed, nth) {
  let ahead = nth;
  for (const pile of owed) {
    if (ahead < pile.left) {
      pile.left -= 1;
      return pile;
    }
    ahead -= pile.left;
  }
  throw new Error('nothing is owed');
}
