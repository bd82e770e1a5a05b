//! The one table: what was measured, beside what it is measured against.

use std::time::Duration;

use serde_json::{Value, json};

/// What a row is to come to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most the floor and this.
    AboveFloor(f64),
    /// At most so many times the floor.
    TimesFloor(f64),
    /// Both at most this and at most so many times the floor.
    AtMostAndTimesFloor(f64, f64),
    /// None was set.
    Open,
}

/// One measured thing.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    ours: f64,
    floor: Option<f64>,
    goal: Goal,
    note: String,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, ours: f64, goal: Goal) -> Self {
        Self {
            what: what.into(),
            unit,
            ours,
            floor: None,
            goal,
            note: String::new(),
        }
    }

    /// What the same bytes cost with nothing of ours in between, in the same run.
    pub(crate) fn floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn met(&self) -> Option<bool> {
        let floor = self.floor.unwrap_or(f64::NAN);
        match self.goal {
            Goal::AtMost(most) => Some(self.ours <= most),
            Goal::AtLeast(least) => Some(self.ours >= least),
            Goal::AboveFloor(more) => Some(self.ours <= floor + more),
            Goal::TimesFloor(times) => Some(self.ours <= floor * times),
            Goal::AtMostAndTimesFloor(most, times) => {
                Some(self.ours <= most && self.ours <= floor * times)
            }
            Goal::Open => None,
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(most) => format!("≤ {}", number(most)),
            Goal::AtLeast(least) => format!("≥ {}", number(least)),
            Goal::AboveFloor(more) => format!("≤ floor + {}", number(more)),
            Goal::TimesFloor(times) => format!("≤ {} × floor", number(times)),
            Goal::AtMostAndTimesFloor(most, times) => {
                format!("≤ {}, ≤ {} × floor", number(most), number(times))
            }
            Goal::Open => "–".to_owned(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what, "unit": self.unit, "ours": self.ours, "floor": self.floor,
            "goal": self.goal_text(), "met": self.met(), "note": self.note,
        })
    }
}

/// Everything that one run measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// What grows with the city: (what, unit), then per size a figure.
    growth: Vec<(String, Vec<(usize, f64)>)>,
}

impl Report {
    /// Adds a row, and tells it at once.
    pub(crate) fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// Adds a figure to what is followed as the city grows.
    pub(crate) fn grows(&mut self, what: &str, size: usize, figure: f64) {
        match self.growth.iter_mut().find(|(name, _)| name == what) {
            Some((_, figures)) => figures.push((size, figure)),
            None => self.growth.push((what.to_owned(), vec![(size, figure)])),
        }
    }

    /// Prints the whole table.
    pub(crate) fn print(&self) {
        println!("\n{}", header());
        self.rows.iter().for_each(|row| println!("{}", line(row)));
        let missed = self.rows.iter().filter(|row| row.met() == Some(false));
        println!(
            "\n{} rows, {} miss their goal",
            self.rows.len(),
            missed.count()
        );
        self.print_growth();
    }

    fn print_growth(&self) {
        let mut sizes: Vec<usize> = self
            .growth
            .iter()
            .flat_map(|(_, figures)| figures.iter().map(|(size, _)| *size))
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.len() < 2 {
            return;
        }
        print!("\n{:<58}", "as the city grows (petitions)");
        sizes.iter().for_each(|size| print!("{size:>11}"));
        println!("{:>11}", "slope");
        for (what, figures) in &self.growth {
            print!("{what:<58}");
            for size in &sizes {
                match figures.iter().find(|(at, _)| at == size) {
                    Some((_, figure)) => print!("{:>11}", number(*figure)),
                    None => print!("{:>11}", "–"),
                }
            }
            match (figures.first(), figures.last()) {
                (Some((from, a)), Some((to, b))) if to > from && *a > 0.0 && *b > 0.0 => {
                    // 0: the cost does not depend on the size; 1: it grows as the size does.
                    let slope = (b / a).ln() / (*to as f64 / *from as f64).ln();
                    println!("{slope:>11.2}");
                }
                _ => println!("{:>11}", "–"),
            }
        }
    }

    /// The same, for programs.
    pub(crate) fn json(&self, run: &Value) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let growth: Vec<Value> = self
            .growth
            .iter()
            .map(|(what, figures)| json!({ "what": what, "figures": figures }))
            .collect();
        json!({ "run": run, "rows": rows, "growth": growth })
    }
}

fn header() -> String {
    format!(
        "{:<60} {:>9} {:>9} {:>6}  {:<18} {:<4} {}",
        "what", "ours", "floor", "ratio", "goal", "met", ""
    )
}

fn line(row: &Row) -> String {
    let floor = row.floor.map_or("–".to_owned(), number);
    let ratio = row
        .floor
        .filter(|floor| *floor > 0.0)
        .map_or("–".to_owned(), |floor| format!("{:.1}", row.ours / floor));
    let met = match row.met() {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "–",
    };
    let what = format!("{}, {}", row.what, row.unit);
    let pad = 60_usize.saturating_sub(what.chars().count());
    format!(
        "{what}{} {:>9} {floor:>9} {ratio:>6}  {:<18} {met:<4} {}",
        " ".repeat(pad),
        number(row.ours),
        row.goal_text(),
        row.note
    )
}

/// A figure with as many digits as it is worth.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == size.trunc() => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value at this share (0.5 is the median) of the measurements.
pub(crate) fn at(share: f64, mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (share * (values.len().saturating_sub(1)) as f64).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

/// The median.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    at(0.5, values)
}
