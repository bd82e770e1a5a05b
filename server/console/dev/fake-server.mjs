/**
 * A stand-in for the relay: serves the built page with the relay's strict policy and answers its API from memory.
 * The browser tests drive it, and `npm run fake` opens it for a person (any user, password "manzana"; the user
 * "supervision" signs in as supervisor). It knows just enough of causality to show a conflict.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { AGENCIES, NEIGHBORHOODS, SAMPLES, wholeCity } from './city.mjs';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };

/** 26/10/2021 09:00 in Mexico City. */
const FIRST_DAY = Date.UTC(2021, 9, 26, 14, 0);

const hex = (bytes) => randomBytes(bytes).toString('hex');
const fold = (text) => (text ?? '').normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
export const idOf = (folio) => folio.toString(16).padStart(32, '0');

/** Writes YYYY-MM-DD of the city. */
const CITY_DAY = new Intl.DateTimeFormat('en-CA', { timeZone: 'America/Mexico_City', dateStyle: 'short' });
/** Half up to two decimals, trailing zeros dropped. */
const percent = (part, whole) => String(whole === 0 ? 0 : Math.round((part * 10_000) / whole) / 100);

function sample([folio, title, agency, petitioner, neighborhood, location, channel, status = 'pending', created_at = FIRST_DAY + (folio - 30846) * 1_380_000], seq) {
  const author = channel.includes('Manzana') ? [petitioner, 'block_captain'] : ['Ventanilla 2', 'counter'];
  return {
    id: idOf(folio), folio: `SIAC-${String(folio).padStart(6, '0')}`, provisional: `K7M2${folio.toString(32).toUpperCase().padStart(4, '0')}`,
    title, agency: AGENCIES[agency], agencies: [AGENCIES[agency]], agency_ids: [agency + 1], petitioner,
    neighborhood: NEIGHBORHOODS[neighborhood], neighborhood_id: neighborhood + 1, location,
    status, unconfirmed: false, conflict: false, review: false, priority: 'normal', created_at, channel, comments: 0, seq, created_seq: folio,
    description: `Buenas tardes. ${title.toLowerCase()} desde hace dos semanas; por la noche no se puede pasar con seguridad. Piden que se atienda antes del fin de semana.`,
    kind: 'Solicitud de servicio', service: null, street: location.split(' ENTRE ')[0], cross1: null, cross2: null,
    position: { lat: 18.13447, lon: -94.45831, accuracy_m: 12 }, heads: [hex(32)], alternatives: [],
    history: [event('recorded', created_at, author[0], author[1])], notes: [], conflict_sides: [],
  };
}

function event(kind, at, by, role, rest = {}) {
  return { id: hex(8), kind, at, clamped: false, by, role, agency: null, reason: null, next_at: null, note: null, outcome: null, evidence: 0, ...rest };
}

const textOf = (p) => fold([p.folio, p.provisional, p.title, p.petitioner, p.neighborhood, p.location].join(' '));

function search(petitions, q) {
  const wanted = fold(q).split(/\s+/).filter(Boolean);
  if (wanted.length === 0) return petitions;
  return petitions.filter((p) => {
    const text = textOf(p);
    return wanted.every((word) => text.includes(word));
  });
}

/** The words of the city that are one letter away from those asked for; null when there are none. */
function correct(petitions, q) {
  const known = new Set(petitions.flatMap((p) => textOf(p).split(/\s+/)));
  const near = (word) => (known.has(word) ? word : [...known].find((other) => oneLetterOff(word, other)));
  const words = fold(q).split(/\s+/).filter(Boolean).map(near);
  return words.every(Boolean) ? words.join(' ') : null;
}

const oneLetterOff = (a, b) => a.length === b.length && a.length > 3 && [...a].filter((letter, at) => letter !== b[at]).length === 1;

