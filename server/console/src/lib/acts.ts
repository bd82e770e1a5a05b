/**
 * What a person is about to do to a petition: the half-filled form, and the request it becomes.
 *
 * A draft keeps the heads that were on screen when its form was opened. The petition may change meanwhile;
 * the act is still made on what its author had seen, and if that gives a conflict, a conflict it is.
 */
import type { Act, ActRequest, Outcome } from './wire';

export interface Draft {
  act: Act;
  heads: string[];
  text: string;
  agency: number | null;
  reason: string;
  outcome: Outcome | null;
  /** The act last sent and the key it went with, so that sending it again does not do it twice. */
  sent: { content: string; key: string } | null;
}

/** Longest text the relay takes (characters): of a comment or note, and of a reason. */
export const MAX_CHARS = { text: 2_000, reason: 500 } as const;

export function newDraft(act: Act, heads: string[]): Draft {
  return { act, heads: [...heads], text: '', agency: null, reason: '', outcome: null, sent: null };
}

/** Choosing another act keeps what was typed, and what its author had seen when typing it. */
export function switchAct(draft: Draft, act: Act, heads: string[]): Draft {
  return isBlank(draft) ? newDraft(act, heads) : { ...draft, act };
}

export function isBlank(draft: Draft): boolean {
  return !draft.text && !draft.reason && draft.agency === null && draft.outcome === null;
}

/** What the form still lacks; null when it can be sent. */
export type Missing = 'text' | 'agency' | 'reason' | 'outcome';

export function missing(draft: Draft): Missing | null {
  switch (draft.act) {
    case 'comment':
      return draft.text.trim() ? null : 'text';
    case 'refer':
      return draft.agency === null ? 'agency' : null;
    case 'not_applicable':
      return draft.reason.trim() ? null : 'reason';
    case 'final_state':
      return draft.outcome ? null : 'outcome';
  }
}

/** Whether the petition on screen is no longer the one this form was opened on. */
export function isStale(draft: Draft, heads: string[]): boolean {
  return [...draft.heads].sort().join() !== [...heads].sort().join();
}

function content(draft: Draft): Omit<ActRequest, 'key'> {
  const text = draft.text.trim();
  const base = { act: draft.act, heads: draft.heads };
  switch (draft.act) {
    case 'comment':
      return { ...base, text };
    case 'refer':
      return { ...base, agency: draft.agency ?? 0, ...(text ? { text } : {}) };
    case 'not_applicable':
      return { ...base, reason: draft.reason.trim() };
    case 'final_state':
      return { ...base, outcome: draft.outcome ?? 'done', ...(text ? { text } : {}) };
  }
}

/** The request, and the draft that remembers its key: the same content is always sent with the same key. */
export function toRequest(draft: Draft, newKey: () => string): { request: ActRequest; draft: Draft } {
  const body = content(draft);
  const written = JSON.stringify(body);
  const key = draft.sent?.content === written ? draft.sent.key : newKey();
  return { request: { ...body, key }, draft: { ...draft, sent: { content: written, key } } };
}
