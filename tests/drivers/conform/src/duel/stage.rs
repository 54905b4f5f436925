//! What a duel is played on: a circuit, and a second one that may be built.

use rxce_client::{RXCE_CONNECTION, RXCE_VC};

use super::{crew::no_memory, racy::Racy};
use crate::{
    client::{self, Answer, CLIENT, Call},
    engine,
    fixture::{self, Fixture, buffer, bytes_of, ok},
    nt::mdl::Buffer,
    outcome::Outcome,
    transport::{Kind, Personality, TRANSPORT},
};

/// Something that happens. Its answer is a status, or what it says it is.
pub(super) type Part = fn(&Stage) -> i32;

/// The stage.
pub(super) struct Stage {
    pub(super) fixture: Fixture,
    /// The circuit.
    pub(super) vc: *mut RXCE_VC,
    /// Storage for another one, of the same connection.
    pub(super) other: *mut RXCE_VC,
    pub(super) connection: *mut RXCE_CONNECTION,
    /// The transport's files behind the circuit and the address.
    pub(super) endpoint: usize,
    pub(super) address: usize,
    pub(super) data: Buffer,
    pub(super) room: Buffer,
    pub(super) racy: Racy,
    /// What the storage for another circuit held when the stage was set.
    pub(super) other_before: [u8; size_of::<RXCE_VC>()],
    before: [usize; COUNTS],
}

/// How much of the stack is built.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Built {
    /// Nothing: the parts are of [`super::racy`].
    Nothing,
    Transport,
    Address,
    /// A connection whose first circuit has been torn down.
    Connection,
    /// All of it.
    Circuit,
}

/// How many numbers an outcome has besides the answers.
pub(super) const COUNTS: usize = 8;

impl Stage {
    /// The storage. It stays the same for all rounds: where a structure lies decides which of the engine's locks it meets.
    pub(super) fn new() -> Outcome<Self> {
        let mut fixture = Fixture::storage().ok_or_else(no_memory)?;
        let other = fixture.room_for_vc()?;
        Ok(Self {
            vc: fixture.vc.ptr(),
            other,
            connection: fixture.connection.ptr(),
            endpoint: usize::MAX,
            address: usize::MAX,
            data: buffer(b"duel")?,
            room: Buffer::new(&[0; 16]).ok_or_else(no_memory)?,
            racy: Racy::new(),
            other_before: [0; size_of::<RXCE_VC>()],
            before: [0; COUNTS],
            fixture,
        })
    }

    /// Builds so much of the stack. With `more`, the client asks for more data than is indicated to it.
    pub(super) fn set(&mut self, built: Built, more: bool) -> Outcome {
        self.racy.reset();
        let fixture = &self.fixture;
        if built >= Built::Transport {
            fixture.build_transport(Personality::Orderly)?;
        }
        if built >= Built::Address {
            fixture.build_address()?;
        }
        if built >= Built::Connection {
            fixture.build_connection()?;
        }
        if built == Built::Connection {
            ok("RxCeTearDownVC", engine::tear_down_vc(self.vc))?;
        }
        if built == Built::Circuit {
            (self.endpoint, self.address) = (fixture.endpoint(), fixture.address_file());
        }
        if more {
            let mdl = self.room.mdl();
            CLIENT.update(|client| client.answer(Answer::More(mdl, 12)));
        }
        self.other_before = bytes_of(self.other);
        self.before = now();
        Ok(())
    }

    /// What the transport and the client have seen since the stage was set: RELEASE, ABORT, connects, then the callbacks
    /// Disconnect, Error, Receive, DataReady, SendComplete.
    pub(super) fn counts(&self) -> [usize; COUNTS] {
        let mut counts = now();
        for (count, before) in counts.iter_mut().zip(self.before) {
            *count = count.saturating_sub(before);
        }
        counts
    }
}

fn now() -> [usize; COUNTS] {
    let [release, abort, connect] = TRANSPORT
        .read(|state| [Kind::Release, Kind::Abort, Kind::Connect].map(|kind| state.count(kind)));
    let calls = |call: client::Call| fixture::called(call);
    [
        release,
        abort,
        connect,
        calls(Call::Disconnect),
        calls(Call::ConnectionError),
        calls(Call::Receive),
        calls(Call::DataReady),
        calls(Call::SendComplete),
    ]
}
