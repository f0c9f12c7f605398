//! How results come to an event loop: they wait here, and an `eventfd` that the loop reads says so.
//!
//! The thread that has a result touches no Python object and needs no lock of the interpreter. It puts the result down
//! and counts the `eventfd` up; the loop wakes and fetches what is there, in its own thread.
//!
//! A mailbox belongs to the loop that reads it, and goes with it. The flow only knows it: a flow that kept who waits for it
//! could never be collected once a loop is closed under a wait.

use std::{
    collections::HashMap,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use fastflow_core::{Clock as _, Error, SystemClock};
use pyo3::{
    PyTraverseError, PyVisit,
    exceptions::{PyException, PyOSError},
    prelude::*,
    sync::PyOnceLock,
    types::PyWeakrefReference,
};
use rustix::event::{EventfdFlags, eventfd};
use tokio::task::AbortHandle;

use crate::{
    engine::Shared,
    error,
    operation::{Finish, Work, finished, limit},
    process::{Owned, Process},
};

/// What becomes of a result.
pub(crate) struct Wanted {
    /// What it is given to.
    pub(crate) then: Option<Py<PyAny>>,
    /// How many seconds it is waited for.
    pub(crate) limit: Option<f64>,
}

/// The results for one event loop.
#[pyclass(frozen, module = "fastflow._fastflow", weakref)]
pub(crate) struct Mailbox {
    process: Process,
    /// Weak, since nobody who waits keeps a flow open.
    flow: Weak<Shared>,
    event_loop: Py<PyWeakrefReference>,
    box_: Owned<Arc<Box_>>,
    waiting: Owned<Arc<AllWaiting>>,
    next: AtomicU64,
}

/// Who waits, by the tickets.
type AllWaiting = Mutex<HashMap<u64, Waiting>>;

/// The mailboxes of a flow.
#[derive(Default)]
pub(crate) struct Mailboxes(Mutex<Vec<Known>>);

/// What a flow knows of a mailbox.
struct Known {
    /// Where its loop is. Another one may be there later: the mailbox knows its own.
    address: usize,
    mailbox: Py<PyWeakrefReference>,
    box_: Weak<Box_>,
}

impl Mailboxes {
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of<'py>(&self, running_loop: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Mailbox>>> {
        let py = running_loop.py();
        let address = running_loop.as_ptr().addr();
        let found = {
            let known = self.known();
            let found = known.iter().find(|each| each.address == address);
            found.map(|found| found.mailbox.clone_ref(py))
        };
        // Looked at after the lock: what goes with the last reference may come back here.
        let Some(found) = found else { return Ok(None) };
        let found = found.bind(py).upgrade_as::<Mailbox>()?;
        Ok(found
            .filter(|found| found.get().event_loop.bind(py).upgrade().is_some_and(|of| of.is(running_loop))))
    }

    fn add(&self, running_loop: &Bound<'_, PyAny>, mailbox: &Bound<'_, Mailbox>) -> PyResult<()> {
        let added = Known {
            address: running_loop.as_ptr().addr(),
            mailbox: PyWeakrefReference::new(mailbox)?.unbind(),
            box_: Arc::downgrade(&mailbox.get().box_),
        };
        let mut known = self.known();
        known.retain(|each| each.address != added.address && each.box_.strong_count() > 0);
        known.push(added);
        Ok(())
    }

    fn forget(&self, box_: &Arc<Box_>) {
        self.known().retain(|each| each.box_.as_ptr() != Arc::as_ptr(box_));
    }

    /// Has every loop look once more: it has nothing to read once the flow has ended. Needs no interpreter.
    pub(crate) fn ring_all(&self) {
        self.known().iter().filter_map(|each| each.box_.upgrade()).for_each(|box_| box_.ring());
    }
}

/// The part of it that Rust's threads see.
struct Box_ {
    bell: OwnedFd,
    arrived: Mutex<Vec<(u64, Outcome)>>,
}

/// What came of the work.
enum Outcome {
    Done(Result<Finish, Error>),
    TimedOut(f64),
    /// The flow ended before the work did.
    Closed,
}

/// Says that the flow has ended, if nothing else was said when this is dropped.
struct Promise {
    box_: Arc<Box_>,
    ticket: u64,
    outcome: Outcome,
}

