//! What the driver's exports and event handlers do with a circuit, over the engine's procedures.

use std::sync::Arc;

use rxce_engine::{
    Error,
    circuit::{self, Circuit, Made, change, note_return},
    ledger::{Handover, Kind},
    life::{Notice, State},
    receive::{Channel, Indication, Room},
};

use crate::{
    record::{Remote, Send},
    request::{Handle, Purpose},
    vc::{Passive, Ref, Vc},
};

/// How a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Callback,
    Wait,
}

impl Vc {
    /// `RxCeInitiateVCDisconnect`.
    pub(crate) fn initiate(&self) -> Result<(), Error> {
        let result = match self.find() {
            Some(circuit) => {
                let (result, made) = circuit::initiate_disconnect(&**circuit);
                match made {
                    Made::Nothing => drop(circuit),
                    Made::Sent(request) => {
                        std::mem::forget(circuit);
                        self.drop_part(request);
                    }
                    Made::Unused(request) => {
                        std::mem::forget(circuit);
                        self.discard(request);
                    }
                }
                result
            }
            None => Err(Error::InvalidParameter),
        };
        let state = self.life().state();
        match result {
            Ok(()) => assert_ne!(state, State::Active, "SUCCESS, and still active"),
            Err(Error::InvalidParameter) => {
                assert_eq!(state, State::TearDown, "refused, and no tear-down");
            }
            Err(error) => {
                assert_eq!(error, Error::InsufficientResources);
                let needed = self.record(|record| record.needed_memory());
                assert!(needed, "memory is missed that was not needed any more");
            }
        }
        self.record(|record| record.initiates.push(result));
        result
    }

    /// `RxCexCancelConnect`. What is gone altogether is not asked.
    pub(crate) fn cancel(&self) {
        if let Some(circuit) = self.find() {
            let answer = circuit::cancel_build(&**circuit);
            self.record(|record| record.cancels.push(answer));
        }
    }

    /// `RxCeTearDownVC`.
    pub(crate) fn tear_down(&self) -> Result<Result<(), Error>, Error> {
        let result = self.find().map_or(Err(Error::InvalidParameter), |own| {
            let result = circuit::tear_down(&**own, &Passive, || {
                assert_eq!(self.life().state(), State::TearDown);
                let sent = self.record(|record| record.drained_with.len());
                assert_eq!(sent, 0, "the clean-up of siblings is not waited for");
            });
            if let Ok(status) = result {
                self.assert_status(status);
                self.assert_drained();
                self.dismantle(own);
            }
            result
        });
        self.record(|record| record.tear_downs.push(result));
        result
    }

    /// The rest of `RxCeBuildVC` after the publication.
    pub(crate) fn connect(&self, own: Ref, connect: Handle) {
        let result = circuit::connect(&**own, &Passive, connect);
        match result {
            Ok(notice) => {
                if let Some(notice) = notice {
                    self.notify(notice);
                }
            }
            Err(_) => {
                self.assert_drained();
                self.dismantle(own);
            }
        }
        self.record(|record| record.build = Some(result.map(|_| ())));
    }

    /// The transport keeps the connect for ever: once nothing else is going to happen, the client ends the build.
    pub(crate) fn client_loses_patience(self: &Arc<Self>) {
        let vc = self.clone();
        self.sim().as_last_resort(move || {
            vc.record(|record| record.client_lost_patience = true);
            while vc.initiate() == Err(Error::InsufficientResources) {}
        });
    }

    /// The connect of a competitor, which nobody waits for.
    pub(crate) fn connect_in_background(&self, connect: Handle) {
        let sent = circuit::connect_in_background(self, connect);
        let connects = self.transport().wire().connects;
        assert_eq!(connects, usize::from(sent), "what is told is what was sent");
    }

    /// The competitor has won: the client learns of it, and then of what it missed.
    pub(crate) fn announce(&self, own: Ref) {
        own.hold(|ledger| ledger.life.announce());
        self.register();
        drop(own);
        let Some(circuit) = self.find_by_id() else {
            return;
        };
        let debt = change(&**circuit, |ledger| {
            if ledger.life.state() == State::TearDown {
                return None;
            }
            let held = ledger.streams.of(Channel::Normal).claim_held();
            Some((ledger.life.take_owed(), held))
        });
        let Some((owed, held)) = debt else {
            return;
        };
        if let Some(notice) = owed {
            self.notify(notice);
        }
        self.record(|record| {
            record.caught_up += usize::from(held);
            record.debt_is_settled = true;
        });
        if held {
            change(&**circuit, |ledger| {
                let life = ledger.life;
                let stream = ledger.streams.of(Channel::Normal);
                // The fetch ends at once.
                let _ = stream.release(&life, Room::Left);
                stream.abandon();
            });
        }
    }

    /// The competitor has lost: the close ends whatever is left.
    pub(crate) fn give_up(&self, own: Ref) {
        change(&**own, |ledger| ledger.life.give_up());
        self.close();
        self.dismantle(own);
    }

    fn assert_drained(&self) {
        self.hold(|ledger| {
            assert!(
                ledger.list.listed.is_empty(),
                "a request is listed after the drain"
            );
        });
    }

