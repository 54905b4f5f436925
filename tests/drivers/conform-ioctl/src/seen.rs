//! What a vector's client was told, in short: enough to see that two kernels told it the same.

/// The callbacks of a vector in their order, and the bytes that came with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Number of callbacks.
    pub callbacks: u32,
    /// Number of bytes taken from indications.
    pub bytes: u32,
    /// Hash of the callbacks' kinds, statuses and values, in order.
    pub order: u64,
    /// Hash of the bytes, in order.
    pub data: u64,
}

/// FNV-1a.
const BASIS: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01B3;

const fn mixed(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(PRIME)
}

impl Seen {
    /// Encoded size.
    pub const SIZE: usize = 24;

    /// Nothing yet.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            callbacks: 0,
            bytes: 0,
            order: BASIS,
            data: BASIS,
        }
    }

    /// Notes a callback: its kind, a status and a value that it came with.
    pub fn callback(&mut self, kind: u8, status: i32, value: u32) {
        self.callbacks = self.callbacks.saturating_add(1);
        self.order = mixed(self.order, kind);
        for byte in status.to_le_bytes().into_iter().chain(value.to_le_bytes()) {
            self.order = mixed(self.order, byte);
        }
    }

    /// Notes a byte that the client took.
    pub fn byte(&mut self, byte: u8) {
        self.bytes = self.bytes.saturating_add(1);
        self.data = mixed(self.data, byte);
    }

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        crate::put(&mut out, 0, &self.callbacks.to_le_bytes());
        crate::put(&mut out, 4, &self.bytes.to_le_bytes());
        crate::put(&mut out, 8, &self.order.to_le_bytes());
        crate::put(&mut out, 16, &self.data.to_le_bytes());
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let hash = |at: usize| {
            bytes
                .get(at..)?
                .first_chunk()
                .copied()
                .map(u64::from_le_bytes)
        };
        Some(Self {
            callbacks: crate::u32_at(bytes, 0)?,
            bytes: crate::u32_at(bytes, 4)?,
            order: hash(8)?,
            data: hash(16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_contents_count() {
        let told = |calls: &[(u8, i32, u32)]| {
            let mut seen = Seen::nothing();
            for (kind, status, value) in calls {
                seen.callback(*kind, *status, *value);
            }
            seen
        };
        let one = told(&[(1, 0, 2), (2, -1, 3)]);
        assert_eq!(one, told(&[(1, 0, 2), (2, -1, 3)]));
        assert_ne!(one, told(&[(2, -1, 3), (1, 0, 2)]));
        assert_ne!(one, told(&[(1, 0, 2), (2, -2, 3)]));
        assert_ne!(one, told(&[(1, 0, 2), (2, -1, 4)]));
        let mut other = one;
        other.byte(7);
        assert_ne!(one, other);
        assert_eq!(Seen::from_bytes(&other.to_bytes()), Some(other));
        assert_eq!(Seen::from_bytes(&other.to_bytes()[1..]), None);
    }
}