impl Promise {
    /// Takes it whole, though a closure would be content with a part of it.
    fn keep(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.box_.put(self.ticket, std::mem::replace(&mut self.outcome, Outcome::Closed));
    }
}

/// Who waits for it.
struct Waiting {
    future: Py<PyAny>,
    then: Option<Py<PyAny>>,
    work: AbortHandle,
}

impl Waiting {
    /// Gives the result to the future, unless somebody has cancelled that.
    fn give(&self, py: Python<'_>, flow: Option<&Shared>, outcome: Outcome) -> PyResult<()> {
        let future = self.future.bind(py);
        if future.call_method0("done")?.is_truthy()? {
            return Ok(());
        }
        let value = match (outcome, flow) {
            (Outcome::Done(result), Some(flow)) => finished(py, flow, result, self.then.as_ref()),
            (Outcome::TimedOut(seconds), _) => Err(error::timed_out(py, seconds)),
            (Outcome::Closed, _) | (Outcome::Done(_), None) => Err(error::closed(py)),
        };
        match value {
            Ok(value) => future.call_method1("set_result", (value,))?,
            Err(failed) => future.call_method1("set_exception", (failed,))?,
        };
        Ok(())
    }
}

impl Box_ {
    fn arrived(&self) -> MutexGuard<'_, Vec<(u64, Outcome)>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, ticket: u64, outcome: Outcome) {
        let mut arrived = self.arrived();
        arrived.push((ticket, outcome));
        // Whoever finds some there already has rung.
        if arrived.len() == 1 {
            self.ring();
        }
    }

    /// What was fetched and told to nobody. It comes before what has arrived since.
    fn put_back(&self, left: impl Iterator<Item = (u64, Outcome)>) {
        let mut arrived = self.arrived();
        arrived.splice(..0, left);
        if !arrived.is_empty() {
            self.ring();
        }
    }

    fn ring(&self) {
        // It fails only when its counter is full, and then the loop has reason enough to look.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

/// Its loop was closed, or is gone.
impl Drop for Mailbox {
    fn drop(&mut self) {
        if self.process.is_current() {
            self.forget_all();
        }
    }
}

fn lock(waiting: &AllWaiting) -> MutexGuard<'_, HashMap<u64, Waiting>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        lock(&self.waiting)
    }

    /// Tells one who waits.
    ///
    /// # Errors
    ///
    /// An interrupt. What fails otherwise is no reason to keep the others waiting.
    fn tell(&self, py: Python<'_>, flow: Option<&Shared>, ticket: u64, outcome: Outcome) -> PyResult<()> {
        // Removed under the lock, used after it: what Python does with it may come back here.
        let Some(waiting) = self.waiting().remove(&ticket) else { return Ok(()) };
        match waiting.give(py, flow, outcome) {
            Err(failed) if failed.is_instance_of::<PyException>(py) => {
                failed.write_unraisable(py, Some(waiting.future.bind(py)));
                Ok(())
            }
            told => told,
        }
    }

    /// Ends what nobody can be told of any more.
    fn forget_all(&self) {
        let forgotten = std::mem::take(&mut *self.waiting());
        for waiting in forgotten.values() {
            waiting.work.abort();
        }
    }

    /// Has the loop read it no more, once the flow has ended and nobody waits.
    fn leave_if_done(&self, py: Python<'_>) -> PyResult<()> {
        let flow = self.flow.upgrade();
        if flow.as_ref().is_some_and(|flow| flow.handle(py).is_ok()) || !self.waiting().is_empty() {
            return Ok(());
        }
        let running_loop = running_loop(py)?;
        running_loop.call_method1("remove_reader", (self.box_.bell.as_raw_fd(),))?;
        if let Some(flow) = flow {
            flow.mailboxes().forget(&self.box_);
        }
        Ok(())
    }
}

