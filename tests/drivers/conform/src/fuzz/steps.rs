//! One step after the other: calls of the routines, judged by what must be refused.

use alloc::{format, vec::Vec};
use core::ptr;

use conform_ioctl::{FuzzCount, Operation, Step};
use rxce_client::{RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER};
use wdk_sys::NTSTATUS;

use super::{
    arguments, calls, events, later,
    ledger::{count, must},
    multiple, sends,
    world::{self, ADDRESS_CONTEXT, CONNECTION_CONTEXT, Expect, Pointer, Sort, World},
};
use crate::{
    engine,
    nt::{
        irql, status,
        time::{self, SECOND},
    },
    transport::{self, Provider, TRANSPORT},
};

/// Longest that the transport keeps what it holds while a routine waits: longer than any tear-down does.
const PATIENCE: i64 = 60 * SECOND;
/// Guarded region, as a level.
const GUARDED: u8 = 100;
/// Above DISPATCH_LEVEL.
const HIGH: u8 = 12;

/// Whether a routine may wait for the transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    Never,
    ForTransport,
}

/// Calls a routine at the level, and with the fault, that the steps before asked for; its answer, and the level.
pub(super) fn call(
    world: &mut World,
    waits: Waits,
    body: impl FnOnce() -> NTSTATUS,
) -> (NTSTATUS, u8) {
    let level = core::mem::replace(&mut world.level, irql::PASSIVE);
    let fault = world.fault.take();
    let decoy = world.decoy();
    if waits == Waits::ForTransport {
        later::begin_call(PATIENCE);
    }
    let body = || match level {
        GUARDED => irql::guarded(body),
        level => irql::at(level, body),
    };
    let answer = match (fault, &world.faults) {
        (Some(nth), Some(faults)) => faults.nth(nth, body).0,
        _ => body(),
    };
    later::end_call();
    must(decoy == world.decoy(), || {
        "what the engine did not build was changed".into()
    });
    count(if answer >= 0 {
        FuzzCount::Admitted
    } else {
        FuzzCount::Refused
    });
    let level = if level == GUARDED {
        irql::PASSIVE
    } else {
        level
    };
    (answer, level)
}

