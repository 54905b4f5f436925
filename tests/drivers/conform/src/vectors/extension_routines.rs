//! The extension routine that hands out the table of routines, and the device that does.

use alloc::format;
use core::{mem::offset_of, ptr};

use rxce_client::{
    IOCTL_INTERNAL_RXCEX_GET_ROUTINES, RXCE_ADDRESS, RXCE_CONNECTION, RXCE_TRANSPORT,
    RXCE_TRANSPORT_INFORMATION, RXCE_VC, RXCEX_ROUTINES, RXCEX_VERSION, TRANSPORT_ADDRESS,
};
use wdk_sys::NTSTATUS;

use super::{Vector, extension_tables::small_handlers, own};
use crate::{
    client,
    engine::extension,
    fixture::{self, LOCAL, PEER, buffer, ok},
    nt::{device::Device, irql, pool::Block, status},
    outcome::{self, Outcome, Run, Trouble, holds, same},
    transport::{self, Personality, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "V1",
        "RxCexGetRoutines: a whole life through the table",
        through_the_table,
    ),
    own("V2", "bad arguments to RxCexGetRoutines", bad_tables),
    own(
        "V3",
        "the table from the device, without an import",
        from_the_device,
    ),
];

const SIZE: usize = size_of::<RXCEX_ROUTINES>();
/// What the first version had.
const FIRST_SIZE: usize = offset_of!(RXCEX_ROUTINES, AcceptChainedReceives);

/// A table that asks for what this header knows.
fn asking() -> Outcome<Block<RXCEX_ROUTINES>> {
    let block = Block::<RXCEX_ROUTINES>::zeroed().ok_or_else(Trouble::no_memory)?;
    block.change(|table| table.Size = u32::try_from(SIZE).unwrap_or_default());
    Ok(block)
}

fn is_complete(table: &Block<RXCEX_ROUTINES>) -> Outcome {
    let now = table.read();
    same("Size", now.Size as usize, SIZE)?;
    same("Version", now.Version, RXCEX_VERSION)?;
    same(
        "offset of the first routine",
        offset_of!(RXCEX_ROUTINES, AllocateIrpWithMDL),
        8,
    )?;
    let bytes = table.bytes();
    let (routines, _) = bytes.get(8..).unwrap_or_default().as_chunks::<8>();
    holds(
        "every member is a routine",
        routines.iter().all(|routine| *routine != [0; 8]),
    )
}

/// Calls a member of the table, which must be there.
macro_rules! call {
    ($table:expr, $routine:ident, $($argument:expr),*) => {{
        let routine = $table
            .$routine
            .ok_or_else(|| Trouble::Failed(concat!("no ", stringify!($routine)).into()))?;
        // SAFETY: Arguments as the header describes them.
        unsafe { routine($($argument),*) }
    }};
}

fn through_the_table(run: &Run) -> Outcome {
    let table = asking()?;
    for level in [irql::PASSIVE, irql::APC, irql::DISPATCH] {
        table.change(|table| table.Version = 0);
        ok(
            "RxCexGetRoutines",
            irql::at(level, || extension::get_routines(table.ptr())),
        )?;
        is_complete(&table)?;
    }
    let before = run.balance();
    a_life(&table.read())?;
    before.unchanged(run, "a life through the table")
}

/// Lets the transport refuse to register for chained receives; the status.
fn transport_refuses_chains() -> NTSTATUS {
    let no_chains = status::NOT_IMPLEMENTED;
    TRANSPORT.update(|state| {
        if let Some(slot) = state.handler_status.get_mut(7) {
            *slot = no_chains;
        }
    });
    no_chains
}

