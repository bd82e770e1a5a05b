/**
 * The built page in a real browser against the stand-in relay: what an operator does in a day.
 * Needs `npm run build` first and a Chromium (CHROMIUM, or /usr/bin/chromium).
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { idOf, start } from '../dev/fake-server.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ARGS = ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
const SIX = [30851, 30850, 30849, 30848, 30847, 30846];

let browser;
let context;
let page;
let fake;
let complaints;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS });
});
after(() => browser?.close());

beforeEach(async () => {
  fake = await start();
  context = await browser.newContext({ viewport: { width: 1366, height: 768 }, locale: 'es-MX' });
  page = await context.newPage();
  page.setDefaultTimeout(8_000);
  complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  // A breach of the policy, or anything else the page would complain of; refused requests are answers.
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('Failed to load resource')) complaints.push(message.text());
  });
});
afterEach(async () => {
  await context.close();
  await fake.stop();
  assert.deepEqual(complaints, []);
});

const id = (name) => page.getByTestId(name);
const row = (folio) => id(`row-${idOf(folio)}`);
const status = (folio) => id(`status-${idOf(folio)}`);
const lists = () => fake.requests.filter((line) => line.startsWith('GET /api/petitions?')).length;
const details = () => fake.requests.filter((line) => /^GET \/api\/petitions\/\w/.test(line)).length;

async function signIn(user = 'operacion', address = '') {
  await page.goto(fake.url + address);
  await id('login-user').fill(user);
  await id('login-password').fill('manzana');
  await id('login-submit').click();
  await page.getByRole('heading', { name: 'Peticiones recibidas' }).waitFor();
}

async function says(locator, words) {
  await locator.filter({ hasText: words }).waitFor();
}

async function live() {
  await page.locator('[data-testid="network"][data-state="live"]').waitFor();
}

async function folios() {
  return page.locator('tr[data-folio]').evaluateAll((rows) => rows.map((tr) => tr.dataset.folio));
}

/** Serious accessibility faults of what is on screen now. */
async function faults() {
  // Injected through the debugger: the page's policy forbids foreign scripts, as it should.
  const devtools = await context.newCDPSession(page);
  await devtools.send('Runtime.evaluate', { expression: AXE });
  const found = await page.evaluate(() => window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return found.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id: rule, nodes }) => `${rule}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
}

test('a wrong password is told in words and the right one shows the six rows', async () => {
  await page.goto(fake.url);
  await id('login-user').fill('operacion');
  await id('login-password').fill('mal');
  await id('login-submit').click();
  await says(id('login-error'), 'no coinciden');
  await id('login-password').fill('manzana');
  await id('login-submit').click();
  for (const folio of SIX) await row(folio).waitFor();
  assert.deepEqual(await folios(), SIX.map((folio) => `SIAC-0${folio}`));
  await says(status(30851), 'Pendiente de atención');
  await says(row(30851), '26/10/2021');
});

test('search without accents finds, stands in the address, and survives a reload', async () => {
  await signIn();
  await id('filter-q').fill('adolfo lopez');
  await row(30851).waitFor({ state: 'detached' });
  assert.deepEqual(await folios(), ['SIAC-030849', 'SIAC-030847']);
  await id('filter-neighborhood').selectOption({ label: 'COL. CENTRO' });
  await page.getByText('Ninguna petición coincide').waitFor();
  assert.equal(new URL(page.url()).searchParams.get('colonia'), '5');
  await page.goBack();
  await row(30849).waitFor();
  await page.reload();
  await row(30849).waitFor();
  assert.equal(await id('filter-q').inputValue(), 'adolfo lopez');
});

test('a change by someone else updates its row in place, glows, and asks for no list', async () => {
  await signIn();
  await live();
  const asked = fake.requests.length;
  fake.city.change(idOf(30848), (petition) => Object.assign(petition, { status: 'referred' }));
  await says(status(30848), 'Turnada');
  assert.equal(await row(30848).getAttribute('data-glow'), '1');
  assert.equal(fake.requests.length, asked);
});

test('a new petition goes on top when nobody is in the list, and waits when somebody is', async () => {
  await signIn();
  await live();
  fake.city.arrive([30852, 'FUGA DE AGUA', 1, 'MARIA L.', 1, 'MICHOACAN 12', 'App Móvil']);
  await row(30852).waitFor();
  await page.keyboard.press('j');
  fake.city.arrive([30853, 'BACHE', 2, 'JOSE M.', 4, 'HIDALGO 3', 'App Móvil']);
  await says(id('show-new'), '1 nueva');
  assert.equal((await folios())[0], 'SIAC-030852');
  await id('show-new').click();
  await row(30853).waitFor();
  assert.equal((await folios())[0], 'SIAC-030853');
  assert.equal(lists(), 1);
});

test('the keyboard opens, walks and returns', async () => {
  await signIn();
  await row(30851).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('calle');
  await row(30851).waitFor({ state: 'detached' });
  await page.keyboard.press('Enter');
  await page.keyboard.press('Enter');
  await says(id('detail-folio'), 'SIAC-030847');
  await page.keyboard.press('j');
  await says(id('detail-folio'), 'SIAC-030846');
  await page.keyboard.press('Escape');
  await id('detail').waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => document.activeElement?.closest('tr')?.dataset.folio), 'SIAC-030846');
});

test('an act made on what one had seen before somebody else closed it shows the conflict', async () => {
  await signIn();
  await row(30849).click();
  await id('act-not-applicable').click();
  await id('act-reason').fill('La luminaria es de un particular');
  const seen = details();
  fake.city.crewDone(idOf(30849));
  await says(id('detail-status'), 'Atendida por confirmar');
  assert.equal(details(), seen + 1);
  await id('act-stale').waitFor();
  assert.equal(await id('act-reason').inputValue(), 'La luminaria es de un particular');
  await id('act-submit').click();
  await id('conflict').waitFor();
  assert.equal(await id('conflict-side').count(), 2);
  await says(id('conflict'), 'Usted la marcó como No procede');
  await says(id('conflict'), 'Cuadrilla Alumbrado 2 la marcó como Atendida');
  await says(id('conflict'), 'Decide: Supervisión');
  await says(status(30849), 'En conflicto');
  assert.equal(lists(), 1);
  assert.deepEqual(await faults(), []);
});

test('the supervisor defines the final state and the conflict is gone', async () => {
  const petition = fake.city.petitions.get(idOf(30849));
  const before = petition.heads;
  fake.city.crewDone(petition.id);
  fake.city.act(petition.id, { name: 'Ventanilla 2', role: 'counter' }, { act: 'not_applicable', heads: before, reason: 'Particular', key: 'k' });
  await signIn('supervision', '?estado=conflict');
  await row(30849).click();
  await id('act-final-state').click();
  await id('act-submit').click();
  await says(id('act-error'), 'Elija el estado final');
  await id('act-outcome').selectOption('done');
  await id('act-submit').click();
  await says(id('detail-status'), 'Atendida');
  await id('conflict').waitFor({ state: 'detached' });
  await says(id('detail'), 'Definió el estado final como Atendida');
});

test('a refused act says why and keeps what was typed; a referral and a comment are shown', async () => {
  await signIn();
  await row(30850).click();
  await id('act-comment').click();
  await id('act-text').fill('rechazar');
  await id('act-submit').click();
  await says(id('act-error'), 'Este cambio no fue aceptado');
  assert.equal(await id('act-text').inputValue(), 'rechazar');
  await id('act-text').fill('Ya se avisó al vecino');
  await id('act-submit').click();
  await says(id('detail'), 'Ya se avisó al vecino');
  await id('act-refer').click();
  await id('act-agency').selectOption({ label: 'Maquinaria Pesada' });
  await id('act-submit').click();
  await says(status(30850), 'Turnada');
  await says(row(30850), 'Maquinaria Pesada');
});

test('a half-typed form outlives a walk through the list and the end of the session', async () => {
  await signIn();
  await row(30851).click();
  await id('act-comment').click();
  await id('act-text').fill('A medias');
  await page.keyboard.press('Escape');
  await row(30850).click();
  await says(id('detail-folio'), 'SIAC-030850');
  fake.expire();
  await row(30851).click();
  await page.getByText('Su sesión terminó').waitFor();
  await id('login-user').fill('operacion');
  await id('login-password').fill('manzana');
  await id('login-submit').click();
  await row(30851).click();
  await says(id('detail-folio'), 'SIAC-030851');
  assert.equal(await id('act-text').inputValue(), 'A medias');
});

test('a cut connection is told, mends itself and misses nothing', async () => {
  await signIn();
  await live();
  fake.city.cut();
  await says(id('network'), 'Reconectando');
  fake.city.change(idOf(30846), (petition) => Object.assign(petition, { status: 'in_progress' }));
  await says(status(30846), 'En desarrollo');
  await live();
  assert.equal(lists(), 1);
});

test('a resync loads the list anew; a list that fails says so and comes back', async () => {
  await signIn();
  await live();
  fake.control.failLists = true;
  fake.city.resync();
  await page.getByText('El centro está reiniciando').waitFor();
  fake.control.failLists = false;
  await page.getByRole('button', { name: 'Intentar otra vez' }).click();
  await row(30851).waitFor();
  await live();
});

test('further pages come by themselves when the end is near', async () => {
  await fake.stop();
  const extra = Array.from({ length: 120 }, (_, n) => [30845 - n, 'BACHE', 2, 'JOSE M.', 4, `HIDALGO ${n}`, 'Vía Web']);
  fake = await start({ extra });
  await signIn();
  await row(30851).waitFor();
  while ((await folios()).length < 126) {
    await page.locator('tbody tr').last().scrollIntoViewIfNeeded();
    await page.waitForFunction((n) => document.querySelectorAll('tbody tr').length !== n, (await folios()).length);
  }
  assert.equal(new Set(await folios()).size, 126);
  assert.equal(lists(), 3);
});

test('nothing serious against accessibility, in both themes and both languages', async () => {
  await page.goto(fake.url);
  await id('login-user').waitFor();
  assert.deepEqual(await faults(), []);
  await signIn('supervision');
  fake.city.crewDone(idOf(30848));
  fake.city.change(idOf(30850), (petition) => Object.assign(petition, { status: 'referred', priority: 'risk', review: true }));
  await says(status(30848), 'Atendida por confirmar');
  await page.getByRole('button', { name: 'English' }).click();
  await page.getByRole('heading', { name: 'Petitions received' }).waitFor();
  await row(30850).click();
  await id('act-refer').click();
  await id('act-submit').click();
  await id('act-error').waitFor();
  assert.deepEqual(await faults(), []);
  await id('theme').click();
  assert.deepEqual(await faults(), []);
});