/// Carries a step out.
pub(super) fn perform(world: &mut World, step: &Step) {
    multiple::settled(world, 0);
    match step.operation() {
        Operation::BuildTransport => build_transport(world, step),
        Operation::BuildAddress => build_address(world, step),
        Operation::BuildConnection => build_connection(world, step),
        Operation::BuildVc => build_vc(world, step),
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

/// Does nothing for so long.
pub(super) fn wait(interval: i64) {
    let event = crate::nt::event::Event::new();
    event.wait(interval.max(1));
}

/// What a structure was like before a routine that may build it.
struct Output {
    sort: Sort,
    pointer: Pointer,
    /// Its bytes, if it was not built.
    free: Option<Vec<u8>>,
}

impl Output {
    fn new(world: &World, sort: Sort, choice: u8) -> Self {
        let pointer = world.output(sort, choice);
        let slot = pointer.slot.and_then(|index| world.of(sort).get(index));
        let raced = world.race.is_some() && world.races(sort, pointer.slot);
        Self {
            sort,
            pointer,
            free: slot
                .filter(|slot| !slot.built && !raced)
                .map(|slot| slot.bytes()),
        }
    }

    /// A failed build leaves zeros, a refused one nothing at all.
    fn judge(&self, world: &World, answer: NTSTATUS) {
        let (Some(index), Some(before)) = (self.pointer.slot, &self.free) else {
            must(answer == status::INVALID_PARAMETER, || {
                format!(
                    "a build into what is built, or is no {:?}: {answer:#010x}",
                    self.sort
                )
            });
            return;
        };
        if answer == status::INVALID_PARAMETER {
            let now = world.of(self.sort).get(index).map(|slot| slot.bytes());
            must(now.as_ref() == Some(before), || {
                format!("a refused build changed a {:?}", self.sort)
            });
        } else if answer < 0 {
            zero(world, self.sort, index, answer);
        }
    }
}

/// A structure must be all zeros.
pub(super) fn zero(world: &World, sort: Sort, index: usize, answer: NTSTATUS) {
    let zero = world
        .of(sort)
        .get(index)
        .is_some_and(|slot| slot.bytes().iter().all(|&byte| byte == 0));
    must(zero, || {
        format!("{sort:?} {index} is not zero after {answer:#010x}")
    });
}

/// Something invalid must have been refused as such.
fn refused(what: &str, possible: bool, answer: NTSTATUS) {
    must(possible || answer == status::INVALID_PARAMETER, || {
        format!("{what} with something invalid: {answer:#010x}")
    });
}

fn build_transport(world: &mut World, step: &Step) {
    let output = Output::new(world, Sort::Transport, step.on);
    let name = arguments::name(step.with, step.a);
    let mut raw = name.raw();
    let no_name = step.with == 0xFF;
    let start = if no_name {
        ptr::null_mut()
    } else {
        &raw mut raw
    };
    let (answer, level) = call(world, Waits::ForTransport, || {
        engine::build_transport(output.pointer.cast(), start, step.b)
    });
    refused(
        "RxCeBuildTransport",
        name.valid && !no_name && level <= irql::APC,
        answer,
    );
    output.judge(world, answer);
    if let Some(index) = output.pointer.slot {
        world.note_built(Sort::Transport, index, 0, answer);
    }
}

fn build_address(world: &mut World, step: &Step) {
    let output = Output::new(world, Sort::Address, step.on);
    let transport = world.pointer(Sort::Transport, step.with);
    let expect = world.expect(Sort::Transport, transport);
    let mut local = arguments::local(step.a, step.c);
    let mut handlers = calls::address_handlers(step.b);
    let [.., absent] = step.b.to_le_bytes();
    let table: *mut RXCE_ADDRESS_EVENT_HANDLER = if absent == 0xFF {
        ptr::null_mut()
    } else {
        &raw mut handlers
    };
    let start = if absent == 0xFE {
        ptr::null_mut()
    } else {
        local.start()
    };
    let own = output.pointer.slot.unwrap_or_default();
    let context = ptr::without_provenance_mut(ADDRESS_CONTEXT.saturating_add(own));
    let (answer, level) = call(world, Waits::ForTransport, || {
        engine::build_address(
            output.pointer.cast(),
            transport.cast(),
            start.cast(),
            table,
            context,
        )
    });
    let possible = local.valid
        && !start.is_null()
        && !table.is_null()
        && expect != Expect::Refused
        && level <= irql::APC;
    refused("RxCeBuildAddress", possible, answer);
    output.judge(world, answer);
    if let Some(index) = output.pointer.slot {
        world.note_built(
            Sort::Address,
            index,
            transport.slot.unwrap_or_default(),
            answer,
        );
    }
}

fn build_connection(world: &mut World, step: &Step) {
    let connection = Output::new(world, Sort::Connection, step.on);
    let vc = Output::new(world, Sort::Vc, step.also);
    let address = world.pointer(Sort::Address, step.with);
    let expect = world.expect(Sort::Address, address);
    let mut information = arguments::information(step.a);
    let mut handlers = calls::connection_handlers(step.b);
    let [.., absent] = step.b.to_le_bytes();
    let table: *mut RXCE_CONNECTION_EVENT_HANDLER = if absent == 0xFF {
        ptr::null_mut()
    } else {
        &raw mut handlers
    };
    let raw = if absent == 0xFE {
        ptr::null_mut()
    } else {
        information.raw()
    };
    let own = connection.pointer.slot.unwrap_or_default();
    let context = ptr::without_provenance_mut(CONNECTION_CONTEXT.saturating_add(own));
    begin(&vc);
    let (answer, level) = call(world, Waits::ForTransport, || {
        engine::build_connection(
            address.cast(),
            raw,
            table,
            context,
            connection.pointer.cast(),
            vc.pointer.cast(),
        )
    });
    let possible = information.valid
        && !raw.is_null()
        && !table.is_null()
        && expect != Expect::Refused
        && level <= irql::APC;
    refused("RxCeBuildConnection", possible, answer);
    connection.judge(world, answer);
    vc.judge(world, answer);
    if let Some(index) = connection.pointer.slot {
        let parent = address.slot.unwrap_or_default();
        world.note_built(Sort::Connection, index, parent, answer);
    }
    end(world, &vc, own, answer);
}

fn build_vc(world: &mut World, step: &Step) {
    let vc = Output::new(world, Sort::Vc, step.on);
    let connection = world.pointer(Sort::Connection, step.with);
    let expect = world.expect(Sort::Connection, connection);
    begin(&vc);
    let (answer, level) = call(world, Waits::ForTransport, || {
        engine::build_vc(vc.pointer.cast(), connection.cast())
    });
    refused(
        "RxCeBuildVC",
        expect != Expect::Refused && level <= irql::APC,
        answer,
    );
    vc.judge(world, answer);
    end(world, &vc, connection.slot.unwrap_or_default(), answer);
}

/// Callbacks may come before the build returns.
fn begin(vc: &Output) {
    if let (Some(index), Some(_)) = (vc.pointer.slot, &vc.free) {
        world::set_alive(index, true);
    }
}

fn end(world: &mut World, vc: &Output, connection: usize, answer: NTSTATUS) {
    if let (Some(index), Some(_)) = (vc.pointer.slot, &vc.free) {
        world.note_built(Sort::Vc, index, connection, answer);
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

/// The time in which everything that is only waiting for time is done.
pub(super) const LONG: i64 = time::PATIENCE;