/// Each member does what the routine of its name does.
fn a_life(t: &RXCEX_ROUTINES) -> Outcome {
    let no_memory = Trouble::no_memory;
    let transport = Block::<RXCE_TRANSPORT>::zeroed().ok_or_else(no_memory)?;
    let address = Block::<RXCE_ADDRESS>::zeroed().ok_or_else(no_memory)?;
    let connection = Block::<RXCE_CONNECTION>::zeroed().ok_or_else(no_memory)?;
    let vc = Block::<RXCE_VC>::zeroed().ok_or_else(no_memory)?;
    let more = Block::<RXCE_VC>::zeroed().ok_or_else(no_memory)?;
    let local = Block::new(LOCAL).ok_or_else(no_memory)?;
    let peer = Block::new(PEER).ok_or_else(no_memory)?;
    let (mut on_address, mut on_connection) =
        (client::address_handlers(), client::connection_handlers());
    let mut information = fixture::information(&peer);
    let name = transport::device_name(Personality::Orderly);
    let context = client::CONNECTION_CONTEXT;
    let data = buffer(b"through the table")?;
    let (null, wait) = (ptr::null_mut(), crate::engine::SEND_SYNCHRONOUS);

    ok(
        "BuildTransport",
        call!(
            t,
            BuildTransport,
            transport.ptr(),
            name.borrow().as_mut_ptr(),
            7
        ),
    )?;
    let told = Block::<RXCE_TRANSPORT_INFORMATION>::zeroed().ok_or_else(no_memory)?;
    ok(
        "QueryTransportInformation",
        call!(t, QueryTransportInformation, transport.ptr(), told.ptr()),
    )?;
    same("QualityOfService", told.read().QualityOfService, 7)?;
    transport::answer_queries(&[5; 60], status::SUCCESS);
    let mut adapter = [0_u8; 60];
    ok(
        "QueryAdapterStatus",
        call!(
            t,
            QueryAdapterStatus,
            transport.ptr(),
            adapter.as_mut_ptr().cast()
        ),
    )?;
    same("the adapter's status", adapter, [5; 60])?;
    ok(
        "BuildAddress",
        call!(
            t,
            BuildAddress,
            address.ptr(),
            transport.ptr(),
            local.ptr().cast::<TRANSPORT_ADDRESS>(),
            &raw mut on_address,
            client::ADDRESS_CONTEXT
        ),
    )?;
    let no_chains = transport_refuses_chains();
    let refused = call!(
        t,
        AcceptChainedReceives,
        address.ptr(),
        Some(client::chained::on_chained)
    );
    outcome::status("AcceptChainedReceives", refused, no_chains)?;
    ok(
        "BuildConnection",
        call!(
            t,
            BuildConnection,
            address.ptr(),
            &raw mut information,
            &raw mut on_connection,
            context,
            connection.ptr(),
            vc.ptr()
        ),
    )?;
    ok("BuildVC", call!(t, BuildVC, more.ptr(), connection.ptr()))?;
    ok(
        "Send",
        call!(t, Send, vc.ptr(), wait, data.mdl(), data.length(), null),
    )?;
    let mut information_now = [0_u8; 64];
    ok(
        "QueryInformation",
        call!(
            t,
            QueryInformation,
            vc.ptr(),
            1,
            information_now.as_mut_ptr().cast(),
            64
        ),
    )?;
    let datagram = call!(
        t,
        SendDatagram,
        address.ptr(),
        &raw mut information,
        0,
        data.mdl(),
        data.length(),
        null
    );
    outcome::status(
        "SendDatagram on a provider without datagrams",
        datagram,
        status::INVALID_PARAMETER,
    )?;
    let cancelled = call!(
        t,
        CancelConnectRequest,
        address.ptr(),
        ptr::null_mut(),
        ptr::null_mut()
    );
    outcome::status("CancelConnectRequest", cancelled, status::NOT_IMPLEMENTED)?;
    let irp = call!(t, AllocateIrpWithMDL, 1, 0, data.mdl());
    holds("a packet", !irp.is_null())?;
    call!(t, FreeIrp, irp);
    let mut counters = super::extension_counters::asking();
    ok(
        "QueryCounters",
        call!(t, QueryCounters, vc.ptr().cast(), &raw mut counters),
    )?;
    same("Sends", counters.Sends, 1)?;
    ok(
        "InitiateVCDisconnect",
        call!(t, InitiateVCDisconnect, vc.ptr()),
    )?;
    same("State", vc.read().State, rxce_client::RXCE_VC_DISCONNECTED)?;
    ok("TearDownVC", call!(t, TearDownVC, vc.ptr()))?;
    ok("TearDownVC", call!(t, TearDownVC, more.ptr()))?;
    ok(
        "TearDownConnection",
        call!(t, TearDownConnection, connection.ptr()),
    )?;
    // The routines that take a table, with the tables of either header; with nobody to connect to.
    let mut small = small_handlers();
    ok(
        "BuildConnectionSmallTable",
        call!(
            t,
            BuildConnectionSmallTable,
            address.ptr(),
            &raw mut information,
            (&raw mut small).cast(),
            context,
            connection.ptr(),
            vc.ptr()
        ),
    )?;
    ok("TearDownVC", call!(t, TearDownVC, vc.ptr()))?;
    ok(
        "TearDownConnection",
        call!(t, TearDownConnection, connection.ptr()),
    )?;
    let refused = call!(
        t,
        BuildConnectionOverMultipleTransports,
        ptr::null_mut(),
        0,
        0,
        ptr::null_mut(),
        ptr::null_mut(),
        &raw mut information,
        &raw mut on_connection,
        context,
        None,
        ptr::null_mut()
    );
    outcome::status(
        "a competition of nobody",
        refused,
        status::INVALID_PARAMETER,
    )?;
    let refused = call!(
        t,
        BuildConnectionOverMultipleTransportsSmallTable,
        ptr::null_mut(),
        0,
        0,
        ptr::null_mut(),
        ptr::null_mut(),
        &raw mut information,
        (&raw mut small).cast(),
        context,
        None,
        ptr::null_mut()
    );
    outcome::status(
        "a competition of nobody",
        refused,
        status::INVALID_PARAMETER,
    )?;
    let cancelled = call!(t, CancelConnect, vc.ptr());
    outcome::status(
        "CancelConnect where nothing is built",
        cancelled,
        status::INVALID_PARAMETER,
    )?;
    ok("TearDownAddress", call!(t, TearDownAddress, address.ptr()))?;
    ok(
        "TearDownTransport",
        call!(t, TearDownTransport, transport.ptr()),
    )
}

