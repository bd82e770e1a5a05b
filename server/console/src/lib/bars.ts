/** The report as bars: one quantity of each agency, the largest first, measured against the largest. */
import type { AgencyReport, ReportGroup } from './wire';

export type Measure = 'total' | ReportGroup;

export interface Bar {
  agency: string | null;
  value: number;
  /** Part of the longest, at most 1. */
  length: number;
}

/** Agencies without any of it are left out: a bar of nothing says nothing. */
export function barsOf(report: AgencyReport, measure: Measure): Bar[] {
  const bars = report.rows.map((row) => ({ agency: row.agency, value: row[measure] })).filter(({ value }) => value > 0);
  const longest = Math.max(...bars.map(({ value }) => value));
  return bars
    .sort((a, b) => b.value - a.value)
    .map((bar) => ({ ...bar, length: bar.value / longest }));
}
