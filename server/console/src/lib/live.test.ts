/** The stream: what it hands on, what it says of the network, and how it comes back. */
import { beforeEach, describe, expect, test } from 'vitest';
import { LiveStream, parseRow, RETRY_MAX_MS, RETRY_MIN_MS, type NetworkState, type Source } from './live';
import { sampleRow } from './samples';

class FakeSource implements Source {
  readyState = 0;
  onopen: ((event: Event) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  private readonly listeners = new Map<string, (event: MessageEvent<string>) => void>();
  constructor(readonly url: string) {}
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void {
    this.listeners.set(type, listener);
  }
  close(): void {
    this.readyState = 2;
  }
  opened(): void {
    this.readyState = 1;
    this.onopen?.(new Event('open'));
  }
  failed(readyState: 0 | 2): void {
    this.readyState = readyState;
    this.onerror?.(new Event('error'));
  }
  say(type: string, data: string, lastEventId = ''): void {
    this.listeners.get(type)?.({ data, lastEventId } as MessageEvent<string>);
  }
}

let sources: FakeSource[];
let heard: string[];
let states: NetworkState[];
let pauses: { run: () => void; ms: number }[];
let online: boolean;
let stream: LiveStream;
const last = (): FakeSource => sources.at(-1) as FakeSource;

beforeEach(() => {
  sources = [];
  heard = [];
  states = [];
  pauses = [];
  online = true;
  stream = new LiveStream(
    {
      row: (row) => heard.push(`row ${row.seq}`),
      resync: () => heard.push('resync'),
      state: (state) => states.push(state),
      refused: () => heard.push('refused'),
    },
    {
      source: (url) => {
        const source = new FakeSource(url);
        sources.push(source);
        return source;
      },
      later: (run, ms) => {
        pauses.push({ run, ms });
        return () => {};
      },
      online: () => online,
    },
  );
  stream.open(40);
});

describe('rows', () => {
  test('are asked for from the position of the list and handed on', () => {
    last().opened();
    last().say('row', JSON.stringify(sampleRow(1, { seq: 41 })), '41');
    expect(last().url).toBe('/api/events?from=40');
    expect(heard).toEqual(['row 41']);
    expect(states).toEqual(['connecting', 'live']);
  });

  test('that are no rows are dropped and the stream goes on', () => {
    last().say('row', '{"half');
    last().say('row', '{}');
    last().say('row', JSON.stringify(sampleRow(1, { seq: 41 })));
    expect(heard).toEqual(['row 41']);
    expect(parseRow('null')).toBeNull();
  });

  test('of a stream that was closed are not heard', () => {
    const old = last();
    stream.open(50);
    old.say('row', JSON.stringify(sampleRow(1, { seq: 41 })));
    old.say('resync', '');
    old.failed(2);
    expect(heard).toEqual([]);
  });
});

test('a resync is passed on', () => {
  last().say('resync', '');
  expect(heard).toEqual(['resync']);
});

describe('a cut', () => {
  test('that the browser mends is only told in words', () => {
    last().opened();
    last().failed(0);
    last().opened();
    expect(states).toEqual(['connecting', 'live', 'reconnecting', 'live']);
    expect(sources).toHaveLength(1);
  });

  test('that it does not mend opens a new stream from the last position seen', () => {
    last().opened();
    last().say('row', JSON.stringify(sampleRow(1, { seq: 47 })), '47');
    last().failed(2);
    expect(heard).toContain('refused');
    pauses[0]?.run();
    expect(last().url).toBe('/api/events?from=47');
  });

  test('waits longer each time, up to a limit, and starts small again after success', () => {
    for (let n = 0; n < 8; n += 1) {
      last().failed(2);
      pauses.at(-1)?.run();
    }
    expect(pauses[0]?.ms).toBe(RETRY_MIN_MS);
    expect(pauses[1]?.ms).toBe(RETRY_MIN_MS * 2);
    expect(pauses.at(-1)?.ms).toBe(RETRY_MAX_MS);
    last().opened();
    last().failed(2);
    expect(pauses.at(-1)?.ms).toBe(RETRY_MIN_MS);
  });

  test('without network says so, and tries at once when the network is back', () => {
    last().opened();
    online = false;
    stream.networkChanged();
    last().failed(0);
    expect(states.at(-1)).toBe('offline');
    online = true;
    stream.networkChanged();
    expect(states.at(-1)).toBe('reconnecting');
    expect(sources).toHaveLength(2);
  });
});
