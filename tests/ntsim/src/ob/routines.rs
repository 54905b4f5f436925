//! The Ob routines, ZwClose and the few Zw routines on handles.

use std::sync::OnceLock;

use super::{ObjectKind, handle};
use crate::arena::{self, Kind};
use crate::clock;
use crate::dispatcher::{self, Sleep, Timeout};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, Datum, IrqlRule, Routine};
use crate::irql::DISPATCH_LEVEL;
use crate::layout::io::FileObject;
use crate::layout::ke::{OBJ_KERNEL_HANDLE, ObjectAttributes, UnicodeString};
use crate::mem::{peek, poke};
use crate::stop::{self, Stop};

const REFERENCE: IrqlRule = IrqlRule::Max(DISPATCH_LEVEL, Stop::verifier(0xe5));
/// ObReferenceObjectByHandle: PASSIVE_LEVEL (verifier rule IrqlObPassive).
const BY_HANDLE: IrqlRule = IrqlRule::PassiveWithApcs(Stop::verifier(0x2001b));
const CLOSE: IrqlRule = IrqlRule::PassiveWithApcs(Stop::verifier(0x2001f));
pub(super) const ZW: IrqlRule = IrqlRule::PassiveWithApcs(Stop::verifier(0xe6));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ObReferenceObjectByHandle",
        args: 6,
        irql: BY_HANDLE,
        run: by_handle,
    },
    Routine {
        name: "ObReferenceObjectByHandleWithTag",
        args: 7,
        irql: BY_HANDLE,
        run: by_handle_with_tag,
    },
    Routine {
        name: "ObReferenceObjectByPointer",
        args: 4,
        irql: REFERENCE,
        run: by_pointer,
    },
    Routine {
        name: "ObfReferenceObject",
        args: 1,
        irql: REFERENCE,
        run: reference,
    },
    Routine {
        name: "ObfReferenceObjectWithTag",
        args: 2,
        irql: REFERENCE,
        run: reference,
    },
    Routine {
        name: "ObfDereferenceObject",
        args: 1,
        irql: REFERENCE,
        run: dereference,
    },
    Routine {
        name: "ObfDereferenceObjectWithTag",
        args: 2,
        irql: REFERENCE,
        run: dereference,
    },
    Routine {
        name: "ObDereferenceObjectDeferDelete",
        args: 1,
        irql: REFERENCE,
        run: dereference_deferred,
    },
    Routine {
        name: "ObOpenObjectByPointer",
        args: 7,
        irql: ZW,
        run: open_by_pointer,
    },
    Routine {
        name: "ZwClose",
        args: 1,
        irql: CLOSE,
        run: close,
    },
    Routine {
        name: "ZwWaitForSingleObject",
        args: 3,
        irql: ZW,
        run: wait_single,
    },
];

/// The exported object types.
pub const DATA: &[Datum] = &[
    Datum {
        name: "IoFileObjectType",
        value: || type_object(ObjectKind::File) as u64,
    },
    Datum {
        name: "IoDeviceObjectType",
        value: || type_object(ObjectKind::Device) as u64,
    },
    Datum {
        name: "IoDriverObjectType",
        value: || type_object(ObjectKind::Driver) as u64,
    },
    Datum {
        name: "PsThreadType",
        value: || type_object(ObjectKind::Thread) as u64,
    },
    Datum {
        name: "PsProcessType",
        value: || type_object(ObjectKind::Process) as u64,
    },
    Datum {
        name: "ExEventObjectType",
        value: || type_object(ObjectKind::Event) as u64,
    },
];

/// The address that stands for an OBJECT_TYPE; nothing in it is documented.
fn type_object(kind: ObjectKind) -> usize {
    static BLOCK: OnceLock<usize> = OnceLock::new();
    let index = match kind {
        ObjectKind::Device => 0,
        ObjectKind::Driver => 1,
        ObjectKind::File => 2,
        ObjectKind::Thread => 3,
        ObjectKind::Process => 4,
        ObjectKind::Event => 5,
        ObjectKind::Key => 6,
    };
    BLOCK.get_or_init(|| arena::alloc(7 * 0x100, Kind::Object)) + index * 0x100
}

/// References the object of a handle for driver code at `caller`; rules 3C, F5 and F6.
fn by_handle(call: &Call) -> u64 {
    let (value, wanted, mode) = (call.arg(0), call.addr(2), call.u8(3));
    if value == 0 {
        stop::enforce(
            Stop::verifier(0xf5),
            [0, wanted as u64, 0],
            "ObReferenceObjectByHandle with a NULL handle",
        );
        return handle::STATUS_INVALID_HANDLE;
    }
    if mode == 0
        && !handle::is_kernel(value)
        && handle::object(value).is_some()
        && value < u64::MAX - 1
    {
        let text = format!(
            "user handle {value:#x} is referenced with KernelMode: it was opened without OBJ_KERNEL_HANDLE"
        );
        let rest = [value, 0, call.caller() as u64];
        stop::enforce(Stop::verifier(0xf6), rest, text);
    }
    if mode != 0 && handle::is_kernel(value) && handle::object(value).is_some() {
        let text = format!("kernel handle {value:#x} is referenced with UserMode");
        let rest = [value, 0, call.caller() as u64];
        stop::enforce(Stop::verifier(0xf7), rest, text);
        return handle::STATUS_INVALID_HANDLE;
    }
    let Some(body) = handle::object(value) else {
        stop::bug_check(
            0xc4,
            [0x3c, value, wanted as u64, 0],
            format!("ObReferenceObjectByHandle: handle {value:#x} is not open"),
        );
    };
    if fault::should_fail(call, FaultKind::Object) {
        return 0xc000_009a;
    }
    let kind = super::kind(body).unwrap_or(ObjectKind::Event);
    if wanted != 0 && wanted != type_object(kind) {
        return 0xc000_0024; // STATUS_OBJECT_TYPE_MISMATCH
    }
    super::reference(body, call.caller());
    poke(call.addr(4), body);
    if call.addr(5) != 0 {
        poke(call.addr(5), [0_u32, 0x001f_01ff]);
    }
    0
}

