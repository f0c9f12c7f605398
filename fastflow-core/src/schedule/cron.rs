//! What a cron expression means: the local times it names, and its instants in a zone.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds as SecondsField, Year};
use jiff::tz::TimeZone;

use super::walk::Walk;
use crate::{
    Error, ErrorKind, Result, Timestamp,
    pipeline::{CronText, DaylightPolicy, FoldRule, GapRule},
};

/// A cron expression that is understood, and names at least one local time.
///
/// What it may consist of is croner's, in local time alone: 5 fields, or 6 with the seconds first; names, ranges,
/// steps and lists; `L`, `W` and `#`; 0 and 7 for Sunday; nicknames. As in cron(8), a day matches when its day of the
/// month or its day of the week does; when one of these two fields begins with `*` or `?`, both must.
///
/// ```
/// use fastflow_core::{pipeline::DaylightPolicy, schedule::Cron};
///
/// let berlin = fastflow_core::schedule::find_zone(&"Europe/Berlin".parse().unwrap()).unwrap();
/// let cron: Cron = "30 2 * * *".parse().unwrap();
/// let evening = "2026-03-28T20:00:00Z".parse().unwrap();
/// // On 29 March there is no half past two: it runs when the clock has gone forward to three.
/// let next = cron.next_after(evening, &berlin, DaylightPolicy::default()).unwrap();
/// assert_eq!(next.to_string(), "2026-03-29T01:00:00Z");
/// ```
#[derive(Clone, Debug)]
pub struct Cron {
    text: CronText,
    pattern: croner::Cron,
    wildcard: bool,
}

impl Cron {
    /// The meaning of `text`.
    ///
    /// # Errors
    ///
    /// `Invalid` when it is not a cron expression or never matches. No [`CronText`] is so.
    pub fn new(text: &CronText) -> Result<Self> {
        let (pattern, wildcard) = read(text.as_str())?;
        Ok(Self { text: text.clone(), pattern, wildcard })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &CronText {
        &self.text
    }

    /// Whether its minutes or its hours begin with `*`, which decides what it does by default at local times that do
    /// not exist, or exist twice.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// What `policy` comes to for this expression: what it leaves open follows cron(8).
    pub fn daylight(&self, policy: DaylightPolicy) -> (GapRule, FoldRule) {
        let (gap, fold) =
            if self.wildcard { (GapRule::Skip, FoldRule::Both) } else { (GapRule::Shift, FoldRule::First) };
        (policy.gap.unwrap_or(gap), policy.fold.unwrap_or(fold))
    }

    /// The first instant after `after`, and not at it, when its local times are read in `zone`: always a whole second,
    /// and between the years 1 and 4999. `None` where the next 400 years, after which the calendar repeats, have none.
    pub fn next_after(
        &self,
        after: Timestamp,
        zone: &TimeZone,
        daylight: DaylightPolicy,
    ) -> Option<Timestamp> {
        let (gap, fold) = self.daylight(daylight);
        Walk { local: |from| self.next_local(from), zone, gap, fold }.next_after(after)
    }

    /// When it is due, in words, by the local clock and without what a zone does to it.
    ///
    /// ```
    /// let cron: fastflow_core::schedule::Cron = "30 2 * * MON-TUE".parse().unwrap();
    /// assert_eq!(cron.describe(), "At 02:30, on Monday and Tuesday.");
    /// ```
    pub fn describe(&self) -> String {
        let words = self.pattern.pattern.describe();
        // croner forgets the weekday here.
        let last_weekday = self.fields()[3].to_ascii_uppercase().split(',').any(|part| part == "LW");
        if last_weekday { words.replace("last day of the month", "last weekday of the month") } else { words }
    }

    /// From the seconds to the day of the week, as they were written, or as the nickname has them.
    pub(super) fn fields(&self) -> [&str; 6] {
        fields(self.text.as_str()).unwrap_or(["*"; 6])
    }

    /// The plain numbers of the days of the month and of the months, and whether there are days of other kinds.
    pub(super) fn days_and_months(&self) -> (Vec<u16>, Vec<u16>, bool) {
        let pattern = &self.pattern.pattern;
        (pattern.days.values(), pattern.months.values(), pattern.days.has_modifiers())
    }

    /// The last local time before `to` that it names, both in seconds since 1970 began on the local clock.
    pub(super) fn last_local(&self, to: i64) -> Option<i64> {
        let to = DateTime::<Utc>::from_timestamp(to, 0)?;
        self.pattern.find_previous_occurrence(&to, false).ok().map(|last| last.timestamp())
    }

    /// The first local time from `from` on that it names, both in seconds since 1970 began on the local clock.
    pub(super) fn next_local(&self, from: i64) -> Option<i64> {
        next_local(&self.pattern, from)
    }
}

impl FromStr for Cron {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(&text.parse()?)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text.as_str())
    }
}

/// Refuses what is not a cron expression, or never matches.
pub(crate) fn check(text: &str) -> Result<()> {
    read(text).map(|_| ())
}

/// croner reads and searches in a calendar without transitions, for which chrono's UTC stands in. What a zone does to
/// it is decided in `walk.rs`.
fn next_local(pattern: &croner::Cron, from: i64) -> Option<i64> {
    let from = DateTime::<Utc>::from_timestamp(from, 0)?;
    pattern.find_next_occurrence(&from, true).ok().map(|next| next.timestamp())
}