#[pymethods]
impl Mailbox {
    /// Gives every result that has arrived to the future that waits for it. Called by the loop.
    fn deliver(&self, py: Python<'_>) -> PyResult<()> {
        if !self.process.is_current() {
            // A forked child that goes on with its parent's loop: what it took would be missing there.
            return Ok(());
        }
        let mut count = [0; 8];
        // Another reader may have been faster.
        let _ = rustix::io::read(&self.box_.bell, &mut count);
        let arrived = std::mem::take(&mut *self.box_.arrived());
        let flow = self.flow.upgrade();
        let mut left = arrived.into_iter();
        loop {
            // A handler of a signal that is due would raise in the middle of telling somebody.
            let told = py.check_signals().and_then(|()| match left.next() {
                Some((ticket, outcome)) => self.tell(py, flow.as_deref(), ticket, outcome).map(Some),
                None => Ok(None),
            });
            match told {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(interrupt) => {
                    // The loop ends by it, or goes on and is told the rest.
                    self.box_.put_back(left);
                    return Err(interrupt);
                }
            }
        }
        drop(flow);
        self.leave_if_done(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // In use, it is no garbage.
        let Ok(waiting) = self.waiting.try_lock() else { return Ok(()) };
        for each in waiting.values() {
            visit.call(&each.future)?;
            visit.call(&each.then)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        if self.process.is_current() {
            self.forget_all();
        }
    }
}

/// Ends the work when nobody waits for it any more.
#[pyclass(frozen, module = "fastflow._fastflow")]
struct Forget {
    process: Process,
    waiting: Weak<AllWaiting>,
    ticket: u64,
}

#[pymethods]
impl Forget {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.process.is_current() && future.call_method0("cancelled")?.is_truthy()? {
            let Some(waiting) = self.waiting.upgrade() else { return Ok(()) };
            let forgotten = lock(&waiting).remove(&self.ticket);
            if let Some(forgotten) = forgotten {
                forgotten.work.abort();
            }
        }
        Ok(())
    }
}

/// Begins the work, and answers an `asyncio.Future` of the running loop for its result.
pub(crate) fn deliver_later<'py>(
    py: Python<'py>,
    shared: &Arc<Shared>,
    work: Work,
    wanted: Wanted,
) -> PyResult<Bound<'py, PyAny>> {
    // First: a flow that has ended opens no mailbox.
    let handle = shared.handle(py)?;
    let running_loop = running_loop(py)?;
    let mailbox = of_loop(py, shared, &running_loop)?;
    let this = mailbox.get();
    let future = running_loop.call_method0("create_future")?;
    let ticket = this.next.fetch_add(1, Ordering::Relaxed);
    let limit = wanted
        .limit
        .map(|given| Ok::<_, PyErr>(limit(given)?.map(|limit| (given, limit))))
        .transpose()?
        .flatten();
    let promise = Promise { box_: Arc::clone(&this.box_), ticket, outcome: Outcome::Closed };
    let task = handle.spawn(async move {
        let outcome = match limit {
            None => Outcome::Done(work.await),
            Some((limit, duration)) => {
                let clock = SystemClock::new();
                tokio::select! {
                    biased;
                    result = work => Outcome::Done(result),
                    () = clock.sleep(duration) => Outcome::TimedOut(limit),
                }
            }
        };
        promise.keep(outcome);
    });
    // Only this thread, which the loop runs in, takes what arrives: it is known before anybody asks for it.
    let waiting = Waiting { future: future.clone().unbind(), then: wanted.then, work: task.abort_handle() };
    this.waiting().insert(ticket, waiting);
    let forget = Forget { process: this.process, waiting: Arc::downgrade(&this.waiting), ticket };
    future.call_method1("add_done_callback", (forget,))?;
    Ok(future)
}

fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    GET.import(py, "asyncio", "get_running_loop")?.call0()
}

/// The mailbox of a loop. It lives as long as the loop reads it.
fn of_loop<'py>(
    py: Python<'py>,
    shared: &Arc<Shared>,
    running_loop: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, Mailbox>> {
    if let Some(mailbox) = shared.mailboxes().of(running_loop)? {
        return Ok(mailbox);
    }
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| PyOSError::new_err(format!("cannot make an eventfd: {error}")))?;
    let fd = bell.as_raw_fd();
    let mailbox = Bound::new(
        py,
        Mailbox {
            process: Process::current(),
            flow: Arc::downgrade(shared),
            event_loop: PyWeakrefReference::new(running_loop)?.unbind(),
            box_: Owned::new(Arc::new(Box_ { bell, arrived: Mutex::default() })),
            waiting: Owned::new(Arc::default()),
            next: AtomicU64::new(0),
        },
    )?;
    running_loop.call_method1("add_reader", (fd, mailbox.getattr("deliver")?))?;
    shared.mailboxes().add(running_loop, &mailbox)?;
    Ok(mailbox)
}
