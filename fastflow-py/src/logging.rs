//! What the orchestrator says, on its way to Python's `logging`.
//!
//! Threads of the runtime put what they say into a queue, and never wait; one thread of Python's takes it from there.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use fastflow_core::{Clock as _, SystemClock, Timestamp};
use pyo3::{IntoPyObjectExt as _, prelude::*};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::Interest,
};

use crate::{process::Process, queue::Queue};

/// The longest line. Causes of errors hold what programs of others say.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Whose word is heard at every level; from others only that something is wrong.
const OWN_TARGETS: &str = "fastflow";

/// One thing that was said.
#[derive(Debug)]
struct Line {
    target: &'static str,
    level: u8,
    time: Timestamp,
    text: String,
}

#[derive(Debug)]
struct Lines {
    queue: Queue<Line>,
    dropped: AtomicU64,
    /// The least level that anybody wants, by the numbers of `logging`.
    least: AtomicU8,
    clock: SystemClock,
}

/// What was said in the runtime of one flow.
#[pyclass(frozen, module = "fastflow._fastflow", weakref)]
#[derive(Debug)]
pub(crate) struct LogPort {
    process: Process,
    lines: Arc<Lines>,
}

impl LogPort {
    /// The other end, for the threads of a runtime.
    pub(crate) fn dispatch(&self) -> Dispatch {
        Dispatch::new(Listener(Arc::clone(&self.lines)))
    }

    /// The end: nothing more is heard, and what was heard may still be taken.
    pub(crate) fn end(&self) {
        if self.process.is_current() {
            self.lines.queue.finish();
        }
    }
}

#[pymethods]
impl LogPort {
    /// Hears what is said at this level, a number of `logging`, and above. What is said while `max_lines` wait is counted
    /// and dropped.
    #[new]
    fn new(least: u8, max_lines: usize) -> Self {
        let lines = Lines {
            queue: Queue::new(max_lines),
            dropped: AtomicU64::new(0),
            least: AtomicU8::new(least),
            clock: SystemClock::new(),
        };
        Self { process: Process::current(), lines: Arc::new(lines) }
    }

    /// Waits for the next line: its target, its level, its time and its text. `None` is the end.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.process.check(py)?;
        let Some(line) = py.detach(|| self.lines.queue.take()) else { return Ok(None) };
        (line.target, line.level, line.time, line.text).into_py_any(py).map(Some)
    }

    /// How many lines were dropped since this was last asked.
    fn take_dropped(&self) -> u64 {
        self.lines.dropped.swap(0, Ordering::Relaxed)
    }

    /// Hears from this level on.
    fn set_least(&self, least: u8) {
        self.lines.least.store(least, Ordering::Relaxed);
    }

    /// Ends it.
    fn close(&self) {
        self.end();
    }
}

/// The levels of `logging`.
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(OWN_TARGETS) || metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// Hears what is said.
#[derive(Debug)]
struct Listener(Arc<Lines>);

impl Subscriber for Listener {
    /// Asked once for each place that says something. What is worth hearing may change, and so is asked each time.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_own(metadata) || *metadata.level() <= Level::WARN {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let least = self.0.least.load(Ordering::Relaxed);
        number(*metadata.level()) >= if is_own(metadata) { least } else { least.max(number(Level::WARN)) }
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let line = Line {
            target: metadata.target(),
            level: number(*metadata.level()),
            time: self.0.clock.now(),
            text: text.done(),
        };
        if self.0.queue.put(line).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Spans say nothing by themselves, and lines name what they are about.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message of an event, and its fields after it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn done(mut self) -> String {
        self.message.push_str(&self.fields);
        if self.message.len() > MAX_LINE_BYTES {
            self.message.truncate(self.message.floor_char_boundary(MAX_LINE_BYTES));
            self.message.push('…');
        }
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.fields, " {}={value}", field.name());
    }
}
