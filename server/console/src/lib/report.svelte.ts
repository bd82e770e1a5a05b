/** The report on screen: the days it is asked for, and the numbers that came. */
import type { Api } from './api';
import type { Phase } from './list.svelte';
import { ALL_DAYS, type Range } from './range';
import type { AgencyReport } from './wire';

export class Report {
  range = $state.raw<Range>(ALL_DAYS);
  answer = $state.raw<AgencyReport | null>(null);
  phase = $state<Phase>('loading');
  error = $state.raw<unknown>(null);

  /** Counts loads, so that an answer to an older question is dropped. */
  private generation = 0;

  constructor(private readonly api: Api) {}

  async load(range: Range): Promise<void> {
    const mine = ++this.generation;
    this.range = range;
    this.phase = 'loading';
    try {
      const answer = await this.api.agencyReport(range);
      if (mine !== this.generation) return;
      this.answer = answer;
      this.phase = 'ready';
    } catch (error) {
      if (mine !== this.generation) return;
      this.error = error;
      this.phase = 'failed';
    }
  }

  clear(): void {
    this.generation += 1;
    this.answer = null;
  }
}
