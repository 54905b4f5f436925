//! The storm: threads that do everything to circuits at once and at random, over a transport that answers at random,
//! with every callback and every answer judged by what must hold whatever the order.
//!
//! `provider` is the transport (`endpoint` what it knows, `arrival` what a request must look like, `requests` what
//! becomes of it, `events` and `address_events` what happens by itself, `queue` when); `actor` is a thread of the client,
//! `multiple` and `datagrams` what else it does, `calls` its callbacks, `slot` what both judge by; `rounds` sets everything up and takes it down again.

mod actor;
mod address_events;
mod arrival;
mod calls;
mod chance;
mod datagrams;
mod endpoint;
mod events;
mod multiple;
mod provider;
mod queue;
mod report;
mod requests;
mod rounds;
mod slot;
mod world;

pub(crate) use provider::{create_device, dispatch, is_device};
pub(crate) use rounds::run;
