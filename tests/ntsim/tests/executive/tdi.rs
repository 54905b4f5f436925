//! A small TDI client in driver code: opens, requests, and handlers that note what they are told.

use super::nt::{at, get, nt, pool, put, put8, seconds, wait};

// The block that the handlers work on. Events first, then words.
pub(crate) const RECEIVED: u64 = 0;
pub(crate) const DISCONNECTED: u64 = 24;
pub(crate) const DONE: u64 = 48;
pub(crate) const BYTES: u64 = 72;
pub(crate) const FLAGS: u64 = 80;
pub(crate) const MODE: u64 = 88;
pub(crate) const SPARE_IRP: u64 = 96;
pub(crate) const ENDPOINT: u64 = 104;
pub(crate) const ADDRESS: u64 = 112;
pub(crate) const DEVICE: u64 = 120;
pub(crate) const ENDPOINT_HANDLE: u64 = 128;
pub(crate) const ADDRESS_HANDLE: u64 = 136;
pub(crate) const IRQLS: u64 = 144;
pub(crate) const PORT: u64 = 152;
pub(crate) const RESULT: u64 = 160;
pub(crate) const BLOCK: u64 = 256;

/// Modes of the receive handler.
pub(crate) const TAKE_ALL: u64 = 0;
pub(crate) const REFUSE: u64 = 1;
pub(crate) const HAND_BACK: u64 = 2;
pub(crate) const TAKE_HALF: u64 = 3;
pub(crate) const TAKE_TOO_MUCH: u64 = 4;
pub(crate) const TAKE_ONE: u64 = 5;

pub(crate) extern "win64" fn on_receive(
    block: u64,
    _: u64,
    _: u64,
    bytes: u64,
    _: u64,
    taken: u64,
    tsdu: u64,
    irp: u64,
) -> u64 {
    let bytes = bytes & 0xffff_ffff;
    put(block + IRQLS, nt("KeGetCurrentIrql", &[]));
    // SAFETY: The transport says that so many bytes are there.
    let data = unsafe {
        std::slice::from_raw_parts(tsdu as *const u8, usize::try_from(bytes).unwrap_or(0))
    };
    let sum: u64 = data.iter().map(|byte| u64::from(*byte)).sum();
    let (answer, took) = match get(block + MODE) {
        TAKE_ALL => (0, bytes),
        TAKE_HALF => (0, bytes.div_ceil(2)),
        TAKE_TOO_MUCH => (0, bytes + 1),
        TAKE_ONE => (0, 1),
        HAND_BACK => {
            put(irp, get(block + SPARE_IRP));
            put(block + MODE, TAKE_ALL);
            (0xc000_0016, 1)
        }
        _ => (0xc000_021b, 0),
    };
    // SAFETY: The out parameter of the event.
    unsafe { (taken as *mut u32).write(u32::try_from(took).unwrap_or(0)) };
    put(block + BYTES, get(block + BYTES) + took);
    put(block + RESULT, get(block + RESULT) + sum);
    nt("KeSetEvent", &[block + RECEIVED, 0, 0]);
    answer
}

pub(crate) extern "win64" fn on_disconnect(
    block: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    flags: u64,
    _: u64,
) -> u64 {
    put(block + FLAGS, flags & 0xffff_ffff);
    nt("KeSetEvent", &[block + DISCONNECTED, 0, 0]);
    0
}

pub(crate) extern "win64" fn keep(
    _: u64,
    _: u64,
    event: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    nt("KeSetEvent", &[event, 0, 0]);
    0xc000_0016
}

/// An EA list with one entry, in pool: (address, length).
pub(crate) fn ea(name: &[u8], value: &[u8]) -> (u64, u64) {
    let mut bytes = vec![0, 0, 0, 0, 0, u8::try_from(name.len()).unwrap_or(0)];
    bytes.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    bytes.extend(name);
    bytes.push(0);
    bytes.extend(value);
    (copy(&bytes), bytes.len() as u64)
}

pub(crate) fn copy(bytes: &[u8]) -> u64 {
    let block = pool(bytes.len() as u64);
    for (index, byte) in bytes.iter().enumerate() {
        put8(block + index as u64, *byte);
    }
    block
}

/// Opens a file on the TCP transport: (handle, referenced file object).
pub(crate) fn open(ea: (u64, u64)) -> (u64, u64) {
    let (result, handle, file) = open_on(r"\Device\Tcp", ea, 3);
    assert_eq!(result, 0);
    (handle, file)
}

/// Opens a file on a transport: (status, handle, referenced file object).
pub(crate) fn open_on(device: &str, ea: (u64, u64), share: u64) -> (i32, u64, u64) {
    let name: Vec<u8> = device.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = name.len() as u64;
    let string = [length | (length << 16), copy(&name)];
    let attributes = [0x30_u64, 0, at(&string), 0x240, 0, 0];
    let out = pool(64);
    let arguments = [
        out,
        0xc010_0000,
        at(&attributes),
        out + 16,
        0,
        0x80,
        share,
        1,
        0,
        ea.0,
        ea.1,
    ];
    let result = u32::try_from(nt("ZwCreateFile", &arguments) & 0xffff_ffff).unwrap_or(0);
    if result != 0 {
        return (result.cast_signed(), 0, 0);
    }
    assert_eq!(
        nt(
            "ObReferenceObjectByHandle",
            &[get(out), 0, 0, 0, out + 32, 0]
        ),
        0
    );
    (0, get(out), get(out + 32))
}

