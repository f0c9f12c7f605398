//! What all of it came to, as a table.

use std::time::Duration;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle};
use fastflow_core::run::Status;

use crate::update::Outcome;

const LINE: LineStyle = LineStyle::none().fill('─').junction('─');
const STYLE: TableStyle = TableStyle::new().header_separator(LINE).bottom_border(LINE);

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// How it ended, or why there was no run.
    pub(crate) end: Result<Box<Outcome>, String>,
    /// Lines on both streams together.
    pub(crate) lines: u64,
}

impl Row {
    /// The status, as `SUCCESS`; `REFUSED` when there was no run.
    pub(crate) fn status(&self) -> String {
        self.end.as_ref().map_or_else(|_| "REFUSED".into(), |outcome| outcome.run.status().to_string())
    }

    /// Why it failed, in one line.
    pub(crate) fn reason(&self) -> Option<String> {
        let reason = match &self.end {
            Ok(outcome) => outcome.run.failure()?.to_string(),
            Err(error) => error.clone(),
        };
        Some(crate::text::plain(reason.lines().next().unwrap_or_default()))
    }
}

/// Draws the table, at most so many columns wide; as wide as the terminal without a number.
pub(crate) fn draw(rows: &[Row], colours: bool, columns: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "pipeline",
        "status",
        "reason",
        "set-up",
        "duration",
        "peak memory",
        "lines",
    ]);
    if let Some(columns) = columns {
        table.set_width(columns);
    }
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in rows {
        table.add_row(cells(row));
    }
    table.to_string()
}

fn cells(row: &Row) -> Vec<Cell> {
    let attempt = row.end.as_ref().ok().and_then(|outcome| outcome.attempt.as_ref());
    let report = attempt.and_then(|attempt| attempt.report.as_ref());
    let setup = attempt.and_then(|attempt| attempt.setup.as_ref());
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    vec![
        Cell::new(&row.pipeline).add_attribute(Attribute::Bold),
        Cell::new(row.status()).fg(colour(row)),
        Cell::new(row.reason().unwrap_or_default()),
        Cell::new(or_none(setup.map(|setup| duration(setup.duration)))),
        Cell::new(or_none(report.map(|report| duration(report.duration)))),
        Cell::new(or_none(report.and_then(|report| report.peak_memory_bytes).map(bytes))),
        Cell::new(row.lines),
    ]
}

fn colour(row: &Row) -> Color {
    match row.end.as_ref().map(|outcome| outcome.run.status()) {
        Ok(Status::Success) => Color::DarkGreen,
        Ok(Status::Cancelled) => Color::DarkYellow,
        _ => Color::DarkRed,
    }
}

/// A duration with three figures, as `12.3 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..0.9995 => format!("{:.0} ms", seconds * 1e3),
        ..9.995 => format!("{seconds:.2} s"),
        ..99.95 => format!("{seconds:.1} s"),
        _ => format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// A size with one digit after the point, as `34.1 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        for (micros, text) in [
            (0, "0 ms"),
            (12_345, "12 ms"),
            (999_900, "1.00 s"),
            (1_234_000, "1.23 s"),
            (12_345_000, "12.3 s"),
            (99_960_000, "1 min 39 s"),
            (754_000_000, "12 min 34 s"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
        assert_eq!(
            (bytes(0), bytes(35_756_441), bytes(3 << 30)),
            ("0.0 MiB".into(), "34.1 MiB".into(), "3.0 GiB".into())
        );
    }

    #[test]
    fn a_refusal_stands_in_the_table_in_one_line() {
        let end = Err("pipeline.json:3:7: \u{1b}[2Jbad\nsecond line".into());
        let rows = [Row { pipeline: "odd".into(), end, lines: 0 }];
        let drawn = draw(&rows, false, Some(100));
        assert!(drawn.contains("odd") && drawn.contains("REFUSED"), "{drawn}");
        assert!(drawn.contains("pipeline.json:3:7: bad") && !drawn.contains("second"), "{drawn}");
        assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
        assert!(drawn.lines().all(|line| line.chars().count() <= 100), "{drawn}");
    }
}
