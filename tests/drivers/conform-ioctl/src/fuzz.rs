//! Hostile programs: the steps that a fuzzer writes, `conform.sys` carries out, and people read in a report.
//!
//! Every value of every member means something, so any bytes are a program. A step travels as 16 bytes.

use crate::{Text, put, text_at, u32_at};

/// Most steps of a program.
pub const MOST_STEPS: usize = 48;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a step does. `on`, `with` and `also` choose structures or variants; `a`, `b`, `c` are numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation { $($(#[$doc])* $name,)* }

        impl Operation {
            /// All of them, in the order of the encoding.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in a listing.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

operations! {
    /// `with`: shape of the name; `a`: provider; `b`: quality of service.
    BuildTransport = "build-transport",
    /// `on`: the structure.
    TearDownTransport = "tear-down-transport",
    /// `with`: transport; `a`: number of addresses; `b`: callbacks; `c`: their lengths.
    BuildAddress = "build-address",
    /// `on`: the structure.
    TearDownAddress = "tear-down-address",
    /// `on`: connection; `with`: address; `also`: circuit; `a`: connection information; `b`: callbacks.
    BuildConnection = "build-connection",
    /// `on`: the structure.
    TearDownConnection = "tear-down-connection",
    /// `on`: circuit; `with`: connection.
    BuildVc = "build-vc",
    /// `on`: the structure.
    Initiate = "initiate",
    /// `on`: the structure.
    TearDownVc = "tear-down-vc",
    /// `with`: chain; `a`: options; `b`: how the length relates to the chain; `c`: element sizes.
    Send = "send",
    /// As `Send`, on an address; `also`: connection information.
    SendDatagram = "send-datagram",
    /// `a`: class; `b`: length; `with`: odd for no buffer.
    Query = "query",
    /// `with`: odd for no buffer.
    QueryAdapter = "query-adapter",
    /// `with`: odd for no buffer.
    QueryTransport = "query-transport",
    /// Pointers to nothing.
    CancelConnect = "cancel-connect",
    /// `a`: stack size; `with`: odd for an MDL.
    AllocateIrp = "allocate-irp",
    /// `a`: which of those allocated; NULL beyond them.
    FreeIrp = "free-irp",
    /// `on`: connection; `with`: circuit; `also`: option; `a`: count; `b`: the addresses; `c`: connection information.
    BuildOverMultiple = "build-over-multiple",
    /// `on`: the structure; `with`: its kind; `a`: offset; `b`: what is changed there.
    Change = "change",
    /// `on`: the structure; `with`: its kind.
    Repair = "repair",
    /// How the client answers: `with`: lane; `a`: status; `b`: bytes taken; `c`: chain and size; `also`: calls from callbacks.
    Client = "client",
    /// What the transport does with requests of kind `with`: `a`: status or pending; `b`: what ends them.
    Script = "script",
    /// `a`: level of the next call.
    Level = "level",
    /// `a`: the kernel call that fails during the next routine.
    Fault = "fault",
    /// What providers say of themselves: `a`: services; `b`: limits; `c`: length and status.
    Provider = "provider",
    /// What queries are answered: `a`: length; `b`: status.
    Answer = "answer",
    /// `on`: endpoint and token; `with`: lane; `also`: when; `a`: indicated; `b`: available; `c`: flags.
    Receive = "receive",
    /// `on`: endpoint and token; `also`: when; `a`: flags; `b`, `c`: lengths.
    Disconnect = "disconnect",
    /// `on`: address and token; `also`: when; `a`: status.
    Error = "error",
    /// `on`: address and token; `also`: when; `a`: indicated; `b`: available; `c`: lengths.
    Datagram = "datagram",
    /// `on`: endpoint and token; `also`: when; `a`: bytes.
    SendPossible = "send-possible",
    /// `with`: kind, from 80 on any; `also`: when; `a`: status; `b`: information.
    Complete = "complete",
    /// `a`: how long the client does nothing.
    Wait = "wait",
}

/// One step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The operation: an index of [`Operation::ALL`], modulo their number.
    pub operation: u8,
    /// First choice.
    pub on: u8,
    /// Second choice.
    pub with: u8,
    /// Third choice.
    pub also: u8,
    /// First number.
    pub a: u32,
    /// Second number.
    pub b: u32,
    /// Third number.
    pub c: u32,
}

impl Step {
    /// Encoded size.
    pub const SIZE: usize = 16;

    /// What it does.
    #[must_use]
    pub fn operation(&self) -> Operation {
        let all = Operation::ALL;
        let index = usize::from(self.operation)
            .checked_rem(all.len())
            .unwrap_or_default();
        all.get(index).copied().unwrap_or(Operation::Wait)
    }

    /// Encodes the step.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(
            &mut out,
            0,
            &[self.operation, self.on, self.with, self.also],
        );
        put(&mut out, 4, &self.a.to_le_bytes());
        put(&mut out, 8, &self.b.to_le_bytes());
        put(&mut out, 12, &self.c.to_le_bytes());
        out
    }

    /// Decodes a step from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [operation, on, with, also] = *bytes.first_chunk()?;
        Some(Self {
            operation,
            on,
            with,
            also,
            a: u32_at(bytes, 4)?,
            b: u32_at(bytes, 8)?,
            c: u32_at(bytes, 12)?,
        })
    }
}

