//! The clock around the engine and a client written by hand, in turn: batch by batch, and each time the other one begins.

use alloc::vec::Vec;
use core::{mem, ptr};

use bench_ioctl::{Contest, LAST, Provider, Rival, Side, Step};
use client_nt::{
    mdl::Mdl,
    pool::{Bytes, NonPaged},
    status::Result,
    unicode,
};
use rxce_client::RxCeCancelConnectRequest;
use wdk_sys::{
    BOOLEAN, DEVICE_OBJECT, NTSTATUS, PDEVICE_OBJECT, PIRP, PVOID, SL_INVOKE_ON_CANCEL,
    SL_INVOKE_ON_ERROR, SL_INVOKE_ON_SUCCESS, STATUS_INSUFFICIENT_RESOURCES,
    STATUS_INVALID_PARAMETER, STATUS_MORE_PROCESSING_REQUIRED, STATUS_NOT_SUPPORTED,
    STATUS_SUCCESS, STATUS_UNSUCCESSFUL, ULONG, UNICODE_STRING,
    ntddk::{
        IoAllocateIrp, IoFreeIrp, IoReuseIrp, IofCallDriver, KeGetCurrentIrql,
        MmGetSystemRoutineAddress,
    },
};

use crate::{
    client::{Client, SHORT, Sent},
    floor::{Floor, Prescribed},
    measure::now,
    rig::Rig,
    together, transport,
};

const TAG: u32 = u32::from_le_bytes(*b"Benc");

/// Both clients, over one provider, with as many circuits each.
pub(crate) struct Pair {
    engine: Rig,
    floor: Floor,
    provider: Provider,
    circuits: u32,
}

/// What is sent.
struct Message {
    mdl: Mdl,
    _memory: Bytes,
}

impl Message {
    /// Zeroes.
    fn new(bytes: u32) -> Result<Self> {
        Self::over(Bytes::try_new(bytes as usize, TAG)?)
    }

    fn of(bytes: &[u8]) -> Result<Self> {
        let mut memory = Bytes::try_new(bytes.len(), TAG)?;
        memory.copy_from_slice(bytes);
        Self::over(memory)
    }

    fn over(mut memory: Bytes) -> Result<Self> {
        let length = memory.len();
        // SAFETY: The memory outlives the MDL.
        let mdl = unsafe { Mdl::over(memory.as_mut_ptr(), length) }?;
        Ok(Self {
            mdl,
            _memory: memory,
        })
    }
}

// SAFETY: It is only read once it is made.
unsafe impl Sync for Message {}

/// Ticks or counts of one client in a batch; a contest has at most three figures for each.
type Figures = [u64; 3];

impl Pair {
    /// Opens everything.
    ///
    /// # Errors
    ///
    /// The first failure; nothing is open then.
    pub(crate) fn new(provider: Provider, circuits: u32) -> Result<Self> {
        let mut engine = Rig::new(provider)?;
        engine.resize(circuits)?;
        Ok(Self {
            engine,
            floor: Floor::new(provider, circuits)?,
            provider,
            circuits,
        })
    }

    /// Runs the batches and writes the ticks of each to `answer`; returns the bytes written.
    ///
    /// # Errors
    ///
    /// The first failure of a client.
    pub(crate) fn run(
        &self,
        rival: Rival,
        contest: Contest,
        each: u32,
        answer: &mut [u8],
    ) -> Result<usize> {
        match rival {
            Rival::ByHand => self.run_against(&self.floor, contest, each, answer),
            Rival::Prescribed => self.run_against(&self.prescribed()?, contest, each, answer),
        }
    }

    /// The client that keeps the contract by hand, which lives as long as a command.
    fn prescribed(&self) -> Result<Prescribed> {
        Prescribed::new(self.provider, self.circuits)
    }

