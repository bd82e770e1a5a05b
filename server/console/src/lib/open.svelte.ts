/** The petition beside the list: its detail, the form half filled on it, and the acts sent from it. */
import { isBlank, newDraft, switchAct, toRequest, type Draft } from './acts';
import type { Api } from './api';
import type { Phase } from './list.svelte';
import type { Act, Detail, Row } from './wire';

/** Random, unguessable, once per act: 32 hex digits. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Half-typed forms kept while the person walks through the list (petitions). */
const MAX_DRAFTS = 50;

export class OpenPetition {
  id = $state<string | null>(null);
  detail = $state.raw<Detail | null>(null);
  phase = $state<Phase>('loading');
  error = $state.raw<unknown>(null);
  sending = $state(false);
  actError = $state.raw<unknown>(null);

  private drafts = $state.raw<Record<string, Draft>>({});
  private generation = 0;
  /** The newest position the stream has told of this petition. */
  private told = 0;
  /** Petitions with an act under way: the stream's echo of it is not news. */
  private readonly acting = new Set<string>();

  /** Called with each detail that arrives, so that its row in the list is the same. */
  onDetail: (detail: Detail) => void = () => {};

  constructor(private readonly api: Api) {}

  get draft(): Draft | null {
    return (this.id && this.drafts[this.id]) || null;
  }

  /** Whether closing the page would lose something typed. */
  get hasUnsent(): boolean {
    return Object.values(this.drafts).some((draft) => !isBlank(draft));
  }

  isActing(id: string): boolean {
    return this.acting.has(id);
  }

  async open(id: string): Promise<void> {
    if (this.id !== id) {
      this.id = id;
      this.detail = null;
      this.told = 0;
      this.actError = null;
    }
    this.phase = 'loading';
    await this.fetch(id);
  }

  close(): void {
    this.generation += 1;
    this.id = null;
    this.detail = null;
  }

  /** Another person sits down: nothing half typed is left for them. */
  forget(): void {
    this.close();
    this.drafts = {};
  }

  /** The stream told of a change. Resolves to true when the detail shown became newer by it. */
  async tellOf(row: Row): Promise<boolean> {
    if (row.id !== this.id) return false;
    this.told = Math.max(this.told, row.seq);
    if (this.acting.has(row.id) || row.seq <= (this.detail?.seq ?? 0)) return false;
    return this.fetch(row.id);
  }

  beginAct(act: Act): void {
    if (!this.id || !this.detail) return;
    const { draft, detail } = this;
    this.actError = null;
    this.keep(this.id, draft ? switchAct(draft, act, detail.heads) : newDraft(act, detail.heads));
  }

  edit(change: Partial<Draft>): void {
    if (this.id && this.draft) this.keep(this.id, { ...this.draft, ...change });
  }

  /** The person says that the change was seen: the act is made on what the page shows now. */
  adoptHeads(): void {
    if (this.detail) this.edit({ heads: [...this.detail.heads] });
  }

  dropDraft(): void {
    if (this.id) this.drop(this.id);
    this.actError = null;
  }

  /** Sends the form. What was typed stays until the relay has answered that it is kept. */
  async send(): Promise<boolean> {
    const { id, draft } = this;
    if (!id || !draft || this.acting.has(id)) return false;
    const { request, draft: sent } = toRequest(draft, newKey);
    this.keep(id, sent);
    this.acting.add(id);
    this.sending = true;
    this.actError = null;
    try {
      const detail = await this.api.act(id, request);
      this.drop(id);
      this.onDetail(detail);
      if (this.id === id) this.show(detail);
      return true;
    } catch (error) {
      if (this.id === id) this.actError = error;
      return false;
    } finally {
      this.acting.delete(id);
      this.sending = this.id !== null && this.acting.has(this.id);
      if (this.id === id && this.told > (this.detail?.seq ?? 0)) void this.fetch(id);
    }
  }

  private async fetch(id: string): Promise<boolean> {
    const mine = ++this.generation;
    try {
      const detail = await this.api.petition(id);
      this.onDetail(detail);
      if (mine !== this.generation) return false;
      return this.show(detail);
    } catch (error) {
      if (mine !== this.generation) return false;
      this.error = error;
      this.phase = 'failed';
      return false;
    }
  }

  /** Never shows an older state over a newer one. */
  private show(detail: Detail): boolean {
    this.phase = 'ready';
    this.error = null;
    if (this.detail && this.detail.id === detail.id && detail.seq < this.detail.seq) return false;
    const news = this.detail?.id === detail.id && detail.seq > this.detail.seq;
    this.detail = detail;
    return news;
  }

  private keep(id: string, draft: Draft): void {
    const others = Object.entries(this.drafts).filter(([known]) => known !== id);
    this.drafts = Object.fromEntries([...others.slice(-(MAX_DRAFTS - 1)), [id, draft]]);
  }

  private drop(id: string): void {
    const { [id]: _gone, ...rest } = this.drafts;
    this.drafts = rest;
  }
}
