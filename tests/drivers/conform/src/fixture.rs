//! A transport, an address, a connection and a circuit, built through the engine and torn down with it.

use alloc::vec::Vec;
use core::{ffi::c_void, ptr};

use rxce_client::{
    RXCE_ADDRESS, RXCE_ADDRESS_SIGNATURE, RXCE_CONNECTION, RXCE_CONNECTION_INFORMATION,
    RXCE_CONNECTION_SIGNATURE, RXCE_TRANSPORT, RXCE_TRANSPORT_SIGNATURE, RXCE_VC,
    RXCE_VC_SIGNATURE, TRANSPORT_ADDRESS,
};
use wdk_sys::NTSTATUS;

use crate::{
    client::{self, CLIENT},
    engine,
    nt::{mdl::Buffer, pool::Block, status, time, unicode::Unicode},
    outcome::{self, Outcome, Trouble, holds, same},
    transport::{self, Ends, FileKind, Kind, Personality, Record, Script, TRANSPORT},
};

/// A TRANSPORT_ADDRESS with one IPv4 address (tdi.md §2.3): 22 bytes, in a block of its own.
pub(crate) type Ipv4 = [u8; 22];

/// The bytes of an IPv4 transport address.
pub(crate) const fn ipv4(host: [u8; 4], port: u16) -> Ipv4 {
    let [high, low] = port.to_be_bytes();
    let [a, b, c, d] = host;
    [
        1, 0, 0, 0, 14, 0, 2, 0, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0,
    ]
}

/// The local address of the fixtures: any.
pub(crate) const LOCAL: Ipv4 = ipv4([0; 4], 0);
/// The peer of the fixtures.
pub(crate) const PEER: Ipv4 = ipv4([127, 0, 0, 1], 564);

/// The stack of structures. What was built is torn down when it goes, whatever the vector did.
pub(crate) struct Fixture {
    pub(crate) transport: Block<RXCE_TRANSPORT>,
    pub(crate) address: Block<RXCE_ADDRESS>,
    pub(crate) connection: Block<RXCE_CONNECTION>,
    pub(crate) vc: Block<RXCE_VC>,
    more: Vec<Block<RXCE_VC>>,
}

impl Fixture {
    /// Storage only.
    pub(crate) fn storage() -> Option<Self> {
        Some(Self {
            transport: Block::filled(0xCC)?,
            address: Block::filled(0xCC)?,
            connection: Block::filled(0xCC)?,
            vc: Block::filled(0xCC)?,
            more: Vec::new(),
        })
    }

    /// A transport.
    pub(crate) fn bound(personality: Personality) -> Outcome<Self> {
        let fixture = Self::storage().ok_or_else(Trouble::no_memory)?;
        fixture.build_transport(personality)?;
        Ok(fixture)
    }

    /// A transport with an address.
    pub(crate) fn addressed(personality: Personality) -> Outcome<Self> {
        let fixture = Self::bound(personality)?;
        fixture.build_address()?;
        Ok(fixture)
    }

    /// The whole stack, with one circuit.
    pub(crate) fn connected(personality: Personality) -> Outcome<Self> {
        let fixture = Self::addressed(personality)?;
        fixture.build_connection()?;
        Ok(fixture)
    }

    /// Builds the transport into the storage that is there, where nothing is built.
    pub(crate) fn build_transport(&self, personality: Personality) -> Outcome {
        let name = transport::device_name(personality);
        ok("RxCeBuildTransport", bind(&self.transport, &name))
    }

    /// The same for the address.
    pub(crate) fn build_address(&self) -> Outcome {
        let answer = open_address(&self.address, &self.transport)?;
        ok("RxCeBuildAddress", answer)
    }

    /// The same for the connection with its circuit.
    pub(crate) fn build_connection(&self) -> Outcome {
        ok("RxCeBuildConnection", self.connect()?)
    }

    /// As [`Self::close`], and the storage stays.
    pub(crate) fn clear(&mut self) -> Outcome {
        restore_transport();
        self.take_down(ok)
    }

