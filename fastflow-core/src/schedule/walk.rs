//! From local times to instants: a walk along the stretches in which a zone's offset stays the same.
//!
//! Within a stretch, local time is the instant plus the offset, so a local time that the pattern names is one instant.
//! Between two stretches the local clock leaves times out (a gap) or shows times again (a fold):
//!
//! - A local time that is in no stretch is fired at the beginning of the stretch before which it was left out, or not.
//! - A local time that is in several stretches is fired in the first, in the last, or in each.
//!
//! The walk goes forward only, so what it yields is increasing whatever the zone does, and it may step over any number
//! of stretches with one search for a local time.

use jiff::tz::TimeZone;

use crate::{
    Timestamp,
    pipeline::{FoldRule, GapRule},
};

/// No offset is further from UTC than this, in seconds: what jiff allows. So a local time can only be shown within this
/// time of the instant that would be it in UTC.
const REACH: i64 = 26 * 60 * 60;
/// The calendar repeats after 400 years; in seconds.
const CYCLE: i64 = 146_097 * 24 * 60 * 60;
/// croner knows years from 1 on: the second day of year 1, so that an offset does not lead out of it.
const EARLIEST: i64 = -62_135_510_400;

/// Local times, and how they become instants. All numbers are seconds: instants since 1970 in UTC, local times since
/// 1970 on the local clock.
pub(super) struct Walk<'a, F> {
    /// The first local time at or after one that is named.
    pub(super) local: F,
    pub(super) zone: &'a TimeZone,
    pub(super) gap: GapRule,
    pub(super) fold: FoldRule,
}

impl<F: Fn(i64) -> Option<i64>> Walk<'_, F> {
    /// The first instant after `after`.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let first = (whole_second(after) + 1).max(EARLIEST);
        Timestamp::from_second(self.next_from(first)?).ok()
    }

    fn next_from(&self, first: i64) -> Option<i64> {
        let mut search = Search { local: &self.local, from: i64::MAX, to: i64::MAX };
        let mut stretch = Stretch::at(self.zone, first);
        let mut position = first;
        while position <= first.saturating_add(CYCLE) {
            if position == stretch.start && self.gap == GapRule::Shift && self.left_out(&mut search, stretch)
            {
                return Some(position);
            }
            let local = search.next(position + stretch.offset)?;
            if local < stretch.local_end() {
                match self.passed_over_until(stretch, local) {
                    None => return Some(local - stretch.offset),
                    Some(end) => position = end - stretch.offset,
                }
            } else {
                position = stretch.end;
            }
            if position >= stretch.end {
                position = stretch.end;
                stretch = stretch.following(self.zone)?;
            }
        }
        None
    }

    /// Whether a local time is named that the clock left out as `stretch` began, and that it shows at no other time.
    fn left_out(&self, search: &mut Search<'_, F>, stretch: Stretch) -> bool {
        let Some(before) = stretch.preceding(self.zone) else { return false };
        let mut from = before.local_end();
        while from < stretch.local_start() {
            match search.next(from).filter(|local| *local < stretch.local_start()) {
                None => return false,
                Some(local) => match self.other(stretch, local, Side::Either) {
                    None => return true,
                    Some(other) => from = other.local_end(),
                },
            }
        }
        false
    }

    /// The local time until which `stretch` fires nothing, when `local` is left to another stretch.
    fn passed_over_until(&self, stretch: Stretch, local: i64) -> Option<i64> {
        let side = match self.fold {
            FoldRule::Both => return None,
            FoldRule::First => Side::Earlier,
            FoldRule::Last => Side::Later,
        };
        self.other(stretch, local, side).map(Stretch::local_end)
    }

    /// Another stretch that shows the same local time.
    fn other(&self, stretch: Stretch, local: i64, side: Side) -> Option<Stretch> {
        let mut earlier = (side != Side::Later).then_some(stretch);
        while let Some(this) = earlier.filter(|this| this.start > local - REACH) {
            earlier = this.preceding(self.zone);
            if let Some(found) = earlier.filter(|found| found.shows(local)) {
                return Some(found);
            }
        }
        let mut later = (side != Side::Earlier).then_some(stretch);
        while let Some(this) = later.filter(|this| this.end < local + REACH) {
            later = this.following(self.zone);
            if let Some(found) = later.filter(|found| found.shows(local)) {
                return Some(found);
            }
        }
        None
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Side {
    Earlier,
    Later,
    Either,
}

/// The latest answer to a search for a local time, which often answers the next one, too.
struct Search<'a, F> {
    local: &'a F,
    from: i64,
    to: i64,
}

impl<F: Fn(i64) -> Option<i64>> Search<'_, F> {
    fn next(&mut self, from: i64) -> Option<i64> {
        if !(self.from..=self.to).contains(&from) || self.to == i64::MAX {
            self.to = (self.local)(from)?;
            self.from = from;
        }
        Some(self.to)
    }
}

/// A longest time between two transitions: its offset stays the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stretch {
    /// The instant at which it begins.
    pub(super) start: i64,
    /// The first instant after it.
    pub(super) end: i64,
    /// Local time minus UTC.
    pub(super) offset: i64,
}

impl Stretch {
    /// No transition, long before and after every instant that there is, with room for an offset.
    const FOREVER: i64 = i64::MAX / 4;

    /// The one that `instant` is in.
    pub(super) fn at(zone: &TimeZone, instant: i64) -> Self {
        let start = zone.preceding(clamped(instant + 1)).next();
        let offset = zone.to_offset(clamped(instant));
        Self {
            start: start.map_or(-Self::FOREVER, |transition| transition.timestamp().as_second()),
            end: Self::end_after(zone, instant),
            offset: offset.seconds().into(),
        }
    }

    /// The one after it.
    pub(super) fn following(self, zone: &TimeZone) -> Option<Self> {
        (self.end < Self::FOREVER).then(|| Self {
            start: self.end,
            end: Self::end_after(zone, self.end),
            offset: zone.to_offset(clamped(self.end)).seconds().into(),
        })
    }

    /// The one before it.
    pub(super) fn preceding(self, zone: &TimeZone) -> Option<Self> {
        (self.start > -Self::FOREVER).then(|| Self { end: self.start, ..Self::at(zone, self.start - 1) })
    }

    fn end_after(zone: &TimeZone, instant: i64) -> i64 {
        let end = zone.following(clamped(instant)).next();
        end.map_or(Self::FOREVER, |transition| transition.timestamp().as_second())
    }

    /// The local time at which it begins.
    pub(super) fn local_start(self) -> i64 {
        self.start + self.offset
    }

    /// The first local time after it, as it would be without the transition.
    pub(super) fn local_end(self) -> i64 {
        self.end + self.offset
    }

    fn shows(self, local: i64) -> bool {
        (self.local_start()..self.local_end()).contains(&local)
    }
}

/// The second in which an instant is. jiff counts the fractions before 1970 downwards.
pub(super) fn whole_second(instant: Timestamp) -> i64 {
    instant.as_second() - i64::from(instant.subsec_nanosecond() < 0)
}

/// The instant, or the nearest there is.
fn clamped(instant: i64) -> Timestamp {
    let nearest = if instant < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(instant).unwrap_or(nearest)
}
