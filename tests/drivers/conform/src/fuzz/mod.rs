//! Hostile programs: steps that call the routines with whatever a client may hand in, and make the scripted transport
//! answer, indicate and complete whatever a transport may. After each program all is torn down, and nothing may be left.
//!
//! `run` carries a program out, `steps` one step of it: `builds`, `sends` and `multiple` call routines through `call`, with
//! what `arguments` makes; `events` are what the transport does, `later` if need be. `world` has the structures, each a
//! `slot`, and knows which of them are built; `calls` are the client's callbacks, `ledger` what they are judged by, and
//! `end` takes everything down.

mod arguments;
mod builds;
mod call;
mod calls;
mod end;
mod events;
mod later;
mod ledger;
mod multiple;
mod run;
mod sends;
mod slot;
mod steps;
mod world;

pub(crate) use run::run;