    /// The stack over an orderly transport, with one circuit.
    pub(crate) fn orderly() -> Outcome<Self> {
        Self::connected(Personality::Orderly)
    }

    /// RxCeBuildConnection with the peer's address.
    pub(crate) fn connect(&self) -> Outcome<NTSTATUS> {
        let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
        let mut information = information(&peer);
        let mut handlers = client::connection_handlers();
        Ok(engine::build_connection(
            self.address.ptr(),
            &raw mut information,
            &raw mut handlers,
            client::CONNECTION_CONTEXT,
            self.connection.ptr(),
            self.vc.ptr(),
        ))
    }

    /// Storage for another circuit, which is torn down with the fixture if it is built.
    pub(crate) fn room_for_vc(&mut self) -> Outcome<*mut RXCE_VC> {
        let block = Block::filled(0xCC).ok_or_else(Trouble::no_memory)?;
        let vc = block.ptr();
        self.more.push(block);
        Ok(vc)
    }

    /// Another circuit of the connection.
    pub(crate) fn add_vc(&mut self) -> Outcome<*mut RXCE_VC> {
        let vc = self.room_for_vc()?;
        ok("RxCeBuildVC", engine::build_vc(vc, self.connection.ptr()))?;
        Ok(vc)
    }

    /// The circuit's State.
    pub(crate) fn state(&self) -> i32 {
        self.vc.read().State
    }

    /// The transport's file behind the circuit.
    pub(crate) fn endpoint(&self) -> usize {
        endpoint_of(self.vc.ptr())
    }

    /// The transport's file behind the address.
    pub(crate) fn address_file(&self) -> usize {
        let object = self.address.read().pFileObject;
        TRANSPORT
            .read(|state| state.file_of(object.cast()))
            .unwrap_or(usize::MAX)
    }

    /// Connection's, address's and transport's counts of circuits, then address's and transport's of connections.
    pub(crate) fn counts(&self) -> [i64; 5] {
        let (connection, address, transport) = (
            self.connection.read(),
            self.address.read(),
            self.transport.read(),
        );
        [
            connection.VirtualCircuitCount.into(),
            address.VirtualCircuitCount.into(),
            transport.VirtualCircuitCount.into(),
            address.ConnectionCount.into(),
            transport.ConnectionCount.into(),
        ]
    }

    /// Address's and transport's counts, where there is no connection yet.
    pub(crate) fn counts_of_parents(&self) -> [i32; 4] {
        let (address, transport) = (self.address.read(), self.transport.read());
        [
            address.ConnectionCount,
            address.VirtualCircuitCount,
            transport.ConnectionCount,
            transport.VirtualCircuitCount,
        ]
    }

    /// Tears down what is built, from the top, and checks every answer.
    pub(crate) fn close(mut self) -> Outcome {
        restore_transport();
        self.take_down(ok)
    }

    /// Tears down what is built, from the top, while the transport goes on as it was told; `check` judges each answer.
    pub(crate) fn end(mut self, check: impl FnMut(&str, NTSTATUS) -> Outcome) -> Outcome {
        self.take_down(check)
    }

    /// Tears down what carries its signature, circuits first; `check` judges each answer, the first error is returned.
    fn take_down(&mut self, mut check: impl FnMut(&str, NTSTATUS) -> Outcome) -> Outcome {
        let mut result = Ok(());
        let mut note = |outcome: Outcome| {
            if result.is_ok() {
                result = outcome;
            }
        };
        for vc in self.more.iter().chain([&self.vc]) {
            if signature_of(vc) == RXCE_VC_SIGNATURE {
                note(check("RxCeTearDownVC", engine::tear_down_vc(vc.ptr())));
                note(holds("RxCeTearDownVC leaves zeros", vc.is_zero()));
            }
        }
        if signature_of(&self.connection) == RXCE_CONNECTION_SIGNATURE {
            note(check(
                "RxCeTearDownConnection",
                engine::tear_down_connection(self.connection.ptr()),
            ));
            note(holds(
                "RxCeTearDownConnection leaves zeros",
                self.connection.is_zero(),
            ));
        }
        if signature_of(&self.address) == RXCE_ADDRESS_SIGNATURE {
            note(check(
                "RxCeTearDownAddress",
                engine::tear_down_address(self.address.ptr()),
            ));
            note(holds(
                "RxCeTearDownAddress leaves zeros",
                self.address.is_zero(),
            ));
        }
        if signature_of(&self.transport) == RXCE_TRANSPORT_SIGNATURE {
            note(check(
                "RxCeTearDownTransport",
                engine::tear_down_transport(self.transport.ptr()),
            ));
            note(holds(
                "RxCeTearDownTransport leaves zeros",
                self.transport.is_zero(),
            ));
        }
        result
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        restore_transport();
        // After `close` nothing is left to do; after a failing vector the answers do not matter any more.
        let _ = self.take_down(|_, _| Ok(()));
    }
}

