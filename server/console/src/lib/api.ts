/**
 * The relay's HTTP API. Every failure is an {@link ApiError} whose message is a sentence for the person,
 * written by the server, or null when there was no server to write one.
 */
import type { Filters } from './filters';
import type { Range } from './range';
import type { ActRequest, AgencyReport, Catalogs, Detail, ListAnswer, Session } from './wire';

/** Rows asked for at a time. */
export const PAGE_SIZE = 50;
/** A request without an answer for this long (ms) counts as failed: saying so beats a spinner. */
export const REQUEST_TIMEOUT_MS = 20_000;

export class ApiError extends Error {
  constructor(
    /** HTTP status; 0 when nothing answered. */
    readonly status: number,
    readonly code: string,
    readonly sentence: string | null,
  ) {
    super(code);
  }
}

type Fetch = typeof fetch;

async function errorOf(response: Response): Promise<ApiError> {
  try {
    const body = (await response.json()) as { error?: { code?: unknown; message?: unknown } };
    const { code, message } = body.error ?? {};
    return new ApiError(
      response.status,
      typeof code === 'string' ? code : 'unknown',
      typeof message === 'string' ? message : null,
    );
  } catch {
    // A proxy's HTML page, or a body cut short: the status is all that is known.
    return new ApiError(response.status, 'unknown', null);
  }
}

export class Api {
  /** Proof that a request comes from this page; set by {@link session} and {@link signIn}. */
  private csrf = '';
  /** Called when the relay no longer knows this session. */
  onSignedOut: () => void = () => {};

  constructor(private readonly fetcher: Fetch = (...args) => fetch(...args)) {}

  async session(): Promise<Session> {
    return this.adopt(await this.call<Session>('GET', '/api/session', undefined, true));
  }

  async signIn(user: string, password: string): Promise<Session> {
    return this.adopt(await this.call<Session>('POST', '/api/session', { user, password }, true));
  }

  async signOut(): Promise<void> {
    await this.call<void>('DELETE', '/api/session', undefined, true);
  }

  catalogs(): Promise<Catalogs> {
    return this.call('GET', '/api/catalogs');
  }

  petitions(filters: Filters, cursor: string | null): Promise<ListAnswer> {
    const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
    if (filters.q) query.set('q', filters.q);
    if (filters.status) query.set('status', filters.status);
    if (filters.neighborhood !== null) query.set('neighborhood', String(filters.neighborhood));
    if (filters.agency !== null) query.set('agency', String(filters.agency));
    if (cursor) query.set('cursor', cursor);
    return this.call('GET', `/api/petitions?${query}`);
  }

  agencyReport(range: Range): Promise<AgencyReport> {
    const query = new URLSearchParams();
    if (range.from) query.set('from', range.from);
    if (range.to) query.set('to', range.to);
    return this.call('GET', query.size > 0 ? `/api/reports/agencies?${query}` : '/api/reports/agencies');
  }

  petition(id: string): Promise<Detail> {
    return this.call('GET', `/api/petitions/${encodeURIComponent(id)}`);
  }

  async act(id: string, request: ActRequest): Promise<Detail> {
    const path = `/api/petitions/${encodeURIComponent(id)}/acts`;
    return (await this.call<{ detail: Detail }>('POST', path, request)).detail;
  }

  private adopt(session: Session): Session {
    this.csrf = session.csrf;
    return session;
  }

  private async call<T>(method: string, path: string, body?: unknown, signing = false): Promise<T> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    if (method !== 'GET' && this.csrf) headers['x-manzana-csrf'] = this.csrf;
    const response = await this.send(path, {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) {
      const error = await errorOf(response);
      if (error.status === 401 && !signing) this.onSignedOut();
      throw error;
    }
    return response.status === 204 ? (undefined as T) : this.read<T>(response);
  }

  private async send(path: string, init: RequestInit): Promise<Response> {
    try {
      return await this.fetcher(path, init);
    } catch {
      throw new ApiError(0, 'unreachable', null);
    }
  }

  private async read<T>(response: Response): Promise<T> {
    try {
      return (await response.json()) as T;
    } catch {
      // 200 with something else inside is what a captive portal answers: not our server.
      throw new ApiError(0, 'unreachable', null);
    }
  }
}
