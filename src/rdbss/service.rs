//! Start and stop: what sessions run on is built and torn down, and a stop closes every session.

use core::ptr;

use rxce_engine::Error;
use wdk_sys::{NTSTATUS, STATUS_REDIRECTOR_NOT_STARTED, STATUS_SUCCESS};

use super::{
    abi::{RdbssDeviceObject, RxContext},
    running::{self, Running},
    session,
};
use crate::{
    connection::{address, events, transport},
    nt::{device, handle_thread::HANDLE_THREAD, irql::Pageable, mutex::Mutex, pool::PoolBox},
};

/// Serialises start and stop, which own what runs.
static OWNED: Mutex<Option<PoolBox<Running>>> = Mutex::uninit(None);

/// Makes the static lock usable.
pub(super) fn initialise() {
    // SAFETY: It is static, and DriverEntry comes before everything else.
    unsafe { OWNED.init() };
}

/// `MRxStart`: builds transport and address.
///
/// # Safety
///
/// RDBSS's call, in a system worker thread of its process.
pub(super) unsafe extern "C" fn start(
    _context: *mut RxContext,
    _device: *mut RdbssDeviceObject,
) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    OWNED.with(&at, |owned| {
        if owned.is_some() {
            return wdk_sys::STATUS_REDIRECTOR_STARTED;
        }
        match build(&at) {
            Ok(running) => {
                running::show(owned.insert(running).as_ptr());
                STATUS_SUCCESS
            }
            Err(error) => super::status(error),
        }
    })
}

/// `MRxStop`: tears down everything that lives, also where files are still open.
///
/// # Safety
///
/// RDBSS's call, in a system worker thread of its process.
pub(super) unsafe extern "C" fn stop(
    _context: *mut RxContext,
    _device: *mut RdbssDeviceObject,
) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    OWNED.with(&at, |owned| match owned.take() {
        None => STATUS_REDIRECTOR_NOT_STARTED,
        Some(running) => {
            running::withdraw();
            session::close_all(&at, STATUS_REDIRECTOR_NOT_STARTED);
            running.wait(&at);
            demolish(&at, running);
            STATUS_SUCCESS
        }
    })
}

fn build(at: &Pageable) -> Result<PoolBox<Running>, Error> {
    let running = Running::new()?;
    HANDLE_THREAD.at_passive(at, || device::keep_service(&running.keep))?;
    let built = build_parents(at, &running);
    if let Err(error) = built {
        close(at, &running);
        return Err(error);
    }
    Ok(running)
}

fn build_parents(at: &Pageable, running: &Running) -> Result<(), Error> {
    let transport = running.transport()?;
    transport::build(at, transport, running.parameters.provider(), 0)?;
    let local = rxce_engine::transport_address::ip_v4([0; 4], 0);
    let built = address::build(
        at,
        running.address()?,
        transport,
        &local,
        session::address_events(),
        ptr::null_mut(),
        &events::handlers(),
    );
    if built.is_err() {
        // It was built just now, and has no child.
        let _ = transport::tear_down(at, transport);
    }
    built
}

/// Tears address and transport down. What the engine refuses to take apart, somebody has damaged: it is left alone then, and
/// with it the handle that keeps the driver loaded.
fn demolish(at: &Pageable, running: PoolBox<Running>) {
    let torn_down = running
        .address()
        .and_then(|address| address::tear_down(at, address))
        .and_then(|()| running.transport())
        .and_then(|transport| transport::tear_down(at, transport));
    if torn_down.is_err() {
        let _ = running.into_raw();
        return;
    }
    close(at, &running);
}

fn close(at: &Pageable, running: &Running) {
    HANDLE_THREAD.at_passive(at, || {
        running.keep.dereference();
        running.keep.close();
    });
}
