//! One step after the other: calls of the routines, judged by what must be refused.

use alloc::format;

use conform_ioctl::{Operation, Step};

use super::{
    arguments, builds,
    call::{GUARDED, HIGH, Waits, call, refused, wait, zero},
    calls, events,
    ledger::must,
    multiple, sends,
    world::{Expect, Sort, World},
};
use crate::{
    engine,
    nt::{irql, status, time::SECOND},
    transport::{self, Provider, TRANSPORT},
};

/// Carries a step out.
pub(super) fn perform(world: &mut World, step: &Step) {
    multiple::settled(world, 0);
    match step.operation() {
        Operation::BuildTransport => builds::build_transport(world, step),
        Operation::BuildAddress => builds::build_address(world, step),
        Operation::BuildConnection => builds::build_connection(world, step),
        Operation::BuildVc => builds::build_vc(world, step),
        Operation::BuildOverMultiple => multiple::build(world, step),
        Operation::TearDownTransport => tear_down(world, Sort::Transport, step),
        Operation::TearDownAddress => tear_down(world, Sort::Address, step),
        Operation::TearDownConnection => tear_down(world, Sort::Connection, step),
        Operation::TearDownVc => tear_down(world, Sort::Vc, step),
        Operation::Initiate => initiate(world, step),
        Operation::Send => sends::send(world, step),
        Operation::SendDatagram => sends::send_datagram(world, step),
        Operation::Query => sends::query(world, step),
        Operation::QueryAdapter => sends::query_adapter(world, step),
        Operation::QueryTransport => sends::query_transport(world, step),
        Operation::CancelConnect => cancel_connect(world),
        Operation::AllocateIrp => sends::allocate_irp(world, step),
        Operation::FreeIrp => sends::free_irp(world, step),
        Operation::Change => change(world, step),
        Operation::Repair => change(world, step),
        Operation::Client => calls::prescribe(step),
        Operation::Script => events::prescribe(step),
        Operation::Level => {
            world.level = match step.a & 7 {
                4 => GUARDED,
                5 => irql::APC,
                6 => irql::DISPATCH,
                7 => HIGH,
                _ => irql::PASSIVE,
            };
        }
        Operation::Fault => world.fault = Some(step.a % 48),
        Operation::Provider => {
            let provider = Provider {
                services: step.a,
                longest_datagram: step.b,
                status: if step.c & 1 == 0 {
                    status::SUCCESS
                } else {
                    status::BUFFER_OVERFLOW
                },
                information: u64::from(step.c >> 1) & 0x7F,
            };
            TRANSPORT.update(|state| state.provider = (step.with & 1 == 0).then_some(provider));
        }
        Operation::Answer => {
            let bytes = [0x99; 512];
            let length = step.a as usize % 513;
            let result = if step.b & 1 == 0 {
                status::SUCCESS
            } else {
                status::BUFFER_OVERFLOW
            };
            transport::answer_queries(bytes.get(..length).unwrap_or(&bytes), result);
        }
        Operation::Receive
        | Operation::Disconnect
        | Operation::Error
        | Operation::Datagram
        | Operation::SendPossible
        | Operation::Complete => events::arrange(step),
        Operation::Wait => wait(i64::from(step.a % 60_000).saturating_mul(SECOND / 1000)),
    }
}

fn initiate(world: &mut World, step: &Step) {
    let vc = world.pointer(Sort::Vc, step.on);
    let expect = world.expect(Sort::Vc, vc);
    let (answer, level) = call(world, Waits::Never, || {
        engine::initiate_by_chance(vc.cast())
    });
    refused(
        "RxCeInitiateVCDisconnect",
        expect != Expect::Refused && level <= irql::DISPATCH,
        answer,
    );
}

/// RxCeTearDown… of what a choice names.
fn tear_down(world: &mut World, sort: Sort, step: &Step) {
    let pointer = world.pointer(sort, step.on);
    let expect = world.expect(sort, pointer);
    let parent_of_some = pointer
        .slot
        .is_some_and(|index| world.has_children(sort, index));
    let (answer, level) = call(world, Waits::ForTransport, || match sort {
        Sort::Transport => engine::tear_down_transport(pointer.cast()),
        Sort::Address => engine::tear_down_address(pointer.cast()),
        Sort::Connection => engine::tear_down_connection(pointer.cast()),
        Sort::Vc => engine::tear_down_vc(pointer.cast()),
    });
    let possible = expect != Expect::Refused && !parent_of_some && level <= irql::APC;
    if possible {
        let must_succeed = expect == Expect::Admitted;
        must(!must_succeed || answer != status::INVALID_PARAMETER, || {
            format!("the tear-down of a built {sort:?} was refused")
        });
        if let (Some(index), true) = (pointer.slot, answer != status::INVALID_PARAMETER) {
            zero(world, sort, index, answer);
            world.note_gone(sort, index);
        }
        return;
    }
    // A transport that is not bound is torn down with success (rxce.md §5.2).
    let unbound = sort == Sort::Transport
        && !parent_of_some
        && level <= irql::APC
        && pointer
            .slot
            .and_then(|index| world.of(sort).get(index))
            .is_none_or(|slot| !slot.built);
    must(
        answer == status::INVALID_PARAMETER || (unbound && answer == status::SUCCESS),
        || format!("the tear-down of no {sort:?}, or of a parent, ended with {answer:#010x}"),
    );
}

fn cancel_connect(world: &mut World) {
    let (answer, _) = call(world, Waits::Never, || {
        engine::cancel_connect_request(
            arguments::NOWHERE.cast(),
            arguments::NOWHERE.cast(),
            arguments::NOWHERE.cast(),
        )
    });
    must(answer == status::NOT_IMPLEMENTED, || {
        format!("RxCeCancelConnectRequest: {answer:#010x}")
    });
}

fn change(world: &mut World, step: &Step) {
    let sort = Sort::new(step.with);
    let index = world.index(sort, step.on);
    if world.race.is_some() && world.races(sort, Some(index)) {
        return;
    }
    let Some(slot) = world.of_mut(sort).get_mut(index) else {
        return;
    };
    if step.operation() == Operation::Repair {
        slot.repair();
    } else {
        slot.change(step.a, step.b);
    }
}