    /// The status of a tear-down is that of the last disconnect that it sent, unless the peer had gone before.
    fn assert_status(&self, result: Result<(), Error>) {
        let (last, remote) = self.record(|record| {
            let last = record.drained_with.last().map(|&(request, _)| request);
            (last, record.found_remote())
        });
        // The circuit keeps these requests: the last part is no end of them.
        let status = last.map_or(0, |request| {
            let status = self.request(request).last_status();
            status.expect("the list is empty")
        });
        let expected = if status < 0 && !remote {
            Err(Error::Transport(status))
        } else {
            Ok(())
        };
        assert_eq!(result, expected, "status of the tear-down");
    }

    fn notify(&self, _notice: Notice) {
        self.callback();
        self.record(|record| record.notices += 1);
    }

    /// The transport's disconnect event.
    pub(crate) fn remote_disconnect(&self, flags: u32) {
        self.remote(Remote::Disconnect(flags));
    }

    /// An event that ends the circuit from outside.
    pub(crate) fn remote(&self, event: Remote) {
        let Some(circuit) = self.find_by_id() else {
            return;
        };
        let notice = change(&**circuit, |ledger| {
            self.record(|record| record.remotes.push(event));
            match event {
                Remote::Disconnect(flags) => ledger.life.remote_disconnect(flags),
                Remote::AddressError => ledger.life.address_error(-1),
            }
        });
        if let Some(notice) = notice {
            let expected = match event {
                Remote::Disconnect(flags) => Notice::Disconnect(flags),
                Remote::AddressError => Notice::Error(-1),
            };
            assert_eq!(notice, expected);
            self.notify(notice);
        }
    }

    /// `RxCeSend`.
    pub(crate) fn send(&self, delivery: Delivery) -> Result<(), Error> {
        let gate = (delivery == Delivery::Wait).then(|| self.sim().gate());
        let number = self.record(|record| {
            record.sends.push(Send {
                gate,
                ..Send::default()
            });
            record.sends.len() - 1
        });
        let result = self.try_send(number, gate);
        if result.is_err() {
            self.record(|record| record.sends[number].refused = true);
        }
        result
    }

    fn try_send(&self, number: usize, gate: Option<usize>) -> Result<(), Error> {
        let circuit = self.find().ok_or(Error::Disconnected)?;
        if !circuit.hold(|ledger| ledger.life.admits_send()) {
            return Err(Error::Disconnected);
        }
        let request = self
            .new_request(Purpose::Send(number))
            .ok_or(Error::InsufficientResources)?;
        let admitted = circuit.hold(|ledger| {
            let admitted = ledger.life.admits_send();
            if admitted {
                ledger.insert(&request, Kind::Other, Handover::Submitted);
            }
            admitted
        });
        if !admitted {
            self.discard(request);
            return Err(Error::Disconnected);
        }
        self.sim().step();
        self.transport().take_data(&circuit, request);
        self.returned(request);
        note_return(&**circuit, request);
        if let Some(gate) = gate {
            self.sim().pass_gate(gate);
        } else {
            self.callback();
            self.record(|record| record.sends[number].submitted += 1);
        }
        self.drop_part(request);
        Ok(())
    }

    /// A send is over.
    pub(crate) fn sent(&self, number: usize, _status: i32) {
        let gate = self.record(|record| record.sends[number].gate);
        match gate {
            Some(gate) => self.sim().open_gate(gate),
            None => self.callback(),
        }
        self.record(|record| record.sends[number].completed += 1);
    }

    /// A receive indication, of which the client wants more.
    pub(crate) fn indicate(self: &Arc<Self>) {
        let Some(circuit) = self.find_by_id() else {
            return;
        };
        let decision = circuit.hold(|ledger| {
            let life = ledger.life;
            ledger.streams.of(Channel::Normal).indicate(&life)
        });
        if decision != Indication::Offer {
            self.record(|record| record.refused_indications += 1);
            return;
        }
        self.callback();
        let number = self.record(|record| {
            record.receives.push(0);
            record.receives.len() - 1
        });
        let Some(request) = self.new_request(Purpose::Receive(number)) else {
            self.data_ready(number);
            change(&**circuit, |ledger| {
                let life = ledger.life;
                let _ = ledger
                    .streams
                    .of(Channel::Normal)
                    .release(&life, Room::None);
            });
            return;
        };
        let admitted = change(&**circuit, |ledger| {
            let admitted = ledger.life.admits_receive();
            if admitted {
                ledger.insert(&request, Kind::Receive, Handover::Returned);
                ledger.streams.of(Channel::Normal).requested();
            }
            admitted
        });
        if !admitted {
            self.discard(request);
            self.data_ready(number);
            change(&**circuit, |ledger| {
                ledger.streams.of(Channel::Normal).abandon();
            });
            return;
        }
        // The handler returns here, and the transport takes what it returned.
        drop(circuit);
        self.sim().step();
        self.transport().take_data(self, request);
    }

    /// What became of the client's memory.
    pub(crate) fn data_ready(&self, number: usize) {
        self.callback();
        self.record(|record| record.receives[number] += 1);
    }
}
