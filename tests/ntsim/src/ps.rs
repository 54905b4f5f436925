//! Processes and threads as drivers see them.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::account::{self, Resource};
use crate::explore;
use crate::fault::{self, FaultKind};
use crate::gate::{self, Call, Datum, IrqlRule, Routine};
use crate::irql::{self, APC_LEVEL, PASSIVE_LEVEL};
use crate::layout::ke::{OBJ_KERNEL_HANDLE, ObjectAttributes};
use crate::mem::poke;
use crate::ob::{self, ObjectKind};
use crate::own::{self, Own};
use crate::stop::{self, Stop};
use crate::thread;

const PASSIVE: IrqlRule = IrqlRule::Exactly(PASSIVE_LEVEL, Stop::verifier(0x2001c));
const APC: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "PsCreateSystemThread",
        args: 7,
        irql: PASSIVE,
        run: create,
    },
    Routine {
        name: "PsTerminateSystemThread",
        args: 1,
        irql: PASSIVE,
        run: terminate,
    },
    Routine {
        name: "PsGetCurrentThread",
        args: 0,
        irql: IrqlRule::Any,
        run: |call| call.thread().object as u64,
    },
    Routine {
        name: "KeGetCurrentThread",
        args: 0,
        irql: IrqlRule::Any,
        run: |call| call.thread().object as u64,
    },
    Routine {
        name: "IoGetCurrentProcess",
        args: 0,
        irql: IrqlRule::Any,
        run: current_process,
    },
    Routine {
        name: "PsGetCurrentProcess",
        args: 0,
        irql: IrqlRule::Any,
        run: current_process,
    },
    Routine {
        name: "PsGetCurrentProcessId",
        args: 0,
        irql: IrqlRule::Any,
        run: |call| if call.thread().system { 4 } else { 0x1000 },
    },
    Routine {
        name: "PsGetCurrentThreadId",
        args: 0,
        irql: IrqlRule::Any,
        run: |call| call.thread().id.into(),
    },
    Routine {
        name: "PsIsSystemThread",
        args: 1,
        irql: IrqlRule::Any,
        run: is_system,
    },
    Routine {
        name: "IoIsSystemThread",
        args: 1,
        irql: IrqlRule::Any,
        run: is_system,
    },
    Routine {
        name: "PsGetThreadId",
        args: 1,
        irql: IrqlRule::Any,
        run: thread_id,
    },
    Routine {
        name: "PsGetVersion",
        args: 4,
        irql: APC,
        run: version,
    },
    Routine {
        name: "RtlGetVersion",
        args: 1,
        irql: IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0xe5)),
        run: rtl_version,
    },
    Routine {
        name: "KeSetPriorityThread",
        args: 2,
        irql: APC,
        run: |_| 8,
    },
    Routine {
        name: "KeQueryPriorityThread",
        args: 1,
        irql: APC,
        run: |_| 8,
    },
    Routine {
        name: "IoGetTopLevelIrp",
        args: 0,
        irql: IrqlRule::Any,
        run: |call| call.thread().top_level_irp.load(Ordering::Relaxed),
    },
    Routine {
        name: "IoSetTopLevelIrp",
        args: 1,
        irql: IrqlRule::Any,
        run: set_top_level_irp,
    },
    Routine {
        name: "IoGetStackLimits",
        args: 2,
        irql: IrqlRule::Any,
        run: stack_limits,
    },
    Routine {
        name: "IoGetRemainingStackSize",
        args: 0,
        irql: IrqlRule::Any,
        run: |_| 12 * 1024,
    },
];

/// The exported variables of this file.
pub const DATA: &[Datum] = &[Datum {
    name: "PsInitialSystemProcess",
    value: || system_process() as u64,
}];

/// Size of the block that stands for an EPROCESS; nothing in it is documented.
const PROCESS_BYTES: usize = 0x800;

/// The System process.
pub fn system_process() -> usize {
    static PROCESS: OnceLock<usize> = OnceLock::new();
    *PROCESS.get_or_init(|| ob::create(ObjectKind::Process, PROCESS_BYTES, Some("System".into())))
}

