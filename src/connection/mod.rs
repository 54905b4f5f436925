//! The engine's objects: transports, addresses, connections and circuits, built and torn down.
//!
//! Decisions come from `rxce_engine`; what they need of the network goes through [`crate::tdi`].

pub(crate) mod address;
mod backlog;
mod circuit;
pub(crate) mod counters;
pub(crate) mod datagram;
pub(crate) mod events;
pub(crate) mod information;
mod layer;
pub(crate) mod lifecycle;
mod list;
pub(crate) mod multiple;
pub(crate) mod peer;
mod pins;
pub(crate) mod query;
mod receive;
pub(crate) mod registry;
mod request;
pub(crate) mod send;
mod transfer;
pub(crate) mod transport;

pub(crate) use layer::end;