fn bad_tables(run: &Run) -> Outcome {
    let before = run.balance();
    let answer = extension::get_routines(ptr::null_mut());
    outcome::status("NULL", answer, status::INVALID_PARAMETER)?;
    let table = asking()?;
    let bytes = table.bytes();
    let inside = table.ptr().wrapping_byte_add(4);
    let answer = extension::get_routines(inside);
    outcome::status("a misaligned table", answer, status::INVALID_PARAMETER)?;
    same("its bytes", table.bytes(), bytes)?;
    // The block is as long as it says, and not a byte longer: a write behind it would be seen.
    for room in [8_usize, 64, FIRST_SIZE - 8] {
        let block = Block::<RXCEX_ROUTINES>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
        block.change(|table| table.Size = u32::try_from(room).unwrap_or_default());
        let bytes = block.bytes();
        let answer = extension::get_routines(block.ptr());
        outcome::status(
            &format!("a table of {room} bytes"),
            answer,
            status::BUFFER_OVERFLOW,
        )?;
        same("its bytes", block.bytes(), bytes)?;
    }
    // An older header's table, of a block that is no longer; and one that ends inside a member.
    for room in [FIRST_SIZE, FIRST_SIZE + 4] {
        let older = Block::<[u8; FIRST_SIZE]>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
        let says = u32::try_from(room).unwrap_or_default();
        // SAFETY: The size comes first.
        unsafe { older.ptr().cast::<u32>().write(says) };
        ok(
            "an older table",
            extension::get_routines(older.ptr().cast()),
        )?;
        let bytes = older.bytes();
        let size = bytes.first_chunk().copied().map(u32::from_le_bytes);
        same("Size", size.map(|size| size as usize), Some(FIRST_SIZE))?;
        let (routines, _) = bytes.get(8..).unwrap_or_default().as_chunks::<8>();
        holds(
            "every member of it is a routine",
            routines
                .iter()
                .all(|routine| ![[0; 8], [0xCC; 8]].contains(routine)),
        )?;
    }
    // A later header's table: what this version does not know stays as it is.
    let longer = Block::<[u64; SIZE / 8 + 2]>::filled(0xCC).ok_or_else(Trouble::no_memory)?;
    let room = u32::try_from(SIZE + 16).unwrap_or_default();
    // SAFETY: The size comes first.
    unsafe { longer.ptr().cast::<u32>().write(room) };
    ok(
        "a longer table",
        extension::get_routines(longer.ptr().cast()),
    )?;
    let bytes = longer.bytes();
    let size = bytes.first_chunk().copied().map(u32::from_le_bytes);
    same("Size", size.map(|size| size as usize), Some(SIZE))?;
    holds(
        "the rest is as it was",
        bytes.iter().skip(SIZE).all(|&byte| byte == 0xCC),
    )?;
    for level in [irql::DISPATCH + 1, 12] {
        let bytes = table.bytes();
        let answer = irql::at(level, || extension::get_routines(table.ptr()));
        outcome::status("above DISPATCH_LEVEL", answer, status::INVALID_PARAMETER)?;
        same("its bytes", table.bytes(), bytes)?;
    }
    before.unchanged(run, "tables")
}

fn from_the_device(run: &Run) -> Outcome {
    let device = match Device::open(r"\Device\Rxce") {
        Ok(device) => device,
        Err(status::OBJECT_NAME_NOT_FOUND) => {
            let text = "rxce.sys does not run as a service, so it has no device";
            return Err(Trouble::NotPossible(text.into()));
        }
        Err(failure) => return Err(Trouble::failed("opening the device", failure)),
    };
    let ask = |code: u32, output: *mut core::ffi::c_void, length: usize| {
        // SAFETY: The table is as long as stated.
        unsafe { device.internal_control(code, output, u32::try_from(length).unwrap_or_default()) }
    };
    let code = IOCTL_INTERNAL_RXCEX_GET_ROUTINES;
    let table = asking()?;
    let bytes = table.bytes();
    let before = run.balance();
    let refused = [
        (
            "another code",
            ask(code + 4, table.ptr().cast(), SIZE),
            status::INVALID_DEVICE_REQUEST,
        ),
        (
            "no buffer",
            ask(code, ptr::null_mut(), SIZE),
            status::INVALID_PARAMETER,
        ),
        (
            "a short buffer",
            ask(code, table.ptr().cast(), FIRST_SIZE - 8),
            status::BUFFER_OVERFLOW,
        ),
    ];
    for (what, answer, expected) in refused {
        outcome::status(what, answer, expected)?;
    }
    same("the table's bytes", table.bytes(), bytes)?;
    ok("the table", ask(code, table.ptr().cast(), SIZE))?;
    is_complete(&table)?;
    let exported = asking()?;
    ok("RxCexGetRoutines", extension::get_routines(exported.ptr()))?;
    same("both tables", table.bytes(), exported.bytes())?;
    before.unchanged(run, "the device's answers")
}