/// The process of simulated user programs.
pub fn user_process() -> usize {
    static PROCESS: OnceLock<usize> = OnceLock::new();
    *PROCESS.get_or_init(|| ob::create(ObjectKind::Process, PROCESS_BYTES, Some("user.exe".into())))
}

fn current_process(call: &Call) -> u64 {
    (if call.thread().system {
        system_process()
    } else {
        user_process()
    }) as u64
}

fn find(object: usize, routine: &str) -> std::sync::Arc<thread::Thread> {
    thread::by_object(object).unwrap_or_else(|| {
        own::violation(
            Own::Object,
            [object as u64, 0, 0],
            format!("{routine}: {object:#x} is not a thread object"),
        )
    })
}

fn is_system(call: &Call) -> u64 {
    u64::from(find(call.addr(0), call.routine()).system)
}

fn thread_id(call: &Call) -> u64 {
    find(call.addr(0), call.routine()).id.into()
}

/// Windows 10 22H2, the oldest system in support that Driver Verifier's current rules are documented for.
const VERSION: (u32, u32, u32) = (10, 0, 19045);

fn version(call: &Call) -> u64 {
    for (argument, value) in [(0, VERSION.0), (1, VERSION.1), (2, VERSION.2)] {
        if call.addr(argument) != 0 {
            poke(call.addr(argument), value);
        }
    }
    0
}

fn rtl_version(call: &Call) -> u64 {
    poke(call.addr(0) + 4, VERSION.0);
    poke(call.addr(0) + 8, VERSION.1);
    poke(call.addr(0) + 12, VERSION.2);
    poke(call.addr(0) + 16, 2_u32);
    0
}

fn set_top_level_irp(call: &Call) -> u64 {
    call.thread()
        .top_level_irp
        .store(call.arg(0), Ordering::Relaxed);
    0
}

fn stack_limits(call: &Call) -> u64 {
    let (low, high) = call.thread().stack_limits();
    poke(call.addr(0), low);
    poke(call.addr(1), high);
    0
}

/// STATUS_INSUFFICIENT_RESOURCES.
const STATUS_INSUFFICIENT_RESOURCES: u64 = 0xc000_009a;

fn create(call: &Call) -> u64 {
    let (routine, context, caller) = (call.addr(5), call.arg(6), call.caller());
    if fault::should_fail(call, FaultKind::Object) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    let name = format!("system thread {}", stop::describe(routine));
    // The new thread waits until its handle exists: what it finds is then complete.
    let ready = std::sync::Arc::new(std::sync::Barrier::new(2));
    let go = std::sync::Arc::clone(&ready);
    let thread = thread::spawn(
        &name,
        true,
        Box::new(move || {
            if !explore::on() {
                go.wait();
            }
            let me = thread::current();
            irql::guarded("a system thread", || {
                gate::call_named("system thread", routine, &[context]);
                crate::dispatcher::mutex::check_none_owned(me);
            });
            if irql::current() != PASSIVE_LEVEL {
                stop::enforce(
                    Stop::verifier(0x2001c),
                    [irql::current().into(), 0, 0],
                    "a system thread ends above PASSIVE_LEVEL",
                );
            }
            account::untrack(Resource::Thread, me.object as u64, caller);
            ob::dereference(me.object, 0);
        }),
    );
    thread.start_routine.store(routine, Ordering::Relaxed);
    ob::adopt(thread.object, ObjectKind::Thread, Some(name.clone()));
    account::track(Resource::Thread, thread.object as u64, caller, name);
    let attributes = call.addr(2);
    let kernel =
        attributes != 0 && ObjectAttributes(attributes).attributes().get() & OBJ_KERNEL_HANDLE != 0;
    let handle = ob::handle::open(thread.object, kernel, caller);
    poke(call.addr(0), handle);
    if call.addr(4) != 0 {
        poke(call.addr(4), [4_u64, u64::from(thread.id)]);
    }
    // One thread at a time: it cannot have begun.
    if !explore::on() {
        ready.wait();
    }
    0
}

fn terminate(call: &Call) -> u64 {
    if !call.thread().system || call.thread().start_routine.load(Ordering::Relaxed) == 0 {
        // "STATUS_INVALID_PARAMETER: the current thread is not a system thread."
        return 0xc000_000d;
    }
    gate::abandon()
}
