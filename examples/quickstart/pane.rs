//! One pipeline's part of the screen.

use std::{collections::VecDeque, time::Duration};

use fastflow_core::{
    journal::{LogLine, LogStream, UsageSample},
    run::Failure,
};

use crate::{
    excerpt::Excerpt,
    line::Line,
    table::{Row, bytes, duration},
    update::{News, Outcome},
};

/// Of the words of a failed set-up, so many lines are shown.
const MAX_SETUP_LINES: usize = 40;

/// Where a line comes from, as it is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mark {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// The set-up.
    Setup,
    /// Our own words.
    Note,
    /// A good end.
    Good,
    /// Another end.
    Bad,
}

/// A line to be shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Shown {
    /// Where it comes from.
    pub(crate) mark: Mark,
    /// Its text, as the program wrote it.
    pub(crate) text: String,
}

/// What is known of one pipeline.
#[derive(Debug)]
pub(crate) struct Pane {
    name: String,
    out: Line,
    err: Line,
    excerpt: Excerpt<Shown>,
    setup: VecDeque<String>,
    setup_is_shown: bool,
    lines: u64,
    phase: Phase,
    usage: Option<UsageSample>,
    end: Option<Result<Box<Outcome>, String>>,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Waiting,
    SettingUp,
    Running,
}

impl Pane {
    /// Of the pipeline `name`, with at most `max_lines` lines of its log. Where nothing moves, each line of the
    /// set-up is shown; elsewhere its newest line is its [`activity`](Self::activity).
    pub(crate) fn new(name: impl Into<String>, max_lines: usize, moves: bool) -> Self {
        Self {
            name: name.into(),
            out: Line::default(),
            err: Line::default(),
            excerpt: Excerpt::new(max_lines),
            setup: VecDeque::new(),
            setup_is_shown: !moves,
            lines: 0,
            phase: Phase::Waiting,
            usage: None,
            end: None,
        }
    }

    /// The pipeline's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is nothing more to come.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Takes in what is new, and gives what is to be shown now.
    pub(crate) fn take(&mut self, news: News) -> Vec<Shown> {
        match news {
            News::Accepted { run, earlier: true } => {
                vec![note(format!("goes on with run {run}, which an earlier process left"))]
            }
            News::Accepted { earlier: false, .. } => Vec::new(),
            News::Started => {
                self.phase = Phase::Running;
                Vec::new()
            }
            News::Line(line) => self.line(&line),
            News::Usage(sample) => {
                self.usage = Some(sample);
                Vec::new()
            }
            News::Ended(outcome) => self.ended(outcome),
            News::Refused(error) => {
                let shown = error.lines().map(|text| Shown { mark: Mark::Bad, text: text.into() }).collect();
                self.end = Some(Err(error));
                shown
            }
        }
    }

    /// What it does now; `None` while it waits and when it has ended.
    pub(crate) fn activity(&self) -> Option<String> {
        match (&self.phase, &self.end) {
            (_, Some(_)) | (Phase::Waiting, None) => None,
            (Phase::SettingUp, None) => {
                let last = self.setup.back().map_or("", String::as_str);
                Some(format!("setting up  {last}"))
            }
            (Phase::Running, None) => {
                let mut text =
                    format!("running, {} line{}", self.lines, if self.lines == 1 { "" } else { "s" });
                if let Some(usage) = &self.usage {
                    text.push_str(", ");
                    text.push_str(&used(usage));
                }
                let writing =
                    [&self.out, &self.err].map(Line::so_far).into_iter().find(|text| !text.is_empty());
                if let Some(writing) = writing {
                    text += "  ";
                    text += writing;
                }
                Some(text)
            }
        }
    }

    /// Its row of the table; a pipeline without an end was let go.
    pub(crate) fn into_row(self) -> Row {
        let end = self.end.unwrap_or_else(|| Err("it was let go while it ran".into()));
        Row { pipeline: self.name, end, lines: self.lines }
    }

    fn line(&mut self, line: &LogLine) -> Vec<Shown> {
        let text = line.text();
        let (mark, whole) = match line.stream {
            LogStream::Out => (Mark::Out, self.out.push(&text, line.continues)),
            LogStream::Err => (Mark::Err, self.err.push(&text, line.continues)),
            LogStream::Setup => return self.setup_line(text.into_owned()),
            _ => return vec![note(text.into_owned())],
        };
        self.phase = Phase::Running;
        let shown = whole.and_then(|text| self.whole_line(mark, text));
        shown.into_iter().collect()
    }

