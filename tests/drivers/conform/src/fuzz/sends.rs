//! Steps that hand memory over: sends, datagrams, queries, packets.

use alloc::{format, vec};
use core::ptr;

use conform_ioctl::Step;

use super::{
    arguments,
    call::{self, Waits, call},
    ledger::{self, must},
    world::{Expect, Sort, World},
};
use crate::{
    engine,
    nt::{irql, status},
    transport::{Kind, TRANSPORT},
};

/// Bits of the options that the transport must never see (rxce.h).
const ENGINE_BITS: u32 = 0xFF00_0000;

/// RxCeSend.
pub(super) fn send(world: &mut World, step: &Step) {
    let vc = world.pointer(Sort::Vc, step.on);
    let expect = world.expect(Sort::Vc, vc);
    let Some(chain) = arguments::chain(step.with, step.c) else {
        return;
    };
    let length = arguments::length(step.b, chain.total);
    let fits = chain.fits(step.a, length);
    let synchronous = step.a & engine::SEND_SYNCHRONOUS != 0;
    let context = ledger::new_send();
    let waits = if synchronous {
        Waits::ForTransport
    } else {
        Waits::Never
    };
    let mdl = chain.mdl();
    world.buffers.extend(chain.elements);
    let sends = || TRANSPORT.read(|state| state.count(Kind::Send));
    let before = sends();
    let (answer, level) = call(world, waits, || {
        engine::send(
            vc.cast(),
            step.a,
            mdl,
            length,
            ptr::without_provenance_mut(context),
        )
    });
    if !synchronous && answer >= 0 {
        ledger::accepted(context);
    }
    let name = if synchronous {
        "a synchronous RxCeSend"
    } else {
        "RxCeSend"
    };
    if level > irql::DISPATCH || (synchronous && level > irql::APC) {
        must(answer == status::INVALID_PARAMETER, || {
            format!("{name} at level {level}: {answer:#010x}")
        });
        return;
    }
    must(
        expect != Expect::Refused || answer == status::CONNECTION_DISCONNECTED,
        || format!("{name} on no circuit: {answer:#010x}"),
    );
    must(fits || answer < 0, || {
        format!("{name} of {length} bytes, which the chain has not: {answer:#010x}")
    });
    if sends() > before {
        let seen = TRANSPORT.read(|state| state.last(Kind::Send));
        let right = seen
            .is_some_and(|record| record.length == length && record.flags == step.a & !ENGINE_BITS);
        must(fits && right, || {
            format!(
                "{name} with options {:#x} of {length} bytes reached the transport as {:x?}",
                step.a,
                seen.map(|record| (record.length, record.flags))
            )
        });
    }
}

/// RxCeSendDatagram.
pub(super) fn send_datagram(world: &mut World, step: &Step) {
    let address = world.pointer(Sort::Address, step.on);
    let expect = world.expect(Sort::Address, address);
    let Some(chain) = arguments::chain(step.with, step.c) else {
        return;
    };
    let length = arguments::length(step.b, chain.total);
    let fits = chain.fits(step.a, length);
    let mut information = arguments::information(u32::from(step.also) | (step.c & 0xFFFF_0000));
    let context = ledger::new_send();
    let mdl = chain.mdl();
    world.buffers.extend(chain.elements);
    let raw = if step.also == 0xFF {
        ptr::null_mut()
    } else {
        information.raw()
    };
    let (answer, _) = call(world, Waits::Never, || {
        engine::send_datagram(
            address.cast(),
            raw,
            step.a,
            mdl,
            length,
            ptr::without_provenance_mut(context),
        )
    });
    if answer >= 0 {
        ledger::accepted(context);
    }
    let valid = fits && information.valid && !raw.is_null() && expect != Expect::Refused;
    must(valid || answer == status::INVALID_PARAMETER, || {
        format!("RxCeSendDatagram with something invalid: {answer:#010x}")
    });
}

