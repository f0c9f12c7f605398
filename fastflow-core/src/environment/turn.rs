//! One at a time for each place, so that the uv of one place keeps nobody waiting in another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::OwnedMutexGuard;

/// Whose turn it is, by the name of the place. It knows no more places than are waited for.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the turn at `place`, which lasts as long as what this returns.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the place in the queue up.
    pub(super) async fn take(&self, place: String) -> OwnedMutexGuard<()> {
        self.of(place).lock_owned().await
    }

    fn of(&self, place: String) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&place).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(place, Arc::downgrade(&turn));
        turn
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_place_has_one_turn_and_is_forgotten_after_it() {
        let turns = Turns::default();
        for number in 0..100 {
            drop(turns.take(number.to_string()).await);
        }
        let first = turns.take("a".to_owned()).await;
        assert!(turns.take("a".to_owned()).now_or_never().is_none());
        assert!(turns.take("b".to_owned()).now_or_never().is_some());
        assert!(turns.0.lock().unwrap().len() <= 2);
        drop(first);
        assert!(turns.take("a".to_owned()).now_or_never().is_some());
    }
}
