//! Opening: ZwCreateFile and its relatives, and IRP_MJ_CREATE with a system copy of the EA list.

use super::{device, file, status};
use crate::arena::{self, Kind};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::layout::io::{
    DO_EXCLUSIVE, Device, FO_HANDLE_CREATED, FO_SYNCHRONOUS_IO, FileObject, IO_TYPE_FILE, MJ_CREATE,
};
use crate::layout::ke::{OBJ_KERNEL_HANDLE, UnicodeString};
use crate::mem::{self, poke};
use crate::ob::{self, ObjectKind, handle, namespace, routines};
use crate::rdbss::mup;
use crate::se::{self, dacl};
use crate::stop::Stop;
use crate::trace::{self, EventKind};

const ZW: IrqlRule = IrqlRule::PassiveWithApcs(Stop::verifier(0x20023));
const IO: IrqlRule = IrqlRule::PassiveWithApcs(Stop::verifier(0x2000b));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ZwCreateFile",
        args: 11,
        irql: ZW,
        run: |call| create_file(call, "ZwCreateFile"),
    },
    Routine {
        name: "IoCreateFile",
        args: 14,
        irql: IO,
        run: |call| create_file(call, "IoCreateFile"),
    },
    Routine {
        name: "ZwOpenFile",
        args: 6,
        irql: ZW,
        run: open_file,
    },
];

/// Most characters of a UNICODE_STRING.
const MAX_PATH: usize = 0x7fff;
/// FILE_SYNCHRONOUS_IO_ALERT and _NONALERT.
const SYNCHRONOUS: u32 = 0x30;
/// FILE_DEVICE_SECURE_OPEN.
const SECURE_OPEN: u32 = 0x100;
/// FILE_EA_INFORMATION list limits.
const MAX_EA: usize = 0xffff;

/// What an open asks for.
#[derive(Debug, Clone)]
pub struct Open {
    /// Full path.
    pub path: String,
    /// Desired access.
    pub access: u32,
    /// Share access.
    pub share: u16,
    /// File attributes.
    pub attributes: u16,
    /// CreateDisposition in the top byte, CreateOptions below.
    pub options: u32,
    /// The EA list, or nothing.
    pub ea: Vec<u8>,
    /// KernelMode 0 or UserMode 1.
    pub mode: u8,
}

impl Open {
    /// A plain open by the kernel.
    pub fn kernel(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            access: 0xc010_0000,
            share: 3,
            attributes: 0,
            options: 1 << 24,
            ea: Vec::new(),
            mode: 0,
        }
    }
}

/// Checks the structure of an EA list as IoCheckEaBufferValidity documents it. Entries are 4-byte aligned.
fn check_ea(list: &[u8]) -> bool {
    let mut at = 0;
    loop {
        let Some(entry) = list.get(at..) else {
            return false;
        };
        let (Some(next), Some([_, name, low, high])) = (entry.first_chunk::<4>(), entry.get(4..8))
        else {
            return false;
        };
        let next = u32::from_le_bytes(*next) as usize;
        let name = usize::from(*name);
        let size = 8 + name + 1 + usize::from(u16::from_le_bytes([*low, *high]));
        if name == 0 || entry.get(8 + name) != Some(&0) || entry.len() < size {
            return false;
        }
        if next == 0 {
            return true;
        }
        if !next.is_multiple_of(4) || next < size {
            return false;
        }
        at += next;
    }
}

fn make_file(device: Device, name: &str) -> FileObject {
    let file = FileObject(ob::create(
        ObjectKind::File,
        FileObject::SIZE,
        Some(format!("{}{name}", device::name(device))),
    ));
    file.kind().set(IO_TYPE_FILE);
    file.size().set(0xd8);
    file.device().set(device.0);
    let event = file.event().address();
    crate::dispatcher::event::make(event, 0, false);
    crate::dispatcher::event::make(file.lock().address(), 1, false);
    file.irps().set([file.irps().address(); 2]);
    if !name.is_empty() {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let buffer = arena::alloc(units.len(), Kind::Object);
        mem::write_bytes(buffer, &units);
        let length = u16::try_from(units.len()).unwrap_or(u16::MAX);
        let string = UnicodeString(file.name().address());
        string.length().set(length);
        string.maximum().set(length);
        string.buffer().set(buffer);
    }
    file
}