/// RxCeQueryInformation.
pub(super) fn query(world: &mut World, step: &Step) {
    let vc = world.pointer(Sort::Vc, step.on);
    let expect = world.expect(Sort::Vc, vc);
    let length = step.b & 0x1_FFFF;
    // In nonpaged memory of just that size.
    let mut out = vec![0xEE_u8; length as usize];
    let start = if step.with & 1 != 0 {
        ptr::null_mut()
    } else {
        out.as_mut_ptr()
    };
    let (answer, _) = call(world, Waits::ForTransport, || {
        engine::query_information(vc.cast(), step.a, start.cast(), length)
    });
    let possible = expect != Expect::Refused && (1..=4).contains(&step.a) && !start.is_null();
    must(possible || answer == status::INVALID_PARAMETER, || {
        format!("RxCeQueryInformation with something invalid: {answer:#010x}")
    });
    must(length >= 16 || answer < 0, || {
        format!("RxCeQueryInformation into {length} bytes: {answer:#010x}")
    });
    must(answer >= 0 || out.iter().all(|&byte| byte == 0xEE), || {
        format!("RxCeQueryInformation failed with {answer:#010x} and wrote")
    });
}

/// RxCeQueryAdapterStatus.
pub(super) fn query_adapter(world: &mut World, step: &Step) {
    let transport = world.pointer(Sort::Transport, step.on);
    let expect = world.expect(Sort::Transport, transport);
    let mut out = vec![0xEE_u8; 60];
    let start = if step.with & 1 != 0 {
        ptr::null_mut()
    } else {
        out.as_mut_ptr()
    };
    let (answer, _) = call(world, Waits::ForTransport, || {
        engine::query_adapter_status(transport.cast(), start)
    });
    let possible = expect != Expect::Refused && !start.is_null();
    must(possible || answer == status::INVALID_PARAMETER, || {
        format!("RxCeQueryAdapterStatus with something invalid: {answer:#010x}")
    });
}

/// RxCeQueryTransportInformation.
pub(super) fn query_transport(world: &mut World, step: &Step) {
    let transport = world.pointer(Sort::Transport, step.on);
    let expect = world.expect(Sort::Transport, transport);
    let mut out = vec![0xEE_u8; size_of::<rxce_client::RXCE_TRANSPORT_INFORMATION>()];
    let start = if step.with & 1 != 0 {
        ptr::null_mut()
    } else {
        out.as_mut_ptr()
    };
    let (answer, _) = call(world, Waits::Never, || {
        engine::query_transport_information(transport.cast(), start.cast())
    });
    let possible = expect != Expect::Refused && !start.is_null();
    must(possible || answer == status::INVALID_PARAMETER, || {
        format!("RxCeQueryTransportInformation with something invalid: {answer:#010x}")
    });
}

/// RxCeAllocateIrpWithMDL.
pub(super) fn allocate_irp(world: &mut World, step: &Step) {
    let [size, ..] = step.a.to_le_bytes();
    let mdl = if step.with & 1 != 0 {
        world
            .buffers
            .first()
            .map_or(ptr::null_mut(), |buffer| buffer.mdl())
    } else {
        ptr::null_mut()
    };
    let mut irp = ptr::null_mut();
    call(world, Waits::Never, || {
        irp = engine::allocate_irp(size.cast_signed(), false, mdl);
        if irp.is_null() {
            status::INSUFFICIENT_RESOURCES
        } else {
            status::SUCCESS
        }
    });
    must(irp.is_null() || size.cast_signed() > 0, || {
        format!("a packet with {} stack locations", size.cast_signed())
    });
    if !irp.is_null() {
        world.irps.push(irp);
    }
}

/// RxCeFreeIrp.
pub(super) fn free_irp(world: &mut World, step: &Step) {
    // Above DISPATCH_LEVEL nothing is freed.
    let frees = call::next_level(world) <= irql::DISPATCH;
    let place = usize::try_from(step.a & 7).unwrap_or_default();
    let irp = if frees && place < world.irps.len() {
        world.irps.swap_remove(place)
    } else {
        ptr::null_mut()
    };
    call(world, Waits::Never, || {
        // SAFETY: NULL, or allocated by a step and never sent.
        unsafe { engine::free_irp(irp) };
        status::SUCCESS
    });
}