/// A transport that does everything at once again, and holds nothing. Receives go too: after an abort they would.
pub(crate) fn restore_transport() {
    TRANSPORT.update(transport::state::State::restore_scripts);
    transport::end_all(status::CONNECTION_ABORTED, |_| true);
}

fn signature_of<T: Copy>(block: &Block<T>) -> u32 {
    let bytes = block.bytes();
    bytes.first_chunk().copied().map_or(0, u32::from_le_bytes)
}

/// A call that must succeed.
pub(crate) fn ok(what: &str, seen: NTSTATUS) -> Outcome {
    outcome::status(what, seen, status::SUCCESS)
}

/// The transport's file behind a built circuit.
pub(crate) fn endpoint_of(vc: *const RXCE_VC) -> usize {
    // SAFETY: Callers pass a circuit's storage, which the fixture owns.
    let field = unsafe { &raw const (*vc).pEndpointFileObject };
    // SAFETY: As above.
    let object = unsafe { field.read_volatile() };
    TRANSPORT
        .read(|state| state.file_of(object.cast()))
        .unwrap_or(usize::MAX)
}

/// State of a circuit's storage.
pub(crate) fn state_of(vc: *const RXCE_VC) -> i32 {
    // SAFETY: As for `endpoint_of`.
    let field = unsafe { &raw const (*vc).State };
    // SAFETY: As above.
    unsafe { field.read_volatile() }
}

/// Bytes of a circuit's storage.
pub(crate) fn bytes_of(vc: *const RXCE_VC) -> [u8; size_of::<RXCE_VC>()] {
    // SAFETY: As for `endpoint_of`; initialised as a whole by the allocation.
    unsafe { vc.cast::<[u8; size_of::<RXCE_VC>()]>().read_volatile() }
}

/// RxCeBuildTransport on a device's name.
pub(crate) fn bind(transport: &Block<RXCE_TRANSPORT>, name: &Unicode) -> NTSTATUS {
    engine::build_transport(transport.ptr(), name.borrow().as_mut_ptr(), 7)
}

/// RxCeBuildAddress with the local address and the recorder's table.
pub(crate) fn open_address(
    address: &Block<RXCE_ADDRESS>,
    transport: &Block<RXCE_TRANSPORT>,
) -> Outcome<NTSTATUS> {
    let local = Block::new(LOCAL).ok_or_else(Trouble::no_memory)?;
    let mut handlers = client::address_handlers();
    Ok(engine::build_address(
        address.ptr(),
        transport.ptr(),
        local.ptr().cast::<TRANSPORT_ADDRESS>(),
        &raw mut handlers,
        client::ADDRESS_CONTEXT,
    ))
}

/// Connection information that names a peer.
pub(crate) fn information(peer: &Block<Ipv4>) -> RXCE_CONNECTION_INFORMATION {
    RXCE_CONNECTION_INFORMATION {
        UserDataLength: 0,
        UserData: ptr::null_mut(),
        OptionsLength: 0,
        Options: ptr::null_mut(),
        RemoteAddressLength: i32::try_from(size_of::<Ipv4>()).unwrap_or_default(),
        RemoteAddress: peer.ptr().cast(),
    }
}