/// Frees the name of a file object that goes.
pub(super) fn free_name(file: FileObject) {
    let buffer = UnicodeString(file.name().address()).buffer().get();
    if buffer != 0 {
        arena::free(buffer);
    }
}

/// Opens a file object; it comes with one reference, which the caller gives to a handle or drops.
pub fn open(open: &Open) -> Result<usize, i32> {
    if !open.path.starts_with('\\') {
        return Err(status::OBJECT_NAME_INVALID);
    }
    let path = match mup::prefix(&open.path) {
        Some(name) => mup::redirect(name)?,
        None => open.path.clone(),
    };
    if path.encode_utf16().count() > MAX_PATH {
        return Err(status::OBJECT_NAME_INVALID);
    }
    let Some((body, rest)) = namespace::resolve(&path) else {
        let missing = if namespace::has_directory(&path) {
            status::OBJECT_NAME_NOT_FOUND
        } else {
            status::OBJECT_PATH_NOT_FOUND
        };
        return Err(missing);
    };
    if ob::kind(body) != Some(ObjectKind::Device) {
        return Err(status::OBJECT_TYPE_MISMATCH);
    }
    if !open.ea.is_empty() && !check_ea(&open.ea) {
        return Err(status::EA_LIST_INCONSISTENT);
    }
    let device = Device(body);
    if device.flags().get() & DO_EXCLUSIVE != 0 && device.reference_count().get() > 0 {
        return Err(status::ACCESS_DENIED);
    }
    // The device's security speaks for the device itself, and for what is below it if the driver wants that.
    let is_covered = rest.is_empty() || device.characteristics().get() & SECURE_OPEN != 0;
    let is_user = open.mode != 0;
    if is_user && is_covered && !dacl::allows(device.0, se::user_is_admin(), open.access) {
        return Err(status::ACCESS_DENIED);
    }
    ob::reference(device.0, 0);
    file::count(device, 1);
    let file = make_file(device, &rest);
    if open.options & SYNCHRONOUS != 0 {
        file.flags().set(FO_SYNCHRONOUS_IO);
    }
    let outcome = send_create(device, file, open);
    if status::is_success(outcome.status) {
        file.flags().set(file.flags().get() | FO_HANDLE_CREATED);
        return Ok(file.0);
    }
    // A failed create gets neither cleanup nor close.
    free_name(file);
    ob::forget(file.0);
    file::count(device, -1);
    ob::dereference(device.0, 0);
    Err(outcome.status)
}

fn send_create(device: Device, file: FileObject, open: &Open) -> file::Outcome {
    // IO_SECURITY_CONTEXT { SecurityQos 0, AccessState 8, DesiredAccess 10, FullCreateOptions 14 } and the EA copy.
    let security = arena::alloc(0x18, Kind::Object);
    poke(security + 0x10, open.access);
    poke(security + 0x14, open.options & 0x00ff_ffff);
    let ea = if open.ea.is_empty() {
        0
    } else {
        arena::alloc(open.ea.len(), Kind::Object)
    };
    mem::write_bytes(ea, &open.ea);
    let outcome = file::request(device::top(device), open.mode, |irp, stack| {
        irp.system_buffer().set(ea);
        irp.original_file().set(file.0);
        stack.major().set(MJ_CREATE);
        stack.file().set(file.0);
        stack.parameter::<usize>(0).set(security);
        stack.parameter::<u32>(8).set(open.options);
        stack.parameter::<u16>(0x10).set(open.attributes);
        stack.parameter::<u16>(0x12).set(open.share);
        stack
            .parameter::<u32>(0x18)
            .set(u32::try_from(open.ea.len()).unwrap_or(0));
    });
    arena::free(security);
    if ea != 0 {
        arena::free(ea);
    }
    outcome
}

