/**
 * The shapes of the relay's JSON, exactly as they travel. Nothing here decides anything.
 * Times are milliseconds UTC; ids of petitions are 32 hex digits; positions are degrees.
 */

export type Role = 'operator' | 'supervisor';

export interface Session {
  user: { id: number; name: string; role: Role };
  /** Sent back in `X-Manzana-Csrf` with every request that changes something. */
  csrf: string;
  city: { name: string; center: string; folio_prefix: string };
}

export interface Named {
  id: number;
  name: string;
}

export interface Catalogs {
  neighborhoods: Named[];
  agencies: Named[];
}

export type Status = 'pending' | 'referred' | 'in_progress' | 'done' | 'not_applicable';

/** What the status filter can ask for: the five states, and the two flags an operator looks for. */
export const STATUS_FILTERS = [
  'pending',
  'referred',
  'in_progress',
  'done',
  'done_unconfirmed',
  'not_applicable',
  'conflict',
] as const;
export type StatusFilter = (typeof STATUS_FILTERS)[number];

export type Priority = 'normal' | 'urgent' | 'risk';

export interface Row {
  id: string;
  /** Null until the relay has issued it; then `provisional` is the name people dictate. */
  folio: string | null;
  provisional: string;
  title: string;
  agency: string | null;
  /** More than one while concurrent referrals wait for a choice. */
  agencies: string[];
  /** Their ids in the catalog, in the same order. */
  agency_ids: number[];
  petitioner: string | null;
  neighborhood: string | null;
  neighborhood_id: number | null;
  location: string;
  status: Status;
  unconfirmed: boolean;
  conflict: boolean;
  review: boolean;
  priority: Priority;
  created_at: number;
  channel: string;
  comments: number;
  /** Position in the city's log of the last change to this petition. */
  seq: number;
}

export const ACTS = ['comment', 'refer', 'not_applicable', 'final_state'] as const;
export type Act = (typeof ACTS)[number];

export type Outcome = 'done' | 'not_applicable';

export type EventKind =
  | 'recorded'
  | 'referred'
  | 'accepted'
  | 'referral_proposed'
  | 'assigned'
  | 'started'
  | 'not_yet'
  | 'done'
  | 'not_applicable'
  | 'final_state'
  | 'reopened'
  | 'citizen_confirmed'
  | 'citizen_disputed';

export interface PetitionEvent {
  id: string;
  kind: EventKind;
  at: number;
  /** The device's clock could not be right; the relay bounded the date. */
  clamped: boolean;
  by: string;
  role: string;
  agency: string | null;
  reason: string | null;
  next_at: number | null;
  note: string | null;
  outcome: Outcome | null;
  /** How many photos or files came with it. */
  evidence: number;
}

export interface PetitionComment {
  id: string;
  at: number;
  by: string;
  role: string;
  text: string;
}

export interface Detail extends Row {
  description: string;
  kind: string | null;
  service: string | null;
  street: string | null;
  cross1: string | null;
  cross2: string | null;
  position: { lat: number; lon: number; accuracy_m: number } | null;
  /** What this page has seen; an act is made on top of exactly this. */
  heads: string[];
  /** Fields with more than one concurrent value, until someone chooses. */
  alternatives: { field: string; values: string[] }[];
  history: PetitionEvent[];
  notes: PetitionComment[];
  conflict_sides: PetitionEvent[];
  acts: Act[];
}

export interface ListAnswer {
  rows: Row[];
  next: string | null;
  seq: number;
  /** How many match in all, when the relay can tell cheaply. */
  total: number | null;
  /** The words really looked for, when those typed were found nowhere. */
  corrected: string | null;
}

/** The report's groups of states, in the order the city prints them. */
export const REPORT_GROUPS = ['pending', 'in_progress', 'done', 'not_applicable'] as const;
export type ReportGroup = (typeof REPORT_GROUPS)[number];

export interface ReportCounts extends Record<ReportGroup, number> {
  total: number;
  /** Of the row's total, rounded and written by the relay: "19.5", "0", "100". */
  percent: Record<ReportGroup, string>;
}

export interface AgencyRow extends ReportCounts {
  /** Null: no agency is in charge. */
  agency: string | null;
}

export interface AgencyReport {
  /** First and last day counted (YYYY-MM-DD of the city), both included; null: without bound. */
  from: string | null;
  to: string | null;
  rows: AgencyRow[];
  totals: ReportCounts;
  /** The city's position these numbers reflect. */
  seq: number;
  made_at: number;
}

export interface ActRequest {
  act: Act;
  heads: string[];
  text?: string;
  agency?: number;
  reason?: string;
  outcome?: Outcome;
  /** Random; the same for every retry of the same act, so that it happens once. */
  key: string;
}
