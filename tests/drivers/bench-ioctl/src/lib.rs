//! Control interface of the bench driver `bench.sys`: one control code, a command in, numbers out, all little endian.
#![no_std]
#![forbid(unsafe_code)]

/// Name of the control device.
pub const DEVICE_NAME: &str = r"\Device\Bench";
/// Its name for Win32 programs (`\\.\Bench`).
pub const LINK_NAME: &str = r"\DosDevices\Bench";
/// Name of the transport that completes every request inside its dispatch routine.
pub const TRANSPORT_NAME: &str = r"\Device\BenchNull";
/// Name of the transport that does the same, but pends sends until the bench completes them.
pub const PENDING_NAME: &str = r"\Device\BenchPend";

/// The byte that ends a stream; all others are 0.
pub const LAST: u8 = 1;

/// The control code: `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)`.
pub const IOCTL_BENCH: u32 = (0x22 << 16) | (3 << 14) | (0x800 << 2);

/// The lengths of input that a control code takes, and the least room for its output, which depends on the command besides
/// ([`Command::answer_len`]); nothing for a code that is not one.
#[must_use]
pub const fn lengths(code: u32) -> Option<(core::ops::RangeInclusive<usize>, usize)> {
    match code {
        IOCTL_BENCH => Some((Command::SIZE..=Command::SIZE, 0)),
        _ => None,
    }
}

/// What is measured while many circuits are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `RxCeQueryInformation` for what the engine itself knows: a look-up, one hold of the circuit's lock, a copy of 40 bytes.
    LookUp,
    /// An asynchronous `RxCeSend` of 64 bytes, with its completion.
    Send,
    /// `RxCeInitiateVCDisconnect`, `RxCeTearDownVC` and `RxCeBuildVC` of one circuit, each in a column of its own; and, in a
    /// fourth, what no engine is in: an IRP and a pool block allocated and freed.
    Cycle,
}

impl Operation {
    /// How many columns a batch has.
    #[must_use]
    pub const fn columns(self) -> usize {
        match self {
            Self::LookUp | Self::Send => 1,
            Self::Cycle => 4,
        }
    }
}

/// Which circuits are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The so many that were built last, one after the other: their memory lies close together, however many are alive.
    Last(u32),
    /// So many of the live ones, evenly spread, one after the other: their memory lies as far apart as it can.
    Spread(u32),
    /// Any of the live ones, uniformly at random.
    Random,
}

/// The transport below a pair of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// [`TRANSPORT_NAME`].
    Null,
    /// [`PENDING_NAME`].
    Pending,
    /// The system's TCP, to this port of 127.0.0.1.
    Tcp(u16),
}

/// What the engine and its rival do in turn. The engine's columns come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contest {
    /// A send of 64 bytes that is over when the call returns.
    Send,
    /// A send of 64 bytes that the transport pends and the bench completes, on the same thread.
    PendedSend,
    /// A disconnect, a tear-down and a build of one circuit: three columns each.
    Cycle,
    /// A send of 64 bytes, and as many bytes received in answer.
    Echo,
    /// Sends on two circuits, by one thread and by two at once: two columns each, of one send of each thread.
    Threads,
    /// The same as [`Self::Cycle`], with two columns each that are no ticks: waits that have put a thread to sleep, and context
    /// switches of the host.
    Sleeps,
}

impl Contest {
    /// How many columns a batch has.
    #[must_use]
    pub const fn columns(self) -> usize {
        match self {
            Self::Send | Self::PendedSend | Self::Echo => 2,
            Self::Threads | Self::Sleeps => 4,
            Self::Cycle => 6,
        }
    }
}

/// Who is measured against the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// The hand-written client.
    ByHand,
    /// The one that makes by hand every call of the kernel that the engine's contract prescribes.
    Prescribed,
}

impl Rival {
    const fn to_word(self) -> u32 {
        match self {
            Self::ByHand => 0,
            Self::Prescribed => 1,
        }
    }

    const fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::ByHand),
            1 => Some(Self::Prescribed),
            _ => None,
        }
    }
}

/// Whose instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `rxce.sys`.
    Engine,
    /// A client without an engine.
    Rival(Rival),
}

