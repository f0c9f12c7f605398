//! What an expression says that its author may not have meant.

use std::fmt;

use super::Cron;

/// Something about an expression that often is a mistake, and never an error.
///
/// ```
/// use fastflow_core::schedule::{Cron, CronWarning};
///
/// let cron: Cron = "* 5 * * *".parse().unwrap();
/// assert_eq!(cron.warnings(), [CronWarning::EveryMinuteOfHours]);
/// assert!("0 5 * * *".parse::<Cron>().unwrap().warnings().is_empty());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CronWarning {
    /// With 6 fields, the first of which is `*`.
    EverySecond,
    /// The minutes are `*` and the hours are not.
    EveryMinuteOfHours,
    /// A step that does not divide its field evenly, so that the last distance is a shorter one.
    UnevenStep {
        /// The step.
        step: u16,
        /// How many values its field has.
        of: u16,
    },
    /// A step as long as its field or longer, which leaves one value.
    StepTooLong {
        /// The step.
        step: u16,
        /// How many values its field has.
        of: u16,
    },
    /// A step in the days of the month, which begins again with each month.
    StepOverMonths,
    /// Days of the month and days of the week, of which one is enough.
    EitherDay,
    /// Days of the month and days of the week, both of which must match, because one of the fields begins with `*`.
    BothDays,
    /// Only on 29 February.
    LeapDay,
    /// Its first day of the month is one that some of its months do not have.
    ShortMonths {
        /// The day.
        day: u16,
    },
}

impl fmt::Display for CronWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EverySecond => {
                f.write_str("the first of 6 fields is the seconds: it runs 60 times a minute")
            }
            Self::EveryMinuteOfHours => {
                f.write_str("minutes `*` run 60 times in each of the hours: `0` would run once")
            }
            Self::UnevenStep { step, of } => {
                write!(f, "`*/{step}` does not divide {of}: the last distance is only {}", of % step)
            }
            Self::StepTooLong { step, of } => write!(f, "`*/{step}` of {of} is the first value and no other"),
            Self::StepOverMonths => {
                f.write_str("a step in the days begins again on the 1st of each month, whatever came before")
            }
            Self::EitherDay => {
                f.write_str("a day of the month and a day of the week: it runs when either of them matches")
            }
            Self::BothDays => f.write_str(
                "a day field that begins with `*` beside the other one: it runs only when both of them match",
            ),
            Self::LeapDay => f.write_str("29 February: it runs once in four years"),
            Self::ShortMonths { day } => write!(f, "not every one of its months has a day {day}"),
        }
    }
}

impl Cron {
    /// What its author may not have meant, in the order of the fields.
    pub fn warnings(&self) -> Vec<CronWarning> {
        let fields = self.fields();
        let [second, minute, hour, day, _, weekday] = fields;
        let mut warnings = Vec::new();
        if second == "*" {
            warnings.push(CronWarning::EverySecond);
        }
        if minute == "*" && !hour.starts_with('*') {
            warnings.push(CronWarning::EveryMinuteOfHours);
        }
        for (field, of) in [(second, 60), (minute, 60), (hour, 24)] {
            match step(field) {
                Some(step) if step >= of => warnings.push(CronWarning::StepTooLong { step, of }),
                Some(step) if of % step != 0 => warnings.push(CronWarning::UnevenStep { step, of }),
                Some(_) | None => {}
            }
        }
        if step(day).is_some_and(|step| step > 1) {
            warnings.push(CronWarning::StepOverMonths);
        }
        warnings.extend(days_together(day, weekday));
        warnings.extend(self.missing_day(weekday));
        warnings
    }

    /// Days at the ends of months, where no day of the week takes their place.
    fn missing_day(&self, weekday: &str) -> Option<CronWarning> {
        let (days, months, others) = self.days_and_months();
        let day = *days.first().filter(|_| !others && weekday.starts_with(['*', '?']))?;
        let length = |month: &u16| match month {
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if months == [2] && day == 29 {
            return Some(CronWarning::LeapDay);
        }
        months.iter().any(|month| length(month) < day).then_some(CronWarning::ShortMonths { day })
    }
}

/// The step of a field that is nothing but `*` and a step.
fn step(field: &str) -> Option<u16> {
    field.strip_prefix("*/")?.parse().ok()
}

fn days_together(day: &str, weekday: &str) -> Option<CronWarning> {
    let any = |field: &str| field == "*" || field == "?";
    let open = |field: &str| field.starts_with(['*', '?']);
    if any(day) || any(weekday) {
        return None;
    }
    Some(if open(day) || open(weekday) { CronWarning::BothDays } else { CronWarning::EitherDay })
}
