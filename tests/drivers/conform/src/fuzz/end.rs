//! The end of a program: everything is finished, repaired and torn down, and nothing may be left.

use alloc::format;

use super::{
    call::{LONG, zero},
    calls, later,
    ledger::{self, must, violated},
    multiple,
    world::{Slot, Sort, World},
};
use crate::{
    engine,
    nt::{irql, status},
    transport::{self, TRANSPORT},
};

/// Takes everything down.
pub(super) fn take_down(world: &mut World) {
    world.level = irql::PASSIVE;
    world.fault = None;
    calls::reset();
    TRANSPORT.update(|state| {
        state.restore_scripts();
        state.dispatch_allowed = true;
    });
    transport::end_all(status::CONNECTION_ABORTED, |_| true);
    must(later::drain(), || {
        "a step of the transport does not end".into()
    });
    transport::end_all(status::CONNECTION_ABORTED, |_| true);
    must(multiple::settled(world, LONG), || {
        "a competition does not end".into()
    });
    const SORTS: [Sort; 4] = [Sort::Vc, Sort::Connection, Sort::Address, Sort::Transport];
    for sort in SORTS {
        world.of_mut(sort).iter_mut().for_each(Slot::repair);
    }
    for sort in SORTS {
        for index in 0..world.of(sort).len() {
            tear_down(world, sort, index);
        }
    }
    for irp in core::mem::take(&mut world.irps) {
        // SAFETY: Allocated by a step and never sent.
        unsafe { engine::free_irp(irp) };
    }
}

fn tear_down(world: &mut World, sort: Sort, index: usize) {
    let Some(slot) = world.of(sort).get(index).filter(|slot| slot.built) else {
        return;
    };
    let start = slot.start();
    let answer = match sort {
        Sort::Transport => engine::tear_down_transport(start.cast()),
        Sort::Address => engine::tear_down_address(start.cast()),
        Sort::Connection => engine::tear_down_connection(start.cast()),
        Sort::Vc => engine::tear_down_vc(start.cast()),
    };
    let right = if sort == Sort::Vc {
        answer != status::INVALID_PARAMETER
    } else {
        answer == status::SUCCESS
    };
    must(right, || {
        format!("in the end the tear-down of {sort:?} {index} returned {answer:#010x}")
    });
    zero(world, sort, index, answer);
    world.note_gone(sort, index);
}

/// Nothing may be left.
pub(super) fn judge() {
    if let Some((rule, value)) = TRANSPORT.read(transport::state::State::violation) {
        violated(|| format!("a request broke a rule of the transport: {rule} ({value:#x})"));
    }
    let (files, held) = TRANSPORT.read(|state| (state.open_files(), state.held()));
    must(files == 0 && held == 0, || {
        format!("{files} files are open still, {held} requests are at the transport")
    });
    ledger::settle();
}
