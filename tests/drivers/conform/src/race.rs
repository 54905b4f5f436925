//! Addresses on several providers, and builds of one connection over all of them (rxce.md §5.8).

use alloc::vec::Vec;
use core::{
    ffi::c_void,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use rxce_client::{
    RXCE_ADDRESS, RXCE_CONNECTION, RXCE_CONNECTION_COMPLETION_CONTEXT, RXCE_CONNECTION_SIGNATURE,
    RXCE_VC, RXCE_VC_SIGNATURE,
};
use wdk_sys::{NTSTATUS, ntddk};

use crate::{
    client,
    engine::{
        self, Multiple,
        extension::{SmallTable, build_over_multiple_small},
    },
    fixture::{self, Fixture, Ipv4, PEER},
    nt::{
        event, irql,
        pool::Block,
        sim::{self, Account},
        status, time,
        watch::Watch,
    },
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{Kind, Personality, Script, TRANSPORT},
};

/// RxCeSelectFirstSuccessfulTransport and so on (rxce.h).
pub(crate) const FIRST: u32 = 0;
pub(crate) const BEST: u32 = 1;
pub(crate) const ALL: u32 = 2;

/// What the completion routine saw.
pub(crate) static COMPLETION: Watch<Completion> = Watch::new(Completion::new());

/// What the completion routine saw, and what it is to do.
pub(crate) struct Completion {
    /// How often it was called.
    pub(crate) calls: usize,
    /// Status and AddressIndex in the context.
    pub(crate) status: NTSTATUS,
    pub(crate) index: u32,
    /// The context it was given.
    pub(crate) context: *mut c_void,
    /// At PASSIVE_LEVEL, APCs on, in a system thread.
    pub(crate) in_worker: bool,
    /// Client callbacks before it.
    pub(crate) callbacks_before: usize,
    /// Runs in it.
    then: Option<fn(*mut RXCE_CONNECTION_COMPLETION_CONTEXT)>,
    /// How often it returned.
    pub(crate) returns: usize,
}

// SAFETY: The pointer is only compared.
unsafe impl Send for Completion {}

impl Completion {
    const fn new() -> Self {
        Self {
            calls: 0,
            status: status::PENDING,
            index: u32::MAX,
            context: ptr::null_mut(),
            in_worker: false,
            callbacks_before: 0,
            then: None,
            returns: 0,
        }
    }
}

unsafe extern "C" fn on_completion(context: *mut RXCE_CONNECTION_COMPLETION_CONTEXT) -> NTSTATUS {
    let callbacks = fixture::calls();
    // SAFETY: Callable at any level.
    let thread = unsafe { ntddk::PsGetCurrentThread() };
    // SAFETY: The current thread.
    let system = unsafe { ntddk::PsIsSystemThread(thread) } != 0;
    let passive = irql::current() == irql::PASSIVE && !irql::all_apcs_disabled();
    // SAFETY: The race's context, which outlives the call.
    let told = unsafe { &*context };
    let (code, index) = (told.Status, told.AddressIndex);
    let then = COMPLETION.update(|seen| {
        seen.calls = seen.calls.saturating_add(1);
        seen.status = code;
        seen.index = index;
        seen.context = context.cast();
        seen.in_worker = system && passive;
        seen.callbacks_before = callbacks;
        seen.then
    });
    if let Some(then) = then {
        then(context);
    }
    COMPLETION.update(|seen| seen.returns = seen.returns.saturating_add(1));
    status::SUCCESS
}

/// Addresses on several providers, and storage for the winner.
pub(crate) struct Race {
    pub(crate) stacks: Vec<Fixture>,
    pub(crate) connection: Block<RXCE_CONNECTION>,
    pub(crate) vc: Block<RXCE_VC>,
    pub(crate) context: Block<RXCE_CONNECTION_COMPLETION_CONTEXT>,
    peer: Block<Ipv4>,
    /// What the engine held before.
    account: Option<Account>,
    pending: AtomicBool,
}

/// The providers of a race, the preferred one first.
pub(crate) const PROVIDERS: [Personality; 3] = [
    Personality::Orderly,
    Personality::Abortive,
    Personality::Buffering,
];

impl Race {
    /// Addresses on the first `count` of [`PROVIDERS`].
    pub(crate) fn among(count: usize) -> Outcome<Self> {
        let account = sim::engine_account();
        let mut stacks = Vec::new();
        for personality in PROVIDERS.into_iter().take(count) {
            stacks.push(Fixture::addressed(personality)?);
        }
        Self::over(stacks, account)
    }

    /// A race over these addresses; before them the engine held what `account` says.
    pub(crate) fn over(stacks: Vec<Fixture>, account: Option<Account>) -> Outcome<Self> {
        COMPLETION.update(|seen| *seen = Completion::new());
        let no_memory = Trouble::no_memory;
        let race = Self {
            stacks,
            connection: Block::filled(0xCC).ok_or_else(no_memory)?,
            vc: Block::filled(0xCC).ok_or_else(no_memory)?,
            context: Block::filled(0xCC).ok_or_else(no_memory)?,
            peer: Block::new(PEER).ok_or_else(no_memory)?,
            account,
            pending: AtomicBool::new(false),
        };
        race.reset_context();
        Ok(race)
    }

    /// The context as a caller makes it: only the two pointers mean something.
    pub(crate) fn reset_context(&self) {
        let (connection, vc) = (self.connection.ptr(), self.vc.ptr());
        self.context.change(|context| {
            context.Status = status::PENDING;
            context.AddressIndex = u32::MAX;
            context.pConnection = connection;
            context.pVc = vc;
        });
    }

    /// The addresses in order.
    pub(crate) fn addresses(&self) -> Vec<*mut RXCE_ADDRESS> {
        self.stacks
            .iter()
            .map(|stack| stack.address.ptr())
            .collect()
    }

    /// What the completion routine is to do.
    pub(crate) fn then(&self, then: fn(*mut RXCE_CONNECTION_COMPLETION_CONTEXT)) {
        COMPLETION.update(|seen| seen.then = Some(then));
    }

    /// Builds over all addresses.
    pub(crate) fn build(&self, option: u32) -> NTSTATUS {
        self.build_over(option, &mut self.addresses(), ptr::null_mut())
    }

    /// Builds over `addresses`, for a redirector's device.
    pub(crate) fn build_over(
        &self,
        option: u32,
        addresses: &mut [*mut RXCE_ADDRESS],
        device: *mut c_void,
    ) -> NTSTATUS {
        self.build_changed(option, addresses, |with| with.device = device)
    }

    /// Builds with changed arguments.
    pub(crate) fn build_changed(
        &self,
        option: u32,
        addresses: &mut [*mut RXCE_ADDRESS],
        change: impl FnOnce(&mut Multiple),
    ) -> NTSTATUS {
        self.build_with(option, addresses, change, |with| {
            engine::build_over_multiple(*with)
        })
    }

    /// Builds over all addresses with the event table of older headers.
    pub(crate) fn build_small(&self, option: u32, handler: *mut SmallTable) -> NTSTATUS {
        let addresses = &mut self.addresses();
        self.build_with(
            option,
            addresses,
            |_| {},
            |with| build_over_multiple_small(with, handler),
        )
    }

    fn build_with(
        &self,
        option: u32,
        addresses: &mut [*mut RXCE_ADDRESS],
        change: impl FnOnce(&mut Multiple),
        build: impl FnOnce(&Multiple) -> NTSTATUS,
    ) -> NTSTATUS {
        let mut information = fixture::information(&self.peer);
        let mut handler = client::connection_handlers();
        let mut with = Multiple {
            device: ptr::null_mut(),
            option,
            count: u32::try_from(addresses.len()).unwrap_or(u32::MAX),
            addresses: addresses.as_mut_ptr(),
            information: &raw mut information,
            handler: &raw mut handler,
            event_context: client::CONNECTION_CONTEXT,
            routine: Some(on_completion),
            context: self.context.ptr(),
        };
        change(&mut with);
        let answer = build(&with);
        if answer == status::PENDING {
            self.pending.store(true, Ordering::SeqCst);
        }
        answer
    }

    /// Waits for the completion routine to have returned; tells what it saw.
    pub(crate) fn completed(&self) -> Outcome<(NTSTATUS, u32)> {
        let came = COMPLETION.wait_until(time::PATIENCE, |seen| seen.returns > 0);
        holds("the completion routine is called, and returns", came)?;
        self.pending.store(false, Ordering::SeqCst);
        let (calls, context, in_worker) =
            COMPLETION.read(|seen| (seen.calls, seen.context, seen.in_worker));
        same("calls of the completion routine", calls, 1)?;
        same("its context", context.addr(), self.context.ptr().addr())?;
        holds("it runs in a system thread at PASSIVE_LEVEL", in_worker)?;
        Ok(COMPLETION.read(|seen| (seen.status, seen.index)))
    }

    /// Waits until the losers are gone: the winner's pCleanUpEvent tells.
    pub(crate) fn losers_gone(&self) -> Outcome {
        let event = self.vc.read().pCleanUpEvent;
        if event.is_null() {
            return Ok(());
        }
        // SAFETY: The event lives as long as the circuit is built, which only this thread ends.
        let gone = unsafe { event::wait_for(event.cast(), time::PATIENCE) };
        holds("pCleanUpEvent is signalled", gone)
    }

    /// Requests with `script` on the provider of one index.
    pub(crate) fn script(&self, index: usize, kind: Kind, script: Script) {
        if let Some(&personality) = PROVIDERS.get(index) {
            TRANSPORT.update(|state| state.script_on(personality, kind, script));
        }
    }

    /// The same script for connects on every provider.
    pub(crate) fn connects(&self, script: Script) {
        for index in 0..PROVIDERS.len() {
            self.script(index, Kind::Connect, script);
        }
    }

    /// Completes the connect on the provider of one index.
    pub(crate) fn end(&self, index: usize, result: NTSTATUS) -> Outcome {
        let personality = PROVIDERS.get(index).copied();
        let ended =
            personality.is_some_and(|at| crate::transport::complete_on(at, Kind::Connect, result));
        holds(
            &alloc::format!("a connect is held at provider {index}"),
            ended,
        )
    }

    /// The transport's endpoint on the provider of one index.
    pub(crate) fn endpoint(&self, index: usize) -> usize {
        PROVIDERS
            .get(index)
            .and_then(|&at| TRANSPORT.read(|state| state.endpoint_on(at)))
            .unwrap_or(usize::MAX)
    }

    /// Connections and circuits counted at the address and the transport of one index.
    pub(crate) fn counts(&self, index: usize) -> [i32; 4] {
        self.stacks
            .get(index)
            .map_or([-1; 4], Fixture::counts_of_parents)
    }

    /// Neither structure is built: all zero.
    pub(crate) fn nothing_built(&self) -> Outcome {
        holds("the connection is zero", self.connection.is_zero())?;
        holds("the circuit is zero", self.vc.is_zero())?;
        for index in 0..self.stacks.len() {
            same(
                "counts of an address without a winner",
                self.counts(index),
                [0; 4],
            )?;
        }
        Ok(())
    }

    /// Tears everything down and checks every answer.
    pub(crate) fn close(self) -> Outcome {
        fixture::restore_transport();
        self.finish(fixture::ok)
    }

    /// Tears everything down, while the transport goes on as it was told; `check` judges each answer.
    pub(crate) fn finish(mut self, check: impl Fn(&str, NTSTATUS) -> Outcome) -> Outcome {
        self.take_down(&check)?;
        for stack in core::mem::take(&mut self.stacks) {
            stack.end(&check)?;
        }
        settled(|| {
            let now = sim::engine_account();
            same("what the engine holds after a race", now, self.account)
        })
    }

    fn take_down(&self, check: impl Fn(&str, NTSTATUS) -> Outcome) -> Outcome {
        let mut result = Ok(());
        if signature(&self.vc.bytes()) == RXCE_VC_SIGNATURE {
            result = check("RxCeTearDownVC", engine::tear_down_vc(self.vc.ptr()));
        }
        if signature(&self.connection.bytes()) == RXCE_CONNECTION_SIGNATURE {
            let answer = engine::tear_down_connection(self.connection.ptr());
            result = result.and(check("RxCeTearDownConnection", answer));
        }
        result
    }

    /// Lets a failing vector leave: what is under way ends, and uses none of this any more.
    fn abandon(&self) {
        fixture::restore_transport();
        if self.pending.load(Ordering::SeqCst) {
            COMPLETION.wait_until(time::PATIENCE, |seen| seen.returns > 0);
        }
        let _ = self.take_down(|_, _| Ok(()));
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Waits until `check` holds: whoever closes the losers, or calls the completion routine, gives the race itself back a
/// moment after that, and nothing tells when.
pub(crate) fn settled(check: impl Fn() -> Outcome) -> Outcome {
    for _ in 0..20 {
        if check().is_ok() {
            return Ok(());
        }
        COMPLETION.wait_until(time::SECOND / 10, |_| false);
    }
    check()
}

fn signature(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map_or(0, u32::from_le_bytes)
}

/// Checks what a winner must look like, that it works, and that nothing is left of the losers.
pub(crate) fn won(run: &Run, race: &Race, index: usize) -> Outcome {
    let _ = run;
    let (connection, vc) = (race.connection.read(), race.vc.read());
    let signatures = [
        signature(&race.connection.bytes()),
        signature(&race.vc.bytes()),
    ];
    let expected = [RXCE_CONNECTION_SIGNATURE, RXCE_VC_SIGNATURE];
    same("the signatures", signatures, expected)?;
    let address = race.addresses().get(index).copied();
    same("pAddress", Some(connection.pAddress), address)?;
    same("pContext", connection.pContext, client::CONNECTION_CONTEXT)?;
    same("VirtualCircuitCount", connection.VirtualCircuitCount, 1)?;
    same("pConnection", vc.pConnection, race.connection.ptr())?;
    same("State", vc.State, rxce_client::RXCE_VC_ACTIVE)?;
    same(
        "the endpoint",
        fixture::endpoint_of(race.vc.ptr()),
        race.endpoint(index),
    )?;
    race.losers_gone()?;
    for other in 0..race.stacks.len() {
        let counts = if other == index { [1; 4] } else { [0; 4] };
        same(
            "counts of an address and its transport",
            race.counts(other),
            counts,
        )?;
    }
    // Losers are closed, not disconnected.
    fixture::disconnects(0, 0)?;
    same("callbacks", fixture::calls(), 0)?;
    let data = fixture::buffer(b"over the winner")?;
    fixture::ok("a send", fixture::send_and_wait(race.vc.ptr(), &data))?;
    let file = fixture::last(Kind::Send)?.file;
    same("the endpoint that sends", file, race.endpoint(index))
}