    fn run_against<C: Client>(
        &self,
        rival: &C,
        contest: Contest,
        each: u32,
        answer: &mut [u8],
    ) -> Result<usize> {
        let message = Message::new(SHORT)?;
        let engine = || self.batch(&self.engine, contest, each, &message);
        let rival = || self.batch(rival, contest, each, &message);
        in_turn(contest.columns() / 2, answer, engine, rival)
    }

    fn batch<C: Client>(
        &self,
        client: &C,
        contest: Contest,
        each: u32,
        message: &Message,
    ) -> Result<Figures> {
        match contest {
            Contest::Send => Ok([self.sends(client, each, message)?, 0, 0]),
            Contest::PendedSend => Ok([self.pended(client, each, message)?, 0, 0]),
            Contest::Cycle => self.cycles(client, each),
            Contest::Echo => Ok([self.echoes(client, each, message)?, 0, 0]),
            Contest::Threads => self.threads(client, each, message),
            Contest::Sleeps => self.sleeps(client, each),
        }
    }

    /// The circuits in turn, for ever.
    fn turn(&self) -> impl Iterator<Item = u32> {
        (0..self.circuits).cycle()
    }

    fn sends<C: Client>(&self, client: &C, each: u32, message: &Message) -> Result<u64> {
        let began = now();
        for (index, _) in self.turn().zip(0..each) {
            // SAFETY: The transport has ended the send when the call returns.
            unsafe { client.send(index, message.mdl.as_ptr(), SHORT, ptr::null_mut()) }?;
        }
        Ok(now().wrapping_sub(began))
    }

    fn pended<C: Client>(&self, client: &C, each: u32, message: &Message) -> Result<u64> {
        let began = now();
        for (index, _) in self.turn().zip(0..each) {
            // SAFETY: The send is ended below.
            unsafe { client.send(index, message.mdl.as_ptr(), SHORT, ptr::null_mut()) }?;
            if !transport::complete_pended() {
                return Err(STATUS_UNSUCCESSFUL);
            }
        }
        Ok(now().wrapping_sub(began))
    }

    fn cycles<C: Client>(&self, client: &C, each: u32) -> Result<Figures> {
        let mut sums = [0_u64; 3];
        for (index, _) in self.turn().zip(0..each) {
            let began = now();
            client.disconnect(index)?;
            let disconnected = now();
            client.tear_down(index)?;
            let gone = now();
            client.build(index)?;
            let spans = [(began, disconnected), (disconnected, gone), (gone, now())];
            for (sum, (from, to)) in sums.iter_mut().zip(spans) {
                *sum = sum.wrapping_add(to.wrapping_sub(from));
            }
        }
        Ok(sums)
    }

    fn sleeps<C: Client>(&self, client: &C, each: u32) -> Result<Figures> {
        // SAFETY: The routine of this name is of this type.
        let read: ReadCounter = unsafe { routine(unicode!("NtsimReadCounter")) }?;
        // SAFETY: It only reads.
        let counters = || [0, 1].map(|counter| unsafe { read(counter) });
        let before = counters();
        self.cycles(client, each)?;
        let [[sleeps, switches], [slept, switched]] = [before, counters()];
        Ok([
            slept.wrapping_sub(sleeps),
            switched.wrapping_sub(switches),
            0,
        ])
    }

    fn echoes<C: Client>(&self, client: &C, each: u32, message: &Message) -> Result<u64> {
        let sent = NonPaged::try_new(Sent::new(), TAG)?;
        // SAFETY: In its place, in nonpaged pool.
        unsafe { sent.initialise() };
        let began = now();
        for (index, _) in self.turn().zip(0..each) {
            client.inbox().expect(SHORT);
            sent.wait()?;
            let context = sent.as_non_null().as_ptr().cast();
            // SAFETY: Its end is waited for before the next one, and after the last.
            unsafe { client.send(index, message.mdl.as_ptr(), SHORT, context) }
                .inspect_err(|_| sent.give_back())?;
            client.inbox().wait();
        }
        let ended = now();
        sent.wait()?;
        Ok(ended.wrapping_sub(began))
    }