/// Sets a script.
pub(crate) fn script(kind: Kind, script: Script) {
    TRANSPORT.update(|state| state.script(kind, script));
}

/// Runs `hook` inside the dispatch routine for requests of `kind`, which it may complete.
pub(crate) fn script_hook(kind: Kind, hook: fn(usize)) {
    script(
        kind,
        Script::Hook(
            Ends {
                abort: true,
                cancel: true,
            },
            hook,
        ),
    );
}

/// How many of `kind` the transport has seen.
pub(crate) fn seen(kind: Kind) -> usize {
    TRANSPORT.read(|state| state.count(kind))
}

/// How many requests the transport has seen.
pub(crate) fn requests() -> usize {
    TRANSPORT.read(transport::state::State::requests)
}

/// How many of `kind` the transport holds.
pub(crate) fn held(kind: Kind) -> usize {
    TRANSPORT.read(|state| state.held_of(kind))
}

/// The last of `kind`.
pub(crate) fn last(kind: Kind) -> Outcome<Record> {
    TRANSPORT
        .read(|state| state.last(kind))
        .ok_or_else(|| Trouble::Failed(alloc::format!("the transport saw no {kind:?}")))
}

/// Waits until the transport holds a request of `kind`.
pub(crate) fn wait_held(kind: Kind) -> Outcome {
    let came = TRANSPORT.wait_until(time::PATIENCE, |state| state.held_of(kind) > 0);
    holds(
        &alloc::format!("a {kind:?} request arrives and is held"),
        came,
    )
}

/// How many callbacks of one kind the client got.
pub(crate) fn called(call: client::Call) -> usize {
    CLIENT.read(|client| client.count(call))
}

/// How many callbacks the client got.
pub(crate) fn calls() -> usize {
    CLIENT.read(client::Client::made)
}

/// Disconnects of either kind that the transport saw: `[RELEASE, ABORT]`.
pub(crate) fn disconnects(release: usize, abort: usize) -> Outcome {
    same(
        "[RELEASE, ABORT] requests",
        [seen(Kind::Release), seen(Kind::Abort)],
        [release, abort],
    )
}

/// Clean-ups and closes of endpoints that the transport saw.
pub(crate) fn endpoint_closed(times: usize) -> Outcome {
    let endpoint = FileKind::Endpoint;
    same(
        "[handle closes, last dereferences] of endpoints",
        [seen(Kind::Cleanup(endpoint)), seen(Kind::Close(endpoint))],
        [times, times],
    )
}

/// An asynchronous send of `data` with its completion context.
pub(crate) fn send(vc: *mut RXCE_VC, data: &Buffer, context: usize) -> NTSTATUS {
    engine::send(
        vc,
        0,
        data.mdl(),
        data.length(),
        ptr::without_provenance_mut::<c_void>(context),
    )
}

/// A datagram of `data` from the fixture's address to `peer`.
pub(crate) fn send_datagram(
    f: &Fixture,
    peer: &Block<Ipv4>,
    data: &Buffer,
    context: usize,
) -> NTSTATUS {
    let mut information = information(peer);
    engine::send_datagram(
        f.address.ptr(),
        &raw mut information,
        0,
        data.mdl(),
        data.length(),
        ptr::without_provenance_mut::<c_void>(context),
    )
}

/// RxCeQueryInformation into `out`, all of it.
pub(crate) fn query(vc: *mut RXCE_VC, class: u32, out: &mut [u8]) -> NTSTATUS {
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    engine::query_information(vc, class, out.as_mut_ptr().cast(), length)
}

/// A synchronous send of `data`.
pub(crate) fn send_and_wait(vc: *mut RXCE_VC, data: &Buffer) -> NTSTATUS {
    engine::send(
        vc,
        engine::SEND_SYNCHRONOUS,
        data.mdl(),
        data.length(),
        ptr::null_mut(),
    )
}

/// A buffer of the test.
pub(crate) fn buffer(data: &[u8]) -> Outcome<Buffer> {
    Buffer::new(data).ok_or_else(Trouble::no_memory)
}
