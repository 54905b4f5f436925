//! Entry, unload, and the table of callbacks.

use core::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use wdk_sys::{
    DRIVER_OBJECT, NTSTATUS, PCUNICODE_STRING, PDRIVER_OBJECT, STATUS_SUCCESS, UNICODE_STRING,
};

use crate::{
    control, data, file,
    rdbss::{RxRegisterMinirdr, RxpUnregisterMinirdr, breaks, poke, rx},
    server,
    unicode::unicode,
};

/// Node type and size of MINIRDR_DISPATCH, and of the table in 8-byte words.
const NODE_TYPE: u16 = 0xEBFF;
const BYTES: u16 = 0x218;
const WORDS: usize = 0x218 / 8;
/// Seconds after which RDBSS finalises what nobody uses.
const SCAVENGER_TIMEOUT: u32 = 20;
/// FILE_DEVICE_NETWORK_FILE_SYSTEM, FILE_REMOTE_DEVICE, and no mailslots.
const NETWORK_FILE_SYSTEM: u32 = 0x14;
const REMOTE: u32 = 0x10;
const NO_MAILSLOTS: u32 = 0x2;

/// MINIRDR_DISPATCH. It is filled before it is registered, and RDBSS reads it.
struct Table([AtomicUsize; WORDS]);

static TABLE: Table = Table([const { AtomicUsize::new(0) }; WORDS]);
static DEVICE: AtomicUsize = AtomicUsize::new(0);
static DRIVER: AtomicUsize = AtomicUsize::new(0);

/// RDBSS's device for this driver.
pub(crate) fn device() -> usize {
    DEVICE.load(Ordering::SeqCst)
}

fn table() -> usize {
    ptr::from_ref(&TABLE.0) as usize
}

/// Sets a callback by its offset.
fn set(offset: usize, routine: usize) {
    poke(table().wrapping_add(offset), routine);
}

fn fill() {
    poke(table(), NODE_TYPE);
    poke(table().wrapping_add(2), BYTES);
    poke(table().wrapping_add(0x210), SCAVENGER_TIMEOUT);
    let callbacks: [(usize, usize); 24] = [
        (0x020, control::start as *const () as usize),
        (0x028, control::stop as *const () as usize),
        (0x038, file::create as *const () as usize),
        (0x040, file::collapse as *const () as usize),
        (0x048, file::should_collapse as *const () as usize),
        (0x068, file::cleanup as *const () as usize),
        (0x070, file::close as *const () as usize),
        (0x078, file::deallocate_fcb as *const () as usize),
        (0x080, file::deallocate_fobx as *const () as usize),
        (0x090, file::force_closed as *const () as usize),
        (0x0D0, data::query_directory as *const () as usize),
        (0x0D8, data::query_file as *const () as usize),
        (0x120, data::query_volume as *const () as usize),
        (0x140, data::read as *const () as usize),
        (0x148, data::write_protected as *const () as usize),
        (0x170, data::echo as *const () as usize),
        (0x1B0, server::create_v_net_root as *const () as usize),
        (0x1B8, server::finalize_v_net_root as *const () as usize),
        (0x1C0, server::finalize_net_root as *const () as usize),
        (0x1D0, server::extract_net_root_name as *const () as usize),
        (0x1D8, server::create_srv_call as *const () as usize),
        (0x1E8, server::winner as *const () as usize),
        (0x1F0, server::finalize_srv_call as *const () as usize),
        (0x1F8, control::device_control as *const () as usize),
    ];
    for (offset, routine) in callbacks {
        set(offset, routine);
    }
}

/// Registers, under a name.
fn register(mut name: UNICODE_STRING, characteristics: u32) -> (NTSTATUS, usize) {
    let mut device = 0;
    let status = rx!(
        RxRegisterMinirdr,
        &raw mut device,
        DRIVER.load(Ordering::SeqCst) as PDRIVER_OBJECT,
        table(),
        NO_MAILSLOTS,
        &raw mut name,
        0,
        NETWORK_FILE_SYSTEM,
        characteristics,
    );
    (status, device)
}

/// Registers a second time, in a way that is forbidden.
pub(crate) fn register_badly() {
    if breaks("table_of_another_size") {
        poke(table().wrapping_add(2), BYTES - 8);
    }
    if breaks("table_with_an_unused_callback") {
        set(0x030, file::cleanup as *const () as usize);
    }
    let characteristics = if breaks("device_that_is_not_remote") {
        0
    } else {
        REMOTE
    };
    register(unicode!(r"\Device\MemRdrAgain"), characteristics);
}

/// Entry of the driver.
///
/// # Safety
///
/// Called by the system once, with our driver object.
#[unsafe(export_name = "DriverEntry")]
pub(crate) unsafe extern "system" fn driver_entry(
    driver: PDRIVER_OBJECT,
    _registry_path: PCUNICODE_STRING,
) -> NTSTATUS {
    DRIVER.store(driver as usize, Ordering::SeqCst);
    fill();
    let (status, device) = register(unicode!(memrdr_ioctl::DEVICE_NAME), REMOTE);
    // STATUS_OBJECT_NAME_EXISTS is a failure here: nothing but success has a device.
    if status != STATUS_SUCCESS {
        return if status < 0 {
            status
        } else {
            wdk_sys::STATUS_UNSUCCESSFUL
        };
    }
    DEVICE.store(device, Ordering::SeqCst);
    // SAFETY: Ours alone until this routine returns.
    let object: &mut DRIVER_OBJECT = unsafe { &mut *driver };
    object.DriverUnload = Some(unload);
    STATUS_SUCCESS
}

unsafe extern "C" fn unload(_driver: PDRIVER_OBJECT) {
    if breaks("unregister_while_connecting") {
        poke(device().wrapping_add(0x270), 1_i32);
    }
    rx!(RxpUnregisterMinirdr, device());
}