    fn threads<C: Client>(&self, client: &C, each: u32, message: &Message) -> Result<Figures> {
        let shared = Shared(client);
        let sends = |index| {
            for _ in 0..each {
                let mdl = message.mdl.as_ptr();
                // SAFETY: The transport has ended the send when the call returns.
                unsafe { shared.get().send(index, mdl, SHORT, ptr::null_mut()) }?;
            }
            Ok(())
        };
        let began = now();
        sends(0)?;
        let alone = now().wrapping_sub(began);
        let both = together::run(|| sends(0), || sends(1))?;
        Ok([alone, both, 0])
    }

    /// Sends on the first so many circuits in turn; the ticks of both clients.
    ///
    /// # Errors
    ///
    /// The first failure of a client.
    pub(crate) fn stream(
        &self,
        rival: Rival,
        [bytes, circuits, sends]: [u32; 3],
        answer: &mut [u8],
    ) -> Result<usize> {
        if circuits == 0 || circuits > self.circuits {
            return Err(STATUS_INVALID_PARAMETER);
        }
        let lines = Lines::new(bytes, circuits)?;
        let engine = || lines.stream(&self.engine, sends);
        match rival {
            Rival::ByHand => in_turn(1, answer, engine, || lines.stream(&self.floor, sends)),
            Rival::Prescribed => {
                let rival = Prescribed::new(self.provider, circuits)?;
                in_turn(1, answer, engine, || lines.stream(&rival, sends))
            }
        }
    }
}

/// Runs the batches that the answer has room for, the engine's and the other's right after each other, and each time the other
/// one begins; returns the bytes written.
fn in_turn(
    figures: usize,
    answer: &mut [u8],
    engine: impl Fn() -> Result<Figures>,
    floor: impl Fn() -> Result<Figures>,
) -> Result<usize> {
    let mut written = 0_usize;
    let batches = answer.chunks_exact_mut(figures.saturating_mul(16));
    for (number, batch) in batches.enumerate() {
        let (engine, floor) = if number.is_multiple_of(2) {
            let first = engine()?;
            (first, floor()?)
        } else {
            let first = floor()?;
            (engine()?, first)
        };
        let columns = engine
            .iter()
            .take(figures)
            .chain(floor.iter().take(figures));
        write(batch, columns.copied());
        written = written.saturating_add(batch.len());
    }
    Ok(written)
}

impl Pair {
    /// Has ntsim count one step of the first circuit, which is built before and after.
    ///
    /// # Errors
    ///
    /// The first failure of the client; `STATUS_NOT_SUPPORTED` where nobody counts.
    pub(crate) fn count(&self, side: Side, step: Step) -> Result {
        match side {
            Side::Engine => count(&self.engine, step),
            Side::Rival(Rival::ByHand) => count(&self.floor, step),
            Side::Rival(Rival::Prescribed) => count(&self.prescribed()?, step),
        }
    }
}

fn count<C: Client>(client: &C, step: Step) -> Result {
    let message = Message::new(SHORT)?;
    // SAFETY: The transport has ended the send when the call returns.
    let send = || unsafe { client.send(0, message.mdl.as_ptr(), SHORT, ptr::null_mut()) };
    let disconnect = || client.disconnect(0);
    let tear_down = || client.tear_down(0);
    let build = || client.build(0);
    let life: [(Step, &dyn Fn() -> Result); 4] = [
        (Step::Send, &send),
        (Step::Disconnect, &disconnect),
        (Step::TearDown, &tear_down),
        (Step::Build, &build),
    ];
    // What is done for the first time only is done before: the new circuit may send from a place where no packet lies yet.
    life.iter().try_for_each(|(_, run)| run())?;
    send()?;
    life.iter().try_for_each(
        |(which, run)| {
            if *which == step { counted(run) } else { run() }
        },
    )
}

