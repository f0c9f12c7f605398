//! What a thread of Python's waits for outside the interpreter.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// A queue with an end and a limit. Threads wait at it until there is something, or nothing more to come.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    bell: Condvar,
    max_items: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    waiting: usize,
    closed: bool,
}

/// Why something was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl<T> Queue<T> {
    pub(crate) fn new(max_items: usize) -> Self {
        let state = State { items: VecDeque::new(), waiting: 0, closed: false };
        Self { state: Mutex::new(state), bell: Condvar::new(), max_items }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something down, and wakes one who waits. Never waits itself.
    pub(crate) fn put(&self, item: T) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.items.len() >= self.max_items {
            return Err(Refused::Full);
        }
        state.items.push_back(item);
        drop(state);
        self.bell.notify_one();
        Ok(())
    }

    /// Waits for the next. `None` is the end. Must not be called with the interpreter held.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.closed {
                return None;
            }
            state.waiting += 1;
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Whether nobody is free to take what is there, or what comes next.
    pub(crate) fn is_short_of_hands(&self) -> bool {
        let state = self.state();
        !state.closed && state.waiting <= state.items.len()
    }

    /// The end: nothing more is put down, and once the rest is taken, whoever waits goes home.
    pub(crate) fn finish(&self) {
        self.state().closed = true;
        self.bell.notify_all();
    }

    /// The end at once: what was not taken is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let left = std::mem::take(&mut state.items);
        drop(state);
        self.bell.notify_all();
        drop(left);
    }
}