/// A part of a circuit's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A send of 64 bytes, with its end.
    Send,
    /// The begin of a disconnect.
    Disconnect,
    /// The tear-down of a circuit whose disconnect is over.
    TearDown,
    /// A build.
    Build,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Builds a transport, an address and a connection, or takes down what there is, until so many circuits are alive (0:
    /// nothing is).
    Resize(u32),
    /// Measures. The answer has, for each batch, the ticks of the processor's time-stamp counter in each column, 8 bytes each.
    Measure {
        /// What.
        operation: Operation,
        /// On which circuits.
        pick: Pick,
        /// How many batches.
        batches: u32,
        /// How many operations in each.
        each: u32,
    },
    /// Opens as many circuits with the engine as with the hand-written client, in place of those that were open before.
    Pair {
        /// Over what.
        provider: Provider,
        /// How many circuits each has; 0: none, and nothing is open.
        circuits: u32,
    },
    /// Measures the pair, as [`Self::Measure`] does.
    Contest {
        /// Against whom.
        rival: Rival,
        /// What.
        contest: Contest,
        /// How many batches.
        batches: u32,
        /// How many operations in each.
        each: u32,
    },
    /// Sends in turn on the first circuits of the engine and of its rival, one send under way on each; then [`LAST`] on each, and waits
    /// for the peers to send it back. The answer has a batch for each turn, with two columns: the ticks of the engine, and of
    /// the rival.
    Stream {
        /// Against whom.
        rival: Rival,
        /// Bytes of a send.
        bytes: u32,
        /// How many circuits.
        circuits: u32,
        /// How many sends.
        sends: u32,
        /// How many turns the clients take; each time the other one begins.
        turns: u32,
    },
    /// Has ntsim count the instructions of one step on a pair's first circuit; the host program reads the result.
    Count {
        /// Whose.
        side: Side,
        /// Which.
        step: Step,
    },
    /// Measures what no client is in: an empty kernel routine, an empty export of another driver, and a request that is
    /// pended and completed by the same thread, in three columns.
    Floor {
        /// How many batches.
        batches: u32,
        /// How many operations in each.
        each: u32,
    },
}

impl Command {
    /// Bytes of a command.
    pub const SIZE: usize = 24;

