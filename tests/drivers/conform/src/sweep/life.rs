//! A fixture that is built, used and torn down while something may fail.

use alloc::format;
use core::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use rxce_client::{RXCE_CONNECTION_INFORMATION, RXCE_VC, RXCE_VC_DISCONNECTED};
use wdk_sys::NTSTATUS;

use super::attempt::{Attempt, Step, Stop};
use crate::{
    client::{Answer, CLIENT, Call, Lane},
    engine::{self, extension},
    fixture::{self, Fixture, PEER, buffer, bytes_of},
    nt::{mdl::Buffer, pool::Block, status, thread::Thread, time},
    outcome::{Outcome, Trouble, holds, same},
    transport::{self, Indication, Kind, Personality, TRANSPORT, state::State},
};

/// A stack of structures on one provider.
pub(crate) struct Life<'a> {
    pub(crate) attempt: &'a Attempt<'a>,
    pub(crate) f: Fixture,
    personality: Personality,
    /// What RxCeTearDownVC answers unless something fails: how the transport ends the last disconnect request.
    usual: NTSTATUS,
}

/// Completion contexts given out: one for each send.
static CONTEXTS: AtomicUsize = AtomicUsize::new(0x500);

fn next_context() -> usize {
    CONTEXTS.fetch_add(1, Ordering::Relaxed)
}

/// Runs `body` on a provider, then tears down whatever it has built.
pub(crate) fn live(
    attempt: &Attempt,
    personality: Personality,
    body: fn(&mut Life) -> Step,
) -> Outcome {
    let mut life = Life::new(attempt, personality)?;
    let result = body(&mut life);
    life.end(result)
}

fn open_files() -> usize {
    TRANSPORT.read(State::open_files)
}

/// The first bytes of a stream in which each byte is its position.
fn stream(from: u8, to: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (slot, byte) in bytes.iter_mut().zip(from..to) {
        *slot = byte;
    }
    bytes
}

impl<'a> Life<'a> {
    /// Storage on which nothing is built.
    pub(crate) fn new(attempt: &'a Attempt<'a>, personality: Personality) -> Outcome<Self> {
        Ok(Self {
            attempt,
            f: Fixture::storage().ok_or_else(Trouble::no_memory)?,
            personality,
            usual: status::SUCCESS,
        })
    }

    /// RxCeBuildTransport.
    pub(crate) fn bind(&self) -> Step {
        let (name, files) = (transport::device_name(self.personality), open_files());
        self.attempt.call(
            "RxCeBuildTransport",
            || Ok(fixture::bind(&self.f.transport, &name)),
            || {
                holds("the transport is zero", self.f.transport.is_zero())?;
                same("open files", open_files(), files)
            },
        )
    }

    /// RxCeBuildAddress.
    pub(crate) fn address(&self) -> Step {
        let (files, parent) = (open_files(), self.f.transport.bytes());
        self.attempt.call(
            "RxCeBuildAddress",
            || fixture::open_address(&self.f.address, &self.f.transport),
            || {
                holds("the address is zero", self.f.address.is_zero())?;
                same("the transport", self.f.transport.bytes(), parent.clone())?;
                same("open files", open_files(), files)
            },
        )
    }

    /// RxCeBuildConnection.
    pub(crate) fn connect(&self) -> Step {
        let (files, counts) = (open_files(), self.f.counts_of_parents());
        self.attempt.call(
            "RxCeBuildConnection",
            || self.f.connect(),
            || {
                holds("the connection is zero", self.f.connection.is_zero())?;
                holds("the circuit is zero", self.f.vc.is_zero())?;
                same("counts of the parents", self.f.counts_of_parents(), counts)?;
                same("open files", open_files(), files)
            },
        )
    }

    /// A transport with an address.
    pub(crate) fn addressed(&self) -> Step {
        self.bind()?;
        self.address()
    }

    /// The whole stack, with one circuit.
    pub(crate) fn connected(&self) -> Step<*mut RXCE_VC> {
        self.addressed()?;
        self.connect()?;
        Ok(self.f.vc.ptr())
    }

    /// RxCeBuildVC: another circuit.
    pub(crate) fn build_vc(&mut self) -> Step<*mut RXCE_VC> {
        let vc = self.f.room_for_vc()?;
        let (files, counts) = (open_files(), self.f.counts());
        let f = &self.f;
        self.attempt.call(
            "RxCeBuildVC",
            || Ok(engine::build_vc(vc, f.connection.ptr())),
            || {
                holds(
                    "the circuit is zero",
                    bytes_of(vc).iter().all(|&byte| byte == 0),
                )?;
                same("counts of the parents", f.counts(), counts)?;
                same("open files", open_files(), files)
            },
        )?;
        Ok(vc)
    }

