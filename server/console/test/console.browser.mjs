/**
 * The built page in a real browser against the stand-in relay: what an operator does in a day.
 * Needs `npm run build` first and a Chromium (CHROMIUM, or /usr/bin/chromium).
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { wholeCity } from '../dev/city.mjs';
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
  await page.getByRole('navigation').waitFor();
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

/** The same console before a city of 29,397 petitions. */
async function wholeCityFake() {
  await fake.stop();
  fake = await start({ extra: wholeCity() });
}

const scroller = () => page.locator('[aria-busy]:has(> table)');
const scrollTop = () => scroller().evaluate((element) => element.scrollTop);

/** Where the keyboard's focus is: the folio of its row. */
const focusedFolio = () => page.evaluate(() => document.activeElement?.closest('tr')?.dataset.folio);

/** Presses a key until what is looked for has the focus; a screen one cannot walk through fails. */
async function tabTo(locator, key = 'Tab') {
  await locator.waitFor();
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press(key);
    if (await locator.evaluate((element) => element === document.activeElement)) return;
  }
  assert.fail(`${key} does not reach ${locator}`);
}

/** Accessibility faults of what is on screen now. */
async function faults() {
  // Injected through the debugger: the page's policy forbids foreign scripts, as it should.
  const devtools = await context.newCDPSession(page);
  await devtools.send('Runtime.evaluate', { expression: AXE });
  const found = await page.evaluate(() => window.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return found.violations.map(({ id: rule, nodes }) => `${rule}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
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

test('a resync loads the list anew; one that fails keeps the rows, says so, and comes back by itself', async () => {
  await signIn();
  await live();
  fake.control.failLists = true;
  fake.city.resync();
  await says(id('list-stale'), 'se muestra lo último que llegó');
  await says(id('network'), 'Reconectando');
  assert.equal((await folios()).length, SIX.length);
  fake.control.failLists = false;
  await id('list-stale').waitFor({ state: 'detached' });
  await live();
});

test('a list that cannot be had says what happened and what is safe, and can be asked for', async () => {
  await signIn();
  await live();
  fake.control.failLists = true;
  await id('filter-status').selectOption('pending');
  await page.getByText('El centro está reiniciando').waitFor();
  await page.getByText('Las peticiones están a salvo en el centro').waitFor();
  assert.equal(await page.locator('tr[data-folio]').count(), 0);
  fake.control.failLists = false;
  await page.getByRole('button', { name: 'Intentar otra vez' }).click();
  await row(30851).waitFor();
  await live();
});

test('29,397 petitions are scrolled with a handful of rows in the page, and pages come by themselves', async () => {
  await wholeCityFake();
  await signIn();
  await says(id('count'), '29,397 peticiones');
  assert.equal(await page.locator('table').getAttribute('aria-rowcount'), '29398');
  const seen = new Set();
  while (seen.size < 400) {
    const rows = await page.locator('tr[data-folio]').evaluateAll((all) => all.map((tr) => ({ folio: tr.dataset.folio, height: tr.getBoundingClientRect().height })));
    assert.ok(rows.length > 0 && rows.length < 60, `${rows.length} rows in the page`);
    assert.ok(rows.every(({ height }) => height === 55), 'every row is equally high');
    for (const { folio } of rows) seen.add(folio);
    const last = rows.at(-1).folio;
    await scroller().evaluate((element) => element.scrollBy(0, element.clientHeight));
    await page.waitForFunction((folio) => [...document.querySelectorAll('tr[data-folio]')].at(-1)?.dataset.folio !== folio, last);
  }
  const numbers = [...seen].map((folio) => Number(folio.slice(-6)));
  assert.deepEqual(numbers, numbers.map((_, n) => 30_851 - n), 'none is left out, none stands twice');
  const index = await page.locator('tr[data-folio]').last().evaluate((tr) => [tr.getAttribute('aria-rowindex'), tr.dataset.folio]);
  assert.equal(Number(index[0]), 30_851 - Number(index[1].slice(-6)) + 2);
});

test('the focused row outlives scrolling away, and J goes on from it through page after page', async () => {
  await wholeCityFake();
  await signIn();
  await row(30851).waitFor();
  await page.keyboard.press('j');
  assert.equal(await focusedFolio(), 'SIAC-030851');
  await scroller().evaluate((element) => element.scrollTo(0, 2_000));
  await page.locator('tr[aria-rowindex="40"]').waitFor();
  assert.equal(await focusedFolio(), 'SIAC-030851');
  for (let n = 30_850; n > 30_740; n -= 1) {
    await page.keyboard.press('j');
    // A key held down is faster than a page of the relay; the cursor waits at the end of what is here.
    await page.waitForFunction((folio) => document.querySelector(`tr[data-folio="${folio}"]`), `SIAC-0${n - 1}`);
    assert.equal(await focusedFolio(), `SIAC-0${n}`);
  }
  const [top, bottom, edge] = await page.evaluate(() => {
    const box = document.activeElement.closest('tr').getBoundingClientRect();
    return [box.top - document.querySelector('thead').getBoundingClientRect().bottom, box.bottom, innerHeight];
  });
  assert.ok(top >= 0 && bottom <= edge, 'the row with the focus is whole in sight');
});

test('far down, a change keeps its place, new petitions wait, and what was changed out of sight is right when seen', async () => {
  await wholeCityFake();
  await signIn();
  await live();
  await scroller().evaluate((element) => element.scrollTo(0, 2_000));
  await page.locator('tr[aria-rowindex="40"]').waitFor();
  const top = await scrollTop();
  fake.city.change(idOf(30851), (petition) => Object.assign(petition, { status: 'referred' }));
  fake.city.arrive([30852, 'FUGA DE AGUA', 1, 'MARIA L.', 1, 'MICHOACAN 12', 'App Móvil']);
  await says(id('show-new'), '1 nueva');
  await says(id('count'), '29,398 peticiones');
  assert.equal(await scrollTop(), top);
  assert.equal(await row(30852).count(), 0);
  await id('show-new').click();
  await row(30852).waitFor();
  assert.equal(await focusedFolio(), 'SIAC-030852');
  await says(status(30851), 'Turnada');
});

test('an agency filters the list and the rows that arrive, and stands in the address', async () => {
  await signIn();
  await live();
  await id('filter-agency').selectOption({ label: 'Maquinaria Pesada' });
  await row(30851).waitFor({ state: 'detached' });
  assert.deepEqual(await folios(), ['SIAC-030847']);
  assert.equal(new URL(page.url()).searchParams.get('dependencia'), '3');
  await says(id('announcements'), '1 petición');
  fake.city.arrive([30852, 'FUGA DE AGUA', 1, 'MARIA L.', 1, 'MICHOACAN 12', 'App Móvil']);
  fake.city.arrive([30853, 'BACHE', 2, 'JOSE M.', 4, 'HIDALGO 3', 'App Móvil']);
  // The pointer is over the choice, not the list; the caret too.
  await row(30853).waitFor();
  assert.equal(await row(30852).count(), 0);
  await says(id('count'), '2 peticiones');
  await page.reload();
  await row(30853).waitFor();
  await page.getByRole('button', { name: 'Quitar filtro: Maquinaria Pesada' }).click();
  await row(30852).waitFor();
});

test('a search with a slip says which words it looked for, and live rows follow those words', async () => {
  await signIn();
  await live();
  await id('filter-q').fill('lanpara');
  await says(id('corrected'), 'Se muestran resultados de «lampara»');
  assert.deepEqual(await folios(), ['SIAC-030851', 'SIAC-030848']);
  await says(id('announcements'), '2 peticiones');
  fake.city.arrive([30852, 'BACHE', 2, 'JOSE M.', 4, 'HIDALGO 3', 'App Móvil']);
  fake.city.arrive([30853, 'LÁMPARA APAGADA', 0, 'JOSE M.', 4, 'HIDALGO 3', 'App Móvil']);
  await row(30853).waitFor();
  assert.equal(await row(30852).count(), 0);
});

test('without a mouse: a view is saved, renamed, gone to by the palette, and deleted', async () => {
  await signIn();
  await row(30851).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('calle');
  await row(30851).waitFor({ state: 'detached' });
  await tabTo(id('view-save'));
  await page.keyboard.press('Enter');
  assert.equal(await id('view-name').evaluate((input) => input === document.activeElement), true);
  await page.keyboard.press('Delete');
  await page.keyboard.press('Enter');
  await says(id('view-problem'), 'Escriba un nombre');
  await page.keyboard.type('Calles');
  await page.keyboard.press('Enter');
  await id('view-dialog').waitFor({ state: 'detached' });
  await says(id('announcements'), 'La vista Calles quedó guardada');
  await says(id('views'), 'Calles');

  await page.keyboard.press('Control+k');
  await page.keyboard.type('peticiones');
  await page.keyboard.press('Enter');
  await row(30851).waitFor();
  await page.keyboard.press('Control+k');
  await page.keyboard.type('calles');
  await page.keyboard.press('Enter');
  await row(30851).waitFor({ state: 'detached' });
  assert.equal(new URL(page.url()).searchParams.get('q'), 'calle');
  assert.equal(await page.getByRole('link', { name: 'Calles' }).getAttribute('aria-current'), 'page');

  await tabTo(id('views').getByRole('button'), 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.keyboard.type('Obras en calles');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Obras en calles' }).waitFor();
  await page.reload();
  await page.getByRole('link', { name: 'Obras en calles' }).waitFor();
  await tabTo(id('views').getByRole('button'));
  await page.keyboard.press('Enter');
  await tabTo(id('view-remove'), 'Shift+Tab');
  await page.keyboard.press('Enter');
  await id('views').waitFor({ state: 'detached' });
});

test('views belong to who saved them', async () => {
  await signIn('operacion', '?estado=pending');
  await id('view-save').click();
  await id('view-keep').click();
  await says(id('views'), 'Pendiente de atención');
  await id('sign-out').click();
  await signIn('supervision');
  await row(30851).waitFor();
  assert.equal(await id('views').count(), 0);
});

test('? shows the keys and Esc gives the focus back; the palette switches the theme', async () => {
  await signIn();
  await row(30851).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('?');
  await says(id('keys'), 'Ir a cualquier lugar');
  await page.keyboard.press('j');
  await page.keyboard.press('Escape');
  await id('keys').waitFor({ state: 'detached' });
  assert.equal(await focusedFolio(), 'SIAC-030851');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('30847');
  await page.keyboard.press('Enter');
  await row(30851).waitFor({ state: 'detached' });
  assert.deepEqual(await folios(), ['SIAC-030847']);
  await page.goBack();
  await row(30851).waitFor();
  await page.keyboard.press('j');
  await page.keyboard.press('Control+k');
  await page.keyboard.type('oscuro');
  await page.keyboard.press('Enter');
  await page.locator('html[data-theme="dark"]').waitFor();
  assert.equal(await focusedFolio(), 'SIAC-030850');
});

/** The report's row of an agency, as its cells read. */
async function reportRow(name) {
  return id('report-table').getByRole('row', { name }).locator('td').allInnerTexts();
}

test('the report by area reads as the city printed it, and each agency leads to its list', async () => {
  await wholeCityFake();
  await signIn('supervision');
  await page.getByRole('link', { name: 'Estadístico por Área' }).click();
  await id('report-table').waitFor();
  assert.deepEqual(await reportRow('Dirección de Alumbrado Publico'), ['15,190', '761', '5.01', '1', '0.01', '14,426', '94.97', '2', '0.01']);
  assert.deepEqual(await reportRow('Dirección de Comercio'), ['34', '0', '0', '0', '0', '34', '100', '0', '0']);
  const sums = await id('report-table').locator('tfoot td').allInnerTexts();
  assert.deepEqual(sums.filter((_, n) => n === 0 || n % 2 === 1), ['29,397', '4,511', '3', '24,200', '683']);
  const totals = await id('report-table').locator('tbody td.total').allInnerTexts();
  assert.equal(totals.length, 22);
  assert.equal(totals[0], '15,190');

  await id('report-bars').click();
  await id('report-measure').selectOption('not_applicable');
  assert.deepEqual((await id('bars').locator('li').first().innerText()).split('\n'), ['Servicios Municipales', '255']);
  await id('report-table').getByRole('link', { name: 'CMAS - Facturación' }).click();
  await says(id('count'), '8 peticiones');
  await page.goBack();
  await id('report-table').waitFor();
});

test('the report’s days stand in the address, are checked in words, and its numbers stand still', async () => {
  await signIn('supervision', '?vista=reporte-por-area&de=2021-10-26&a=2021-10-26');
  await id('report-table').waitFor();
  await says(id('report-made'), 'Del 26/10/2021 al 26/10/2021');
  await id('report-to').fill('2021-10-25');
  await says(id('report-error'), 'La primera fecha es posterior a la última');
  await id('report-from').fill('');
  await page.getByText('Ninguna petición en estas fechas').waitFor();
  assert.equal(new URL(page.url()).search, '?vista=reporte-por-area&a=2021-10-25');
  await id('report-to').fill('1999-01-01');
  await says(id('report-error'), 'Revise la fecha «a»');
  assert.equal(await id('report-to').getAttribute('aria-invalid'), 'true');
  await id('report-all').click();
  await id('report-table').waitFor();
  assert.equal(new URL(page.url()).search, '?vista=reporte-por-area');
  await live();
  fake.city.arrive([30852, 'FUGA DE AGUA', 1, 'MARIA L.', 1, 'MICHOACAN 12', 'App Móvil']);
  await says(id('report-old'), 'Hubo cambios desde entonces');
  assert.equal((await id('report-table').locator('tfoot td').first().innerText()), '6');
  await page.getByRole('button', { name: 'Actualizar' }).click();
  await says(id('report-table').locator('tfoot'), '7');
  await id('report-old').waitFor({ state: 'detached' });
  fake.control.failReports = true;
  await page.reload();
  await page.getByText('No se pudo hacer el reporte').waitFor();
  fake.control.failReports = false;
  await page.getByRole('button', { name: 'Intentar otra vez' }).click();
  await id('report-table').waitFor();
});

test('the printed report is a page of its own: letterhead, light, numbered, its head on each page', async () => {
  await wholeCityFake();
  await signIn('supervision', '?vista=reporte-por-area&a=2021-10-26');
  await id('theme').click();
  await id('report-table').waitFor();
  const chrome = [page.getByRole('navigation'), page.getByRole('banner'), id('report-print'), id('report-from'), id('report-bars')];
  for (const part of chrome) assert.equal(await part.isVisible(), true, String(part));
  let printed = false;
  await page.exposeFunction('wasPrinted', () => (printed = true));
  await page.evaluate(() => (window.print = () => window.wasPrinted()));
  await id('report-print').click();
  assert.equal(printed, true);
  await page.emulateMedia({ media: 'print' });
  for (const part of chrome) assert.equal(await part.isVisible(), false, String(part));
  await page.getByRole('heading', { name: 'Reporte Estadístico por Área' }).waitFor();
  await page.getByText('Hasta el 26/10/2021').last().waitFor();
  await page.getByText('29,397 peticiones de 22 dependencias').waitFor();
  const styles = await page.evaluate(() => {
    const of = (selector) => getComputedStyle(document.querySelector(selector));
    return [of('thead').display, of('tfoot').display, of('html').colorScheme, of('html').getPropertyValue('--page-word')];
  });
  assert.deepEqual(styles, ['table-header-group', 'table-row-group', 'light', '"página "']);
  // With its bars it is longer than a page: the table must break, and nothing of the screen may hold it in one.
  await page.emulateMedia({ media: null });
  await id('report-bars').click();
  const pdf = await page.pdf({ preferCSSPageSize: true });
  assert.equal(pdf.toString('latin1').match(/\/Type \/Page\b/g).length, 2);
});

test('nothing against accessibility: each screen, both themes, both languages', async () => {
  await page.route('**/api/session', (route) => route.abort());
  await page.goto(fake.url);
  await page.getByText('No hay respuesta del centro').waitFor();
  assert.deepEqual(await faults(), []);
  await page.unroute('**/api/session');
  await page.getByRole('button', { name: 'Intentar otra vez' }).click();
  await id('login-submit').click();
  await id('login-error').waitFor();
  assert.deepEqual(await faults(), []);
  await signIn('supervision', '?estado=pending&dependencia=1');
  await id('view-save').click();
  await id('view-dialog').waitFor();
  assert.deepEqual(await faults(), []);
  await id('view-keep').click();
  fake.city.crewDone(idOf(30848));
  fake.city.change(idOf(30850), (petition) => Object.assign(petition, { status: 'referred', priority: 'risk', review: true }));
  await page.getByRole('link', { name: 'Peticiones' }).click();
  await says(status(30848), 'Atendida por confirmar');
  await row(30850).click();
  await id('act-refer').click();
  await id('act-submit').click();
  await id('act-error').waitFor();
  const open = page.url();

  const screens = {
    list: [fake.url, () => row(30850)],
    detail: [open, () => id('act-refer')],
    corrected: [`${fake.url}?q=lanpara`, () => id('corrected')],
    nothing: [`${fake.url}?q=xyzxyz`, () => page.locator('.notice')],
    home: [`${fake.url}?vista=inicio`, () => page.locator('kbd', { hasText: 'Ctrl K' })],
    report: [`${fake.url}?vista=reporte-por-area`, () => id('report-table')],
  };
  for (const language of ['es', 'en']) {
    for (const theme of ['light', 'dark']) {
      for (const [name, [address, there]] of Object.entries(screens)) {
        await page.goto(address);
        await there().waitFor();
        assert.deepEqual(await faults(), [], `${name}, ${theme}, ${language}`);
      }
      await id('report-bars').click();
      assert.deepEqual(await faults(), [], `bars, ${theme}, ${language}`);
      for (const [name, key] of [['keys', '?'], ['palette', 'Control+k']]) {
        await page.keyboard.press(key);
        await id(name).waitFor();
        assert.deepEqual(await faults(), [], `${name}, ${theme}, ${language}`);
        await page.keyboard.press('Escape');
      }
      fake.control.failLists = true;
      fake.control.failReports = true;
      for (const address of [fake.url, `${fake.url}?vista=reporte-por-area`]) {
        await page.goto(address);
        await page.locator('.notice').waitFor();
        assert.deepEqual(await faults(), [], `failed, ${theme}, ${language}`);
      }
      fake.control.failLists = false;
      fake.control.failReports = false;
      await id('theme').click();
    }
    await page.getByRole('button', { name: language === 'es' ? 'English' : 'Español' }).click();
  }
});

test('nothing is clipped from 1366 by 768 upward, and without network it says so', async () => {
  await wholeCityFake();
  await signIn('supervision', `?peticion=${idOf(30849)}`);
  await id('act-comment').waitFor();
  for (const [width, height] of [[1366, 768], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    for (const address of [page.url(), fake.url, `${fake.url}?estado=pending&dependencia=1&colonia=5&q=bache`, `${fake.url}?vista=reporte-por-area`]) {
      await page.goto(address);
      await page.locator('table').waitFor();
      const wide = await page.evaluate(() => [...document.querySelectorAll('body, header, main, nav, article, table, .scroller, .report')]
        .filter((element) => element.scrollWidth > element.clientWidth + 1 || element.getBoundingClientRect().right > innerWidth + 1)
        .map((element) => element.outerHTML.slice(0, 80)));
      assert.deepEqual(wide, [], `${width}×${height} ${address}`);
    }
  }
  await live();
  await context.setOffline(true);
  await says(id('network'), 'Sin red');
  await says(id('network'), 'lo que ve es de las');
  await context.setOffline(false);
  await live();
});
