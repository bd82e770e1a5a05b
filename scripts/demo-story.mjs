// An afternoon in the demonstration's city: three people at three machines, one of them twice offline.
//
// The phones are real processes of `manzana phone`. The desks are the console's own API, or with
// --browser the console's page in a real Chromium, where each step counts only once the page showed it.
// Nothing here knows a result beforehand: folios, words and states are what the programs said.
//
//   node scripts/demo-story.mjs --manzana BIN --console URL --phones DIR --logins FILE
//                               [--browser [--shots DIR]] [--pace SECONDS between steps, to watch it]

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';

import { HttpDesk } from './demo-desk-http.mjs';

const { values: options } = parseArgs({
  options: {
    manzana: { type: 'string' },
    console: { type: 'string' },
    phones: { type: 'string' },
    logins: { type: 'string' },
    shots: { type: 'string' },
    browser: { type: 'boolean', default: false },
    pace: { type: 'string', default: '0' },
  },
});
const run = promisify(execFile);

/** The rows of the city's own screen that every new city ends with, newest first. */
const SHOWN = [
  ['SIAC-030851', 'LAMPARA FUNDIDA', 'FERNANDO DEL ROSARIO A. T.', 'CHABACANO 7-N ENTRE ALAMO Y CLAVE'],
  ['SIAC-030850', 'COLADERA TAPADA', 'OSVALDO F.', 'NUEVO LEON ENTRE MEXICO Y MICHOACAN'],
  ['SIAC-030849', 'LUMINARIA FUNDIDA', 'ROBERTO G. E.', 'CUAUHTEMOC 594 ENTRE 18 DE MARZO Y JUAN DE LA BARRERA'],
  ['SIAC-030848', 'LAMPARA FUNDIDA', 'GUADALUPE P. P.', 'ENTRE BOULEVAR TEOCALLI Y JAGUAR'],
  ['SIAC-030847', 'REHABILITACION DE CALLE', 'ROBERTO G. E.', 'CUAUHTEMOC ENTRE 18 DE MARZO Y JUAN DE LA BARRERA'],
  ['SIAC-030846', 'REPARACION DE CALLE', 'SANDRA LUZ S. D.', 'JUVENTINO ROSAS 1207 ENTRE MELCHOR OCAMPO Y INDEPENDENCIA'],
];

/** A phone: one folder, one process for each thing its person does. */
class Phone {
  constructor(name) {
    this.name = name;
    this.home = join(options.phones, name);
  }

  /** Runs a command of `manzana phone`; gives what it printed. */
  async text(...args) {
    const { stdout } = await run(options.manzana, ['phone', '--home', this.home, ...args]);
    return stdout;
  }

  async json(...args) {
    return JSON.parse(await this.text('--json', ...args));
  }

  async sync() {
    const { sync } = await this.json('sync');
    assert.equal(sync.idle, true, `${this.name}: not everything was sent: ${JSON.stringify(sync)}`);
  }

  /** One petition as this phone has it, without asking anybody. */
  async see(folio) {
    const { petition } = await this.json('--offline', 'show', folio);
    return petition;
  }
}

let current = 'the beginning';
const began = performance.now();

/** One step of the afternoon; a failure tells its name. */
async function step(name, work) {
  current = name;
  await sleep(1_000 * Number(options.pace));
  const result = await work();
  const spent = ((performance.now() - began) / 1000).toFixed(1).padStart(6);
  console.log(`${spent} s  ${name}${typeof result === 'string' ? `: ${result}` : ''}`);
  return result;
}

