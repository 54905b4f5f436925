//! Formats of the requests.

use crate::Kind;

/// A status as the output of a request.
#[must_use]
pub const fn status(status: i32) -> [u8; 4] {
    status.to_le_bytes()
}

/// The status in an output.
#[must_use]
pub fn status_of(output: &[u8]) -> Option<i32> {
    Some(i32::from_le_bytes(output.try_into().ok()?))
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    if bytes.len() != N.checked_mul(4)? {
        return None;
    }
    let mut words = [0; N];
    for (word, part) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes(part.try_into().ok()?);
    }
    Some(words)
}

/// Lays words out; `LEN` is four times `N`.
fn lay<const N: usize, const LEN: usize>(words: [u32; N]) -> [u8; LEN] {
    const { assert!(LEN == N * 4) };
    let mut bytes = [0; LEN];
    for (word, place) in words.iter().zip(bytes.chunks_exact_mut(4)) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// What to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Protocol {
    /// A circuit over `\Device\Tcp`.
    Tcp = 0,
    /// A datagram address on `\Device\Udp`.
    Udp = 1,
}

/// How a receive indication is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At most so many of its bytes are copied, `u32::MAX` for all; the rest is indicated again. Refused when the room
    /// is used up.
    Take(u32),
    /// Nothing is accepted.
    Refuse,
    /// At most so many bytes are copied, and a further buffer of so many bytes is handed over for those that follow.
    Further(u32, u32),
}

impl Answer {
    /// Bytes of an encoded answer.
    pub const LEN: usize = 12;

    const fn words(self) -> [u32; 3] {
        match self {
            Self::Take(most) => [0, most, 0],
            Self::Refuse => [1, 0, 0],
            Self::Further(first, length) => [2, first, length],
        }
    }

    const fn from_words([how, first, second]: [u32; 3]) -> Option<Self> {
        match (how, first, second) {
            (0, most, 0) => Some(Self::Take(most)),
            (1, 0, 0) => Some(Self::Refuse),
            (2, first, length) => Some(Self::Further(first, length)),
            _ => None,
        }
    }

    /// Encodes it.
    #[must_use]
    pub fn encode(self) -> [u8; Self::LEN] {
        lay(self.words())
    }

    /// Decodes one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::from_words(words(bytes)?)
    }
}

/// Input of [`crate::code::OPEN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// What to build.
    pub protocol: Protocol,
    /// The server's IPv4 address.
    pub ip: [u8; 4],
    /// Its port.
    pub port: u16,
    /// How many bytes can be received.
    pub room: u32,
    /// How indications are answered at first.
    pub answer: Answer,
}

impl Open {
    /// Bytes of an encoded input.
    pub const LEN: usize = 28;

    /// Encodes it.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let [how, first, second] = self.answer.words();
        lay([
            self.protocol as u32,
            u32::from_le_bytes(self.ip),
            self.port.into(),
            self.room,
            how,
            first,
            second,
        ])
    }

    /// Decodes one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [protocol, ip, port, room, how, first, second] = words(bytes)?;
        Some(Self {
            protocol: match protocol {
                0 => Protocol::Tcp,
                1 => Protocol::Udp,
                _ => return None,
            },
            ip: ip.to_le_bytes(),
            port: u16::try_from(port).ok()?,
            room,
            answer: Answer::from_words([how, first, second])?,
        })
    }
}

/// How bytes are sent. Datagrams are always asynchronous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum How {
    /// The request ends with the send.
    Synchronous = 0,
    /// [`Kind::Sent`] tells of the end.
    Asynchronous = 1,
}

impl How {
    /// Bytes of an encoded value.
    pub const LEN: usize = 4;

    /// Encodes it.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        (self as u32).to_le_bytes()
    }

    /// Splits the input of [`crate::code::SEND`].
    #[must_use]
    pub fn split(input: &[u8]) -> Option<(Self, &[u8])> {
        let (how, bytes) = input.split_first_chunk::<{ Self::LEN }>()?;
        match u32::from_le_bytes(*how) {
            0 => Some((Self::Synchronous, bytes)),
            1 => Some((Self::Asynchronous, bytes)),
            _ => None,
        }
    }
}

/// Input of [`crate::code::WAIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is counted: for [`Kind::Received`] bytes (in further buffers too), else calls of the callback.
    pub kind: Kind,
    /// How much there must be.
    pub at_least: u32,
    /// How long to wait for anything more to happen.
    pub milliseconds: u32,
}

impl Wait {
    /// Bytes of an encoded input.
    pub const LEN: usize = 12;

    /// Encodes it.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        lay([self.kind as u32, self.at_least, self.milliseconds])
    }

    /// Decodes one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [kind, at_least, milliseconds] = words(bytes)?;
        Some(Self {
            kind: Kind::from_number(kind)?,
            at_least,
            milliseconds,
        })
    }
}

/// What the tear-down routines answered; [`crate::NOT_BUILT`] for one that was not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// `RxCeTearDownVC`
    pub circuit: i32,
    /// `RxCeTearDownConnection`
    pub connection: i32,
    /// `RxCeTearDownAddress`
    pub address: i32,
    /// `RxCeTearDownTransport`
    pub transport: i32,
}

impl Closed {
    /// Bytes of an encoded output.
    pub const LEN: usize = 16;

    /// Encodes it.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        lay([self.circuit, self.connection, self.address, self.transport].map(i32::cast_unsigned))
    }

    /// Decodes one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [circuit, connection, address, transport] = words(bytes)?.map(u32::cast_signed);
        Some(Self {
            circuit,
            connection,
            address,
            transport,
        })
    }
}
