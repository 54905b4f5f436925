//! Seeded chance: one generator per thread and per endpoint, so that no two share state.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
pub(super) struct Chance(u64);

impl Chance {
    /// The generator of one `stream` of a seed.
    pub(super) const fn new(seed: u64, stream: u64) -> Self {
        let mut chance = Self(seed ^ stream.wrapping_mul(0xD134_2543_DE82_EF95));
        let first = chance.next();
        Self(first ^ seed)
    }

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not zero.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        let high = self.next() >> 32;
        let scaled = high.wrapping_mul(u64::from(limit)) >> 32;
        u32::try_from(scaled).unwrap_or_default()
    }

    /// Whether an event of this probability happens.
    pub(super) fn percent(&mut self, probability: u32) -> bool {
        self.below(100) < probability
    }

    /// One of `from`, or what `T` has for nothing.
    pub(super) fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let count = u32::try_from(from.len()).unwrap_or(u32::MAX).max(1);
        let index = self.below(count) as usize;
        from.get(index).copied().unwrap_or_default()
    }
}
