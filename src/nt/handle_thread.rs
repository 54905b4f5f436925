//! Handle work at `PASSIVE_LEVEL`, wherever the caller runs.
//!
//! `ZwCreateFile`, `ZwClose` and `ObReferenceObjectByHandle` need `PASSIVE_LEVEL` with special kernel APCs enabled,
//! while the engine's routines are documented for `IRQL <= APC_LEVEL`. Where the caller cannot do that part itself, one
//! system thread of the driver does it. The job lies on the waiting caller's stack, which a kernel-mode wait keeps
//! resident, so the hop needs no memory and cannot fail. Nothing on this thread ever waits for the network.

use core::{
    cell::{Cell, UnsafeCell},
    mem::MaybeUninit,
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use rxce_engine::{Error, mutant};
use wdk_sys::PVOID;

use super::{
    event::Event,
    irql::{self, Pageable},
    spin_lock::SpinLock,
    thread::{self, SystemThread},
};

/// Work that waits for the thread, as the first member of what it works on.
pub(crate) struct Job {
    next: Cell<*mut Job>,
    /// Gets the job, and may free it.
    run: unsafe fn(NonNull<Job>),
}

impl Job {
    /// A job that runs `run` with its own address.
    pub(crate) const fn new(run: unsafe fn(NonNull<Self>)) -> Self {
        Self {
            next: Cell::new(ptr::null_mut()),
            run,
        }
    }
}

struct Queue {
    first: *mut Job,
    last: *mut *mut Job,
    stop: bool,
}

// SAFETY: Jobs are reached only under the queue's lock, and their owners wait for them.
unsafe impl Send for Queue {}

/// The thread and its queue.
pub(crate) struct HandleThread {
    queue: SpinLock<Queue>,
    arrived: Event,
    thread: UnsafeCell<Option<SystemThread>>,
    /// The thread, as a number to compare.
    running: AtomicUsize,
}

// SAFETY: `thread` is touched only by `start` and `stop`, which the driver's entry points serialise.
unsafe impl Sync for HandleThread {}

/// The one handle thread of the driver.
pub(crate) static HANDLE_THREAD: HandleThread = HandleThread {
    queue: SpinLock::new(Queue {
        first: ptr::null_mut(),
        last: ptr::null_mut(),
        stop: false,
    }),
    arrived: Event::uninit(),
    thread: UnsafeCell::new(None),
    running: AtomicUsize::new(0),
};

impl HandleThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The status of the system.
    ///
    /// # Safety
    ///
    /// Nobody else starts, stops or uses the thread.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) unsafe fn start(&'static self) -> Result<(), Error> {
        // SAFETY: The event is static, and nobody uses it yet.
        unsafe { self.arrived.init_auto_reset() };
        self.queue.with(|queue| queue.stop = false);
        let thread = SystemThread::start(serve, ptr::null_mut())?;
        // SAFETY: Forwarded: nobody else touches the member.
        unsafe { *self.thread.get() = Some(thread) };
        Ok(())
    }

    /// Ends the thread after the jobs that wait, and joins it.
    ///
    /// # Safety
    ///
    /// Nobody else starts, stops or uses the thread.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(crate) unsafe fn stop(&'static self) {
        // SAFETY: Forwarded: nobody else touches the member.
        let thread = unsafe { (*self.thread.get()).take() };
        if let Some(thread) = thread {
            self.queue.with(|queue| queue.stop = true);
            self.arrived.set();
            if self.running.load(Ordering::Acquire) == thread::current() {
                // The last close of our own device came from this thread and ended the service under it. Importers keep
                // the image, in which the thread ends by itself.
                thread.leave();
            } else {
                thread.join();
            }
        }
    }

    /// Runs `work` at `PASSIVE_LEVEL` with special kernel APCs enabled: here if that is the case, else on the thread.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn at_passive<R: Send>(&self, at: &Pageable, work: impl FnOnce() -> R + Send) -> R {
        if irql::allows_handles(at) || mutant!(HandleOnWrongThread) {
            return work();
        }
        self.post(at, work)
    }

    fn post<W: FnOnce() -> R + Send, R: Send>(&self, at: &Pageable, work: W) -> R {
        let mut errand = Errand {
            job: Job::new(Errand::<W, R>::run),
            work: Some(work),
            result: MaybeUninit::uninit(),
            done: Event::uninit(),
        };
        // SAFETY: The errand stays where it is until the wait below is over.
        unsafe { errand.done.init_manual_reset() };
        // SAFETY: As above; it is queued once.
        unsafe { self.queue(NonNull::from(&mut errand).cast()) };
        errand.done.wait(at);
        // SAFETY: The thread has run the work, once, before it signalled.
        unsafe { errand.result.assume_init() }
    }

    /// Queues a job; nobody waits for it here.
    ///
    /// # Safety
    ///
    /// The job stays where it is until it runs, and is not queued already.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(crate) unsafe fn queue(&self, job: NonNull<Job>) {
        let job = job.as_ptr();
        // SAFETY: Forwarded: the job is ours.
        unsafe { (*job).next.set(ptr::null_mut()) };
        self.queue.with(|queue| {
            if queue.first.is_null() {
                queue.first = job;
            } else {
                // SAFETY: `last` is the `next` of a job that still waits, under the lock that unlinks it.
                unsafe { *queue.last = job };
            }
            // SAFETY: The job lives until it runs, and is unlinked before.
            queue.last = unsafe { (*job).next.as_ptr() };
        });
        self.arrived.set();
    }

    fn take(&self) -> Next {
        self.queue.with(|queue| {
            let Some(first) = NonNull::new(queue.first) else {
                return if queue.stop { Next::Stop } else { Next::Idle };
            };
            // SAFETY: A queued job lives until it was served.
            queue.first = unsafe { first.as_ref() }.next.get();
            Next::Job(first)
        })
    }
}

enum Next {
    Job(NonNull<Job>),
    Idle,
    Stop,
}

/// A job whose owner waits for the result, on his stack.
#[repr(C)]
struct Errand<W, R> {
    job: Job,
    work: Option<W>,
    result: MaybeUninit<R>,
    done: Event,
}

impl<W: FnOnce() -> R, R> Errand<W, R> {
    /// # Safety
    ///
    /// `job` is the first member of an errand that is served for the first time.
    unsafe fn run(job: NonNull<Job>) {
        let errand = job.cast::<Self>().as_ptr();
        // SAFETY: The owner of the errand waits and does not touch it.
        let work = unsafe { (*errand).work.take() };
        if let Some(work) = work {
            let result = work();
            // SAFETY: As above.
            unsafe { (*errand).result.write(result) };
        }
        // SAFETY: As above; the errand is not touched after this.
        unsafe { (*errand).done.set() };
    }
}

unsafe extern "C" fn serve(_context: PVOID) {
    // SAFETY: A system thread starts at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    HANDLE_THREAD
        .running
        .store(thread::current(), Ordering::Release);
    loop {
        match HANDLE_THREAD.take() {
            Next::Job(job) => {
                // SAFETY: A queued job lives until it runs.
                let run = unsafe { job.as_ref() }.run;
                // SAFETY: The job was unlinked, so it runs once.
                unsafe { run(job) };
            }
            Next::Idle => HANDLE_THREAD.arrived.wait(&at),
            Next::Stop => return,
        }
    }
}