    /// The command as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let words: [u32; 6] = match self {
            Self::Resize(circuits) => [0, circuits, 0, 0, 0, 0],
            Self::Measure {
                operation,
                pick,
                batches,
                each,
            } => {
                let operation = match operation {
                    Operation::LookUp => 1,
                    Operation::Send => 2,
                    Operation::Cycle => 3,
                };
                let (random, set) = match pick {
                    Pick::Last(set) => (0, set),
                    Pick::Spread(set) => (1, set),
                    Pick::Random => (2, 0),
                };
                [operation, random, set, batches, each, 0]
            }
            Self::Pair { provider, circuits } => {
                let (kind, port) = match provider {
                    Provider::Null => (0, 0),
                    Provider::Pending => (1, 0),
                    Provider::Tcp(port) => (2, port.into()),
                };
                [4, kind, port, circuits, 0, 0]
            }
            Self::Contest {
                rival,
                contest,
                batches,
                each,
            } => {
                let contest = match contest {
                    Contest::Send => 0,
                    Contest::PendedSend => 1,
                    Contest::Cycle => 2,
                    Contest::Echo => 3,
                    Contest::Threads => 4,
                    Contest::Sleeps => 5,
                };
                [5, contest, batches, each, rival.to_word(), 0]
            }
            Self::Stream {
                rival,
                bytes,
                circuits,
                sends,
                turns,
            } => [6, bytes, circuits, sends, turns, rival.to_word()],
            Self::Floor { batches, each } => [7, batches, each, 0, 0, 0],
            Self::Count { side, step } => {
                let side = match side {
                    Side::Engine => 0,
                    Side::Rival(rival) => rival.to_word().saturating_add(1),
                };
                let step = match step {
                    Step::Send => 0,
                    Step::Disconnect => 1,
                    Step::TearDown => 2,
                    Step::Build => 3,
                };
                [8, side, step, 0, 0, 0]
            }
        };
        let mut bytes = [0; Self::SIZE];
        for (to, from) in bytes
            .iter_mut()
            .zip(words.iter().flat_map(|word| word.to_le_bytes()))
        {
            *to = from;
        }
        bytes
    }

    /// Reads a command.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes
            .chunks_exact(4)
            .filter_map(|chunk| chunk.first_chunk().copied())
            .map(u32::from_le_bytes);
        let mut next = || words.next();
        let [first, second, third] = [next()?, next()?, next()?];
        let [fourth, fifth, sixth] = [next()?, next()?, next()?];
        match first {
            0 => Some(Self::Resize(second)),
            1..=3 => Some(Self::Measure {
                operation: match first {
                    1 => Operation::LookUp,
                    2 => Operation::Send,
                    _ => Operation::Cycle,
                },
                pick: match second {
                    0 => Pick::Last(third),
                    1 => Pick::Spread(third),
                    2 => Pick::Random,
                    _ => return None,
                },
                batches: fourth,
                each: fifth,
            }),
            4 => Some(Self::Pair {
                provider: match second {
                    0 => Provider::Null,
                    1 => Provider::Pending,
                    2 => Provider::Tcp(u16::try_from(third).ok()?),
                    _ => return None,
                },
                circuits: fourth,
            }),
            5 => Some(Self::Contest {
                contest: match second {
                    0 => Contest::Send,
                    1 => Contest::PendedSend,
                    2 => Contest::Cycle,
                    3 => Contest::Echo,
                    4 => Contest::Threads,
                    5 => Contest::Sleeps,
                    _ => return None,
                },
                batches: third,
                each: fourth,
                rival: Rival::from_word(fifth)?,
            }),
            6 => Some(Self::Stream {
                bytes: second,
                circuits: third,
                sends: fourth,
                turns: fifth,
                rival: Rival::from_word(sixth)?,
            }),
            7 => Some(Self::Floor {
                batches: second,
                each: third,
            }),
            8 => Some(Self::Count {
                side: match second {
                    0 => Side::Engine,
                    rival => Side::Rival(Rival::from_word(rival.wrapping_sub(1))?),
                },
                step: match third {
                    0 => Step::Send,
                    1 => Step::Disconnect,
                    2 => Step::TearDown,
                    3 => Step::Build,
                    _ => return None,
                },
            }),
            _ => None,
        }
    }

    /// How many columns the answer has.
    #[must_use]
    pub const fn columns(self) -> usize {
        match self {
            Self::Resize(_) | Self::Pair { .. } | Self::Count { .. } => 0,
            Self::Measure { operation, .. } => operation.columns(),
            Self::Contest { contest, .. } => contest.columns(),
            Self::Stream { .. } => 2,
            Self::Floor { .. } => 3,
        }
    }

    /// How many batches the answer has.
    #[must_use]
    pub const fn batches(self) -> u32 {
        match self {
            Self::Resize(_) | Self::Pair { .. } | Self::Count { .. } => 0,
            Self::Stream { turns, .. } => turns,
            Self::Measure { batches, .. }
            | Self::Contest { batches, .. }
            | Self::Floor { batches, .. } => batches,
        }
    }

    /// Bytes of the answer.
    #[must_use]
    pub const fn answer_len(self) -> usize {
        (self.batches() as usize)
            .saturating_mul(self.columns())
            .saturating_mul(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_they_went() {
        let measure = |operation, pick| Command::Measure {
            operation,
            pick,
            batches: 7,
            each: 9,
        };
        let pair = |provider| Command::Pair {
            provider,
            circuits: 5,
        };
        let contest = |contest| Command::Contest {
            rival: Rival::ByHand,
            contest,
            batches: 7,
            each: 9,
        };
        for command in [
            Command::Resize(100_000),
            measure(Operation::LookUp, Pick::Last(100)),
            measure(Operation::Send, Pick::Random),
            measure(Operation::Cycle, Pick::Spread(1)),
            pair(Provider::Null),
            pair(Provider::Pending),
            pair(Provider::Tcp(564)),
            contest(Contest::Send),
            contest(Contest::PendedSend),
            contest(Contest::Cycle),
            contest(Contest::Echo),
            contest(Contest::Threads),
            contest(Contest::Sleeps),
            Command::Contest {
                rival: Rival::Prescribed,
                contest: Contest::Cycle,
                batches: 7,
                each: 9,
            },
            Command::Stream {
                rival: Rival::Prescribed,
                bytes: 1,
                circuits: 2,
                sends: 3,
                turns: 4,
            },
            Command::Floor {
                batches: 1,
                each: 2,
            },
            Command::Count {
                side: Side::Engine,
                step: Step::TearDown,
            },
            Command::Count {
                side: Side::Rival(Rival::ByHand),
                step: Step::Build,
            },
            Command::Count {
                side: Side::Rival(Rival::Prescribed),
                step: Step::Send,
            },
        ] {
            assert_eq!(Command::from_bytes(&command.to_bytes()), Some(command));
        }
        assert_eq!(Command::from_bytes(&[0; 19]), None);
        assert_eq!(Command::from_bytes(&[9; 20]), None);
    }
}