/// `NtsimCountInstructions`.
type CountInstructions = unsafe extern "C" fn(BOOLEAN);

/// `NtsimReadCounter`.
type ReadCounter = unsafe extern "C" fn(ULONG) -> u64;

/// A routine that ntsim has besides the kernel's.
///
/// # Errors
///
/// `STATUS_NOT_SUPPORTED` where it does not exist.
///
/// # Safety
///
/// `F` is a pointer to a function of the routine's type.
unsafe fn routine<F: Copy>(mut name: UNICODE_STRING) -> Result<F> {
    const { assert!(size_of::<F>() == size_of::<PVOID>()) };
    // SAFETY: The name lives across the call.
    let address = unsafe { MmGetSystemRoutineAddress(&raw mut name) };
    if address.is_null() {
        return Err(STATUS_NOT_SUPPORTED);
    }
    // SAFETY: Forwarded; not NULL.
    Ok(unsafe { mem::transmute_copy(&address) })
}

/// Runs something while ntsim counts.
fn counted(run: impl FnOnce() -> Result) -> Result {
    // SAFETY: The routine of this name is of this type.
    let counter: CountInstructions = unsafe { routine(unicode!("NtsimCountInstructions")) }?;
    // SAFETY: It only counts.
    unsafe { counter(BOOLEAN::from(true)) };
    let result = run();
    // SAFETY: As above.
    unsafe { counter(BOOLEAN::from(false)) };
    result
}

/// A client that two threads use, each a circuit of its own.
struct Shared<'a, C>(&'a C);

// SAFETY: The engine synchronises itself; the hand-written client's circuits do, and nobody builds or tears down meanwhile.
unsafe impl<C> Sync for Shared<'_, C> {}

impl<C> Shared<'_, C> {
    const fn get(&self) -> &C {
        self.0
    }
}

/// What streams send: a message for each circuit, the same for all clients, so that nobody's lies better in the processor's caches.
struct Lines {
    lines: Vec<(NonPaged<Sent>, Message)>,
    last: Message,
    bytes: u32,
    circuits: u32,
}

impl Lines {
    fn new(bytes: u32, circuits: u32) -> Result<Self> {
        let mut lines = Vec::new();
        let room = lines.try_reserve(circuits as usize);
        room.map_err(|_| STATUS_INSUFFICIENT_RESOURCES)?;
        for _ in 0..circuits {
            let sent = NonPaged::try_new(Sent::new(), TAG)?;
            // SAFETY: In its place, in nonpaged pool.
            unsafe { sent.initialise() };
            lines.push((sent, Message::new(bytes)?));
        }
        Ok(Self {
            lines,
            last: Message::of(&[LAST])?,
            bytes,
            circuits,
        })
    }

    /// Sends so many messages and waits for the peers; the ticks.
    fn stream<C: Client>(&self, client: &C, sends: u32) -> Result<Figures> {
        let send = |number: u32| -> Result {
            let index = number.checked_rem(self.circuits).unwrap_or(0);
            let line = self.lines.get(index as usize);
            let (sent, message) = line.ok_or(STATUS_INVALID_PARAMETER)?;
            let (message, bytes) = if number < sends {
                (message, self.bytes)
            } else {
                (&self.last, 1)
            };
            sent.wait()?;
            let context = sent.as_non_null().as_ptr().cast();
            // SAFETY: Its end is waited for before the next one on this circuit, and below.
            unsafe { client.send(index, message.mdl.as_ptr(), bytes, context) }
                .inspect_err(|_| sent.give_back())
        };
        client.inbox().expect(self.circuits);
        let began = now();
        let result = (0..sends.saturating_add(self.circuits)).try_for_each(send);
        // What is under way has the messages, whatever has failed. The next stream takes them up again.
        let ended: Result = self
            .lines
            .iter()
            .map(|(sent, _)| {
                let ended = sent.wait();
                sent.give_back();
                ended
            })
            .fold(Ok(()), Result::and);
        result.and(ended)?;
        client.inbox().wait();
        Ok([now().wrapping_sub(began), 0, 0])
    }
}