/// An IRP for a TDI request, ready to be sent.
pub(crate) fn build(block: u64, file: u64, minor: u8, parameters: &[u64]) -> u64 {
    let device = nt("IoGetRelatedDeviceObject", &[file]);
    put(block + DEVICE, device);
    let irp = nt("IoAllocateIrp", &[1, 0]);
    let stack = get(irp + 0xb8) - 0x48;
    put8(stack, 0x0f);
    put8(stack + 1, minor);
    put8(stack + 3, 0xe0);
    for (index, parameter) in parameters.iter().enumerate() {
        put(stack + 8 + 8 * index as u64, *parameter);
    }
    put(stack + 0x28, device);
    put(stack + 0x30, file);
    put(stack + 0x38, keep as *const () as u64);
    put(stack + 0x40, block + DONE);
    irp
}

pub(crate) fn result(irp: u64) -> (i32, u64) {
    let low = u32::try_from(get(irp + 0x30) & 0xffff_ffff).unwrap_or(0);
    (low.cast_signed(), get(irp + 0x38))
}

/// Sends a request and waits for it.
pub(crate) fn send(block: u64, irp: u64) -> (i32, u64) {
    nt("IofCallDriver", &[get(block + DEVICE), irp]);
    wait(block + DONE);
    let result = result(irp);
    nt("IoFreeIrp", &[irp]);
    result
}

pub(crate) fn request(block: u64, file: u64, minor: u8, parameters: &[u64]) -> i32 {
    send(block, build(block, file, minor, parameters)).0
}

/// A request with a buffer of pool.
pub(crate) fn data(block: u64, minor: u8, buffer: u64, length: u64, flags: u64) -> (u64, u64) {
    let mdl = nt("IoAllocateMdl", &[buffer, length, 0, 0, 0]);
    nt("MmBuildMdlForNonPagedPool", &[mdl]);
    let irp = build(
        block,
        get(block + ENDPOINT),
        minor,
        &[length | (flags << 32)],
    );
    put(irp + 8, mdl);
    (irp, mdl)
}

pub(crate) fn transfer(block: u64, minor: u8, buffer: u64, length: u64) -> (i32, u64) {
    let (irp, mdl) = data(block, minor, buffer, length, 0);
    let result = send(block, irp);
    nt("IoFreeMdl", &[mdl]);
    result
}

/// Opens address and endpoint, registers handlers, associates.
pub(crate) fn prepare(port: u64, mode: u64) -> u64 {
    let any = [
        1, 0, 0, 0, 14, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    prepare_from(port, mode, &any)
}

/// As [`prepare`], from a local TRANSPORT_ADDRESS.
pub(crate) fn prepare_from(port: u64, mode: u64, local: &[u8]) -> u64 {
    let block = pool(BLOCK);
    for event in [RECEIVED, DISCONNECTED, DONE] {
        nt("KeInitializeEvent", &[block + event, 1, 0]);
    }
    put(block + MODE, mode);
    put(block + PORT, port);
    let (handle, file) = open(ea(b"TransportAddress", local));
    put(block + ADDRESS_HANDLE, handle);
    put(block + ADDRESS, file);
    let (handle, file) = open(ea(b"ConnectionContext", &7_u64.to_le_bytes()));
    put(block + ENDPOINT_HANDLE, handle);
    put(block + ENDPOINT, file);
    let handlers = [
        (3, on_receive as *const () as u64),
        (1, on_disconnect as *const () as u64),
    ];
    for (event, routine) in handlers {
        assert_eq!(
            request(block, get(block + ADDRESS), 0x0b, &[event, routine, block]),
            0
        );
    }
    assert_eq!(
        request(
            block,
            get(block + ENDPOINT),
            1,
            &[get(block + ADDRESS_HANDLE)]
        ),
        0
    );
    block
}

pub(crate) fn connect_to(block: u64, ip: [u8; 4]) -> i32 {
    let port = u16::try_from(get(block + PORT)).unwrap_or(0).to_be_bytes();
    let address = [
        1, 0, 0, 0, 14, 0, 2, 0, port[0], port[1], ip[0], ip[1], ip[2], ip[3], 0, 0, 0, 0, 0, 0, 0,
        0,
    ];
    connect_at(block, &address)
}

/// Connects to a remote TRANSPORT_ADDRESS.
pub(crate) fn connect_at(block: u64, address: &[u8]) -> i32 {
    let information = pool(0x30);
    put(information + 0x20, address.len() as u64);
    put(information + 0x28, copy(address));
    let limit = pool(8);
    put(limit, seconds(10).cast_unsigned());
    request(block, get(block + ENDPOINT), 3, &[0, information, 0, limit])
}

pub(crate) fn connected(port: u64, mode: u64) -> u64 {
    let block = prepare(port, mode);
    assert_eq!(connect_to(block, [127, 0, 0, 1]), 0);
    block
}

pub(crate) fn disconnect(block: u64, flags: u64) -> i32 {
    request(block, get(block + ENDPOINT), 6, &[flags])
}

pub(crate) fn close(block: u64) -> u64 {
    for (file, handle) in [(ENDPOINT, ENDPOINT_HANDLE), (ADDRESS, ADDRESS_HANDLE)] {
        nt("ZwClose", &[get(block + handle)]);
        nt("ObfDereferenceObject", &[get(block + file)]);
    }
    0
}