/** A city in memory; `act` is the small part of the fold the page's tests need. */
class City {
  constructor(extra) {
    this.seq = 40_000;
    this.petitions = new Map();
    for (const row of [...SAMPLES, ...extra]) this.add(sample(row, this.seq++));
    this.listeners = new Set();
    this.keys = new Map();
  }
  add(petition) {
    this.petitions.set(petition.id, petition);
  }
  row({ description, kind, service, street, cross1, cross2, position, heads, alternatives, history, notes, conflict_sides, created_seq, ...row }) {
    return row;
  }
  detail({ created_seq, ...petition }, role) {
    const open = ['pending', 'referred', 'in_progress'].includes(petition.status);
    const acts = ['comment', ...(open ? ['refer', 'not_applicable'] : []), ...(role === 'supervisor' ? ['final_state'] : [])];
    return { ...petition, acts };
  }
  list({ q, status, neighborhood, agency, cursor, limit }) {
    const sieved = [...this.petitions.values()]
      .filter((p) => !neighborhood || p.neighborhood_id === Number(neighborhood))
      .filter((p) => !agency || p.agency_ids.includes(Number(agency)))
      .filter((p) => !status || (status === 'conflict' ? p.conflict : status === 'done_unconfirmed' ? p.status === 'done' && p.unconfirmed : p.status === status));
    const exact = search(sieved, q);
    const corrected = exact.length === 0 && q ? correct(sieved, q) : null;
    const found = (corrected ? search(sieved, corrected) : exact).sort((a, b) => b.created_seq - a.created_seq);
    const rows = found.filter((p) => !cursor || p.created_seq < Number(cursor));
    const page = rows.slice(0, limit);
    return { rows: page.map((p) => this.row(p)), next: rows.length > limit ? String(page.at(-1).created_seq) : null, seq: this.seq, total: found.length, corrected };
  }
  /** The report by agency: each petition counts for the first agency in charge, on the day it was recorded. */
  report({ from = null, to = null }) {
    const groups = { pending: 0, in_progress: 0, done: 0, not_applicable: 0 };
    const counts = new Map();
    for (const p of this.petitions.values()) {
      const day = from || to ? CITY_DAY.format(p.created_at) : '';
      if ((from && day < from) || (to && day > to)) continue;
      const row = counts.get(p.agency) ?? { ...groups };
      row[p.status === 'referred' ? 'pending' : p.status] += 1;
      counts.set(p.agency, row);
    }
    const whole = (row) => {
      const total = Object.values(row).reduce((sum, n) => sum + n, 0);
      return { total, ...row, percent: Object.fromEntries(Object.entries(row).map(([group, n]) => [group, percent(n, total)])) };
    };
    const sums = { ...groups };
    for (const row of counts.values()) for (const group of Object.keys(groups)) sums[group] += row[group];
    const rows = [...counts].map(([agency, row]) => ({ agency, ...whole(row) })).sort((a, b) => b.total - a.total);
    return { from, to, rows, totals: whole(sums), seq: this.seq, made_at: Date.now() };
  }
  /** Someone changed a petition: a new head, a new position, and everybody hears. */
  change(id, edit) {
    const petition = this.petitions.get(id);
    edit(petition);
    petition.heads = [hex(32)];
    petition.comments = petition.notes.length;
    this.tell(petition);
  }
  arrive(row) {
    const petition = sample(row, 0);
    this.add(petition);
    this.tell(petition);
  }
  tell(petition) {
    petition.seq = ++this.seq;
    const frame = `event: row\nid: ${petition.seq}\ndata: ${JSON.stringify(this.row(petition))}\n\n`;
    for (const response of this.listeners) response.write(frame);
  }
  resync() {
    for (const response of this.listeners) response.write('event: resync\ndata: {}\n\n');
  }
  cut() {
    for (const response of this.listeners) response.destroy();
  }
  act(id, user, body) {
    const petition = this.petitions.get(id);
    if (this.keys.has(body.key)) return;
    this.keys.set(body.key, true);
    const seen = body.heads.every((head) => petition.heads.includes(head));
    const at = Date.now();
    const by = [at, user.name, user.role];
    this.change(id, (p) => {
      if (body.act === 'comment') p.notes.push({ id: hex(8), at, by: user.name, role: user.role, text: body.text });
      if (body.act === 'refer') {
        const agency = AGENCIES[body.agency - 1];
        Object.assign(p, { status: 'referred', agency, agencies: [agency], agency_ids: [body.agency] });
        p.history.push(event('referred', ...by, { agency, note: body.text ?? null }));
      }
      if (body.act === 'not_applicable') this.close(p, event('not_applicable', ...by, { reason: body.reason }), seen);
      if (body.act === 'final_state') {
        Object.assign(p, { status: body.outcome, unconfirmed: false, conflict: false, conflict_sides: [] });
        p.history.push(event('final_state', ...by, { outcome: body.outcome, note: body.text ?? null }));
      }
    });
  }
  close(petition, side, seen) {
    const other = petition.history.findLast((known) => known.kind === 'done');
    petition.history.push(side);
    if (other && !seen) Object.assign(petition, { status: 'in_progress', unconfirmed: false, conflict: true, conflict_sides: [other, side] });
    else petition.status = side.kind;
  }
  crewDone(id) {
    this.change(id, (p) => {
      p.history.push(event('done', Date.now(), 'Cuadrilla Alumbrado 2', 'crew', { note: 'Se cambió la lámpara y el balastro.', evidence: 2 }));
      Object.assign(p, { status: 'done', unconfirmed: true });
    });
  }
}

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

function json(response, status, value) {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(value === undefined ? '' : JSON.stringify(value));
}

const refuse = (response, status, code, message) => json(response, status, { error: { code, message } });

