//! Files of drivers' devices that drivers open: the open is sent to the device before it returns, with its attributes, and its status
//! is the device's. Wine does none of this for a driver's own device. Handles and objects that are not of this kind go to Wine.

use core::{
    mem, ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

use wdk_sys::{
    ACCESS_MASK, FILE_OBJECT, HANDLE, IO_SECURITY_CONTEXT, IO_STACK_LOCATION, IRP_MJ_CLEANUP,
    IRP_MJ_CLOSE, IRP_MJ_CREATE, KPROCESSOR_MODE, LONG_PTR, NTSTATUS, PFILE_OBJECT, PHANDLE,
    PIO_STATUS_BLOCK, PLARGE_INTEGER, POBJECT_ATTRIBUTES, POBJECT_HANDLE_INFORMATION, POBJECT_TYPE,
    PVOID, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_SUCCESS, ULONG, ntddk,
};

use crate::{device, irp, pool};

/// More files than a test has open at once.
const MOST: usize = 4096;
/// Handles from here on are this module's; Wine's are small numbers.
const FIRST_HANDLE: usize = 0x5A00_0000;
/// Handles are multiples of four.
const STEP: usize = 4;
const TAG: ULONG = u32::from_le_bytes(*b"ShFi");
/// `IO_TYPE_FILE`.
const TYPE_FILE: i16 = 5;
#[expect(clippy::cast_possible_truncation, reason = "asserted")]
const SIZE: i16 = {
    assert!(mem::size_of::<FILE_OBJECT>() < 0x1000);
    mem::size_of::<FILE_OBJECT>() as i16
};

/// An open file.
#[repr(C)]
struct Open {
    /// First: drivers have its address.
    file: FILE_OBJECT,
    /// The handle's is one.
    references: AtomicU32,
    slot: usize,
}

/// The files that live.
static FILES: [AtomicPtr<Open>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];
/// The files whose handle is open.
static HANDLES: [AtomicPtr<Open>; MOST] = [const { AtomicPtr::new(ptr::null_mut()) }; MOST];
/// No slot from here on was ever used.
static USED: AtomicU32 = AtomicU32::new(0);

fn slot_of(handle: HANDLE) -> Option<usize> {
    let slot = handle.addr().checked_sub(FIRST_HANDLE)? / STEP;
    (slot < MOST).then_some(slot)
}

/// The file that this is the object of, if it is one of ours.
fn known(object: PVOID) -> Option<*mut Open> {
    let used = USED.load(Ordering::Acquire) as usize;
    FILES
        .iter()
        .take(used)
        .map(|file| file.load(Ordering::Acquire))
        .find(|file| !file.is_null() && file.cast() == object)
}

/// Gives a file a place in the table.
fn enter(file: *mut Open) -> Option<usize> {
    let free = |entry: &AtomicPtr<Open>| {
        entry
            .compare_exchange(ptr::null_mut(), file, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    };
    let slot = FILES.iter().position(free)?;
    USED.fetch_max(
        u32::try_from(slot).ok()?.saturating_add(1),
        Ordering::AcqRel,
    );
    Some(slot)
}

/// Takes a file out of the table and frees it.
unsafe fn forget(file: *mut Open) {
    // SAFETY: Forwarded: nobody uses the file any more.
    let slot = unsafe { (*file).slot };
    if let Some(entry) = FILES.get(slot) {
        entry.store(ptr::null_mut(), Ordering::Release);
    }
    // SAFETY: As above.
    let name = unsafe { (*file).file.FileName.Buffer };
    if !name.is_null() {
        // SAFETY: Allocated when the file was opened.
        unsafe { ntddk::ExFreePoolWithTag(name.cast(), 0) };
    }
    // SAFETY: As above.
    unsafe { pool::free(file) };
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ZwCreateFile(
    handle: PHANDLE,
    access: ACCESS_MASK,
    attributes: POBJECT_ATTRIBUTES,
    result: PIO_STATUS_BLOCK,
    size: PLARGE_INTEGER,
    file_attributes: ULONG,
    share: ULONG,
    disposition: ULONG,
    options: ULONG,
    ea: PVOID,
    ea_length: ULONG,
) -> NTSTATUS {
    // SAFETY: The caller's structure.
    let name = unsafe { (*attributes).ObjectName };
    // SAFETY: As above.
    let name = unsafe { &*name };
    // SAFETY: As above.
    let name = unsafe { device::units(name) };
    let Some((target, taken)) = device::find(name) else {
        // SAFETY: Forwarded.
        return unsafe {
            ntddk::ZwCreateFile(
                handle,
                access,
                attributes,
                result,
                size,
                file_attributes,
                share,
                disposition,
                options,
                ea,
                ea_length,
            )
        };
    };
    let file = pool::zeroed::<Open>(TAG);
    if file.is_null() {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    let Some(slot) = enter(file) else {
        // SAFETY: Nobody has it.
        unsafe { pool::free(file) };
        return STATUS_INSUFFICIENT_RESOURCES;
    };
    // SAFETY: New, and nobody else's.
    let open = unsafe { &mut *file };
    open.slot = slot;
    open.references = AtomicU32::new(1);
    open.file.Type = TYPE_FILE;
    open.file.Size = SIZE;
    open.file.DeviceObject = target;
    copy_name(&mut open.file, name.get(taken..).unwrap_or_default());
    let buffer = copy(ea, ea_length);
    let mut security = IO_SECURITY_CONTEXT {
        DesiredAccess: access,
        ..IO_SECURITY_CONTEXT::default()
    };
    // SAFETY: The device lives.
    let stack = unsafe { device::top(target) };
    let object = &raw mut open.file;
    let fill = |location: &mut IO_STACK_LOCATION| {
        // SAFETY: The form that an open uses; all zeros are valid in it.
        let create = unsafe { &mut location.Parameters.Create };
        create.SecurityContext = &raw mut security;
        create.Options = (disposition << 24) | (options & 0x00FF_FFFF);
        create.FileAttributes = low(file_attributes);
        create.ShareAccess = low(share);
        create.EaLength = ea_length;
    };
    // SAFETY: As above; what the request refers to outlives it.
    let answer = unsafe { irp::send(stack, object, IRP_MJ_CREATE, buffer, fill) };
    if !buffer.is_null() {
        // SAFETY: Allocated above.
        unsafe { ntddk::ExFreePoolWithTag(buffer, 0) };
    }
    let status = match answer {
        Err(status) => status,
        Ok(block) => {
            // SAFETY: The caller's structure.
            unsafe { result.write(block) };
            // SAFETY: The device wrote it.
            unsafe { block.__bindgen_anon_1.Status }
        }
    };
    if status < 0 {
        // SAFETY: A file that was not opened is nobody's.
        unsafe { forget(file) };
        return status;
    }
    if let Some(entry) = HANDLES.get(slot) {
        entry.store(file, Ordering::Release);
    }
    let value = FIRST_HANDLE.wrapping_add(slot.wrapping_mul(STEP));
    // SAFETY: The caller's variable.
    unsafe { handle.write(ptr::without_provenance_mut(value)) };
    status
}

/// The half that a packet has room for; no flag is in the other.
fn low(flags: ULONG) -> u16 {
    u16::try_from(flags & 0xFFFF).unwrap_or_default()
}

/// A copy of `length` bytes in pool; null for none.
fn copy(from: PVOID, length: ULONG) -> PVOID {
    if from.is_null() || length == 0 {
        return ptr::null_mut();
    }
    let block = pool::allocate(length as usize, TAG);
    if !block.is_null() {
        // SAFETY: The caller's buffer has this length, and so has the block.
        unsafe {
            ptr::copy_nonoverlapping(from.cast::<u8>(), block.cast::<u8>(), length as usize);
        }
    }
    block
}

fn copy_name(file: &mut FILE_OBJECT, rest: &[u16]) {
    let Ok(bytes) = u16::try_from(mem::size_of_val(rest)) else {
        return;
    };
    let buffer = copy(rest.as_ptr().cast_mut().cast(), ULONG::from(bytes));
    if !buffer.is_null() {
        file.FileName.Buffer = buffer.cast();
        file.FileName.Length = bytes;
        file.FileName.MaximumLength = bytes;
    }
}

/// Sends `IRP_MJ_CLEANUP` or `IRP_MJ_CLOSE`; their status says nothing.
unsafe fn tell(file: *mut Open, major: u32) {
    let object: PFILE_OBJECT = file.cast();
    // SAFETY: The file lives.
    let target = unsafe { (*object).DeviceObject };
    // SAFETY: An open file keeps its device.
    let target = unsafe { device::top(target) };
    // SAFETY: As above.
    let _ = unsafe { irp::send(target, object, major, ptr::null_mut(), |_| {}) };
}

unsafe fn dereference(file: *mut Open) -> LONG_PTR {
    // SAFETY: Forwarded: the caller gives a reference up.
    let references = unsafe { &(*file).references };
    let left = references.fetch_sub(1, Ordering::AcqRel).wrapping_sub(1);
    if left == 0 {
        // SAFETY: The last reference was ours.
        unsafe { tell(file, IRP_MJ_CLOSE) };
        // SAFETY: As above.
        unsafe { forget(file) };
    }
    LONG_PTR::from(left)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ZwClose(handle: HANDLE) -> NTSTATUS {
    let Some(slot) = slot_of(handle) else {
        // SAFETY: Forwarded.
        return unsafe { ntddk::ZwClose(handle) };
    };
    let file = HANDLES
        .get(slot)
        .map(|entry| entry.swap(ptr::null_mut(), Ordering::AcqRel));
    let Some(file) = file.filter(|file| !file.is_null()) else {
        return STATUS_INVALID_HANDLE;
    };
    // SAFETY: The handle's reference keeps the file.
    unsafe { tell(file, IRP_MJ_CLEANUP) };
    // SAFETY: The handle's reference, given up here.
    unsafe { dereference(file) };
    STATUS_SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ObReferenceObjectByHandle(
    handle: HANDLE,
    access: ACCESS_MASK,
    kind: POBJECT_TYPE,
    mode: KPROCESSOR_MODE,
    object: *mut PVOID,
    information: POBJECT_HANDLE_INFORMATION,
) -> NTSTATUS {
    let Some(slot) = slot_of(handle) else {
        // SAFETY: Forwarded.
        return unsafe {
            ntddk::ObReferenceObjectByHandle(handle, access, kind, mode, object, information)
        };
    };
    let file = HANDLES
        .get(slot)
        .map(|entry| entry.load(Ordering::Acquire))
        .filter(|file| !file.is_null());
    let Some(file) = file else {
        return STATUS_INVALID_HANDLE;
    };
    // SAFETY: The handle keeps the file, and its owner does not close it meanwhile.
    unsafe { (*file).references.fetch_add(1, Ordering::AcqRel) };
    // SAFETY: The caller's variable.
    unsafe { object.write(file.cast()) };
    STATUS_SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ObfReferenceObject(object: PVOID) -> LONG_PTR {
    match known(object) {
        None => {
            // SAFETY: Forwarded.
            unsafe { ntddk::ObfReferenceObject(object) }
        }
        Some(file) => {
            // SAFETY: The caller has a reference.
            let references = unsafe { &(*file).references };
            LONG_PTR::from(references.fetch_add(1, Ordering::AcqRel).wrapping_add(1))
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ObfDereferenceObject(object: PVOID) -> LONG_PTR {
    match known(object) {
        // SAFETY: Forwarded.
        None => unsafe { ntddk::ObfDereferenceObject(object) },
        // SAFETY: Forwarded.
        Some(file) => unsafe { dereference(file) },
    }
}