/// The year 4600 on the local clock, in seconds since 1970. croner looks no further than to the year 5000, and the
/// calendar repeats after 400 years, so what does not match from here on never does.
const LAST_CYCLE: i64 = 82_994_803_200;

/// One of the fields: what it is called in messages, and what it may consist of.
struct FieldKind {
    name: &'static str,
    allowed: &'static str,
    names: &'static [&'static str],
    modifiers: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// In the order of an expression with 6 fields.
const FIELDS: [FieldKind; 6] = [
    FieldKind { name: "second", allowed: "seconds from 0 to 59", names: &[], modifiers: &[] },
    FieldKind { name: "minute", allowed: "minutes from 0 to 59", names: &[], modifiers: &[] },
    FieldKind { name: "hour", allowed: "hours from 0 to 23", names: &[], modifiers: &[] },
    FieldKind {
        name: "day of month",
        allowed: "days of the month from 1 to 31, `L` for the last, or `15W` for the weekday nearest to the 15th",
        names: &[],
        modifiers: &["L", "W", "LW"],
    },
    FieldKind {
        name: "month",
        allowed: "months from 1 to 12, or names from JAN to DEC",
        names: &MONTHS,
        modifiers: &[],
    },
    FieldKind {
        name: "day of week",
        allowed: "days of the week from 0 to 7, or names from SUN to SAT; `5L` for the month's last Friday, `1#2` for \
                  its second Monday",
        names: &DAYS,
        modifiers: &["L"],
    },
];

const HOW: &str = "alone, as a list (`1,2`), as a range (`1-5`), or `*`, with a step (`*/5`, `1-31/5`)";

/// The expression that a nickname stands for.
fn plain(text: &str) -> &str {
    match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        text => text,
    }
}

/// From the seconds to the day of the week.
fn fields(text: &str) -> Option<[&str; 6]> {
    let mut fields: Vec<&str> = plain(text).split_whitespace().collect();
    if fields.len() == 5 {
        fields.insert(0, "0");
    }
    fields.try_into().ok()
}

/// The pattern, and whether it is a wildcard.
fn read(text: &str) -> Result<(croner::Cron, bool)> {
    let wrong = |message: &'static str| {
        Error::new(ErrorKind::Invalid, message)
            .with("found", text.escape_debug().take(80).collect::<String>())
    };
    if text.starts_with('@') && plain(text) == text {
        let expected = "@hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually";
        return Err(wrong("not a nickname of a cron expression").with("expected", expected));
    }
    let Some(fields) = fields(text) else {
        return Err(wrong("not a cron expression").with("expected", CronText::EXPECTED));
    };
    let well_formed = fields.iter().zip(&FIELDS).all(|(field, kind)| is_well_formed(field, kind));
    let Some(pattern) = parse(&fields).filter(|_| well_formed) else {
        let error = wrong("not a cron expression");
        return Err(match wrong_field(&fields) {
            Some((field, kind)) => error
                .with("field", format!("{} `{field}`", kind.name))
                .with("expected", format!("{}; {HOW}", kind.allowed)),
            None => error.with("expected", CronText::EXPECTED),
        });
    };
    if next_local(&pattern, LAST_CYCLE).is_none() {
        return Err(wrong("a cron expression that never matches")
            .with("expected", "days that the months have, such as no 30 February"));
    }
    let wildcard = fields[1].starts_with('*') || fields[2].starts_with('*');
    Ok((pattern, wildcard))
}

/// The first field that cannot be read. croner does not say which it is, so each is tried among fields that are right.
fn wrong_field<'a>(fields: &[&'a str; 6]) -> Option<(&'a str, &'static FieldKind)> {
    let mut kinds = fields.iter().zip(&FIELDS).zip(0..);
    kinds.find_map(|((field, kind), position)| {
        let mut alone = ["*"; 6];
        alone[position] = field;
        let good = is_well_formed(field, kind) && parse(&alone).is_some();
        (!good).then_some((*field, kind))
    })
}

fn parse(fields: &[&str; 6]) -> Option<croner::Cron> {
    // cron(8) asks whether a field begins with a star, where croner asks whether it is nothing but one.
    let open = |field: &str| field.starts_with(['*', '?']);
    let parser = CronParser::builder()
        .seconds(SecondsField::Required)
        .year(Year::Disallowed)
        .dom_and_dow(open(fields[3]) || open(fields[5]))
        .build();
    parser.parse(&fields.join(" ")).ok()
}

/// croner leaves out what is empty in a list, to the point of a field that matches nothing, and replaces names by
/// numbers wherever they stand, so that `JANFEB` would be the twelfth month.
fn is_well_formed(field: &str, kind: &FieldKind) -> bool {
    if field.split(',').any(str::is_empty) {
        return false;
    }
    let known = |name: &str| kind.names.iter().any(|known| known.eq_ignore_ascii_case(name));
    field.split(|c: char| !c.is_ascii_alphanumeric()).filter(|token| !token.is_empty()).all(|token| {
        let letters = token.trim_start_matches(|c: char| c.is_ascii_digit());
        let numbered = letters.len() < token.len();
        if letters.is_empty() || (!numbered && known(token)) {
            return true;
        }
        // A modifier of a day of the week is nothing without the day.
        let is_day_of_week = kind.names.len() == DAYS.len();
        let named = is_day_of_week && letters.len() > 1 && token.strip_suffix(['L', 'l']).is_some_and(known);
        let modifies = kind.modifiers.iter().any(|modifier| modifier.eq_ignore_ascii_case(letters));
        named || (modifies && (numbered || !is_day_of_week))
    })
}