async function serveFile(path, response) {
  const name = normalize(path === '/' ? '/index.html' : path);
  try {
    const bytes = await readFile(join(DIST, name));
    response.writeHead(200, { 'content-type': TYPES[extname(name)] ?? 'application/octet-stream', 'content-security-policy': POLICY });
    response.end(bytes);
  } catch {
    refuse(response, 404, 'not_found', 'Esa página no existe.');
  }
}

/** Starts on `port` (0: any). `requests` records each API call; `city` can be changed behind the page's back. */
export async function start({ port = 0, extra = [] } = {}) {
  const city = new City(extra);
  const sessions = new Map();
  const requests = [];
  const control = { failLists: false, failReports: false };

  async function api(request, response, url) {
    requests.push(`${request.method} ${url.pathname}${url.search}`);
    const token = /session=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
    const session = sessions.get(token);
    if (url.pathname === '/api/session' && request.method === 'POST') {
      const { user, password } = await bodyOf(request);
      if (password !== 'manzana') return refuse(response, 401, 'bad_credentials', 'El usuario o la contraseña no coinciden. Revise e intente otra vez.');
      const fresh = hex(16);
      const supervisor = user === 'supervision';
      sessions.set(fresh, { user: { id: supervisor ? 2 : 1, name: supervisor ? 'Laura M. S.' : 'Mesa 3 Coatzatel', role: supervisor ? 'supervisor' : 'operator' }, csrf: hex(16), city: { name: 'Coatzacoalcos', center: 'Coatzatel', folio_prefix: 'SIAC-' } });
      response.setHeader('set-cookie', `session=${fresh}; HttpOnly; SameSite=Strict; Path=/`);
      return json(response, 200, sessions.get(fresh));
    }
    if (!session) return refuse(response, 401, 'no_session', 'Su sesión terminó. Entre de nuevo.');
    if (request.method !== 'GET' && request.headers['x-manzana-csrf'] !== session.csrf) return refuse(response, 403, 'csrf', 'La página perdió su permiso. Vuelva a cargarla.');
    if (url.pathname === '/api/session') {
      if (request.method === 'GET') return json(response, 200, session);
      sessions.delete(token);
      response.writeHead(204).end();
      return;
    }
    if (url.pathname === '/api/catalogs') {
      const named = (names) => names.map((name, index) => ({ id: index + 1, name }));
      return json(response, 200, { neighborhoods: named(NEIGHBORHOODS), agencies: named(AGENCIES) });
    }
    if (url.pathname === '/api/petitions') {
      if (control.failLists) return refuse(response, 503, 'busy', 'El centro está reiniciando. Espere un momento e intente otra vez.');
      const { q = '', limit = 50, ...rest } = Object.fromEntries(url.searchParams);
      return json(response, 200, city.list({ ...rest, q, limit: Number(limit) }));
    }
    if (url.pathname === '/api/reports/agencies') {
      const range = Object.fromEntries(url.searchParams);
      if (control.failReports) return refuse(response, 503, 'busy', 'El centro está reiniciando. Espere un momento e intente otra vez.');
      if (range.to < '2018') return refuse(response, 422, 'invalid', 'Revise la fecha «a»: no es de este sistema.');
      return json(response, 200, city.report(range));
    }
    if (url.pathname === '/api/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write('retry: 500\n: hola\n\n');
      const from = Number(request.headers['last-event-id'] ?? url.searchParams.get('from'));
      const missed = [...city.petitions.values()].filter((p) => p.seq > from).sort((a, b) => a.seq - b.seq);
      for (const p of missed) response.write(`event: row\nid: ${p.seq}\ndata: ${JSON.stringify(city.row(p))}\n\n`);
      city.listeners.add(response);
      response.on('close', () => city.listeners.delete(response));
      return;
    }
    const [, id, acts] = /^\/api\/petitions\/([0-9a-f]{32})(\/acts)?$/.exec(url.pathname) ?? [];
    if (!city.petitions.has(id)) return refuse(response, 404, 'not_found', 'Esa petición no existe o ya no está a su cargo.');
    if (acts) {
      const body = await bodyOf(request);
      if (body.text === 'rechazar') return refuse(response, 422, 'refused', 'Este cambio no fue aceptado: la petición ya se turnó a otra dependencia.');
      city.act(id, session.user, body);
      return json(response, 200, { detail: city.detail(city.petitions.get(id), session.user.role) });
    }
    json(response, 200, city.detail(city.petitions.get(id), session.user.role));
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const done = url.pathname.startsWith('/api/') ? api(request, response, url) : serveFile(url.pathname, response);
    done.catch((error) => refuse(response, 500, 'fake', String(error)));
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    city,
    requests,
    control,
    expire: () => sessions.clear(),
    stop: () => new Promise((resolve) => (server.close(resolve), server.closeAllConnections())),
  };
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const fake = await start({ port: Number(process.env.PORT ?? 8787), extra: wholeCity() });
  fake.city.crewDone(idOf(30848));
  console.log(`${fake.url}  (password: manzana; user "supervision" for the supervisor)`);
}
