// A desk by the console's page in a real Chromium: every step is clicked, and seen on the screen.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const ARGS = ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
/** Longest that anything may take to show, milliseconds: the machine may be busy. */
const PATIENCE = 10_000;

export async function openBrowser(url, shots) {
  const console = createRequire(new URL('../server/console/package.json', import.meta.url));
  const { chromium } = console('playwright-core');
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ARGS });
  const desks = [];
  return {
    async desk(name, login) {
      const context = await browser.newContext({
        viewport: { width: 1366, height: 768 },
        locale: 'es-MX',
        timezoneId: 'America/Mexico_City',
        colorScheme: 'light',
      });
      const desk = new PageDesk(await context.newPage(), { name, login, url, shots });
      desks.push(desk);
      return desk;
    },
    pictureOfFailure: () => Promise.all(desks.map((desk) => desk.picture('failed').catch(() => {}))),
    close: () => browser.close(),
  };
}

class PageDesk {
  constructor(page, { name, login, url, shots }) {
    Object.assign(this, { page, name, login, url, shots });
    page.setDefaultTimeout(PATIENCE);
    this.lists = 0;
    this.complaints = [];
    page.on('request', (request) => {
      if (new URL(request.url()).pathname === '/api/petitions') this.lists += 1;
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('console', (message) => {
      // Before the sign-in the page asks who it is, and 401 is the answer.
      if (message.type() === 'error' && !message.text().includes('401')) this.complaints.push(message.text());
    });
  }

  #id(name) {
    return this.page.getByTestId(name);
  }

  #row(folio) {
    return this.page.locator(`tbody tr[data-folio="${folio}"]`);
  }

  #says(locator, words) {
    return locator.filter({ hasText: words }).first().waitFor();
  }

  async signIn() {
    await this.page.goto(this.url);
    await this.#id('login-user').fill(this.login.user);
    await this.#id('login-password').fill(this.login.password);
    await this.#id('login-submit').click();
    await this.page.locator('tbody tr[data-folio]').first().waitFor();
    await this.page.locator('[data-testid="network"][data-state="live"]').waitFor();
    return this.#rows();
  }

  /** What the table shows, by the titles of its columns. */
  #rows() {
    return this.page.locator('table').first().evaluate((table) => {
      const titles = [...table.querySelectorAll('thead th')].map((th) => th.innerText.trim().toLowerCase());
      const column = (...names) => titles.findIndex((title) => names.some((name) => title.startsWith(name)));
      const wanted = [column('folio'), column('asunto'), column('nombre'), column('ubicación')];
      return [...table.querySelectorAll('tbody tr[data-folio]')].map((tr) =>
        wanted.map((n) => (n < 0 ? null : tr.cells[n].innerText.trim().split('\n')[0])),
      );
    });
  }

  async absent(title, street) {
    const found = (await this.#rows()).filter(([, asunto, , place]) => asunto === title && place?.startsWith(street));
    assert.deepEqual(found, []);
  }

  async appears(folio, title) {
    await this.#says(this.#row(folio), title);
    const top = (await this.#rows())[0];
    assert.equal(top[0], folio, 'the newest petition is on top');
    assert.equal(this.lists, 1, 'the row came by itself, not with another list');
  }

  async open(folio) {
    await this.#row(folio).click();
    await this.#says(this.#id('detail-folio'), folio);
    await this.#says(this.#id('detail'), 'Son tres lámparas seguidas sin luz');
  }

  shows(words) {
    return this.#says(this.#id('detail-status'), words);
  }

  async notApplicable(reason) {
    await this.#id('act-not-applicable').click();
    await this.#id('act-reason').fill(reason);
    await this.#id('act-submit').click();
    await this.#id('act-submit').waitFor({ state: 'detached' });
  }

  async conflict(folio) {
    await this.#says(this.#row(folio), 'En conflicto');
    await this.#id('conflict').waitFor();
    const sides = await this.#id('conflict-side').allInnerTexts();
    assert.equal(sides.length, 2, sides.join(' | '));
    const words = sides.map((side) => side.split('\n')[0]);
    assert.ok(words.some((side) => side.includes('Usted') && side.includes('No procede')), words.join(' | '));
    assert.ok(words.some((side) => side.includes('Cuadrilla Alumbrado 2') && side.includes('Atendida')), words.join(' | '));
    assert.equal(this.lists, 1, 'the conflict came by itself, not with another list');
    return words.join('; ');
  }

  async openConflict(folio) {
    await this.#id('filter-status').selectOption('conflict');
    await this.#row(folio).click();
    await this.#id('conflict').waitFor();
    assert.equal(await this.#id('conflict-side').count(), 2);
    // Another list for another filter is what one asks for.
    this.lists = 1;
  }

  async finalState(outcome, note) {
    await this.#id('act-final-state').click();
    await this.#id('act-outcome').selectOption(outcome);
    await this.#id('act-text').fill(note);
    await this.#id('act-submit').click();
    await this.#id('conflict').waitFor({ state: 'detached' });
  }

  async decided(folio) {
    await this.#id('conflict').waitFor({ state: 'detached' });
    await this.shows('Atendida');
    await this.#says(this.#row(folio), 'Atendida');
    await this.#says(this.#id('detail'), 'Definió el estado final como Atendida');
  }

  /** The screen, for people to look at. */
  async picture(name, { dark = false } = {}) {
    const path = (suffix) => join(this.shots, `${name}-${this.name}${suffix}.png`);
    await this.page.screenshot({ path: path('') });
    if (!dark) return;
    await this.#id('theme').click();
    await this.page.screenshot({ path: path('-dark') });
    await this.#id('theme').click();
  }

  async finish() {
    assert.equal(this.lists, 1, `${this.name}: the list was asked for again`);
    assert.deepEqual(this.complaints, [], `${this.name}: the page complained`);
  }
}
