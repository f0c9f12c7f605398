//! The words of the model as the columns of the database, and back.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    Error, ErrorKind, Result, RunId, Timestamp,
    executor::ExecutionHandle,
    run::{Failure, Gate, RunEvent, RunState, Status, StopCause},
};

/// Names of events by their code. Only ever appended to.
const EVENTS: [&str; 8] =
    [SUBMITTED, "claimed", "started", "start_failed", "never_started", "exited", "stop_requested", "lost"];
/// The name of the first event of every run.
pub(super) const SUBMITTED: &str = "submitted";
/// Names of states by their code. Only ever appended to.
const STATES: [&str; 7] = ["queued", "starting", "running", "stopping", "succeeded", "failed", "cancelled"];
const STATUSES: [Status; 5] =
    [Status::Pending, Status::Running, Status::Success, Status::Failed, Status::Cancelled];

#[derive(Serialize, Deserialize)]
struct StoppingDetail {
    handle: Option<ExecutionHandle>,
    cause: StopCause,
}

pub(super) fn state_code(state: &RunState) -> i64 {
    match state {
        RunState::Queued { .. } => 0,
        RunState::Starting => 1,
        RunState::Running { .. } => 2,
        RunState::Stopping { .. } => 3,
        RunState::Succeeded => 4,
        RunState::Failed(_) => 5,
        RunState::Cancelled => 6,
    }
}

pub(super) fn state_name(code: i64) -> Result<&'static str> {
    pick(&STATES, code)
}

pub(super) fn status_code(status: Status) -> i64 {
    match status {
        Status::Pending => 0,
        Status::Running => 1,
        Status::Success => 2,
        Status::Failed => 3,
        Status::Cancelled => 4,
    }
}

/// The status of a state, both by their codes.
pub(super) fn status_of_state(code: i64) -> Result<Status> {
    pick(
        &STATUSES,
        if code <= 1 {
            0
        } else if code <= 3 {
            1
        } else {
            code - 2
        },
    )
}

pub(super) fn gate_code(gate: Gate) -> i64 {
    match gate {
        Gate::Open => 0,
        Gate::Budget => 1,
        Gate::Limited => 2,
    }
}

pub(super) fn event_code(event: &RunEvent) -> i64 {
    match event {
        RunEvent::Claimed => 1,
        RunEvent::Started(_) => 2,
        RunEvent::StartFailed { .. } => 3,
        RunEvent::NeverStarted { .. } => 4,
        RunEvent::Exited { .. } => 5,
        RunEvent::StopRequested(_) => 6,
        RunEvent::Lost(_) => 7,
    }
}

pub(super) fn event_name(code: i64) -> Result<&'static str> {
    pick(&EVENTS, code)
}

fn pick<T: Copy>(of: &[T], code: i64) -> Result<T> {
    usize::try_from(code)
        .ok()
        .and_then(|index| of.get(index).copied())
        .ok_or_else(|| corrupt("an unknown code").with("code", code))
}

/// What a state carries beyond its name and `not_before`.
pub(super) fn state_detail(state: &RunState) -> Result<Option<String>> {
    Ok(match state {
        RunState::Running { handle } => Some(to_json(handle)?),
        RunState::Stopping { handle, cause } => {
            Some(to_json(&StoppingDetail { handle: handle.clone(), cause: *cause })?)
        }
        RunState::Failed(failure) => Some(to_json(failure)?),
        _ => None,
    })
}

pub(super) fn state(code: i64, not_before: i64, detail: Option<&str>) -> Result<RunState> {
    let detail = || detail.ok_or_else(|| corrupt("a state without its detail"));
    Ok(match code {
        0 => RunState::Queued { not_before: instant(not_before)? },
        1 => RunState::Starting,
        2 => RunState::Running { handle: from_json(detail()?)? },
        3 => {
            let StoppingDetail { handle, cause } = from_json(detail()?)?;
            RunState::Stopping { handle, cause }
        }
        4 => RunState::Succeeded,
        5 => RunState::Failed(from_json::<Failure>(detail()?)?),
        6 => RunState::Cancelled,
        _ => return Err(corrupt("an unknown state").with("code", code)),
    })
}

pub(super) fn instant(micros: i64) -> Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| corrupt("an instant out of range").because(error))
}

pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Internal, "a value cannot be written as JSON").because(error))
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt("JSON of an unexpected form").because(error))
}

pub(super) fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "the database holds something that was never written").with("found", what)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// A run's id in hexadecimal, as [`hex`] writes it.
pub(super) fn unhex(text: &str) -> Result<RunId> {
    let digits = text.get(..32).filter(|digits| digits.len() == text.len());
    let value = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
    value.map(|value| RunId::from_bytes(value.to_be_bytes())).ok_or_else(|| corrupt("a run id that is none"))
}

/// The columns of one row, read in the order in which the query names them.
pub(super) struct Columns<'row> {
    row: &'row SqliteRow,
    next: usize,
}

impl<'row> Columns<'row> {
    pub(super) fn of(row: &'row SqliteRow) -> Self {
        Self { row, next: 0 }
    }

    fn get<T>(&mut self) -> Result<T>
    where
        T: sqlx::Decode<'row, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        let index = self.next;
        self.next += 1;
        self.row
            .try_get(index)
            .map_err(|error| corrupt("a column of the wrong type").because(error.to_string()))
    }

    pub(super) fn int(&mut self) -> Result<i64> {
        self.get()
    }

    /// A number that was written from an unsigned one.
    pub(super) fn count<T: TryFrom<i64>>(&mut self) -> Result<T> {
        T::try_from(self.int()?).map_err(|_| corrupt("a number out of range"))
    }

    pub(super) fn text(&mut self) -> Result<&'row str> {
        self.get()
    }

    pub(super) fn maybe_text(&mut self) -> Result<Option<&'row str>> {
        self.get()
    }

    pub(super) fn maybe_bytes(&mut self) -> Result<Option<&'row [u8]>> {
        self.get()
    }

    pub(super) fn run_id(&mut self) -> Result<RunId> {
        let bytes: &[u8] = self.get()?;
        let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| corrupt("a run id of the wrong length"))?;
        Ok(RunId::from_bytes(bytes))
    }

    pub(super) fn maybe_run_id(&mut self) -> Result<Option<RunId>> {
        let bytes: Option<&[u8]> = self.get()?;
        let wrong = |_| corrupt("a run id of the wrong length");
        bytes.map(|bytes| <[u8; 16]>::try_from(bytes).map(RunId::from_bytes).map_err(wrong)).transpose()
    }

    pub(super) fn instant(&mut self) -> Result<Timestamp> {
        instant(self.int()?)
    }

    pub(super) fn maybe_int(&mut self) -> Result<Option<i64>> {
        self.get()
    }

    pub(super) fn maybe_instant(&mut self) -> Result<Option<Timestamp>> {
        self.get::<Option<i64>>()?.map(instant).transpose()
    }

    pub(super) fn maybe_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        self.maybe_text()?.map(from_json).transpose()
    }
}
