//! The engine's objects: transports, addresses, connections and circuits, built and torn down.
//!
//! Decisions come from `rxce_engine`; what they need of the network goes through [`crate::tdi`].

pub(crate) mod address;
mod backlog;
mod circuit;
mod counters;
pub(crate) mod datagram;
mod debugger;
pub(crate) mod events;
pub(crate) mod information;
mod layer;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod multiple;
pub(crate) mod peer;
mod pins;
pub(crate) mod query;
mod receive;
pub(crate) mod registry;
mod request;
pub(crate) mod send;
mod shelf;
mod transfer;
pub(crate) mod transport;

pub(crate) use debugger::keep as keep_for_debuggers;
pub(crate) use layer::end;
