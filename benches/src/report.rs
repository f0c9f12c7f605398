//! Tables on the terminal, in Markdown, so that they can be kept.

use std::{
    fmt,
    io::{self, Write as _},
    time::Duration,
};

use crate::sample::Samples;

/// The figures of one subject.
#[derive(Debug)]
pub struct Report {
    title: String,
    rows: Vec<[String; 5]>,
    notes: Vec<String>,
}

impl Report {
    /// A report without rows.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, row: Row) {
        self.rows.push([row.measure, row.value, row.floor, row.compared, row.verdict.to_string()]);
    }

    /// Adds a line below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints it.
    ///
    /// # Errors
    ///
    /// When standard output is gone.
    pub fn print(&self) -> io::Result<()> {
        const HEAD: [&str; 5] = ["measure", "value", "floor", "compared", "target"];
        let mut out = io::stdout().lock();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        writeln!(out, "\n## {} ({cores} cores)\n", self.title)?;
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([HEAD[column].len()]).max().unwrap_or_default()
        };
        let widths = [0, 1, 2, 3, 4].map(width);
        let mut line = |cells: [&str; 5]| {
            let cells: Vec<String> =
                cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "| {} |", cells.join(" | "))
        };
        if !self.rows.is_empty() {
            line(HEAD)?;
            line(widths.map(|width| "-".repeat(width)).each_ref().map(String::as_str))?;
        }
        for row in &self.rows {
            line(row.each_ref().map(String::as_str))?;
        }
        for note in &self.notes {
            writeln!(out, "\n{note}")?;
        }
        out.flush()
    }
}

/// One figure.
///
/// ```
/// use fastflow_benches::report::{Row, Verdict, ratio};
///
/// let row = Row::new("first line", "12 ms").against("10 ms", ratio(12.0, 10.0));
/// let row = row.verdict(Verdict::at_most(1.2, 1.5, "x"));
/// # drop(row);
/// ```
#[derive(Clone, Debug)]
pub struct Row {
    measure: String,
    value: String,
    floor: String,
    compared: String,
    verdict: Verdict,
}

impl Row {
    /// What was measured, and what came of it.
    pub fn new(measure: impl Into<String>, value: impl Into<String>) -> Self {
        let (floor, compared) = (String::new(), String::new());
        Self { measure: measure.into(), value: value.into(), floor, compared, verdict: Verdict::None }
    }

    /// The floor, and how the two compare.
    #[must_use]
    pub fn against(mut self, floor: impl Into<String>, compared: impl Into<String>) -> Self {
        (self.floor, self.compared) = (floor.into(), compared.into());
        self
    }

    /// What the target says.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }
}

/// What a target says of a figure. It is printed, and decides nothing: a busy machine must not fail anybody.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// There is no target.
    None,
    /// The target in words, and whether it is met.
    Target {
        /// Such as `at most 1.5x`.
        wanted: String,
        /// Whether the figure is on the right side of it.
        met: bool,
    },
}

impl Verdict {
    /// A target that the figure must not exceed.
    pub fn at_most(figure: f64, limit: f64, unit: &str) -> Self {
        Self::Target { wanted: format!("at most {limit}{unit}"), met: figure <= limit }
    }

    /// A target that the figure must reach.
    pub fn at_least(figure: f64, limit: f64, unit: &str) -> Self {
        Self::Target { wanted: format!("at least {limit}{unit}"), met: figure >= limit }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Target { wanted, met } => write!(f, "{wanted}: {}", if *met { "met" } else { "NOT met" }),
        }
    }
}

/// A duration in milliseconds.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Median and 95th percentile, in milliseconds.
pub fn latency(samples: &Samples) -> String {
    let (median, p95) = (milliseconds(samples.median()), milliseconds(samples.p95()));
    format!("{median:.2} ms (p95 {p95:.2}, n {})", samples.count())
}

/// Median, 99th percentile and the longest, in milliseconds.
pub fn spread(samples: &Samples) -> String {
    let [median, p99, longest] = [samples.median(), samples.p99(), samples.longest()].map(milliseconds);
    format!("{median:.1} ms (p99 {p99:.1}, longest {longest:.1}, n {})", samples.count())
}

/// How many times `floor` the `value` is.
pub fn ratio(value: f64, floor: f64) -> String {
    format!("{:.2}x", value / floor)
}

/// A count per second.
pub fn rate(per_second: f64) -> String {
    format!("{per_second:.0}/s")
}
