//! Bad arguments to the build routines: the documented status, and nothing touched.

use alloc::format;
use core::ptr;

use rxce_client::{RXCE_ADDRESS, RXCE_CONNECTION, RXCE_TRANSPORT, RXCE_VC, TRANSPORT_ADDRESS};
use wdk_sys::{NTSTATUS, UNICODE_STRING};

use super::{Change, Vector, documented, own};
use crate::{
    client, engine,
    fixture::{self, Fixture, LOCAL, PEER, requests, script},
    nt::{pool::Block, status, unicode::Unicode},
    outcome::{self, Balance, Outcome, Run, Trouble, holds, same},
    transport::{self, FileKind, Kind, Personality, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    documented("H1", "bad arguments to RxCeBuildTransport", transport),
    documented(
        "H2",
        "RxCeBuildTransport passes the transport's failures through",
        transport_failures,
    ),
    documented("H3", "bad arguments to RxCeBuildAddress", address),
    own("H4", "malformed transport addresses", addresses),
    documented("H5", "bad arguments to RxCeBuildConnection", connection),
    documented(
        "H6",
        "RxCeBuildConnection passes the transport's failures through",
        connection_failures,
    ),
    own("H7", "bad arguments to RxCeBuildVC", circuit),
];

/// Bytes that no refused call may change.
struct Untouched {
    balance: Balance,
    requests: usize,
    files: usize,
}

impl Untouched {
    fn now(run: &Run) -> Self {
        let files = TRANSPORT.read(transport::state::State::open_files);
        Self {
            balance: run.balance(),
            requests: requests(),
            files,
        }
    }

    fn still(&self, run: &Run, what: &str) -> Outcome {
        same(&format!("{what}: requests"), requests(), self.requests)?;
        let files = TRANSPORT.read(transport::state::State::open_files);
        same(&format!("{what}: open files"), files, self.files)?;
        self.balance.unchanged(run, what)
    }
}

/// A block with a pattern that a refused build must leave alone.
fn pattern<T: Copy>() -> Outcome<Block<T>> {
    Block::filled(0xCC).ok_or_else(Trouble::no_memory)
}

fn has_pattern<T: Copy>(block: &Block<T>, what: &str) -> Outcome {
    holds(
        &format!("{what}: the structure is unchanged"),
        block.bytes().iter().all(|&byte| byte == 0xCC),
    )
}

fn invalid(what: &str, seen: NTSTATUS) -> Outcome {
    outcome::status(what, seen, status::INVALID_PARAMETER)
}

fn transport(run: &Run) -> Outcome {
    let block = pattern::<RXCE_TRANSPORT>()?;
    let name = transport::device_name(Personality::Orderly);
    let untouched = Untouched::now(run);
    invalid(
        "NULL structure",
        engine::build_transport(ptr::null_mut(), name.borrow().as_mut_ptr(), 0),
    )?;
    invalid(
        "NULL name",
        engine::build_transport(block.ptr(), ptr::null_mut(), 0),
    )?;
    let mut borrowed = name.borrow();
    // SAFETY: A local string.
    let good = unsafe { borrowed.as_mut_ptr().read() };
    let names = [
        (
            "a name without a buffer",
            UNICODE_STRING {
                Buffer: ptr::null_mut(),
                ..good
            },
        ),
        ("a name of no length", UNICODE_STRING { Length: 0, ..good }),
        (
            "a name of odd length",
            UNICODE_STRING {
                Length: good.Length - 1,
                ..good
            },
        ),
        (
            "a name longer than its buffer",
            UNICODE_STRING {
                MaximumLength: good.Length - 2,
                ..good
            },
        ),
        (
            "an empty name",
            UNICODE_STRING {
                Length: 0,
                MaximumLength: 0,
                Buffer: ptr::null_mut(),
            },
        ),
    ];
    for (what, mut name) in names {
        invalid(what, engine::build_transport(block.ptr(), &raw mut name, 0))?;
        has_pattern(&block, what)?;
    }
    untouched.still(run, "refused builds")?;

    let f = Fixture::bound(Personality::Orderly)?;
    let (untouched, bytes) = (Untouched::now(run), f.transport.bytes());
    invalid(
        "a transport that is built",
        fixture::bind(&f.transport, &name),
    )?;
    same("its bytes", f.transport.bytes(), bytes)?;
    untouched.still(run, "the refused build")?;
    f.close()
}

fn transport_failures(run: &Run) -> Outcome {
    let block = pattern::<RXCE_TRANSPORT>()?;
    let untouched = Untouched::now(run);
    let unknown = Unicode::new(r"\Device\ConformNoSuchDevice");
    let answer = fixture::bind(&block, &unknown);
    outcome::status(
        "a name that does not exist",
        answer,
        status::OBJECT_NAME_NOT_FOUND,
    )?;
    holds("the structure is zero", block.is_zero())?;
    untouched.still(run, "the failed build")?;

    let name = transport::device_name(Personality::Orderly);
    for (kind, failure) in [
        (Kind::Open(FileKind::Control), status::DEVICE_NOT_READY),
        (
            Kind::Open(FileKind::Control),
            status::INSUFFICIENT_RESOURCES,
        ),
        (Kind::Query, status::INVALID_DEVICE_REQUEST),
        (Kind::Query, status::DEVICE_NOT_READY),
    ] {
        let balance = run.balance();
        script(kind, Script::Inline(failure));
        let answer = fixture::bind(&block, &name);
        script(kind, Script::Inline(status::SUCCESS));
        outcome::status(&format!("{kind:?} failing"), answer, failure)?;
        holds("the structure is zero", block.is_zero())?;
        same(
            "open files",
            TRANSPORT.read(transport::state::State::open_files),
            0,
        )?;
        balance.unchanged(run, "the failed build")?;
    }
    fixture::ok(
        "the same structure, without a failure",
        fixture::bind(&block, &name),
    )?;
    fixture::ok(
        "RxCeTearDownTransport",
        engine::tear_down_transport(block.ptr()),
    )
}

/// RxCeBuildAddress with everything chosen.
fn build(
    address: *mut RXCE_ADDRESS,
    transport: *mut RXCE_TRANSPORT,
    local: *mut TRANSPORT_ADDRESS,
    handlers: bool,
) -> NTSTATUS {
    let mut table = client::address_handlers();
    let table = if handlers {
        &raw mut table
    } else {
        ptr::null_mut()
    };
    engine::build_address(address, transport, local, table, client::ADDRESS_CONTEXT)
}

fn address(run: &Run) -> Outcome {
    let f = Fixture::bound(Personality::Orderly)?;
    let block = pattern::<RXCE_ADDRESS>()?;
    let local = Block::new(LOCAL).ok_or_else(Trouble::no_memory)?;
    let at = local.ptr().cast::<TRANSPORT_ADDRESS>();
    let live = f.transport.ptr();
    let copy = Block::new(f.transport.read()).ok_or_else(Trouble::no_memory)?;
    let (zero, garbage) = (
        Block::zeroed().ok_or_else(Trouble::no_memory)?,
        pattern::<RXCE_TRANSPORT>()?,
    );
    let (untouched, bytes) = (Untouched::now(run), f.transport.bytes());
    invalid("NULL address", build(ptr::null_mut(), live, at, true))?;
    let cases = [
        ("NULL transport", ptr::null_mut(), at, true),
        ("NULL transport address", live, ptr::null_mut(), true),
        ("NULL table", live, at, false),
        ("a zero transport", zero.ptr(), at, true),
        ("a transport of garbage", garbage.ptr(), at, true),
        ("a copy of a transport", copy.ptr(), at, true),
        ("a shifted transport", live.wrapping_byte_add(8), at, true),
        (
            "an unmapped transport",
            ptr::without_provenance_mut(0xFFFF_8000_0000_2000),
            at,
            true,
        ),
    ];
    for (what, transport, local, table) in cases {
        invalid(what, build(block.ptr(), transport, local, table))?;
        has_pattern(&block, what)?;
    }
    untouched.still(run, "refused builds")?;
    same("the transport's bytes", f.transport.bytes(), bytes)?;

    let untouched = Untouched::now(run);
    f.transport
        .change(|transport| transport.ControlChannel = ptr::null_mut());
    let damaged = build(block.ptr(), live, at, true);
    f.transport
        .change(|transport| transport.ControlChannel = copy.read().ControlChannel);
    invalid("a transport with a damaged handle", damaged)?;
    has_pattern(&block, "a transport with a damaged handle")?;
    untouched.still(run, "a damaged transport")?;
    f.close()?;

    let f = Fixture::addressed(Personality::Orderly)?;
    let (untouched, bytes) = (Untouched::now(run), f.address.bytes());
    invalid(
        "an address that is built",
        build(f.address.ptr(), f.transport.ptr(), at, true),
    )?;
    same("its bytes", f.address.bytes(), bytes)?;
    invalid(
        "an address where the transport is asked for",
        build(block.ptr(), f.address.ptr().cast(), at, true),
    )?;
    untouched.still(run, "refused builds")?;
    f.close()
}

fn addresses(run: &Run) -> Outcome {
    let f = Fixture::bound(Personality::Orderly)?;
    let block = pattern::<RXCE_ADDRESS>()?;
    // Big enough for whatever a count makes the engine look at before it must give up.
    let big = Block::<[u8; 0x2_0000]>::zeroed().ok_or_else(Trouble::no_memory)?;
    let untouched = Untouched::now(run);
    let cases: [(&str, i32, u16); 7] = [
        ("no address", 0, 14),
        ("a negative count", -1, 14),
        ("the smallest count", i32::MIN, 14),
        ("a length past 65,535 in all", 1, 0xFFFF),
        ("a length just past 65,535 in all", 1, 0xFFF8),
        ("so many that their headers are past 65,535", 0x4000, 0),
        ("the greatest count", i32::MAX, 0xFFFF),
    ];
    for (what, count, length) in cases {
        let bytes = big.ptr().cast::<u8>();
        for (offset, byte) in count
            .to_le_bytes()
            .into_iter()
            .chain(length.to_le_bytes())
            .enumerate()
        {
            // SAFETY: Inside the block.
            unsafe { bytes.wrapping_add(offset).write(byte) };
        }
        invalid(
            what,
            build(block.ptr(), f.transport.ptr(), big.ptr().cast(), true),
        )?;
        has_pattern(&block, what)?;
    }
    untouched.still(run, "refused builds")?;
    f.close()
}

fn connection(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Orderly)?;
    let (connection, vc) = (pattern::<RXCE_CONNECTION>()?, pattern::<RXCE_VC>()?);
    let peer = Block::new(PEER).ok_or_else(Trouble::no_memory)?;
    let good = fixture::information(&peer);
    let live = f.address.ptr();
    let copy = Block::new(f.address.read()).ok_or_else(Trouble::no_memory)?;
    let garbage = pattern::<RXCE_ADDRESS>()?;
    let context = client::CONNECTION_CONTEXT;
    let (untouched, counts, bytes) = (
        Untouched::now(run),
        f.counts_of_parents(),
        f.address.bytes(),
    );

    let build = |address,
                 information: Option<rxce_client::RXCE_CONNECTION_INFORMATION>,
                 table: bool,
                 connection,
                 vc| {
        let mut information = information;
        let information = information
            .as_mut()
            .map_or(ptr::null_mut(), |information| &raw mut *information);
        let mut handlers = client::connection_handlers();
        let handlers = if table {
            &raw mut handlers
        } else {
            ptr::null_mut()
        };
        engine::build_connection(address, information, handlers, context, connection, vc)
    };
    let (to, at) = (connection.ptr(), vc.ptr());
    invalid(
        "NULL address",
        build(ptr::null_mut(), Some(good), true, to, at),
    )?;
    invalid(
        "an address of garbage",
        build(garbage.ptr(), Some(good), true, to, at),
    )?;
    invalid(
        "a copy of an address",
        build(copy.ptr(), Some(good), true, to, at),
    )?;
    invalid(
        "a transport where an address is asked for",
        build(f.transport.ptr().cast(), Some(good), true, to, at),
    )?;
    invalid("NULL information", build(live, None, true, to, at))?;
    invalid("NULL table", build(live, Some(good), false, to, at))?;
    invalid(
        "NULL connection",
        build(live, Some(good), true, ptr::null_mut(), at),
    )?;
    invalid(
        "NULL circuit",
        build(live, Some(good), true, to, ptr::null_mut()),
    )?;
    invalid(
        "one structure for both",
        build(live, Some(good), true, at.cast(), at),
    )?;
    let changes: [Change<rxce_client::RXCE_CONNECTION_INFORMATION>; 6] = [
        ("no remote address", |information| {
            information.RemoteAddress = ptr::null_mut()
        }),
        ("a remote address of no length", |information| {
            information.RemoteAddressLength = 0
        }),
        ("a remote address of negative length", |information| {
            information.RemoteAddressLength = -22
        }),
        ("the smallest remote length", |information| {
            information.RemoteAddressLength = i32::MIN
        }),
        ("user data of negative length", |information| {
            information.UserDataLength = -1
        }),
        ("options of negative length", |information| {
            information.OptionsLength = i32::MIN
        }),
    ];
    for (what, change) in changes {
        let mut information = good;
        change(&mut information);
        invalid(what, build(live, Some(information), true, to, at))?;
    }
    has_pattern(&connection, "refused builds")?;
    has_pattern(&vc, "refused builds")?;
    same("counts of the parents", f.counts_of_parents(), counts)?;
    same("the address's bytes", f.address.bytes(), bytes)?;
    untouched.still(run, "refused builds")?;

    // Structures that are built already.
    fixture::ok("RxCeBuildConnection", f.connect()?)?;
    let (untouched, bytes) = (Untouched::now(run), (f.connection.bytes(), f.vc.bytes()));
    invalid(
        "a connection that is built",
        build(live, Some(good), true, f.connection.ptr(), at),
    )?;
    invalid(
        "a circuit that is built",
        build(live, Some(good), true, to, f.vc.ptr()),
    )?;
    same("their bytes", (f.connection.bytes(), f.vc.bytes()), bytes)?;
    has_pattern(&connection, "refused builds")?;
    has_pattern(&vc, "refused builds")?;
    untouched.still(run, "refused builds")?;
    f.close()?;

    // A provider without connections.
    let f = Fixture::addressed(Personality::Datagram)?;
    let untouched = Untouched::now(run);
    invalid(
        "a provider without connections",
        build(f.address.ptr(), Some(good), true, to, at),
    )?;
    has_pattern(&connection, "a provider without connections")?;
    untouched.still(run, "a provider without connections")?;
    f.close()
}