fn finish(call: &Call, routine: &str, open_request: &Open, flags: u32) -> u64 {
    let opened = open(open_request);
    let (result, information) = match opened {
        Ok(file) => {
            let handle = handle::open(file, flags & OBJ_KERNEL_HANDLE != 0, call.caller());
            ob::dereference(file, 0);
            poke(call.addr(0), handle);
            (status::SUCCESS, 1)
        }
        Err(status) => (status, 0),
    };
    if opened.is_ok() {
        poke(call.addr(3), result);
        poke(call.addr(3) + 8, information);
    }
    trace::event(EventKind::Object, call.caller(), || {
        let kind = match open_request.ea.get(8..) {
            Some(name) if name.starts_with(b"TransportAddress\0") => ", address",
            Some(name) if name.starts_with(b"ConnectionContext\0") => ", connection endpoint",
            _ => "",
        };
        format!(
            "{routine} {}{kind}: {}",
            open_request.path,
            status::name(result)
        )
    });
    u64::from(result.cast_unsigned())
}

/// ZwCreateFile(Handle, Access, Attributes, Iosb, AllocationSize, FileAttributes, Share, Disposition, Options, Ea, EaLength).
fn create_file(call: &Call, routine: &str) -> u64 {
    let (name, flags) = routines::attributes(call.addr(2), routine);
    routines::require_system(call.addr(0), routine);
    routines::require_system(call.addr(3), routine);
    let (ea, ea_length) = (call.addr(9), call.u32(10) as usize);
    if fault::should_fail(call, FaultKind::Object) {
        return u64::from(status::INSUFFICIENT_RESOURCES.cast_unsigned());
    }
    let mut list = Vec::new();
    if ea != 0 && ea_length != 0 {
        routines::require_system(ea, routine);
        if ea_length > MAX_EA {
            return u64::from(status::INVALID_PARAMETER.cast_unsigned());
        }
        list = mem::read_bytes(ea, ea_length);
    }
    let open_request = Open {
        path: name,
        access: call.u32(1),
        share: call.u16(6),
        attributes: call.u16(5),
        options: (call.u32(7) << 24) | (call.u32(8) & 0x00ff_ffff),
        ea: list,
        mode: 0,
    };
    finish(call, routine, &open_request, flags)
}

/// ZwOpenFile(Handle, Access, Attributes, Iosb, Share, Options).
fn open_file(call: &Call) -> u64 {
    let (path, flags) = routines::attributes(call.addr(2), "ZwOpenFile");
    routines::require_system(call.addr(0), "ZwOpenFile");
    routines::require_system(call.addr(3), "ZwOpenFile");
    if fault::should_fail(call, FaultKind::Object) {
        return u64::from(status::INSUFFICIENT_RESOURCES.cast_unsigned());
    }
    let options = (1 << 24) | (call.u32(5) & 0x00ff_ffff);
    let open_request = Open {
        path,
        access: call.u32(1),
        share: call.u16(4),
        attributes: 0,
        options,
        ea: Vec::new(),
        mode: 0,
    };
    finish(call, "ZwOpenFile", &open_request, flags)
}

/// One EA of a list as a transport reads it: the value of the entry with this name.
pub fn ea_value(list: usize, length: usize, name: &[u8]) -> Option<Vec<u8>> {
    let bytes = mem::read_bytes(list, length);
    let mut at = 0;
    loop {
        let entry = bytes.get(at..)?;
        let next = u32::from_le_bytes(*entry.first_chunk::<4>()?) as usize;
        let name_length = usize::from(*entry.get(5)?);
        let value_length = usize::from(u16::from_le_bytes([*entry.get(6)?, *entry.get(7)?]));
        if entry.get(8..8 + name_length)? == name {
            return Some(
                entry
                    .get(9 + name_length..9 + name_length + value_length)?
                    .to_vec(),
            );
        }
        if next == 0 {
            return None;
        }
        at += next;
    }
}