    /// RxCeBuildVC, cancelled while the transport holds its connect: it has built nothing, whatever failed.
    pub(crate) fn build_vc_and_cancel(&mut self) -> Step {
        let vc = self.f.room_for_vc()?;
        let (files, counts) = (open_files(), self.f.counts());
        let f = &self.f;
        let nothing_is_built = || {
            let zero = bytes_of(vc).iter().all(|&byte| byte == 0);
            holds("the circuit is zero", zero)?;
            same("counts of the parents", f.counts(), counts)?;
            same("open files", open_files(), files)
        };
        let build = || {
            let [circuit, connection] = [
                vc.expose_provenance(),
                f.connection.ptr().expose_provenance(),
            ];
            let build = Thread::start(move || {
                engine::build_vc(
                    ptr::with_exposed_provenance_mut(circuit),
                    ptr::with_exposed_provenance_mut(connection),
                )
            })?;
            let mut cancelled = false;
            while !build.ends_within(time::SECOND / 1000) {
                if !cancelled && fixture::held(Kind::Connect) > 0 {
                    fixture::ok("RxCexCancelConnect", extension::cancel_connect(vc))?;
                    cancelled = true;
                }
            }
            let built = build.join("RxCeBuildVC")?;
            if cancelled {
                crate::outcome::status("a cancelled RxCeBuildVC", built, status::CANCELLED)?;
                return Ok(status::SUCCESS);
            }
            Ok(built)
        };
        self.attempt.call("RxCeBuildVC", build, nothing_is_built)?;
        Ok(nothing_is_built()?)
    }

    /// A call on a circuit which changes nothing of it when it fails.
    fn call_on(&self, what: &str, vc: *mut RXCE_VC, mut call: impl FnMut() -> NTSTATUS) -> Step {
        let (bytes, counts, files) = (bytes_of(vc), self.f.counts(), open_files());
        self.attempt.call(
            what,
            || Ok(call()),
            || {
                same("the circuit", bytes_of(vc), bytes)?;
                same("counts of the parents", self.f.counts(), counts)?;
                same("open files", open_files(), files)
            },
        )
    }

    /// RxCeSend, and the wait for its end.
    pub(crate) fn send_and_wait(&self, vc: *mut RXCE_VC) -> Step {
        let data = buffer(b"synchronous")?;
        self.call_on("a synchronous RxCeSend", vc, || {
            fixture::send_and_wait(vc, &data)
        })
    }

    /// RxCeSend; the end is told later. The context that tells it is returned.
    pub(crate) fn send(&self, vc: *mut RXCE_VC, options: u32, data: &Buffer) -> Step<usize> {
        let context = next_context();
        self.call_on("RxCeSend", vc, || {
            let completion = ptr::without_provenance_mut(context);
            engine::send(vc, options, data.mdl(), data.length(), completion)
        })?;
        Ok(context)
    }

    /// Waits for the one callback that tells the end of what was sent with `context`.
    pub(crate) fn sent(&self, call: Call, context: usize) -> Outcome {
        let object = ptr::without_provenance_mut(context);
        CLIENT.wait_until(time::PATIENCE, |client| client.count_of(call, object) > 0);
        let (count, last) = CLIENT.read(|client| {
            let last = client.last_of(call, object);
            (client.count_of(call, object), last)
        });
        same(&format!("{call:?} callbacks"), count, 1)?;
        let last = last.ok_or_else(|| Trouble::Failed(format!("no {call:?}")))?;
        self.attempt.failed(&format!("{call:?}"), last.status)?;
        Ok(())
    }

    /// RxCeSend, and the wait for the callback.
    pub(crate) fn send_through(&self, vc: *mut RXCE_VC, options: u32) -> Step {
        let data = buffer(b"asynchronous")?;
        let context = self.send(vc, options, &data)?;
        Ok(self.sent(Call::SendComplete, context)?)
    }

    /// RxCeSendDatagram, and the wait for the callback.
    pub(crate) fn datagram_through(&self) -> Step {
        let (peer, data) = (
            Block::new(PEER).ok_or_else(Trouble::no_memory)?,
            buffer(b"datagram")?,
        );
        let (context, before) = (next_context(), self.f.address.bytes());
        self.attempt.call(
            "RxCeSendDatagram",
            || Ok(fixture::send_datagram(&self.f, &peer, &data, context)),
            || same("the address", self.f.address.bytes(), before.clone()),
        )?;
        Ok(self.sent(Call::DatagramSent, context)?)
    }