/// Output of `IOCTL_FUZZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FuzzResult {
    /// Whether something was seen that must not be; the text says what.
    pub violated: bool,
    /// By [`FuzzCount`].
    pub counts: [u32; FuzzCount::NAMES.len()],
    /// The first violation.
    pub text: Text<{ crate::TEXT_LENGTH }>,
}

/// What a program's run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names, below, say it")]
pub enum FuzzCount {
    Admitted,
    Refused,
    Callbacks,
    Indications,
    Completions,
    Requests,
    Races,
    Rooms,
}

impl FuzzCount {
    /// What each count means, in the order of the encoding.
    pub const NAMES: [&str; 8] = [
        "calls with success",
        "calls refused or failed",
        "client callbacks",
        "handler calls",
        "requests completed by steps",
        "requests to the transport",
        "competitions",
        "more-processing receives",
    ];
}

impl FuzzResult {
    const TEXT: usize = 4 + 4 * FuzzCount::NAMES.len();
    /// Encoded size.
    pub const SIZE: usize = Self::TEXT + crate::TEXT_LENGTH;

    /// Encodes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        put(&mut out, 0, &u32::from(self.violated).to_le_bytes());
        for (index, count) in self.counts.iter().enumerate() {
            put(&mut out, 4 + 4 * index, &count.to_le_bytes());
        }
        put(&mut out, Self::TEXT, &self.text.0);
        out
    }

    /// Decodes the record from the start of `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut counts = [0; FuzzCount::NAMES.len()];
        for (index, count) in counts.iter_mut().enumerate() {
            *count = u32_at(bytes, 4 + 4 * index)?;
        }
        Some(Self {
            violated: u32_at(bytes, 0)? != 0,
            counts,
            text: text_at(bytes, Self::TEXT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_a_round_trip() {
        let step = Step {
            operation: 9,
            on: 1,
            with: 2,
            also: 3,
            a: 4,
            b: 0x8000_0005,
            c: u32::MAX,
        };
        assert_eq!(Step::from_bytes(&step.to_bytes()), Some(step));
        assert_eq!(Step::from_bytes(&step.to_bytes()[1..]), None);
        assert_eq!(step.operation(), Operation::Send);
        let result = FuzzResult {
            violated: true,
            counts: [1, 2, 3, 4, 5, 6, 7, 8],
            text: Text::new("twice"),
        };
        assert_eq!(FuzzResult::from_bytes(&result.to_bytes()), Some(result));
        assert_eq!(FuzzResult::from_bytes(&result.to_bytes()[1..]), None);
    }
}
