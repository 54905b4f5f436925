//! Registration: the device of a mini-redirector and its table of callbacks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::calldown::NEVER_CALLED;
use super::layout::{Dispatch, RdbssDevice, manage, node, write_header};
use super::lock::SleepLock;
use super::rule::{Rule, violation};
use super::start_stop;
use super::tables::Tables;
use crate::arena::{self, Kind};
use crate::dispatcher::Sleep;
use crate::dispatcher::host::HostEvent;
use crate::fault::{self, FaultKind};
use crate::gate::{self, Call, IrqlRule, Routine};
use crate::io::{device, status};
use crate::irql::PASSIVE_LEVEL;
use crate::layout::io::{Device, DriverObject};
use crate::layout::ke::UnicodeString;
use crate::mem::{peek, poke, write_bytes};
use crate::stop::Stop;
use crate::trace::{self, EventKind};

const RULE: IrqlRule = IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub(super) const ROUTINES: &[Routine] = &[
    Routine {
        name: "RxRegisterMinirdr",
        args: 8,
        irql: RULE,
        run: |call| u64::from(register(call).cast_unsigned()),
    },
    Routine {
        name: "RxpUnregisterMinirdr",
        args: 1,
        irql: RULE,
        run: unregister,
    },
];

/// RX_REGISTERMINI_FLAG_ bits.
const DONT_PROVIDE_UNCS: u32 = 0x1;
const DONT_PROVIDE_MAILSLOTS: u32 = 0x2;
const DONT_INIT_DRIVER_DISPATCH: u32 = 0x4;
/// FILE_REMOTE_DEVICE.
const REMOTE: u32 = 0x10;
/// Bytes of the node that stands for the device in `FsContext`.
const DEVICE_FCB_BYTES: usize = 0x100;

/// A registered mini-redirector.
pub(super) struct Redirector {
    pub(super) device: RdbssDevice,
    /// Its MINIRDR_DISPATCH.
    pub(super) dispatch: usize,
    /// The device's name.
    pub(super) name: String,
    /// The node of the device's own FCB.
    pub(super) device_fcb: usize,
    /// Held to start and to stop.
    pub(super) changing: SleepLock,
    pub(super) tables: Mutex<Tables>,
    /// Whether the scavenger will come.
    pub(super) scavenger: AtomicBool,
    busy: Mutex<Busy>,
    /// Set when a request or a worker routine ends.
    quieter: HostEvent,
}

/// What is under way.
#[derive(Default, Clone, Copy)]
struct Busy {
    contexts: usize,
    work: usize,
}

static REGISTERED: Mutex<Option<HashMap<usize, Arc<Redirector>>>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut HashMap<usize, Arc<Redirector>>) -> R) -> R {
    run(REGISTERED.lock().get_or_insert_default())
}

/// The redirector of a device that was passed to `routine`.
pub(super) fn require(device: usize, routine: &str) -> Arc<Redirector> {
    with(|all| all.get(&device).cloned()).unwrap_or_else(|| {
        violation(
            Rule::NotRegistered,
            device,
            format!("{routine}: {device:#x} is not the device of a registered mini-redirector"),
        )
    })
}

impl Redirector {
    /// RDBSS_STARTABLE, _STARTED or _STOP_IN_PROGRESS.
    pub(super) fn state(&self) -> u32 {
        self.device.state().get()
    }

    fn change(&self, change: impl FnOnce(&mut Busy)) {
        let mut busy = self.busy.lock();
        change(&mut busy);
        let contexts = u32::try_from(busy.contexts).unwrap_or(u32::MAX);
        self.device.active_contexts().set(contexts);
        drop(busy);
        self.quieter.set();
    }

    /// A context begins or ends.
    pub(super) fn contexts_changed(&self, by: isize) {
        self.change(|busy| busy.contexts = busy.contexts.saturating_add_signed(by));
    }

    /// A worker's routine begins or ends.
    pub(super) fn work_changed(&self, by: isize) {
        self.change(|busy| busy.work = busy.work.saturating_add_signed(by));
    }

    /// Waits until no more than so many requests, and no worker routine, are under way.
    pub(super) fn wait_until_quiet(&self, contexts: usize) {
        loop {
            let busy = *self.busy.lock();
            if busy.contexts <= contexts && busy.work == 0 {
                return;
            }
            self.quieter.wait(Sleep::Wanted);
        }
    }
}

