/** The list on screen: loads it once, pages it, and lets live rows change it in place. */
import type { Api } from './api';
import { NO_FILTERS, sameFilters, type Filters } from './filters';
import { EMPTY_LIST, firstPage, furtherPage, knownRow, liveRow, showWaiting, type ListState } from './rows';
import type { ListAnswer, Row } from './wire';

export type Phase = 'loading' | 'ready' | 'failed';

/** Live rows remembered while an answer is under way (they may be newer than it); beyond it, load again. */
const BUFFER_LIMIT = 1_000;

export class PetitionList {
  state = $state.raw<ListState>(EMPTY_LIST);
  filters = $state.raw<Filters>(NO_FILTERS);
  phase = $state<Phase>('loading');
  /** Why the last load of these filters failed; it stands until one succeeds, so that trying again does not flicker. */
  error = $state.raw<unknown>(null);
  paging = $state(false);
  pageError = $state.raw<unknown>(null);
  /** Whether new rows may move the list now; the component that shows it knows. */
  calm: () => boolean = () => true;

  /** The filters of the rows that are here. */
  private shown: Filters = NO_FILTERS;
  /** Counts loads, so that an answer to an older question is dropped. */
  private generation = 0;
  private buffer: Row[] | null = null;

  constructor(private readonly api: Api) {}

  /** Asks for the first page. Returns the position it reflects, or null when it failed or was overtaken. */
  async load(filters: Filters): Promise<number | null> {
    const mine = ++this.generation;
    // Rows of other filters would be a false answer; those of these filters may stand until newer ones come.
    if (!sameFilters(filters, this.filters)) this.error = null;
    this.filters = filters;
    this.phase = 'loading';
    this.paging = false;
    this.pageError = null;
    this.buffer = [];
    try {
      const answer = await this.api.petitions(filters, null);
      if (mine !== this.generation) return null;
      this.state = this.replay(firstPage(answer));
      this.shown = filters;
      this.error = null;
      this.phase = 'ready';
      return answer.seq;
    } catch (error) {
      if (mine !== this.generation) return null;
      if (!sameFilters(filters, this.shown)) this.state = EMPTY_LIST;
      this.error = error;
      this.phase = 'failed';
      return null;
    }
  }

  async more(): Promise<void> {
    const cursor = this.state.next;
    if (this.paging || cursor === null || this.phase !== 'ready') return;
    const mine = this.generation;
    this.paging = true;
    this.pageError = null;
    this.buffer = [];
    try {
      const answer: ListAnswer = await this.api.petitions(this.filters, cursor);
      if (mine === this.generation) this.state = this.replay(furtherPage(this.state, answer));
    } catch (error) {
      if (mine === this.generation) this.pageError = error;
    } finally {
      if (mine === this.generation) this.paging = false;
    }
  }

  /** A row from the stream. */
  receive(row: Row, own: boolean): void {
    if (this.buffer && this.buffer.length < BUFFER_LIMIT) this.buffer.push(row);
    this.state = liveRow(this.state, row, this.filters, this.calm(), own);
  }

  know(row: Row): void {
    this.state = knownRow(this.state, row, this.filters);
  }

  /** Shows what waited; when more waited than was kept, the list is asked for again. */
  showFresh(): void {
    if (this.state.overflow) void this.load(this.filters);
    else this.state = showWaiting(this.state);
  }

  clear(): void {
    this.generation += 1;
    this.state = EMPTY_LIST;
    this.error = null;
    this.phase = 'loading';
  }

  private replay(state: ListState): ListState {
    const rows = this.buffer ?? [];
    this.buffer = null;
    return rows.reduce((list, row) => liveRow(list, row, this.filters, this.calm()), state);
  }
}
