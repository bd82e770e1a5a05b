/**
 * The live stream of rows (server-sent events) as one object with three callbacks.
 *
 * The browser reconnects by itself, with `Last-Event-ID`, after a cut; when it gives up (the server answered
 * with an error) we open the stream anew from the last position seen, with growing pauses. Rows are handed on
 * only if they parse; what they mean is decided elsewhere.
 */
import type { Row } from './wire';

export type NetworkState = 'connecting' | 'live' | 'reconnecting' | 'offline';

/** First and longest pause (ms) before the stream is opened again. */
export const RETRY_MIN_MS = 1_000;
export const RETRY_MAX_MS = 30_000;

/** The part of `EventSource` used here, so that tests need no browser. */
export interface Source {
  readonly readyState: number;
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void;
  close(): void;
}

export interface LiveHooks {
  row: (row: Row) => void;
  /** The stream cannot fill the gap: ask for the list again, then {@link LiveStream.open} from its position. */
  resync: () => void;
  state: (state: NetworkState) => void;
  /** The server refused the stream; it may be that the session ended. */
  refused: () => void;
}

export interface LiveTools {
  source: (url: string) => Source;
  /** Calls back after a pause; returns how to call it off. */
  later: (run: () => void, ms: number) => () => void;
  online: () => boolean;
}

export const BROWSER_TOOLS: LiveTools = {
  source: (url) => new EventSource(url),
  later: (run, ms) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  online: () => navigator.onLine,
};

const CLOSED = 2;

export class LiveStream {
  private stream: Source | null = null;
  private seen = 0;
  private pause = RETRY_MIN_MS;
  private cancelRetry: () => void = () => {};

  constructor(
    private readonly hooks: LiveHooks,
    private readonly tools: LiveTools = BROWSER_TOOLS,
  ) {}

  get isOpen(): boolean {
    return this.stream !== null;
  }

  /** Opens the stream after position `from`; an older one is closed. */
  open(from: number): void {
    this.close();
    this.seen = from;
    this.hooks.state('connecting');
    this.connect();
  }

  close(): void {
    this.cancelRetry();
    this.stream?.close();
    this.stream = null;
  }

  /** The device says that its network came back or went away. */
  networkChanged(): void {
    if (!this.tools.online()) return this.hooks.state('offline');
    if (this.stream?.readyState === 1) return this.hooks.state('live');
    this.pause = RETRY_MIN_MS;
    this.reopen();
  }

  private reopen(): void {
    this.cancelRetry();
    this.stream?.close();
    this.hooks.state('reconnecting');
    this.connect();
  }

  private connect(): void {
    const stream = this.tools.source(`/api/events?from=${this.seen}`);
    this.stream = stream;
    stream.onopen = () => this.opened(stream);
    stream.onerror = () => this.failed(stream);
    stream.addEventListener('row', (event) => this.received(stream, event));
    stream.addEventListener('resync', () => this.stream === stream && this.hooks.resync());
  }

  private opened(stream: Source): void {
    if (this.stream !== stream) return;
    this.pause = RETRY_MIN_MS;
    this.hooks.state('live');
  }

  private failed(stream: Source): void {
    if (this.stream !== stream) return;
    this.hooks.state(this.tools.online() ? 'reconnecting' : 'offline');
    if (stream.readyState !== CLOSED) return;
    this.hooks.refused();
    if (this.stream !== stream) return;
    this.cancelRetry = this.tools.later(() => this.reopen(), this.pause);
    this.pause = Math.min(this.pause * 2, RETRY_MAX_MS);
  }

  private received(stream: Source, event: MessageEvent<string>): void {
    if (this.stream !== stream) return;
    const row = parseRow(event.data);
    if (!row) return;
    this.seen = Math.max(this.seen, Number(event.lastEventId) || row.seq);
    this.hooks.row(row);
  }
}

/** The row in an event, or null when it is not one: a broken line must not stop the stream. */
export function parseRow(data: string): Row | null {
  try {
    const row = JSON.parse(data) as Row;
    return typeof row.id === 'string' && typeof row.seq === 'number' ? row : null;
  } catch {
    return null;
  }
}
