//! A small datagram client in driver code, on what [`super::tdi`] has.

use super::nt::{at, event, get, get8, nt, pool, put, put8, seconds, wait};
use super::tdi::*;

pub(crate) const DEVICE_NAME: &str = r"\Device\Udp";

// More words of the block, after those of the TCP client.
pub(crate) const INDICATED: u64 = 168;
pub(crate) const AVAILABLE: u64 = 176;
pub(crate) const EVENT_FLAGS: u64 = 184;
pub(crate) const SOURCE_LENGTH: u64 = 192;
pub(crate) const SOURCE_PORT: u64 = 200;
pub(crate) const TAKE: u64 = 208;
pub(crate) const COUNT: u64 = 216;
pub(crate) const FIRST: u64 = 224;

/// The handler: notes what it is told, and answers by the mode.
pub(crate) type Event =
    extern "win64" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> u64;

pub(crate) extern "win64" fn on_datagram(
    block: u64,
    source_length: u64,
    source: u64,
    _: u64,
    _: u64,
    flags: u64,
    indicated: u64,
    available: u64,
    taken: u64,
    tsdu: u64,
    irp: u64,
) -> u64 {
    let (indicated, available) = (indicated & 0xffff_ffff, available & 0xffff_ffff);
    put(block + IRQLS, nt("KeGetCurrentIrql", &[]));
    put(block + INDICATED, indicated);
    put(block + AVAILABLE, available);
    put(block + EVENT_FLAGS, flags & 0xffff_ffff);
    put(block + SOURCE_LENGTH, source_length & 0xffff_ffff);
    let port = u16::from_be_bytes([get8(source + 8), get8(source + 9)]);
    put(block + SOURCE_PORT, port.into());
    put(
        block + FIRST,
        if indicated == 0 { 0 } else { get8(tsdu).into() },
    );
    put(block + COUNT, get(block + COUNT) + 1);
    let (answer, took) = match get(block + MODE) {
        TAKE_ALL => (0, indicated),
        TAKE_TOO_MUCH => (0, indicated + 1),
        HAND_BACK => {
            put(irp, get(block + SPARE_IRP));
            put(block + MODE, TAKE_ALL);
            (0xc000_0016, get(block + TAKE))
        }
        _ => (0xc000_021b, 0),
    };
    // SAFETY: The out parameter of the event.
    unsafe { (taken as *mut u32).write(u32::try_from(took).unwrap_or(0)) };
    nt("KeSetEvent", &[block + RECEIVED, 0, 0]);
    answer
}

/// TRANSPORT_ADDRESS of 127.0.0.1, or of no address.
pub(crate) fn address(port: u64, ip: [u8; 4]) -> [u8; 22] {
    let [high, low] = u16::try_from(port).unwrap_or(0).to_be_bytes();
    let [a, b, c, d] = ip;
    [
        1, 0, 0, 0, 14, 0, 2, 0, high, low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0,
    ]
}

/// TDI_CONNECTION_INFORMATION with a remote address.
pub(crate) fn information(port: u64, ip: [u8; 4]) -> u64 {
    let information = pool(0x30);
    put(information + 0x20, 22);
    put(information + 0x28, copy(&address(port, ip)));
    information
}

/// Opens an address and registers the handler.
pub(crate) fn open_and_listen(peer: u64, mode: u64) -> u64 {
    let block = pool(BLOCK);
    for event in [RECEIVED, DONE] {
        nt("KeInitializeEvent", &[block + event, 1, 0]);
    }
    put(block + MODE, mode);
    put(block + PORT, peer);
    let ea = ea(b"TransportAddress", &address(0, [127, 0, 0, 1]));
    let (result, handle, file) = open_on(DEVICE_NAME, ea, 3);
    assert_eq!(result, 0);
    put(block + ADDRESS_HANDLE, handle);
    put(block + ADDRESS, file);
    listen(block, on_datagram as Event as *const () as u64);
    block
}

/// Sets or removes the handler.
pub(crate) fn listen(block: u64, routine: u64) {
    assert_eq!(
        request(block, get(block + ADDRESS), 0x0b, &[4, routine, block]),
        0
    );
}

pub(crate) fn close_address(block: u64) -> u64 {
    nt("ZwClose", &[get(block + ADDRESS_HANDLE)]);
    nt("ObfDereferenceObject", &[get(block + ADDRESS)]);
    0
}

/// A datagram request with a buffer of pool.
pub(crate) fn datagram(block: u64, minor: u8, buffer: u64, length: u64, rest: [u64; 3]) -> u64 {
    let mdl = nt("IoAllocateMdl", &[buffer, length, 0, 0, 0]);
    nt("MmBuildMdlForNonPagedPool", &[mdl]);
    let [second, third, fourth] = rest;
    let parameters = [length, second, third, fourth];
    let irp = build(block, get(block + ADDRESS), minor, &parameters);
    put(irp + 8, mdl);
    irp
}

pub(crate) fn perform(block: u64, irp: u64) -> (i32, u64) {
    let mdl = get(irp + 8);
    let result = send(block, irp);
    nt("IoFreeMdl", &[mdl]);
    result
}

/// Sends bytes to the peer, which answers with a datagram.
pub(crate) fn ask(block: u64, text: &[u8]) {
    let target = information(get(block + PORT), [127, 0, 0, 1]);
    let irp = datagram(block, 9, copy(text), text.len() as u64, [target, 0, 0]);
    assert_eq!(perform(block, irp), (0, text.len() as u64));
}

pub(crate) fn begin(block: u64, irp: u64) {
    assert_eq!(nt("IofCallDriver", &[get(block + DEVICE), irp]), 0x103);
}

/// Gives a request an event of its own.
pub(crate) fn apart(irp: u64) -> u64 {
    let event = event(1);
    put(get(irp + 0xb8) - 0x48 + 0x40, event);
    event
}

/// Frees a request that is back, and says how it ended.
pub(crate) fn take_back(irp: u64) -> (i32, u64) {
    let result = result(irp);
    nt("IoFreeMdl", &[get(irp + 8)]);
    nt("IoFreeIrp", &[irp]);
    result
}

pub(crate) fn ended(block: u64, irp: u64) -> (i32, u64) {
    wait(block + DONE);
    take_back(irp)
}

pub(crate) fn pause() {
    let pause = seconds(1) / 5;
    nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
}

/// A receive request as a handler hands it back: IoSetNextIrpStackLocation was called.
pub(crate) fn spare(block: u64, irp: u64) -> u64 {
    let event = apart(irp);
    put8(irp + 0x43, 1);
    put(irp + 0xb8, irp + 0xd0);
    put(block + SPARE_IRP, irp);
    event
}
