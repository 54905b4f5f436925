//! The decisions of the RDBSS connection engine, without a kernel.
//!
//! What is here is pure: no pointer, no IRP, no allocation. [`life`] decides what an event means for a circuit,
//! [`circuit`] carries the life-cycle routines out over a handful of operations that the driver (or a model checker)
//! provides, [`receive`] keeps a circuit's byte stream in order, [`parts`] says who is the last to use a request, and the
//! rest checks and encodes what clients hand in. The driver runs this very code; nothing is modelled twice.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[macro_use]
mod mutant;

pub mod circuit;
pub mod ea;
pub mod ledger;
pub mod life;
pub mod parts;
pub mod race;
pub mod receive;
pub mod recent;
pub mod send;
pub mod spread;
pub mod transport_address;

#[cfg(feature = "mutants")]
#[doc(hidden)]
pub use mutants;

/// Why a routine of the engine refuses or fails; the driver maps each to its documented status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The arguments or the structures they name are not valid: `STATUS_INVALID_PARAMETER`.
    InvalidParameter,
    /// Memory could not be had: `STATUS_INSUFFICIENT_RESOURCES`.
    InsufficientResources,
    /// The circuit does not take sends any more: `STATUS_CONNECTION_DISCONNECTED`.
    Disconnected,
    /// The circuit was disconnected while it was being built: `STATUS_CONNECTION_ABORTED`.
    Aborted,
    /// The build of the circuit was cancelled: `STATUS_CANCELLED`.
    Cancelled,
    /// A status of the transport, passed on unchanged.
    Transport(i32),
}