fn by_handle_with_tag(call: &Call) -> u64 {
    let arguments = [
        call.arg(0),
        call.arg(1),
        call.arg(2),
        call.arg(3),
        call.arg(5),
        call.arg(6),
    ];
    by_handle(&Call::host(&arguments, call.caller()))
}

/// The object of a handle for the kernel itself, without a reference: for requests that carry handles.
pub fn peek_handle(value: u64) -> Option<usize> {
    handle::object(value)
}

fn by_pointer(call: &Call) -> u64 {
    let (body, wanted) = (call.addr(0), call.addr(2));
    if wanted != 0 && super::kind(body).is_some_and(|kind| type_object(kind) != wanted) {
        return 0xc000_0024;
    }
    super::reference(body, call.caller());
    0
}

fn reference(call: &Call) -> u64 {
    super::reference(call.addr(0), call.caller());
    super::counts(call.addr(0)).map_or(0, |(references, _)| references.cast_unsigned())
}

fn dereference(call: &Call) -> u64 {
    let left = super::counts(call.addr(0)).map_or(0, |(references, _)| {
        references.cast_unsigned().saturating_sub(1)
    });
    super::dereference(call.addr(0), call.caller());
    left
}

fn dereference_deferred(call: &Call) -> u64 {
    let (body, caller) = (call.addr(0), call.caller());
    if super::counts(body).is_some_and(|(references, _)| references > 1) {
        super::dereference(body, caller);
    } else {
        crate::account::untrack(
            crate::account::Resource::ObjectReference,
            body as u64,
            caller,
        );
        crate::ex::work::queue_host(move || super::dereference(body, 0));
    }
    0
}

fn open_by_pointer(call: &Call) -> u64 {
    if fault::should_fail(call, FaultKind::Object) {
        return 0xc000_009a;
    }
    let kernel = call.u32(1) & OBJ_KERNEL_HANDLE != 0;
    poke(
        call.addr(6),
        handle::open(call.addr(0), kernel, call.caller()),
    );
    0
}

fn close(call: &Call) -> u64 {
    if !handle::close(call.arg(0)) {
        return handle::bad_kernel_handle(call.arg(0), "ZwClose");
    }
    0
}

fn wait_single(call: &Call) -> u64 {
    let Some(body) = handle::object(call.arg(0)) else {
        return handle::bad_kernel_handle(call.arg(0), "ZwWaitForSingleObject");
    };
    let header = match super::kind(body) {
        Some(ObjectKind::File) => FileObject(body).event().address(),
        Some(ObjectKind::Thread | ObjectKind::Event) => body,
        _ => return 0xc000_0024,
    };
    let limit = match call.addr(2) {
        0 => Timeout::Never,
        place => match peek::<i64>(place) {
            0 => Timeout::Zero,
            time => Timeout::At(clock::deadline(time)),
        },
    };
    super::reference(body, 0);
    let status = dispatcher::wait(&[header], false, limit, Sleep::Wanted, call.caller());
    super::dereference(body, 0);
    u64::from(status)
}

/// Checks an OBJECT_ATTRIBUTES of a Zw call: rules E3 (user addresses) and E4 (malformed string). Returns name and flags.
pub fn attributes(address: usize, routine: &str) -> (String, u32) {
    let view = ObjectAttributes(address);
    require_system(address, routine);
    if view.length().get() != 0x30 {
        stop::enforce(
            Stop::verifier(0xe4),
            [address as u64, 0, 0],
            format!("{routine}: OBJECT_ATTRIBUTES with a wrong Length"),
        );
    }
    let name = view.name().get();
    if name == 0 {
        return (String::new(), view.attributes().get());
    }
    require_system(name, routine);
    let string = UnicodeString(name);
    if !string.is_well_formed() {
        let text = format!(
            "{routine}: malformed UNICODE_STRING (Length {}, MaximumLength {})",
            string.length().get(),
            string.maximum().get()
        );
        let rest = [address as u64, name as u64, 0];
        stop::enforce(Stop::verifier(0xe4), rest, text);
    }
    if string.length().get() != 0 {
        require_system(string.buffer().get(), routine);
    }
    (string.text(), view.attributes().get())
}

/// Rule E3: a Zw call of a driver gets system addresses only.
pub fn require_system(address: usize, routine: &str) {
    if !arena::is_system(address) {
        stop::enforce(
            Stop::verifier(0xe3),
            [0, address as u64, 0],
            format!("{routine} with user-mode or bad address {address:#x}"),
        );
    }
}
