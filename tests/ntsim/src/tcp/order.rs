//! The order of indications and receive requests of one endpoint.
//!
//! A receive request is outstanding from the moment of its dispatch routine, which may run on the transport's own thread: a
//! completion routine sends the next receive. So requests are posted here, where the thread looks before each
//! indication, and not queued behind what it is doing. A request that another thread posts while the handler runs has crossed
//! the indication; it is served when the handler has returned.
//!
//! The rest is a check of the transport itself, from counts of its own and not from the state it decides with: "not called
//! while a TDI_RECEIVE request of the endpoint is outstanding, nor after data was refused until the client issues a
//! receive" (spec tdi.md §5.1), and "indications and receive completions of one endpoint are serialised" (§12). A
//! transport that breaks this stops the machine.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::layout::io::Irp;
use crate::own::{self, Own};

/// Posted receives of an endpoint, and what was promised about it.
#[derive(Default)]
pub struct Order {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests that the transport's thread has not looked at yet.
    posted: VecDeque<Irp>,
    /// Requests that were posted or handed back and are not completed.
    outstanding: usize,
    /// Data was refused and no receive was issued since.
    refused: bool,
    /// What the client is being told.
    telling: Option<&'static str>,
}

fn broken(text: &str) -> ! {
    let text = format!("the transport breaks the order of receives: {text}");
    own::violation(Own::Order, [0, 0, 0], text);
}

impl State {
    fn begin(&mut self, what: &'static str) -> Result<(), String> {
        match self.telling.replace(what) {
            Some(other) => Err(format!("{what} inside {other}")),
            None => Ok(()),
        }
    }
}

impl Order {
    /// Changes the state; an error stops the machine after the lock is released.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> Result<R, String>) -> R {
        let result = change(&mut self.state.lock());
        result.unwrap_or_else(|text| broken(&text))
    }

    /// The client issued a receive request.
    pub fn post(&self, irp: Irp) {
        let mut state = self.state.lock();
        state.posted.push_back(irp);
        state.outstanding += 1;
        state.refused = false;
    }

    /// The client handed a receive request back from an indication.
    pub fn handed_back(&self) {
        let mut state = self.state.lock();
        state.outstanding += 1;
        state.refused = false;
    }

    /// Requests that were posted since the last look.
    pub fn take(&self) -> VecDeque<Irp> {
        std::mem::take(&mut self.state.lock().posted)
    }

    /// An indication is about to be made. False if a receive was posted which nobody has looked at yet.
    pub fn begin_indication(&self) -> bool {
        self.change(|state| {
            if !state.posted.is_empty() {
                return Ok(false);
            }
            match state.outstanding {
                0 => {}
                1 => return Err("an indication while 1 receive request is outstanding".into()),
                n => {
                    return Err(format!(
                        "an indication while {n} receive requests are outstanding"
                    ));
                }
            }
            if state.refused {
                return Err("an indication after the client refused data".into());
            }
            state.begin("an indication")?;
            Ok(true)
        })
    }

    /// The handler has returned. A receive that was issued meanwhile takes its refusal back.
    pub fn end_indication(&self, refused: bool) {
        let mut state = self.state.lock();
        state.telling = None;
        state.refused = refused && state.outstanding == 0;
    }

    /// A receive request is about to be completed.
    pub fn begin_completion(&self) {
        self.change(|state| {
            state.begin("the completion of a receive")?;
            state.outstanding = state
                .outstanding
                .checked_sub(1)
                .ok_or("a receive is completed that was not issued")?;
            Ok(())
        });
    }

    /// Its completion routine has returned.
    pub fn end_completion(&self) {
        self.state.lock().telling = None;
    }

    /// A new connection: nothing of the one before counts.
    pub fn connected(&self) {
        self.state.lock().refused = false;
    }
}