    fn whole_line(&mut self, mark: Mark, text: String) -> Option<Shown> {
        self.lines += 1;
        self.excerpt.push(Shown { mark, text })
    }

    fn setup_line(&mut self, text: String) -> Vec<Shown> {
        self.phase = Phase::SettingUp;
        if self.setup_is_shown {
            return vec![Shown { mark: Mark::Setup, text }];
        }
        self.setup.push_back(text);
        if self.setup.len() > MAX_SETUP_LINES {
            self.setup.pop_front();
        }
        Vec::new()
    }

    fn ended(&mut self, outcome: Box<Outcome>) -> Vec<Shown> {
        let mut shown = Vec::new();
        for (mark, rest) in [(Mark::Out, self.out.finish()), (Mark::Err, self.err.finish())] {
            shown.extend(rest.and_then(|text| self.whole_line(mark, text)));
        }
        let (left_out, last) = self.excerpt.finish();
        if left_out > 0 {
            shown.push(note(format!("... {left_out} lines are not shown; --lines all shows them")));
        }
        shown.extend(last);
        if matches!(outcome.run.failure(), Some(Failure::EnvironmentFailed(_))) {
            shown.extend(self.setup.drain(..).map(|text| Shown { mark: Mark::Setup, text }));
        }
        shown.push(end_line(&outcome));
        self.end = Some(Ok(outcome));
        shown
    }
}

fn used(usage: &UsageSample) -> String {
    format!("{} % CPU, {}", usage.cpu_millis / 10, bytes(usage.memory_bytes))
}

fn note(text: String) -> Shown {
    Shown { mark: Mark::Note, text }
}

fn end_line(outcome: &Outcome) -> Shown {
    let status = outcome.run.status();
    let mark = if outcome.run.failure().is_none() { Mark::Good } else { Mark::Bad };
    let mut text = status.to_string();
    if let Some(failure) = outcome.run.failure() {
        text.push_str(": ");
        text.push_str(&failure.to_string());
    }
    let took = outcome.attempt.as_ref().and_then(|attempt| attempt.report.as_ref());
    if let Some(took) = took.map(|report| report.duration).filter(|took| *took > Duration::ZERO) {
        text.push_str(" after ");
        text.push_str(&duration(took));
    }
    Shown { mark, text }
}

#[cfg(test)]
mod tests {
    use fastflow_core::journal::Record as _;

    use super::*;

    fn line(stream: &str, text: &str, continues: bool) -> News {
        let line = format!(r#"{{"t":"2026-11-20T20:06:16Z","s":"{stream}","m":"{text}","c":{continues}}}"#);
        News::Line(LogLine::parse(line.as_bytes()).unwrap())
    }

    fn texts(shown: Vec<Shown>) -> Vec<(Mark, String)> {
        shown.into_iter().map(|shown| (shown.mark, shown.text)).collect()
    }

    #[test]
    fn streams_are_put_together_apart_from_each_other() {
        let mut pane = Pane::new("p", 10, true);
        assert_eq!(texts(pane.take(line("out", "one ", true))), []);
        assert_eq!(texts(pane.take(line("err", "bad", false))), [(Mark::Err, "bad".into())]);
        assert_eq!(texts(pane.take(line("out", "line", false))), [(Mark::Out, "one line".into())]);
        assert_eq!(texts(pane.take(line("truncated", "9 lines are missing", false)))[0].0, Mark::Note);
        assert_eq!(pane.into_row().lines, 2);
    }

    #[test]
    fn on_a_terminal_the_setup_moves_and_in_a_file_it_stays() {
        let mut moving = Pane::new("p", 10, true);
        assert_eq!(moving.activity(), None);
        assert_eq!(texts(moving.take(line("setup", "Resolved 2 packages", false))), []);
        assert!(moving.activity().unwrap().ends_with("Resolved 2 packages"));

        let mut still = Pane::new("p", 10, false);
        let shown = texts(still.take(line("setup", "Resolved 2 packages", false)));
        assert_eq!(shown, [(Mark::Setup, "Resolved 2 packages".into())]);
    }

    #[test]
    fn a_progress_bar_is_part_of_the_activity() {
        let mut pane = Pane::new("p", 10, true);
        pane.take(News::Started);
        pane.take(line("out", "hello", false));
        pane.take(line("err", " 10 %", true));
        assert_eq!(pane.activity().unwrap(), "running, 1 line   10 %");
        pane.take(News::Refused("gone".into()));
        assert_eq!(pane.activity(), None);
        assert!(pane.has_ended());
    }
}
