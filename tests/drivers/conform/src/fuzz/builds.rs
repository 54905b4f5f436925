//! Steps that build structures, and what a failed or refused build must leave.

use alloc::{format, vec::Vec};
use core::ptr;

use conform_ioctl::Step;
use rxce_client::{RXCE_ADDRESS_EVENT_HANDLER, RXCE_CONNECTION_EVENT_HANDLER};
use wdk_sys::NTSTATUS;

use super::{
    arguments,
    call::{Waits, call, refused, zero},
    calls,
    ledger::must,
    world::{self, ADDRESS_CONTEXT, CONNECTION_CONTEXT, Expect, Pointer, Sort, World},
};
use crate::{
    engine,
    nt::{irql, status},
};

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

pub(super) fn build_transport(world: &mut World, step: &Step) {
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

pub(super) fn build_address(world: &mut World, step: &Step) {
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

pub(super) fn build_connection(world: &mut World, step: &Step) {
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

pub(super) fn build_vc(world: &mut World, step: &Step) {
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
