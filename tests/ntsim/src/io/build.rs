//! Thread-associated IRPs: IoBuildDeviceIoControlRequest.
//!
//! Their completion ends with a special kernel APC in the issuing thread; see [`crate::dispatcher::apc`].

use super::irp::{self, Origin};
use super::status;
use crate::arena::{self, Kind};
use crate::dispatcher::{apc, event};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::PASSIVE_LEVEL;
use crate::layout::io::{Device, Irp, MJ_DEVICE_CONTROL, MJ_INTERNAL_DEVICE_CONTROL};
use crate::mem::{self, poke};
use crate::own::{self, Own};
use crate::stop::{self, Stop};
use crate::thread::{self, Frame, Thread};

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[Routine {
    name: "IoBuildDeviceIoControlRequest",
    args: 9,
    irql: IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0xe5)),
    run: device_control,
}];

/// IRP_BUFFERED_IO.
const BUFFERED: u32 = 0x10;
/// IRP_INPUT_OPERATION: copy the system buffer back on completion.
const INPUT: u32 = 0x40;

fn device_control(call: &Call) -> u64 {
    if fault::should_fail(call, FaultKind::Irp) {
        return 0;
    }
    let (code, device) = (call.u32(0), Device(call.addr(1)));
    let (input, input_bytes, output, output_bytes) =
        (call.addr(2), call.u32(3), call.addr(4), call.u32(5));
    let internal = call.u8(6) != 0;
    let stacks = device.stack_size().get();
    let packet = irp::make(
        stacks,
        Origin::Thread(thread::current()),
        call.caller(),
        "IoBuildDeviceIoControlRequest",
    );
    packet.user_event().set(call.addr(7));
    packet.user_iosb().set(call.addr(8));
    packet.thread().set(thread::current().object);
    let stack = packet.location(stacks);
    stack.major().set(if internal {
        MJ_INTERNAL_DEVICE_CONTROL
    } else {
        MJ_DEVICE_CONTROL
    });
    stack.parameter::<u32>(0).set(output_bytes);
    stack.parameter::<u32>(8).set(input_bytes);
    stack.parameter::<u32>(16).set(code);
    match code & 3 {
        0 => {
            let length = input_bytes.max(output_bytes) as usize;
            if length != 0 {
                let buffer = arena::alloc(length, Kind::Object);
                mem::copy(input, buffer, input_bytes as usize);
                packet.system_buffer().set(buffer);
                packet.user_buffer().set(output);
                packet
                    .flags()
                    .set(BUFFERED | if output_bytes != 0 { INPUT } else { 0 });
            }
        }
        3 => {
            stack.parameter::<usize>(24).set(input);
            packet.user_buffer().set(output);
        }
        _ => own::violation(
            Own::NotSimulated,
            [0, 0, 0],
            "IoBuildDeviceIoControlRequest with a direct method is not simulated",
        ),
    }
    packet.0 as u64
}

/// What the request writes to at its end must still be there: not on a part of the stack that has been left.
fn check_unwound(irp: Irp, address: usize, sub: u64, what: &str) {
    let thread = thread::current();
    let (low, _) = thread.stack_limits();
    let reached = thread.frames().iter().rev().find_map(|frame| match frame {
        Frame::Call { registers, .. } => usize::try_from(registers.rsp).ok(),
        Frame::Callback { .. } | Frame::Forwarded | Frame::Preempted(_) => None,
    });
    if reached.is_some_and(|reached| (low..reached).contains(&address)) {
        stop::enforce(
            Stop::io(sub),
            [irp.0 as u64, address as u64, 0],
            format!("the {what} of a request, {address:#x}, was on a stack frame that is gone"),
        );
    }
}

/// The top was reached: the rest runs in the issuing thread, once it can be interrupted.
pub(super) fn finish(irp: Irp, thread: &'static Thread) {
    apc::queue(
        thread,
        Box::new(move || {
            let (result, information) = (irp.status().get(), irp.information().get());
            let buffer = irp.system_buffer().get();
            if irp.flags().get() & INPUT != 0 && result != status::PENDING && buffer != 0 {
                mem::copy(buffer, irp.user_buffer().get(), information);
            }
            if irp.flags().get() & BUFFERED != 0 && buffer != 0 {
                arena::free(buffer);
            }
            let (iosb, done) = (irp.user_iosb().get(), irp.user_event().get());
            check_unwound(irp, iosb, 0x0c, "IO_STATUS_BLOCK");
            check_unwound(irp, done, 0x0d, "event");
            irp::release(irp);
            if iosb != 0 {
                poke(iosb, result);
                poke(iosb + 8, information);
            }
            if done != 0 {
                event::signal(done);
            }
        }),
    );
}