/// Runs the batches of what no client is in; returns the bytes written.
///
/// # Errors
///
/// No memory.
pub(crate) fn without_clients(
    device: *mut DEVICE_OBJECT,
    each: u32,
    answer: &mut [u8],
) -> Result<usize> {
    // SAFETY: The device is the bench's own.
    let stack_size = unsafe { (*device).StackSize };
    // SAFETY: IoAllocateIrp has no requirements beyond the level.
    let irp = unsafe { IoAllocateIrp(stack_size, 0) };
    if irp.is_null() {
        return Err(STATUS_INSUFFICIENT_RESOURCES);
    }
    let mut written = 0_usize;
    let mut result = Ok(());
    for batch in answer.chunks_exact_mut(24) {
        let began = now();
        for _ in 0..each {
            // SAFETY: It only reads the processor's state.
            core::hint::black_box(unsafe { KeGetCurrentIrql() });
        }
        let routines = now();
        for _ in 0..each {
            let none = ptr::null_mut();
            // SAFETY: Documented to answer STATUS_NOT_IMPLEMENTED, whatever it is given.
            core::hint::black_box(unsafe {
                RxCeCancelConnectRequest(none, ptr::null_mut(), ptr::null_mut())
            });
        }
        let exports = now();
        for _ in 0..each {
            // SAFETY: The packet is ours, and fits the device.
            result = result.and(unsafe { round_trip(device, irp) });
        }
        let trips = now();
        let spans = [(began, routines), (routines, exports), (exports, trips)];
        write(
            batch,
            spans.into_iter().map(|(from, to)| to.wrapping_sub(from)),
        );
        written = written.saturating_add(batch.len());
    }
    // SAFETY: Allocated above, and not under way.
    unsafe { IoFreeIrp(irp) };
    result.map(|()| written)
}

#[expect(clippy::cast_possible_truncation, reason = "the constants are 0xE0")]
const ALWAYS: u8 = (SL_INVOKE_ON_CANCEL | SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR) as u8;

/// Sends a packet that is pended, and completes it.
///
/// # Safety
///
/// The packet is idle and has a location for the device, which pends sends.
unsafe fn round_trip(device: PDEVICE_OBJECT, irp: PIRP) -> Result {
    // SAFETY: Forwarded.
    unsafe { IoReuseIrp(irp, STATUS_SUCCESS) };
    // SAFETY: Forwarded.
    let tail = unsafe { &(*irp).Tail };
    // SAFETY: The union has this meaning while a driver has the request.
    let current = unsafe {
        tail.Overlay
            .__bindgen_anon_2
            .__bindgen_anon_1
            .CurrentStackLocation
    };
    // SAFETY: An idle packet has a next location.
    let next = unsafe { &mut *current.wrapping_sub(1) };
    next.MajorFunction = transport::INTERNAL;
    next.MinorFunction = transport::SEND;
    next.Control = ALWAYS;
    next.CompletionRoutine = Some(keep);
    // SAFETY: Prepared above.
    let _ = unsafe { IofCallDriver(device, irp) };
    if transport::complete_pended() {
        Ok(())
    } else {
        Err(STATUS_UNSUCCESSFUL)
    }
}

/// The packet stays the bench's.
unsafe extern "C" fn keep(_device: PDEVICE_OBJECT, _irp: PIRP, _context: PVOID) -> NTSTATUS {
    STATUS_MORE_PROCESSING_REQUIRED
}

fn write(batch: &mut [u8], figures: impl Iterator<Item = u64>) {
    for (to, from) in batch.iter_mut().zip(figures.flat_map(u64::to_le_bytes)) {
        *to = from;
    }
}