    /// RxCeInitiateVCDisconnect, which sends one request.
    pub(crate) fn initiate(&self, vc: *mut RXCE_VC) -> Step {
        self.initiate_with(vc, 1)
    }

    /// RxCeInitiateVCDisconnect, which has nothing to send.
    pub(crate) fn initiate_in_vain(&self, vc: *mut RXCE_VC) -> Step {
        self.initiate_with(vc, 0)
    }

    fn initiate_with(&self, vc: *mut RXCE_VC, requests: usize) -> Step {
        let sent = || fixture::seen(Kind::Release).saturating_add(fixture::seen(Kind::Abort));
        let before = sent();
        self.call_on("RxCeInitiateVCDisconnect", vc, || engine::initiate(vc))?;
        same("State", fixture::state_of(vc), RXCE_VC_DISCONNECTED)?;
        let more = sent().saturating_sub(before);
        Ok(same("disconnect requests of initiate", more, requests)?)
    }

    /// From now on RxCeTearDownVC answers this unless something fails.
    pub(crate) fn is_torn_down_with(&mut self, usual: NTSTATUS) {
        self.usual = usual;
    }

    /// RxCeTearDownVC. It needs no memory, and whatever it answers the structure is zero.
    pub(crate) fn tear_down_vc(&self, vc: *mut RXCE_VC) -> Step {
        let answer = engine::tear_down_vc(vc);
        if answer != self.usual {
            self.attempt.torn_down("RxCeTearDownVC", answer)?;
        }
        let zero = bytes_of(vc).iter().all(|&byte| byte == 0);
        Ok(holds("RxCeTearDownVC leaves zeros", zero)?)
    }

    /// RxCeQueryInformation of one class.
    pub(crate) fn query(&self, vc: *mut RXCE_VC, class: u32) -> Step {
        let out = Block::<[u8; 128]>::filled(0xEE).ok_or_else(Trouble::no_memory)?;
        let clean = || {
            let all = out.read().iter().all(|&byte| byte == 0xEE);
            holds("nothing is copied when a query fails", all)
        };
        let (bytes, counts) = (bytes_of(vc), self.f.counts());
        self.attempt.call(
            "RxCeQueryInformation",
            || Ok(engine::query_information(vc, class, out.ptr().cast(), 128)),
            || {
                clean()?;
                same("the circuit", bytes_of(vc), bytes)?;
                same("counts of the parents", self.f.counts(), counts)
            },
        )
    }

    /// RxCeQueryAdapterStatus.
    pub(crate) fn query_adapter(&self) -> Step {
        let out = Block::<[u8; 60]>::filled(0xEE).ok_or_else(Trouble::no_memory)?;
        let before = self.f.transport.bytes();
        self.attempt.call(
            "RxCeQueryAdapterStatus",
            || {
                let transport = self.f.transport.ptr();
                Ok(engine::query_adapter_status(transport, out.ptr().cast()))
            },
            || same("the transport", self.f.transport.bytes(), before.clone()),
        )
    }

    /// The two routines that need nothing: RxCeQueryTransportInformation and RxCeCancelConnectRequest.
    pub(crate) fn ask_the_rest(&self) -> Step {
        let out = Block::zeroed().ok_or_else(Trouble::no_memory)?;
        fixture::ok(
            "RxCeQueryTransportInformation",
            engine::query_transport_information(self.f.transport.ptr(), out.ptr()),
        )?;
        let nothing = ptr::null_mut::<RXCE_CONNECTION_INFORMATION>();
        let answer = engine::cancel_connect_request(self.f.address.ptr(), ptr::null_mut(), nothing);
        let what = "RxCeCancelConnectRequest";
        Ok(crate::outcome::status(
            what,
            answer,
            status::NOT_IMPLEMENTED,
        )?)
    }

    /// RxCeAllocateIrpWithMDL, which fails with NULL, and RxCeFreeIrp.
    pub(crate) fn packet(&self) -> Step {
        let mut packet = ptr::null_mut();
        self.attempt.call(
            "RxCeAllocateIrpWithMDL",
            || {
                packet = engine::allocate_irp(2, false, ptr::null_mut());
                Ok(if packet.is_null() {
                    status::INSUFFICIENT_RESOURCES
                } else {
                    status::SUCCESS
                })
            },
            || Ok(()),
        )?;
        // SAFETY: Allocated above, and not used.
        unsafe { engine::free_irp(packet) };
        Ok(())
    }

