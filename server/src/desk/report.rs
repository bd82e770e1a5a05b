//! The Reporte Estadístico por Área: petitions by agency and group, as the city prints it.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::DeskError;
use crate::days;
use crate::storage::{AgencyCounts, Period};

/// The days that a report is of, both included; a side that is not given is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// The first.
    pub from: Option<Date>,
    /// The last.
    pub to: Option<Date>,
}

impl Days {
    /// As moments, by the city's zone.
    pub(crate) fn period(self) -> Period {
        let next = |day: Date| day.tomorrow().ok();
        Period {
            from: self.from.and_then(days::start_of).unwrap_or(i64::MIN),
            until: self
                .to
                .and_then(next)
                .and_then(days::start_of)
                .unwrap_or(i64::MAX),
        }
    }
}

/// The query string of a report, before it is checked: `YYYY-MM-DD`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RawDays {
    from: Option<String>,
    to: Option<String>,
}

impl TryFrom<RawDays> for Days {
    type Error = DeskError;

    fn try_from(raw: RawDays) -> Result<Self, DeskError> {
        let day = |text: Option<String>, field| match text.as_deref().map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| DeskError::Invalid { field }),
        };
        let days = Self {
            from: day(raw.from, "from")?,
            to: day(raw.to, "to")?,
        };
        match (days.from, days.to) {
            (Some(from), Some(to)) if from > to => Err(DeskError::Invalid { field: "to" }),
            _ => Ok(days),
        }
    }
}

/// Petitions by group, with their shares of the total.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Groups {
    /// All.
    pub total: u64,
    /// Pendientes.
    pub pending: u64,
    /// Desarrollo.
    pub in_progress: u64,
    /// Atendidos.
    pub done: u64,
    /// No procede.
    pub not_applicable: u64,
    /// The groups as percentages of the total.
    pub percent: Percents,
}

/// Percentages as the city prints them: half-up to two decimals, without trailing zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Percents {
    /// Pendientes.
    pub pending: String,
    /// Desarrollo.
    pub in_progress: String,
    /// Atendidos.
    pub done: String,
    /// No procede.
    pub not_applicable: String,
}

/// One agency's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgencyLine {
    /// Name of the dependencia; `None` for petitions that are with none.
    pub agency: Option<String>,
    /// Its petitions.
    #[serde(flatten)]
    pub groups: Groups,
}

/// The report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgencyReport {
    /// First day, if given.
    pub from: Option<Date>,
    /// Last day, if given.
    pub to: Option<Date>,
    /// By total, descending; agencies with as many by name.
    pub rows: Vec<AgencyLine>,
    /// All agencies together.
    pub totals: Groups,
    /// The city's log position it is from.
    pub seq: u64,
    /// When, milliseconds UTC.
    pub made_at: i64,
}

impl AgencyReport {
    /// Of these counts.
    pub(crate) fn new(days: Days, counts: Vec<AgencyCounts>, seq: u64, made_at: i64) -> Self {
        let sum = |count: fn(&AgencyCounts) -> u64| counts.iter().map(count).sum();
        let totals = Groups::of(&AgencyCounts {
            agency: None,
            pending: sum(|c| c.pending),
            in_progress: sum(|c| c.in_progress),
            done: sum(|c| c.done),
            not_applicable: sum(|c| c.not_applicable),
        });
        let line = |counts: AgencyCounts| AgencyLine {
            groups: Groups::of(&counts),
            agency: counts.agency.map(|agency| agency.name),
        };
        let mut rows: Vec<AgencyLine> = counts.into_iter().map(line).collect();
        rows.sort_by(|a, b| {
            let totals = b.groups.total.cmp(&a.groups.total);
            totals.then_with(|| a.agency.cmp(&b.agency))
        });
        Self {
            from: days.from,
            to: days.to,
            rows,
            totals,
            seq,
            made_at,
        }
    }
}

impl Groups {
    fn of(counts: &AgencyCounts) -> Self {
        let AgencyCounts {
            pending,
            in_progress,
            done,
            not_applicable,
            ..
        } = *counts;
        let total = pending + in_progress + done + not_applicable;
        Self {
            total,
            pending,
            in_progress,
            done,
            not_applicable,
            percent: Percents {
                pending: percent(pending, total),
                in_progress: percent(in_progress, total),
                done: percent(done, total),
                not_applicable: percent(not_applicable, total),
            },
        }
    }
}

/// `part` of `total` in per cent, half-up to two decimals, without trailing zeros; of nothing, 0.
fn percent(part: u64, total: u64) -> String {
    if total == 0 {
        return "0".to_owned();
    }
    let hundredths = (u128::from(part) * 20_000 + u128::from(total)) / (u128::from(total) * 2);
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match (rest, rest % 10) {
        (0, _) => format!("{whole}"),
        (_, 0) => format!("{whole}.{}", rest / 10),
        _ => format!("{whole}.{rest:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_half_up_without_trailing_zeros() {
        for (part, total, shown) in [
            (0, 0, "0"),
            (0, 7, "0"),
            (7, 7, "100"),
            (39, 200, "19.5"),
            (761, 15_190, "5.01"),
            (1, 15_190, "0.01"),
            (1, 20_000, "0.01"),
            (1, 20_001, "0"),
            (17, 108, "15.74"),
            (1, 3, "33.33"),
            (2, 3, "66.67"),
        ] {
            assert_eq!(percent(part, total), shown, "{part} of {total}");
        }
    }

    #[test]
    fn days_are_the_citys_and_both_ends_count() {
        let raw = |from: &str, to: &str| RawDays {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
        };
        // UTC-5 in 2021, UTC-6 in 2023: the law changed.
        let summer = Days::try_from(raw("2021-10-26", "2021-10-26")).unwrap();
        let hour = 3_600_000;
        let start = 1_635_224_400_000;
        assert_eq!(
            summer.period(),
            Period {
                from: start,
                until: start + 24 * hour
            }
        );
        let later = Days::try_from(raw("2023-10-26", "")).unwrap().period();
        assert_eq!(later.from, 1_698_300_000_000);
        assert_eq!(later.until, i64::MAX);
        for (from, to, field) in [
            ("26/10/2021", "", "from"),
            ("", "2021-13-01", "to"),
            ("2021-10-27", "2021-10-26", "to"),
        ] {
            let refused = Days::try_from(raw(from, to));
            assert!(
                matches!(refused, Err(DeskError::Invalid { field: found }) if found == field),
                "{from} {to}"
            );
        }
    }
}
