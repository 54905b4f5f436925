//! A circuit as the driver keeps one, with threads for processors: how it is found, referenced and taken apart, and what
//! becomes of its requests.

mod operations;

use std::sync::{
    Arc, Mutex as Bookkeeping, Weak,
    atomic::{AtomicBool, Ordering},
};

use rxce_engine::{
    circuit::{Circuit, change},
    ledger::Ledger,
    life::{Closing, Life, State},
    receive::{Channel, Room},
};
use shuttle::{
    sync::Mutex,
    thread::{self, ThreadId},
};

use crate::{
    chance::coin,
    record::Record,
    request::{Handle, Home, List, Place, Purpose, Request},
    sim::{Clock, Sim},
    transport::{Temper, Transport},
};

/// How memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Enough,
    /// Any allocation may fail.
    Scarce,
    /// Every allocation fails.
    None,
}

/// What a scenario chooses.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clock: Clock,
    pub(crate) closing: Closing,
    pub(crate) temper: Temper,
    pub(crate) memory: Memory,
}

/// Level at which one may wait.
pub(crate) struct Passive;

/// One circuit.
pub(crate) struct Vc {
    this: Weak<Self>,
    sim: Arc<Sim>,
    transport: Transport,
    memory: Bookkeeping<Memory>,
    ledger: Mutex<Ledger<List>>,
    holder: Bookkeeping<Option<ThreadId>>,
    requests: Bookkeeping<Vec<Arc<Request>>>,
    prepared: [Handle; 2],
    /// The registry's entry: by pointer, and by id.
    registered: AtomicBool,
    known_by_id: AtomicBool,
    gone: AtomicBool,
    record: Bookkeeping<Record>,
}

/// A reference to a circuit, as a look-up gives one.
pub(crate) struct Ref(Arc<Vc>);

impl std::ops::Deref for Ref {
    type Target = Arc<Vc>;

    fn deref(&self) -> &Arc<Vc> {
        &self.0
    }
}

impl Drop for Ref {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.0.sim.release();
        }
    }
}

impl Vc {
    /// A circuit that was just published by its build, which has a reference, and its armed connect request.
    pub(crate) fn published(plan: Plan) -> (Arc<Self>, Ref, Handle) {
        Self::with_life(plan, Life::new(plan.closing))
    }

    /// One of several circuits that compete for a structure of the client's, which does not name it yet.
    pub(crate) fn competing(plan: Plan) -> (Arc<Self>, Ref, Handle) {
        let (vc, build, connect) = Self::with_life(plan, Life::competing(plan.closing));
        vc.registered.store(false, Ordering::Relaxed);
        (vc, build, connect)
    }

    /// The client's structure names the circuit from now on.
    pub(crate) fn register(&self) {
        self.registered.store(true, Ordering::Relaxed);
    }

