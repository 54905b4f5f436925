//! The acceptance vectors: rxce.md §9, one function each, and the hostile cases.
//!
//! A vector finds the transport, the recorder and the engine clean; it may leave them as it likes, since its fixtures
//! tear down what they built. Whoever runs it checks afterwards that nothing is left (`runner`).

mod abi;
mod address_forms;
mod build;
mod build_races;
mod cost;
mod datagram;
mod datagram_receive;
mod event_races;
mod events;
mod expedited;
mod extension_cancel;
mod extension_chained;
mod extension_counters;
mod extension_routines;
mod extension_tables;
mod hostile_build;
mod hostile_circuit;
mod hostile_down;
mod initiate;
mod initiate_races;
mod irp_list;
mod irql;
mod multiple;
mod multiple_bad;
mod multiple_early;
mod multiple_end;
mod provider;
mod queries;
mod queries_races;
mod refetch;
mod send;
mod send_races;
mod teardown;
mod teardown_races;

use alloc::vec::Vec;

use conform_ioctl::Basis;
use rxce_client::RXCE_VC;
use wdk_sys::NTSTATUS;

use crate::{
    nt::sim::{Break, Faults},
    outcome::{Outcome, Run, Trouble},
};

/// One vector.
pub(crate) struct Vector {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) basis: Basis,
    pub(crate) run: fn(&Run) -> Outcome,
}

/// A vector whose expectation is documented.
const fn documented(id: &'static str, title: &'static str, run: fn(&Run) -> Outcome) -> Vector {
    Vector {
        id,
        title,
        basis: Basis::Documented,
        run,
    }
}

/// A vector whose expectation is this project's choice (marked so in rxce.md).
const fn own(id: &'static str, title: &'static str, run: fn(&Run) -> Outcome) -> Vector {
    Vector {
        id,
        title,
        basis: Basis::OwnChoice,
        run,
    }
}

/// Every vector, in the order of the table.
pub(crate) fn all() -> Vec<&'static Vector> {
    [
        initiate::VECTORS,
        initiate_races::VECTORS,
        teardown::VECTORS,
        teardown_races::VECTORS,
        build::VECTORS,
        build_races::VECTORS,
        cost::VECTORS,
        events::VECTORS,
        event_races::VECTORS,
        abi::VECTORS,
        irql::VECTORS,
        send::VECTORS,
        send_races::VECTORS,
        expedited::VECTORS,
        datagram::VECTORS,
        datagram_receive::VECTORS,
        refetch::VECTORS,
        queries::VECTORS,
        queries_races::VECTORS,
        provider::VECTORS,
        irp_list::VECTORS,
        multiple::VECTORS,
        multiple_early::VECTORS,
        multiple_end::VECTORS,
        multiple_bad::VECTORS,
        hostile_build::VECTORS,
        hostile_down::VECTORS,
        hostile_circuit::VECTORS,
        address_forms::VECTORS,
    ]
    .into_iter()
    .chain(EXTENSIONS)
    .flatten()
    .collect()
}

/// What only rxce.sys has.
const EXTENSIONS: [&[Vector]; 5] = if cfg!(feature = "original") {
    [&[]; 5]
} else {
    [
        extension_routines::VECTORS,
        extension_tables::VECTORS,
        extension_cancel::VECTORS,
        extension_counters::VECTORS,
        extension_chained::VECTORS,
    ]
};

/// TDI_DISCONNECT_ABORT, in requests and indications.
const ABORT: u32 = 2;
/// TDI_DISCONNECT_RELEASE.
const RELEASE: u32 = 4;

/// Fault injection, without which a vector means nothing.
fn faults() -> Outcome<Faults> {
    Faults::find().ok_or_else(|| Trouble::NotPossible("failing chosen kernel calls".into()))
}

/// A break before the engine's next IoCallDriver, without which a vector means nothing.
fn stop_before_io_call_driver() -> Outcome<Break> {
    Break::before_io_call_driver().ok_or_else(no_stops)
}

fn no_stops() -> Trouble {
    Trouble::NotPossible("stopping at a chosen kernel call".into())
}

/// Refuses a vector that cannot do without such breaks, before it starts anything.
fn needs_stops() -> Outcome {
    if Break::is_possible() {
        return Ok(());
    }
    Err(no_stops())
}

/// A change of a structure, with its name in a report.
type Change<T> = (&'static str, fn(&mut T));

/// A circuit's address, for use in another thread.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);

// SAFETY: Only handed to the engine, whose routines may be called from several threads; the fixture that owns the
// storage outlives the threads.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: As above.
unsafe impl<T> Sync for Shared<T> {}

impl Shared<RXCE_VC> {
    fn initiate(self) -> NTSTATUS {
        crate::engine::initiate(self.0)
    }

    fn cancel(self) -> NTSTATUS {
        crate::engine::extension::cancel_connect(self.0)
    }

    fn tear_down(self) -> NTSTATUS {
        crate::engine::tear_down_vc(self.0)
    }
}
