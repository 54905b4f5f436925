//! Requests in words, for the trace.

use crate::layout::io::{MJ_INTERNAL_DEVICE_CONTROL, Stack};
use crate::mem::peek;

/// The name of a major function.
pub fn major_name(major: u8) -> &'static str {
    match major {
        0x00 => "CREATE",
        0x02 => "CLOSE",
        0x03 => "READ",
        0x04 => "WRITE",
        0x0e => "DEVICE_CONTROL",
        0x0f => "INTERNAL_DEVICE_CONTROL",
        0x12 => "CLEANUP",
        _ => "IRP",
    }
}

fn tdi_name(minor: u8) -> &'static str {
    match minor {
        0x01 => "TDI_ASSOCIATE_ADDRESS",
        0x02 => "TDI_DISASSOCIATE_ADDRESS",
        0x03 => "TDI_CONNECT",
        0x04 => "TDI_LISTEN",
        0x05 => "TDI_ACCEPT",
        0x06 => "TDI_DISCONNECT",
        0x07 => "TDI_SEND",
        0x08 => "TDI_RECEIVE",
        0x09 => "TDI_SEND_DATAGRAM",
        0x0a => "TDI_RECEIVE_DATAGRAM",
        0x0b => "TDI_SET_EVENT_HANDLER",
        0x0c => "TDI_QUERY_INFORMATION",
        0x0d => "TDI_SET_INFORMATION",
        0x0e => "TDI_ACTION",
        _ => "INTERNAL_DEVICE_CONTROL",
    }
}

fn event_name(event: i32) -> &'static str {
    match event {
        0 => "CONNECT",
        1 => "DISCONNECT",
        2 => "ERROR",
        3 => "RECEIVE",
        4 => "RECEIVE_DATAGRAM",
        5 => "RECEIVE_EXPEDITED",
        6 => "SEND_POSSIBLE",
        7 => "CHAINED_RECEIVE",
        8 => "CHAINED_RECEIVE_DATAGRAM",
        9 => "CHAINED_RECEIVE_EXPEDITED",
        10 => "ERROR_EX",
        _ => "(other)",
    }
}

/// A request as its stack location describes it.
pub fn request(stack: Stack) -> String {
    let (major, minor) = (stack.major().get(), stack.minor().get());
    if major == 0x0e {
        return format!("DEVICE_CONTROL {:#x}", stack.parameter::<u32>(16).get());
    }
    if major != MJ_INTERNAL_DEVICE_CONTROL {
        return major_name(major).to_owned();
    }
    let name = tdi_name(minor);
    match minor {
        0x06 => {
            let flags = match stack.parameter::<u64>(0).get() & 7 {
                0 => "default (ABORT)".to_owned(),
                2 => "ABORT".to_owned(),
                4 => "RELEASE".to_owned(),
                other => format!("flags {other:#x}"),
            };
            match stack.parameter::<usize>(24).get() {
                0 => format!("{name} {flags}"),
                timeout => {
                    let limit = peek::<i64>(timeout);
                    format!(
                        "{name} {flags}, timeout {:.3} s",
                        crate::clock::seconds(limit.unsigned_abs())
                    )
                }
            }
        }
        0x07 | 0x08 => {
            let (length, flags) = (
                stack.parameter::<u32>(0).get(),
                stack.parameter::<u32>(4).get(),
            );
            format!("{name} {length} bytes, flags {flags:#x}")
        }
        0x09 | 0x0a => format!("{name} {} bytes", stack.parameter::<u32>(0).get()),
        0x0b => {
            let verb = if stack.parameter::<usize>(8).get() == 0 {
                "off"
            } else {
                "on"
            };
            format!(
                "{name} {} {verb}",
                event_name(stack.parameter::<i32>(0).get())
            )
        }
        0x0c => format!("{name} {:#x}", stack.parameter::<u32>(0).get()),
        _ => name.to_owned(),
    }
}
