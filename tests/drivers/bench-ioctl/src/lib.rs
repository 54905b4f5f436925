//! Control interface of the bench driver `bench.sys`: one control code, a command in, numbers out, all little endian.
#![no_std]
#![forbid(unsafe_code)]

/// Name of the control device.
pub const DEVICE_NAME: &str = r"\Device\Bench";
/// Its name for Win32 programs (`\\.\Bench`).
pub const LINK_NAME: &str = r"\DosDevices\Bench";
/// Name of the transport that completes every request inside its dispatch routine.
pub const TRANSPORT_NAME: &str = r"\Device\BenchNull";

/// The control code: `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)`.
pub const IOCTL_BENCH: u32 = (0x22 << 16) | (3 << 14) | (0x800 << 2);

/// What is measured.
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
}

impl Command {
    /// Bytes of a command.
    pub const SIZE: usize = 20;

    /// The command as bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let words: [u32; 5] = match self {
            Self::Resize(circuits) => [0, circuits, 0, 0, 0],
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
                [operation, random, set, batches, each]
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
        let [first, second, third, batches, each] = [next()?, next()?, next()?, next()?, next()?];
        let operation = match first {
            0 => return Some(Self::Resize(second)),
            1 => Operation::LookUp,
            2 => Operation::Send,
            3 => Operation::Cycle,
            _ => return None,
        };
        let pick = match second {
            0 => Pick::Last(third),
            1 => Pick::Spread(third),
            2 => Pick::Random,
            _ => return None,
        };
        Some(Self::Measure {
            operation,
            pick,
            batches,
            each,
        })
    }

    /// Bytes of the answer.
    #[must_use]
    pub const fn answer_len(self) -> usize {
        match self {
            Self::Resize(_) => 0,
            Self::Measure {
                operation, batches, ..
            } => (batches as usize)
                .saturating_mul(operation.columns())
                .saturating_mul(8),
        }
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
        for command in [
            Command::Resize(100_000),
            measure(Operation::LookUp, Pick::Last(100)),
            measure(Operation::Send, Pick::Random),
            measure(Operation::Cycle, Pick::Spread(1)),
        ] {
            assert_eq!(Command::from_bytes(&command.to_bytes()), Some(command));
        }
        assert_eq!(Command::from_bytes(&[0; 19]), None);
        assert_eq!(Command::from_bytes(&[9; 20]), None);
    }
}
