// A desk by the console's own API: what the page does, without a page. One per person.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

/** The words of the states, as people read them. */
const WORDS = {
  pending: 'Pendiente de atención',
  referred: 'Turnada',
  in_progress: 'En desarrollo',
  done: 'Atendida',
  not_applicable: 'No procede',
};

export class HttpDesk {
  constructor(url, login) {
    this.url = url;
    this.login = login;
    this.headers = { Origin: url, 'Content-Type': 'application/json' };
    this.id = null;
  }

  async #ask(method, path, body) {
    const answer = await fetch(this.url + path, { method, headers: this.headers, body: body && JSON.stringify(body) });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
    return answer;
  }

  async signIn() {
    const answer = await this.#ask('POST', '/api/session', this.login);
    this.headers.Cookie = answer.headers.getSetCookie().map((cookie) => cookie.split(';')[0]).join('; ');
    this.headers['X-Manzana-CSRF'] = (await answer.json()).csrf;
    return (await this.#rows()).map((row) => [row.folio, row.title, row.petitioner, row.location]);
  }

  async #rows(query = '') {
    return (await (await this.#ask('GET', `/api/petitions${query}`)).json()).rows;
  }

  async absent(title, street) {
    const found = (await this.#rows()).filter((row) => row.title === title && row.location.startsWith(street));
    // A second afternoon in the same city begins with the petition of the first.
    assert.ok(found.every((row) => row.status !== 'pending'), 'the petition is there already');
  }

  async appears(folio, title) {
    const row = (await this.#rows()).find((row) => row.folio === folio);
    assert.equal(row?.title, title);
  }

  async open(folio) {
    const row = (await this.#rows()).find((row) => row.folio === folio);
    assert.ok(row, `${folio} is not among the newest`);
    this.id = row.id;
  }

  async #detail() {
    return (await this.#ask('GET', `/api/petitions/${this.id}`)).json();
  }

  async shows(words) {
    const detail = await this.#detail();
    assert.equal(detail.conflict ? 'En conflicto' : WORDS[detail.status], words);
  }

  async #act(act) {
    const { heads } = await this.#detail();
    await this.#ask('POST', `/api/petitions/${this.id}/acts`, { ...act, heads, key: randomUUID() });
  }

  notApplicable(reason) {
    return this.#act({ act: 'not_applicable', reason });
  }

  async conflict() {
    const detail = await this.#detail();
    assert.equal(detail.conflict, true);
    assert.equal(detail.conflict_sides.length, 2);
    return detail.conflict_sides.map((side) => `${side.by} puso ${WORDS[side.outcome]}`).join('; ');
  }

  async openConflict(folio) {
    const row = (await this.#rows('?status=conflict')).find((row) => row.folio === folio);
    assert.ok(row, `${folio} is not among the conflicts`);
    this.id = row.id;
  }

  finalState(outcome, reason) {
    return this.#act({ act: 'final_state', outcome, reason });
  }

  async decided() {
    const detail = await this.#detail();
    assert.deepEqual([detail.conflict, detail.status], [false, 'done']);
    assert.ok(detail.history.some((event) => event.kind === 'final_state'));
  }

  async picture() {}

  async finish() {
    await this.#ask('DELETE', '/api/session');
  }
}