async function afternoon(operator, newSupervisor) {
  const jefa = new Phone('jefa');
  const cuadrilla = new Phone('cuadrilla');
  let folio;

  await step('the operator signs in', async () => {
    const page = await operator.signIn();
    if (!options.browser && page.some(([newest]) => newest > SHOWN[0][0])) return 'this city has newer petitions than the six known rows';
    assert.deepEqual(page.slice(0, SHOWN.length), SHOWN);
    await operator.picture('1-six-newest-rows');
    return 'the six newest rows are those of the city';
  });

  const captured = await step('the captain captures with no network', async () => {
    const { petitions: [petition] } = await jefa.json(
      '--offline', 'capture',
      '--title', 'LAMPARAS FUNDIDAS',
      '--description', 'Son tres lámparas seguidas sin luz frente a la escuela; los niños del turno de la tarde salen a oscuras.',
      '--channel', '3:Via Jefes de Manzana', '--kind', '1:Solicitud de servicio',
      '--agency', '1:Dirección de Alumbrado Publico', '--service', '100:Luminaria apagada',
      '--neighborhood', '4:COL. ADOLFO LÓPEZ MATEOS',
      '--street', 'CUAUHTEMOC 610', '--cross1', '18 DE MARZO', '--cross2', 'JUAN DE LA BARRERA',
      '--lat', '18.1354', '--lon', '-94.4412', '--accuracy', '12',
      '--petitioner-name', 'MARIA ELENA CHABLE SANTOS', '--notice-accepted',
    );
    assert.equal(petition.custody, 'on_this_phone');
    assert.equal(petition.folio, null);
    return petition;
  });
  await step('the centre has nothing of it', async () => {
    await operator.absent(captured.title, 'CUAUHTEMOC 610', captured.doc);
    return `${captured.custody_text}, folio provisional ${captured.provisional_folio}`;
  });

  await step('the captain finds a network', async () => {
    await jefa.sync();
    const petition = await jefa.see(captured.doc);
    assert.equal(petition.custody, 'received');
    folio = petition.folio;
    assert.match(folio, /^SIAC-\d{6}$/);
    await operator.appears(folio, captured.title);
    await operator.picture('2-arrived-live');
    return `${petition.custody_text} as ${folio}; the desk shows it`;
  });
  await step('the operator opens it', async () => {
    await operator.open(folio);
    await operator.shows('Pendiente de atención');
    await operator.picture('3-opened');
  });

  await step('the crew fetches its work and leaves the network', () => cuadrilla.sync());
  await step('the crew closes it with no network', async () => {
    await cuadrilla.json('--offline', 'close', folio, '--note', 'Se cambiaron tres focos y una fotocelda.');
    const petition = await cuadrilla.see(folio);
    assert.equal(petition.status, 'done');
    assert.equal(petition.unsent, 1);
    return `on its phone: ${petition.status_text}`;
  });
  await step('the operator, who cannot know, marks it not applicable', async () => {
    await operator.shows('Pendiente de atención');
    await operator.notApplicable('La luminaria es de un particular.');
    await operator.shows('No procede');
    await operator.picture('4-not-applicable');
  });

  await step('the crew comes back: the conflict shows', async () => {
    await cuadrilla.sync();
    const words = await operator.conflict(folio);
    await operator.picture('5-conflict', { dark: true });
    return words;
  });
  await step("the crew's phone tells it in words", async () => {
    const petition = await cuadrilla.see(folio);
    assert.equal(petition.conflict, true);
    const told = (await cuadrilla.text('--offline', 'show', folio)).split('\n');
    const words = told.find((line) => line.includes('Usted la marcó como Atendida'));
    assert.ok(words?.includes('No procede') && words.includes('Decide: Supervisión'), told.join('\n'));
    return words.trim();
  });

  const supervisor = await newSupervisor();
  await step('the supervisor decides', async () => {
    await supervisor.signIn();
    await supervisor.openConflict(folio);
    await supervisor.picture('6-supervisor');
    await supervisor.finalState('done', 'La foto muestra las tres lámparas trabajando.');
    await supervisor.shows('Atendida');
    await supervisor.picture('7-decided');
  });
  await step('the operator sees the end', async () => {
    await operator.decided(folio);
    await operator.picture('8-the-end', { dark: true });
  });
  await step('both phones tell it too', async () => {
    const told = [];
    for (const phone of [cuadrilla, jefa]) {
      await phone.sync();
      const petition = await phone.see(folio);
      assert.deepEqual([petition.status, petition.conflict, petition.final], ['done', false, true], phone.name);
      const text = await phone.text('--offline', 'show', folio);
      assert.match(text, /Atendida/);
      assert.match(text, /Estado final definido/);
      told.push(`${phone.name}: ${petition.status_text}`);
    }
    return told.join('; ');
  });
  await step(options.browser ? 'each page asked for its list once, and complained of nothing' : 'both desks sign out', async () => {
    await operator.finish();
    await supervisor.finish();
  });
}

async function main() {
  const logins = JSON.parse(await readFile(options.logins, 'utf8'));
  if (!options.browser) {
    return afternoon(new HttpDesk(options.console, logins.operator), () => new HttpDesk(options.console, logins.supervisor));
  }
  const { openBrowser } = await import('./demo-desk-page.mjs');
  const browser = await openBrowser(options.console, options.shots);
  try {
    await afternoon(await browser.desk('operator', logins.operator), () => browser.desk('supervisor', logins.supervisor));
  } catch (error) {
    await browser.pictureOfFailure();
    throw error;
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(`FAILED at "${current}"`);
  console.error(error.stdout || error.stderr ? `${error.message}\n${error.stdout}${error.stderr}` : error);
  process.exit(1);
});