fn connection_failures(run: &Run) -> Outcome {
    let f = Fixture::addressed(Personality::Orderly)?;
    let files = TRANSPORT.read(transport::state::State::open_files);
    let steps = [
        (Kind::Open(FileKind::Endpoint), status::DEVICE_NOT_READY),
        (Kind::Associate, status::INVALID_CONNECTION),
        (Kind::Connect, status::CONNECTION_REFUSED),
        (Kind::Connect, status::BAD_NETWORK_PATH),
        (Kind::Connect, status::IO_TIMEOUT),
    ];
    for (kind, failure) in steps {
        let balance = run.balance();
        script(kind, Script::Inline(failure));
        let answer = f.connect()?;
        script(kind, Script::Inline(status::SUCCESS));
        outcome::status(&format!("{kind:?} failing"), answer, failure)?;
        holds("the connection is zero", f.connection.is_zero())?;
        holds("the circuit is zero", f.vc.is_zero())?;
        same("counts of the parents", f.counts_of_parents(), [0; 4])?;
        same(
            "open files",
            TRANSPORT.read(transport::state::State::open_files),
            files,
        )?;
        balance.unchanged(run, &format!("{kind:?} failing"))?;
    }
    fixture::ok("the same structures, without a failure", f.connect()?)?;
    same("callbacks", fixture::calls(), 0)?;
    f.close()
}

