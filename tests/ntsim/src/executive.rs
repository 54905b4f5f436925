//! The executive as one list: its routine tables, its exported variables, and what starts with it.

use crate::gate::{Datum, Routine};
use crate::own::Own;
use crate::rules::Rules;
use crate::stop::Stop;
use crate::{clock, dispatcher, etw, ex, io, irql, ob, pool, ps, se, stop, thread, trace};

/// The routine tables.
pub(crate) fn routines() -> Vec<&'static [Routine]> {
    vec![
        dispatcher::event::ROUTINES,
        dispatcher::semaphore::ROUTINES,
        dispatcher::mutex::ROUTINES,
        dispatcher::timer::ROUTINES,
        dispatcher::dpc::ROUTINES,
        dispatcher::routines::ROUTINES,
        irql::ROUTINES,
        irql::spin_lock::ROUTINES,
        irql::processors::ROUTINES,
        ex::lookaside::ROUTINES,
        ex::resource::ROUTINES,
        ex::rundown::ROUTINES,
        ex::rundown::cache_aware::ROUTINES,
        ex::slist::ROUTINES,
        ex::work::ROUTINES,
        etw::ROUTINES,
        ps::ROUTINES,
        se::ROUTINES,
        se::dacl::ROUTINES,
        ob::routines::ROUTINES,
        ob::registry::ROUTINES,
        io::build::ROUTINES,
        io::call::ROUTINES,
        io::cancel::ROUTINES,
        io::complete::ROUTINES,
        io::create::ROUTINES,
        io::device::ROUTINES,
        io::irp::ROUTINES,
        io::remove_lock::ROUTINES,
    ]
}

/// The exported variables.
pub(crate) fn data() -> Vec<&'static [Datum]> {
    vec![ps::DATA, ob::routines::DATA]
}

/// Before the first thread exists: the clock and the hooks that count threads.
pub(crate) fn prepare() {
    thread::set_hooks(thread::Hooks {
        created: |thread| dispatcher::thread_begins(thread),
        exited: |thread| dispatcher::thread_ends(thread),
    });
    trace::set_clock(clock::interrupt_time);
    pool::add_free_hook(check_free);
    if !crate::explore::on() {
        clock::start();
    }
}

/// After the tables are there: the threads of the kernel.
pub(crate) fn start() {
    thread::spawn("dpc", true, Box::new(dispatcher::dpc::serve));
}

/// Forgets the objects in an image that goes.
pub(crate) fn forget(start: usize, bytes: usize) {
    irql::order::forget(start, bytes);
    ex::resource::forget(start, bytes);
    ex::lookaside::forget(start, bytes);
    io::remove_lock::forget(start, bytes);
}

/// A block that is about to be freed must hold nothing that the kernel still uses.
fn check_free(address: usize, bytes: usize, _caller: usize) {
    irql::order::forget(address, bytes);
    if let Some((object, what)) = dispatcher::in_use(address, bytes) {
        let stop = if what == dispatcher::RUNNING_TIMER {
            Stop::verifier(0x15)
        } else {
            Own::Waited.stop()
        };
        let text =
            format!("pool block {address:#x} is freed while {object:#x} in it is used by {what}");
        stop::enforce(stop, [object as u64, 0, address as u64], text);
    }
    if let Some(resource) = ex::resource::active_in(address, bytes) {
        let rest = [resource as u64, address as u64, bytes as u64];
        let text = format!(
            "pool block {address:#x} is freed while resource {resource:#x} in it is initialised"
        );
        stop::enforce(Stop::verifier(0x17), rest, text);
        ex::resource::forget(address, bytes);
    }
    if let Some(list) = ex::lookaside::active_in(address, bytes) {
        let rest = [list as u64, address as u64, bytes as u64];
        let text = format!(
            "pool block {address:#x} is freed while look-aside list {list:#x} in it is initialised"
        );
        stop::enforce(Stop::verifier(0xcc), rest, text);
        ex::lookaside::forget(address, bytes);
    }
    io::remove_lock::forget(address, bytes);
    if let Some(item) = ex::work::queued_in(address, bytes) {
        let text =
            format!("pool block {address:#x} is freed while work item {item:#x} in it is queued");
        if Rules::MISCELLANEOUS.is_on() {
            stop::bug_check(0xe4, [0, item as u64, address as u64, 0], text);
        }
    }
    if let Some(lock) = irql::held_in(address, bytes) {
        let text =
            format!("pool block {address:#x} is freed while spin lock {lock:#x} in it is held");
        stop::enforce(
            Stop::verifier(0x100b),
            [lock as u64, address as u64, 0],
            text,
        );
    }
}
