//! Shows the beginning and the end of what is too long to be read.

use std::collections::VecDeque;

/// Chooses the lines of one log that are shown: the first ones at once, and the last ones at its end.
#[derive(Debug)]
pub(crate) struct Excerpt<T> {
    first: usize,
    last: usize,
    held_back: VecDeque<T>,
    left_out: u64,
}

impl<T> Excerpt<T> {
    /// Shows `max` lines, most of them from the beginning.
    pub(crate) fn new(max: usize) -> Self {
        let last = max / 4;
        Self { first: max - last, last, held_back: VecDeque::new(), left_out: 0 }
    }

    /// Gives the line back if it is to be shown now.
    pub(crate) fn push(&mut self, line: T) -> Option<T> {
        if self.first > 0 {
            self.first -= 1;
            return Some(line);
        }
        self.held_back.push_back(line);
        if self.held_back.len() > self.last {
            self.held_back.pop_front();
            self.left_out += 1;
        }
        None
    }

    /// How many lines are not shown, and the lines after them.
    pub(crate) fn finish(&mut self) -> (u64, VecDeque<T>) {
        (std::mem::take(&mut self.left_out), std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_both_ends_and_says_what_is_missing() {
        for (max, lines, shown_now, left_out, shown_later) in [
            (8, 100, vec![0, 1, 2, 3, 4, 5], 92, vec![98, 99]),
            (8, 8, vec![0, 1, 2, 3, 4, 5], 0, vec![6, 7]),
            (8, 9, vec![0, 1, 2, 3, 4, 5], 1, vec![7, 8]),
            (8, 2, vec![0, 1], 0, vec![]),
            (0, 3, vec![], 3, vec![]),
            (1, 3, vec![0], 2, vec![]),
        ] {
            let mut excerpt = Excerpt::new(max);
            let now: Vec<_> = (0..lines).filter_map(|line| excerpt.push(line)).collect();
            let (missing, later) = excerpt.finish();
            assert_eq!(
                (now, missing, later.into_iter().collect::<Vec<_>>()),
                (shown_now, left_out, shown_later)
            );
        }
    }

    #[test]
    fn everything_is_shown_without_a_limit() {
        let mut excerpt = Excerpt::new(usize::MAX);
        assert!((0..10_000).all(|line| excerpt.push(line) == Some(line)));
        assert_eq!(excerpt.finish(), (0, VecDeque::new()));
    }
}
