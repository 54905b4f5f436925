//! Requests for a transport.

use core::ptr;

use wdk_sys::{
    FILE_OPEN, FILE_SHARE_READ, GENERIC_READ, GENERIC_WRITE, HANDLE, IO_STATUS_BLOCK, PVOID,
    SYNCHRONIZE,
};

use super::{
    mdl::{build, describe, free_mdl},
    table,
};
use crate::{
    driver::Bench,
    nt::{attributes, free, new, nt, poke, pool},
    request::{Below, next},
    unicode::unicode,
};

table![tdi_chain_too_short, tdi_chain_not_locked];

/// TDI_RECEIVE_DATAGRAM.
const RECEIVE_DATAGRAM: u8 = 0x0A;
/// Bytes of the buffer.
const BYTES: u32 = 64;
/// The EA that opens an address: its length, and where its value begins.
const EA_BYTES: usize = 47;
const EA_LENGTH: u32 = 47;
const EA_VALUE: usize = 25;

/// FILE_FULL_EA_INFORMATION "TransportAddress" with any local IPv4 address.
const fn ea() -> [u8; EA_BYTES] {
    let mut ea = *b"\0\0\0\0\0\x10\x16\0TransportAddress\0......................";
    let mut i = EA_VALUE;
    while i < EA_BYTES {
        ea[i] = 0;
        i += 1;
    }
    // TAAddressCount, AddressLength, TDI_ADDRESS_IP.
    ea[EA_VALUE] = 1;
    ea[EA_VALUE + 4] = 14;
    ea[EA_VALUE + 6] = 2;
    ea
}

/// Opens an address of the transport, runs something with it, and closes it.
fn with_address(run: impl FnOnce(&Below)) {
    let mut name = unicode!(breaker_ioctl::TRANSPORT_NAME);
    let mut attributes = attributes(&raw mut name);
    let mut handle: HANDLE = ptr::null_mut();
    let mut status = IO_STATUS_BLOCK::default();
    let list = new::<[u8; EA_BYTES]>();
    poke(list, const { ea() });
    nt!(ZwCreateFile(
        &raw mut handle,
        GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE,
        &raw mut attributes,
        &raw mut status,
        ptr::null_mut(),
        0,
        FILE_SHARE_READ,
        FILE_OPEN,
        0,
        list.cast(),
        EA_LENGTH
    ));
    free(list);
    let mut file: PVOID = ptr::null_mut();
    nt!(ObReferenceObjectByHandle(
        handle,
        0,
        ptr::null_mut(),
        0,
        &raw mut file,
        ptr::null_mut()
    ));
    let address = Below::of(file.cast());
    run(&address);
    drop(address);
    nt!(ZwClose(handle));
}

/// What an MDL is before it is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    Described,
    Built,
}

/// Asks for a datagram of so many bytes, and cancels that.
fn receive(bytes: u32, pages: Pages) {
    with_address(|address| {
        let request = address.request(1);
        let buffer = pool(BYTES as usize);
        let mdl = describe(buffer, BYTES);
        if pages == Pages::Built {
            build(mdl);
        }
        request.prepare(RECEIVE_DATAGRAM);
        let stack = next(request.irp);
        stack.FileObject = address.file();
        // ReceiveLength is where that of a read is.
        stack.Parameters.Read.Length = bytes;
        // SAFETY: Ours.
        unsafe { (*request.irp).MdlAddress = mdl };
        request.call();
        nt!(IoCancelIrp(request.irp));
        request.wait();
        request.free();
        free_mdl(mdl);
        free(buffer);
    });
}

fn tdi_chain_too_short(bench: &Bench) {
    receive(bench.either(BYTES + 1, BYTES), Pages::Built);
}

fn tdi_chain_not_locked(bench: &Bench) {
    receive(BYTES, bench.either(Pages::Described, Pages::Built));
}
