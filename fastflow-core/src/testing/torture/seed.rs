//! Chance that can be repeated.

use std::time::Duration;

use super::variable;
use crate::{Entropy as _, OsEntropy};

/// Numbers that look random and follow from a seed: splitmix64.
///
/// ```
/// use fastflow_core::testing::torture::Chance;
///
/// assert_eq!(Chance::new(7).below(100), Chance::new(7).below(100));
/// ```
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A time whose logarithm is evenly spread: early moments are as likely as late ones.
    pub fn moment(&mut self, from: Duration, to: Duration) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "any fraction will do")]
        let fraction = self.next() as f64 / u64::MAX as f64;
        from.mul_f64((to.as_secs_f64() / from.as_secs_f64()).powf(fraction))
    }
}

/// The seed of this run of the test: given as `FASTFLOW_SEED`, or new and printed.
#[expect(clippy::print_stdout, reason = "who wants to repeat a failure needs it")]
pub fn seed() -> u64 {
    let seed = variable("FASTFLOW_SEED").map_or_else(fresh, |text| text.parse().unwrap());
    println!("FASTFLOW_SEED={seed}");
    seed
}

fn fresh() -> u64 {
    let mut bytes = [0; 4];
    OsEntropy.fill(&mut bytes);
    u32::from_be_bytes(bytes).into()
}