/// RxRegisterMinirdr(device out, driver, table, controls, name, extension bytes, type, characteristics).
fn register(call: &Call) -> i32 {
    let (out, driver, table) = (call.addr(0), DriverObject(call.addr(1)), call.addr(2));
    let (controls, name) = (call.u32(3), call.addr(4));
    if out == 0 {
        return status::INVALID_PARAMETER;
    }
    check_table(table);
    if call.u32(7) & REMOTE == 0 {
        violation(
            Rule::NotRemote,
            table,
            "the characteristics have no FILE_REMOTE_DEVICE",
        );
    }
    if fault::should_fail(call, FaultKind::Object) {
        return status::INSUFFICIENT_RESOURCES;
    }
    if Dispatch(table).flags().get() & manage::FCB != 0 {
        // No published page says where MRX_FCB has the pointer to its extension.
        return status::NOT_SUPPORTED;
    }
    let name_text = UnicodeString(name).text();
    let wanted = device::Wanted {
        driver,
        extension: RdbssDevice::SIZE - Device::SIZE + call.u32(5) as usize,
        name: &name_text,
        device_type: call.u32(6),
        characteristics: call.u32(7),
        exclusive: false,
    };
    let device = match device::create_for(&wanted, call.caller()) {
        Ok(device) => RdbssDevice(device.0),
        Err(status) => return status,
    };
    prepare(device, table, controls, name);
    if controls & DONT_INIT_DRIVER_DISPATCH == 0 {
        let routine = gate::thunk("RxFsdDispatch").unwrap_or(0);
        driver.major().set([routine; 28]);
    }
    let device_fcb = arena::alloc(DEVICE_FCB_BYTES, Kind::Object);
    write_header(device_fcb, node::DEVICE_FCB, DEVICE_FCB_BYTES);
    let redirector = Redirector {
        device,
        dispatch: table,
        name: name_text,
        device_fcb,
        changing: SleepLock::new(),
        tables: Mutex::default(),
        scavenger: AtomicBool::new(false),
        busy: Mutex::default(),
        quieter: HostEvent::auto(),
    };
    trace::event(EventKind::Object, call.caller(), || {
        format!("mini-redirector {} registered", redirector.name)
    });
    with(|all| all.insert(device.0, Arc::new(redirector)));
    poke(out, device.0);
    status::SUCCESS
}

/// A table without its head would be read at wrong places.
fn check_table(table: usize) {
    let view = Dispatch(table);
    let (kind, size) = (view.node_type().get(), view.node_size().get());
    if kind != node::MINIRDR_DISPATCH || usize::try_from(size) != Ok(Dispatch::SIZE) {
        violation(
            Rule::DispatchTable,
            table,
            format!(
                "NodeTypeCode {kind:#X} and NodeByteSize {size:#X} of the table: {:#X} and {:#X} are right",
                node::MINIRDR_DISPATCH,
                Dispatch::SIZE
            ),
        );
    }
    let unused = NEVER_CALLED
        .iter()
        .find(|slot| peek::<usize>(table + slot.0) != 0);
    if let Some(slot) = unused {
        violation(
            Rule::UnusedCallback,
            table,
            format!("RDBSS never calls {}, and the table has it", slot.1),
        );
    }
}

/// Fills RDBSS's part of the device.
fn prepare(device: RdbssDevice, table: usize, controls: u32, name: usize) {
    device.controls().set(controls);
    device.dispatch().set(table);
    device
        .provides_unc()
        .set(u8::from(controls & DONT_PROVIDE_UNCS == 0));
    device
        .provides_mailslots()
        .set(u8::from(controls & DONT_PROVIDE_MAILSLOTS == 0));
    device.provider_priority().set(1);
    device.state().set(start_stop::STARTABLE);
    // The name is copied: the driver's string may go.
    let given = UnicodeString(name);
    let length = given.length().get();
    let buffer = arena::alloc(usize::from(length) + 2, Kind::Object);
    let bytes = crate::mem::read_bytes(given.buffer().get(), usize::from(length));
    write_bytes(buffer, &bytes);
    let own = UnicodeString(device.name().address());
    own.length().set(length);
    own.maximum().set(length + 2);
    own.buffer().set(buffer);
}

/// RxpUnregisterMinirdr(device).
fn unregister(call: &Call) -> u64 {
    let redirector = require(call.addr(0), call.routine());
    let device = redirector.device;
    if redirector.state() != start_stop::STARTABLE {
        violation(
            Rule::UnregisteredStarted,
            device.0,
            format!("{} is unregistered and was not stopped", redirector.name),
        );
    }
    let outstanding = device.asynchronous_requests().get();
    if outstanding != 0 {
        violation(
            Rule::UnregisteredBusy,
            device.0,
            format!("{outstanding} connects are outstanding"),
        );
    }
    redirector.wait_until_quiet(0);
    redirector.scavenge_all();
    with(|all| all.remove(&device.0));
    trace::event(EventKind::Object, call.caller(), || {
        format!("mini-redirector {} unregistered", redirector.name)
    });
    arena::free(UnicodeString(device.name().address()).buffer().get());
    arena::free(redirector.device_fcb);
    device::delete_for(Device(device.0), call.caller());
    0
}