fn circuit(run: &Run) -> Outcome {
    let mut f = Fixture::orderly()?;
    let vc = pattern::<RXCE_VC>()?;
    let copy = Block::new(f.connection.read()).ok_or_else(Trouble::no_memory)?;
    let garbage = pattern::<RXCE_CONNECTION>()?;
    let (untouched, counts, bytes) = (Untouched::now(run), f.counts(), f.connection.bytes());
    invalid(
        "NULL circuit",
        engine::build_vc(ptr::null_mut(), f.connection.ptr()),
    )?;
    let connections = [
        ("NULL connection", ptr::null_mut()),
        ("a connection of garbage", garbage.ptr()),
        ("a copy of a connection", copy.ptr()),
        (
            "an address where a connection is asked for",
            f.address.ptr().cast(),
        ),
        (
            "an unmapped connection",
            ptr::without_provenance_mut(0xFFFF_8000_0000_3000),
        ),
    ];
    for (what, connection) in connections {
        invalid(what, engine::build_vc(vc.ptr(), connection))?;
        has_pattern(&vc, what)?;
    }
    // The circuit's place is taken by another kind of structure.
    invalid(
        "a connection as the circuit",
        engine::build_vc(f.connection.ptr().cast(), f.connection.ptr()),
    )?;
    same("the connection's bytes", f.connection.bytes(), bytes)?;
    same("counts of the parents", f.counts(), counts)?;
    untouched.still(run, "refused builds")?;
    // Garbage in the storage is no reason to refuse (§5.10: content ignored).
    f.add_vc()?;
    f.close()
}
