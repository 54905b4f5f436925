//! What a session notes.

/// Most events that a session notes; the ones after them are counted, not listed.
pub const EVENTS: usize = 512;

/// What happened. Neighbours of the kinds [`Kind::Received`] and [`Kind::Refused`] are one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// Indicated bytes were taken: number of indications, bytes.
    Received = 0,
    /// An indication was refused: number of indications, bytes offered by the last one.
    Refused = 1,
    /// A further buffer came back: status, bytes.
    Ready = 2,
    /// An asynchronous send ended: status, its length.
    Sent = 3,
    /// The disconnect callback: flags, 0.
    Disconnected = 4,
    /// The error callback of the connection: status, 0.
    ConnectionError = 5,
    /// The error callback of the address: status, 0.
    AddressError = 6,
    /// A datagram was indicated: bytes that it has, bytes taken.
    Datagram = 7,
}

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = 8;
    const ALL: [Self; Self::COUNT] = [
        Self::Received,
        Self::Refused,
        Self::Ready,
        Self::Sent,
        Self::Disconnected,
        Self::ConnectionError,
        Self::AddressError,
        Self::Datagram,
    ];

    /// The kind of a number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// One event. What the numbers are stands at the [`Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// The first number.
    pub first: u32,
    /// The second number.
    pub second: u64,
}

impl Event {
    /// Bytes of an encoded event.
    pub const LEN: usize = 16;

    /// Encodes it.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts = [
            u64::from(self.kind as u32) | u64::from(self.first) << 32,
            self.second,
        ];
        for (part, place) in parts.iter().zip(bytes.chunks_exact_mut(8)) {
            place.copy_from_slice(&part.to_le_bytes());
        }
        bytes
    }

    /// Decodes one; nothing for an unknown kind.
    #[must_use]
    pub fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (head, second) = bytes.split_at(8);
        let head = u64::from_le_bytes(head.try_into().ok()?);
        Some(Self {
            kind: Kind::from_number(u32::try_from(head & 0xffff_ffff).ok()?)?,
            first: u32::try_from(head >> 32).ok()?,
            second: u64::from_le_bytes(second.try_into().ok()?),
        })
    }
}
