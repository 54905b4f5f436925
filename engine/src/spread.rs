//! Index arithmetic of the registry: linear hashing, segmented tables and never-reused ids.
//!
//! Both tables grow without moving an element: bucket or slot `n` lives in the segment that [`place`] names, and
//! each segment is as large as all before it.

/// log2 of the size of the first segment.
const FIRST_SEGMENT_BITS: u32 = 4;
/// Segments that a table can have; with 26 of them it holds more than there are 32-bit indices of use.
pub const SEGMENTS: usize = 26;

/// Where element `index` lives: segment and offset.
#[must_use]
pub const fn place(index: u32) -> (u32, u32) {
    if index >> FIRST_SEGMENT_BITS == 0 {
        return (0, index);
    }
    // A later segment begins at its own length: at a power of two.
    let highest = index.ilog2();
    let segment = highest.saturating_sub(FIRST_SEGMENT_BITS).saturating_add(1);
    (segment, index & !1_u32.unbounded_shl(highest))
}

/// How many elements segment `segment` has.
#[must_use]
pub const fn segment_length(segment: u32) -> u32 {
    let bits = match segment {
        0 => FIRST_SEGMENT_BITS,
        _ => FIRST_SEGMENT_BITS.saturating_add(segment).saturating_sub(1),
    };
    1_u32.unbounded_shl(bits)
}

/// Mixes an address; the low bits of the result are good.
#[must_use]
pub const fn hash(address: usize) -> u32 {
    // Fibonacci hashing: the upper half of the product depends on every bit of the address.
    ((address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

/// The bucket of a hash in a linear-hashing table of `buckets` buckets (at least one).
#[must_use]
pub const fn bucket(hash: u32, buckets: u32) -> u32 {
    let whole = hash & mask(buckets);
    if whole < buckets {
        whole
    } else {
        whole & (mask(buckets) >> 1)
    }
}

/// The bucket that is split when the table grows from `buckets` to one more.
#[must_use]
pub const fn split_source(buckets: u32) -> u32 {
    buckets & (mask(buckets.saturating_add(1)) >> 1)
}

/// All ones up to the highest bit that an index below `buckets` has, and at least one.
const fn mask(buckets: u32) -> u32 {
    u32::MAX.unbounded_shr((buckets.saturating_sub(1) | 1).leading_zeros())
}

/// Shards of each table; a power of two.
pub const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 4;

const _: () = assert!(usize::BITS == 64, "ids are pointer-sized tokens of 64 bits");

/// An id of the form {generation, index, shard}: never zero, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(usize);

impl Id {
    /// The id of slot `index` (below 2^28) of a shard, in its `generation`-th use.
    #[must_use]
    pub const fn new(shard: usize, index: u32, generation: u32) -> Self {
        let slot = ((index as usize) << SHARD_BITS) | (shard & (SHARDS - 1));
        Self(((generation as usize) << u32::BITS) | (slot & u32::MAX as usize))
    }

    /// Reads an id that a transport handed back.
    #[must_use]
    pub const fn from_raw(raw: usize) -> Self {
        Self(raw)
    }

    /// The id as a pointer-sized token.
    #[must_use]
    pub const fn raw(self) -> usize {
        self.0
    }

    /// The shard.
    #[must_use]
    pub const fn shard(self) -> usize {
        self.0 & (SHARDS - 1)
    }

    /// The slot's index in its shard.
    #[must_use]
    pub const fn index(self) -> u32 {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) >> SHARD_BITS
    }

    /// The slot's generation; a used slot's is never zero.
    #[must_use]
    pub const fn generation(self) -> u32 {
        let [_, _, _, _, a, b, c, d] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_index_has_a_place_of_its_own() {
        let mut seen = HashSet::new();
        for index in 0..100_000 {
            let (segment, offset) = place(index);
            assert!(offset < segment_length(segment), "index {index}");
            assert!(seen.insert((segment, offset)), "index {index}");
        }
        assert!((place((1 << 28) - 1).0 as usize) < SEGMENTS);
    }

    #[test]
    fn growth_moves_elements_only_out_of_the_split_bucket() {
        let hashes: Vec<u32> = (0..5_000).map(|n| hash(0x7000_0000 + n * 64)).collect();
        for buckets in 1..600 {
            let source = split_source(buckets);
            for &hash in &hashes {
                let (before, after) = (bucket(hash, buckets), bucket(hash, buckets + 1));
                assert!(before < buckets);
                assert!(
                    after == before || (before == source && after == buckets),
                    "{buckets}"
                );
            }
        }
    }

    #[test]
    fn neighbours_spread() {
        let mut fill = [0_u32; 1024];
        for n in 0..4096 {
            fill[bucket(hash(0x6000_0000_0000 + n * 64), 1024) as usize] += 1;
        }
        assert!(fill.iter().all(|&count| count < 32));
    }

    #[test]
    fn ids_come_back_as_they_went() {
        let id = Id::new(7, 123_456, 9);
        let back = Id::from_raw(id.raw());
        assert_eq!(
            (back.shard(), back.index(), back.generation()),
            (7, 123_456, 9)
        );
        assert_ne!(Id::new(7, 123_456, 10), id);
    }
}
