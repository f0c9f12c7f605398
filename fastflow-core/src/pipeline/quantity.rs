//! Amounts of memory and of processor time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// An amount of memory or disk, in bytes.
///
/// Written as a number of bytes or with a unit: `k`, `m`, `g` or `t`, in either case, alone or followed by `b`,
/// `i` or `ib`. All of them count by 1,024, as Docker does: `1.5g`, `1.5GB` and `1.5GiB` are the same amount.
///
/// ```
/// use fastflow_core::pipeline::ByteSize;
///
/// assert_eq!("512m".parse::<ByteSize>().unwrap(), ByteSize(512 << 20));
/// assert_eq!("1.5g".parse::<ByteSize>().unwrap(), "1536Mi".parse().unwrap());
/// assert_eq!(ByteSize(1536 << 20).to_string(), "1536Mi");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The largest amount: what a signed 64-bit number holds, because kernels and databases count so.
    pub const MAX: Self = Self(i64::MAX.unsigned_abs());
    /// What [`FromStr`] accepts, in words.
    pub const EXPECTED: &'static str = "bytes as a whole number, or a number with the unit k, m, g or t (counted \
                                        by 1024), such as \"512m\", \"1.5g\", \"2GB\" or \"512Mi\"";
    const MAX_FRACTION_DIGITS: usize = 9;

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "ki" | "kib" => 10,
            "m" | "mb" | "mi" | "mib" => 20,
            "g" | "gb" | "gi" | "gib" => 30,
            "t" | "tb" | "ti" | "tib" => 40,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
        let whole: u64 = whole.parse().ok()?;
        let mut bytes = u128::from(whole) << shift;
        if let Some(digits) = fraction {
            if digits.len() > Self::MAX_FRACTION_DIGITS || shift == 0 {
                return None;
            }
            let part: u64 = digits.parse().ok()?;
            bytes += (u128::from(part) << shift) / 10_u128.pow(u32::try_from(digits.len()).ok()?);
        }
        u64::try_from(bytes).ok().map(Self).filter(|size| *size <= Self::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::read(text).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "not a byte size")
                .with("found", text.escape_debug().take(80).collect::<String>())
                .with("expected", Self::EXPECTED)
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")]
            .into_iter()
            .find(|(shift, _)| self.0 != 0 && self.0.trailing_zeros() >= *shift)
            .unwrap_or((0, ""));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

/// Processor time per time, in thousandths of one core: 1,500 is one core and a half.
///
/// ```
/// use fastflow_core::pipeline::CpuMillis;
///
/// assert_eq!(CpuMillis::from_cores(0.5), Some(CpuMillis(500)));
/// assert_eq!(CpuMillis(1500).to_string(), "1.5");
/// assert_eq!(CpuMillis::from_cores(0.0), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuMillis(pub u32);

impl CpuMillis {
    /// The least that engines keep: a hundredth of a core.
    pub const MIN: Self = Self(10);
    /// More cores than a machine has: 10,000.
    pub const MAX: Self = Self(10_000_000);

    /// The nearest thousandth; `None` outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub fn from_cores(cores: f64) -> Option<Self> {
        let millis = (cores * 1000.0).round();
        if !(f64::from(Self::MIN.0)..=f64::from(Self::MAX.0)).contains(&millis) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range: checked above"
        )]
        Some(Self(millis as u32))
    }

    /// The number of cores.
    pub fn cores(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for CpuMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cores())
    }
}
