//! Random numbers, by seed.

use oorandom::Rand64;

/// Draws that follow from a seed. PCG, whose sequence is part of its definition.
#[derive(Debug)]
pub(crate) struct Draw {
    random: Rand64,
    has_flaws: bool,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Rand64::new(u128::from(seed) ^ 0x706f_646c_6564_6765_7200),
            has_flaws: true,
        }
    }

    /// As [`Draw::new`], where nothing goes wrong unless `has_flaws`.
    pub(crate) fn with_flaws(seed: u64, has_flaws: bool) -> Self {
        Self {
            has_flaws,
            ..Self::new(seed)
        }
    }

    /// A number of `[least, most]`.
    pub(crate) fn between(&mut self, least: i64, most: i64) -> i64 {
        let span = u64::try_from(most - least).unwrap_or(0) + 1;
        least + i64::try_from(self.random.rand_range(0..span)).unwrap_or(0)
    }

    /// Whether something that happens so often in a thousand happens now.
    pub(crate) fn permille(&mut self, often: i64) -> bool {
        self.between(1, 1000) <= often
    }

    /// Whether something goes wrong that does so often in a thousand; never where nothing does.
    pub(crate) fn flaw(&mut self, often: i64) -> bool {
        self.permille(often) && self.has_flaws
    }

    /// A value of a distribution given by its quantiles: (permille, value), both rising, from 0 to 1000; straight between.
    pub(crate) fn quantile(&mut self, quantiles: &[(i64, i64)]) -> i64 {
        let at = self.between(0, 1000);
        for pair in quantiles.windows(2) {
            if let [(from, low), (to, high)] = pair
                && at <= *to
            {
                return low + (high - low) * (at - from) / (to - from).max(1);
            }
        }
        quantiles.last().map_or(0, |(_, value)| *value)
    }

    /// So many letters and digits of those that Kubernetes puts behind generated names.
    pub(crate) fn suffix(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        (0..length)
            .map(|_| {
                let number = self.between(0, LETTERS.len() as i64 - 1);
                char::from(LETTERS[usize::try_from(number).unwrap_or(0)])
            })
            .collect()
    }

    /// A UID.
    pub(crate) fn uid(&mut self) -> String {
        let (high, low) = (self.random.rand_u64(), self.random.rand_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }
}