    /// Indicates `data` on `vc`.
    pub(crate) fn indicate(
        &self,
        vc: *mut RXCE_VC,
        lane: Lane,
        data: &mut [u8],
        available: u32,
    ) -> Option<Indication> {
        match lane {
            Lane::Normal => transport::receive(fixture::endpoint_of(vc), data, available),
            Lane::Expedited => transport::expedited(fixture::endpoint_of(vc), data, available),
            Lane::Datagram => {
                let file = self.f.address_file();
                transport::datagram(file, &mut PEER.clone(), data, available)
            }
        }
    }

    /// Ten bytes are taken and thirty more asked for, which come in two parts. Whatever fails, the client gets its chain
    /// back once.
    pub(crate) fn take_more(&self, vc: *mut RXCE_VC, lane: Lane) -> Step {
        let chain = buffer(&[0xFF; 30])?;
        let call = match lane {
            Lane::Normal | Lane::Expedited => Call::DataReady,
            Lane::Datagram => Call::DatagramReady,
        };
        CLIENT.update(|client| client.answer_on(lane, Answer::More(chain.mdl(), 30)));
        let mut first = stream(0, 10);
        let answered = self.indicate(vc, lane, first.get_mut(..10).unwrap_or_default(), 40);
        let Some(answered) = answered else {
            // The handler for expedited data is one that an address can do without.
            let missing = self.attempt.as_failure();
            let explained = self
                .attempt
                .failed("the registration of a handler", missing)?;
            return Ok(holds("only expedited data may have no handler", {
                explained && lane == Lane::Expedited
            })?);
        };
        same("bytes taken", answered.taken, 10)?;
        if answered.request {
            if lane == Lane::Datagram {
                let rest = stream(10, 40);
                transport::complete_datagram(rest.get(..30).unwrap_or_default(), status::SUCCESS);
            } else {
                for (from, to) in [(10, 17), (17, 40)] {
                    let part = stream(from, to);
                    let length = usize::from(to.saturating_sub(from));
                    transport::complete_with_data(part.get(..length).unwrap_or_default());
                }
            }
        }
        let object = chain.mdl().cast();
        CLIENT.wait_until(time::PATIENCE, |client| client.count_of(call, object) > 0);
        let (count, last) = CLIENT.read(|client| {
            let last = client.last_of(call, object);
            (client.count_of(call, object), last)
        });
        same(&format!("{call:?} callbacks"), count, 1)?;
        let last = last.ok_or_else(|| Trouble::Failed(format!("no {call:?}")))?;
        if !self.attempt.failed(&format!("{call:?}"), last.status)? {
            same("bytes of the rest", last.value, 30)?;
            let expected = stream(10, 40);
            let expected = expected.get(..30).unwrap_or_default();
            same("the rest", &chain.bytes()[..], expected)?;
        }
        let held = TRANSPORT.read(State::held);
        same("requests held afterwards", held, 0)?;
        Ok(())
    }

    /// Waits for the one DataReady callback of a chain; tells whether all of it is there.
    pub(crate) fn ready(&self, chain: &Buffer) -> Outcome<bool> {
        let (call, object) = (Call::DataReady, chain.mdl().cast());
        CLIENT.wait_until(time::PATIENCE, |client| client.count_of(call, object) > 0);
        let (count, last) = CLIENT.read(|client| {
            let last = client.last_of(call, object);
            (client.count_of(call, object), last)
        });
        let what = format!("DataReady callbacks for {} bytes", chain.length());
        same(&what, count, 1)?;
        let last = last.ok_or_else(|| Trouble::Failed(format!("no {call:?}")))?;
        let failed = self.attempt.failed("DataReady", last.status)?;
        if !failed {
            same("bytes in the chain", last.value, chain.length())?;
        }
        Ok(!failed)
    }

    /// A failure explains that a chain was not even taken.
    pub(crate) fn nothing_came(&self, chain: &Buffer) -> Outcome {
        let failure = self.attempt.as_failure();
        self.attempt
            .failed("a receive of the engine's own", failure)?;
        let count = CLIENT.read(|client| client.count_of(Call::DataReady, chain.mdl().cast()));
        same("DataReady callbacks", count, 0)
    }

    /// Tears down what is built, from the top.
    pub(crate) fn end(self, result: Step) -> Outcome {
        if let Err(Stop::Trouble(trouble)) = result {
            return Err(trouble);
        }
        let (attempt, usual) = (self.attempt, self.usual);
        self.f.end(|what, answer| {
            if answer == usual {
                return Ok(());
            }
            attempt.torn_down(what, answer)
        })
    }
}