    fn with_life(plan: Plan, life: Life) -> (Arc<Self>, Ref, Handle) {
        let requests = [
            (Purpose::Disconnect, Home::Circuit),
            (Purpose::Disconnect, Home::Circuit),
            (Purpose::Connect, Home::Pool),
        ];
        let requests = requests.map(|(purpose, home)| Arc::new(Request::new(purpose, home)));
        let vc = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            sim: Sim::new(plan.clock),
            transport: Transport::new(plan.closing, plan.temper),
            memory: Bookkeeping::new(plan.memory),
            ledger: Mutex::new(Ledger::new(life, List::default())),
            holder: Bookkeeping::default(),
            requests: Bookkeeping::new(requests.to_vec()),
            prepared: [Handle(0), Handle(1)],
            registered: AtomicBool::new(true),
            known_by_id: AtomicBool::new(true),
            gone: AtomicBool::new(false),
            record: Bookkeeping::default(),
        });
        let build = vc.reference().expect("the run-down has not begun");
        let connect = vc.arm(Handle(2)).expect("the run-down has not begun");
        (vc, build, connect)
    }

    /// A circuit whose build succeeded.
    pub(crate) fn built(plan: Plan) -> Arc<Self> {
        let (vc, build, connect) = Self::published(plan);
        vc.discard(connect);
        vc.ledger
            .lock()
            .expect("no thread has panicked")
            .life
            .end_build(true);
        drop(build);
        vc
    }

    pub(crate) const fn sim(&self) -> &Arc<Sim> {
        &self.sim
    }

    pub(crate) const fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn set_memory(&self, memory: Memory) {
        *self.memory.lock().expect("no thread has panicked") = memory;
    }

    /// The circuit's life at this moment.
    pub(crate) fn life(&self) -> Life {
        self.ledger.lock().expect("no thread has panicked").life
    }

    /// What happened so far; no other thread runs meanwhile.
    pub(crate) fn record<R>(&self, access: impl FnOnce(&mut Record) -> R) -> R {
        access(&mut self.record.lock().expect("no thread has panicked"))
    }

    pub(crate) fn request(&self, request: Handle) -> Arc<Request> {
        self.requests.lock().expect("no thread has panicked")[request.0].clone()
    }

    fn assert_here(&self) {
        let gone = self.gone.load(Ordering::Relaxed);
        assert!(!gone, "the circuit is touched after it was freed");
    }

    fn assert_no_lock(&self) {
        let holder = *self.holder.lock().expect("no thread has panicked");
        assert_ne!(
            holder,
            Some(thread::current().id()),
            "a lock is held across a call"
        );
    }

    fn reference(&self) -> Option<Ref> {
        let vc = self.this.upgrade().expect("whoever asks has the circuit");
        self.sim.acquire().then(|| Ref(vc))
    }

    /// Looks the circuit up by its structure's address.
    pub(crate) fn find(&self) -> Option<Ref> {
        self.sim.step();
        if !self.registered.load(Ordering::Relaxed) {
            return None;
        }
        self.reference()
    }

    /// Looks the circuit up by the id that a transport hands back.
    pub(crate) fn find_by_id(&self) -> Option<Ref> {
        self.sim.step();
        if !self.known_by_id.load(Ordering::Relaxed) {
            return None;
        }
        self.reference()
    }

    /// What the driver does with a circuit that it has claimed or failed to build, once it is drained.
    pub(crate) fn dismantle(&self, own: Ref) {
        self.sim.step();
        self.known_by_id.store(false, Ordering::Relaxed);
        drop(own);
        self.sim.run_down();
        self.close();
        assert!(
            !self.gone.swap(true, Ordering::Relaxed),
            "a circuit is freed twice"
        );
        self.registered.store(false, Ordering::Relaxed);
    }

    pub(crate) fn close(&self) {
        if self.transport.wire().closes == 0 {
            let vc = self.this.upgrade().expect("whoever closes has the circuit");
            self.transport.close(&vc);
        }
    }

    /// Whether an allocation succeeds.
    fn allocates(&self) -> bool {
        match *self.memory.lock().expect("no thread has panicked") {
            Memory::Enough => true,
            Memory::Scarce => coin(),
            Memory::None => false,
        }
    }

    fn arm(&self, request: Handle) -> Option<Handle> {
        let reference = self.reference()?;
        self.request(request).arm();
        std::mem::forget(reference);
        Some(request)
    }

    fn allocate(&self, purpose: Purpose) -> Option<Handle> {
        if !self.allocates() {
            return None;
        }
        let mut requests = self.requests.lock().expect("no thread has panicked");
        requests.push(Arc::new(Request::new(purpose, Home::Pool)));
        Some(Handle(requests.len() - 1))
    }

    /// Allocates and arms a request. `None` without memory, and once the run-down has begun.
    pub(crate) fn new_request(&self, purpose: Purpose) -> Option<Handle> {
        self.arm(self.allocate(purpose)?)
    }

    /// The same with the reference of a caller, who gives it up unless there is no memory.
    pub(crate) fn new_request_of_caller(&self, purpose: Purpose) -> Option<Handle> {
        let request = self.allocate(purpose)?;
        self.request(request).arm();
        Some(request)
    }

    /// The packet reached the transport.
    pub(crate) fn arrived(&self, request: Handle) {
        self.assert_no_lock();
        let request = self.request(request);
        let mut flight = request.flight();
        assert!(
            flight.listed,
            "a request is handed over before it was listed"
        );
        assert_eq!(flight.place, Place::Here, "a request is handed over twice");
        flight.place = Place::Transport;
    }

    /// `IoCallDriver` returned.
    pub(crate) fn returned(&self, request: Handle) {
        // The submitter still has his part.
        self.request(request).flight().submitting = false;
    }

    /// The completion routine.
    pub(crate) fn complete(&self, handle: Handle, status: i32) {
        self.assert_here();
        let request = self.request(handle);
        {
            let mut flight = request.flight();
            assert_eq!(flight.place, Place::Transport, "completed twice");
            flight.place = Place::Over;
            flight.status = status;
        }
        self.sim.step();
        change(self, |ledger| {
            ledger.remove(&handle, request.purpose.kind());
            if let Purpose::Receive(_) = request.purpose {
                let life = ledger.life;
                let stream = ledger.streams.of(Channel::Normal);
                let _ = stream.release(&life, Room::None);
            }
        });
        self.sim.step();
        match request.purpose {
            Purpose::Send(number) => self.sent(number, status),
            Purpose::Receive(number) => self.data_ready(number),
            Purpose::Disconnect => {
                let apart = !self.known_by_id.load(Ordering::Relaxed);
                self.record(|record| record.late_completion |= apart);
            }
            Purpose::Connect => {}
        }
        self.drop_part(handle);
    }

    /// A client's callback is about to be called.
    pub(crate) fn callback(&self) {
        self.assert_no_lock();
        self.assert_here();
        self.sim.step();
        self.assert_here();
        if self.record(|record| record.callbacks_disconnect) {
            let active = self.life().state() == State::Active;
            let result = self.initiate();
            self.record(|record| record.disconnected_by_callback |= active && result.is_ok());
        }
    }

    /// The status of the connect request, if it reached the transport and is over.
    pub(crate) fn connect_status(&self) -> Option<i32> {
        self.request(Handle(2)).last_status()
    }

    /// Whether nothing is left of it.
    pub(crate) fn assert_nothing_left(&self) {
        assert!(self.gone.load(Ordering::Relaxed), "nobody took it apart");
        assert_eq!(self.transport.wire().closes, 1, "closes of the handle");
        assert!(!self.transport.has_pending(), "the transport has a request");
        assert!(self.sim.is_free(), "somebody has a reference");
        let ledger = self.ledger.lock().expect("no thread has panicked");
        assert!(ledger.list.listed.is_empty(), "a request is listed");
        assert!(ledger.is_empty() && ledger.nobody_submits());
        for request in &*self.requests.lock().expect("no thread has panicked") {
            assert!(
                request.is_idle(),
                "{:?}: a part was forgotten",
                request.purpose
            );
        }
    }
}
