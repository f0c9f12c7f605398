//! Shows everything, on a terminal or in a file.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    pane::{Mark, Pane, Shown},
    table::{self, Row},
    text,
    update::Update,
};

/// How fast what moves on the screen moves.
const TICK: Duration = Duration::from_millis(120);
/// The table in a file is no wider than this.
const FILE_COLUMNS: u16 = 120;
/// The colours of the pipelines' names.
const NAMES: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::BrightCyan,
];

/// What the place where the output goes can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    /// Colours.
    pub(crate) colours: bool,
    /// Lines that change: it is a terminal.
    pub(crate) moves: bool,
}

/// All that is shown.
#[derive(Debug)]
pub(crate) struct Screen {
    looks: Looks,
    panes: Vec<Pane>,
    bars: HashMap<usize, ProgressBar>,
    multi: MultiProgress,
    name_columns: usize,
}

impl Screen {
    /// For these pipelines, with at most `max_lines` lines of the log of each.
    pub(crate) fn new(names: &[String], max_lines: usize, looks: Looks) -> Self {
        let target = if looks.moves { ProgressDrawTarget::stdout() } else { ProgressDrawTarget::hidden() };
        Self {
            looks,
            panes: names.iter().map(|name| Pane::new(name, max_lines, looks.moves)).collect(),
            bars: HashMap::new(),
            multi: MultiProgress::with_draw_target(target),
            name_columns: names.iter().map(|name| name.chars().count()).max().unwrap_or_default(),
        }
    }

    /// Whether every pipeline has ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.panes.iter().all(Pane::has_ended)
    }

    /// Takes in what is new, and shows it.
    ///
    /// # Errors
    ///
    /// When the output cannot be written.
    pub(crate) fn show(&mut self, updates: impl Iterator<Item = Update>) -> io::Result<()> {
        let mut text = String::new();
        for Update { pipeline, news } in updates {
            for shown in self.panes[pipeline].take(news) {
                self.render(pipeline, &shown, &mut text);
            }
            self.move_bar(pipeline);
        }
        self.write(&text)
    }

    /// Shows a line that belongs to no pipeline.
    ///
    /// # Errors
    ///
    /// When the output cannot be written.
    pub(crate) fn say(&self, line: &str) -> io::Result<()> {
        let style = self.style(Style::new().bold());
        self.write(&format!("{style}{line}{style:#}\n"))
    }

    /// Takes away what moves, and gives the rows of the table.
    pub(crate) fn into_rows(self) -> Vec<Row> {
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
        self.panes.into_iter().map(Pane::into_row).collect()
    }

    fn write(&self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.multi.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        })
    }

    fn style(&self, style: Style) -> Style {
        if self.looks.colours { style } else { Style::new() }
    }

    fn name(&self, pipeline: usize) -> String {
        let style = self.style(NAMES[pipeline % NAMES.len()].on_default().bold());
        let width = self.name_columns;
        format!("{style}{:width$}{style:#}", self.panes[pipeline].name())
    }

    fn render(&self, pipeline: usize, shown: &Shown, text: &mut String) {
        let (mark, mark_style, text_style) = match shown.mark {
            Mark::Out => ("|", Style::new().dimmed(), Style::new()),
            Mark::Err => ("!", AnsiColor::Red.on_default(), Style::new()),
            Mark::Setup => ("~", Style::new().dimmed(), Style::new().dimmed()),
            Mark::Note => ("#", Style::new().dimmed(), Style::new().dimmed()),
            Mark::Good => ("=", Style::new().dimmed(), AnsiColor::Green.on_default()),
            Mark::Bad => ("=", Style::new().dimmed(), AnsiColor::Red.on_default()),
        };
        let (mark_style, text_style) = (self.style(mark_style), self.style(text_style));
        for line in shown.text.split('\n') {
            let line = if self.looks.colours { text::printable(line) } else { text::plain(line) };
            let name = self.name(pipeline);
            // Writing into a String cannot fail.
            let _ =
                writeln!(text, "{name} {mark_style}{mark}{mark_style:#} {text_style}{line}{text_style:#}");
        }
    }

    fn move_bar(&mut self, pipeline: usize) {
        let Some(activity) = self.panes[pipeline].activity() else {
            if let Some(bar) = self.bars.remove(&pipeline) {
                bar.finish_and_clear();
                self.multi.remove(&bar);
            }
            return;
        };
        if !self.bars.contains_key(&pipeline) {
            let bar = self.multi.add(ProgressBar::new_spinner().with_prefix(self.name(pipeline)));
            bar.set_style(style());
            if self.looks.moves {
                bar.enable_steady_tick(TICK);
            }
            self.bars.insert(pipeline, bar);
        }
        self.bars[&pipeline].set_message(text::plain(&activity));
    }
}

fn style() -> ProgressStyle {
    // A template that cannot be read would show in the first test of the screen.
    ProgressStyle::with_template("{prefix} {spinner} {elapsed:>3} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Writes the table, and below it what is to be said of it.
///
/// # Errors
///
/// When the output cannot be written.
pub(crate) fn conclude(rows: &[Row], remarks: &[String], looks: Looks) -> io::Result<()> {
    let columns = if looks.moves { None } else { Some(FILE_COLUMNS) };
    let mut out = io::stdout().lock();
    writeln!(out, "\n{}\n", table::draw(rows, looks.colours, columns))?;
    for remark in remarks {
        writeln!(out, "{remark}")?;
    }
    out.flush()
}
