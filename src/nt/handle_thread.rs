//! Handle work at `PASSIVE_LEVEL`, wherever the caller runs.
//!
//! `ZwCreateFile`, `ZwClose` and `ObReferenceObjectByHandle` need `PASSIVE_LEVEL` with special kernel APCs enabled,
//! while the engine's routines are documented for `IRQL <= APC_LEVEL`. Where the caller cannot do that part itself, one
//! system thread of the driver does it. The job lies on the waiting caller's stack, which a kernel-mode wait keeps
//! resident, so the hop needs no memory and cannot fail. Nothing on this thread ever waits for the network.

use core::{cell::UnsafeCell, ffi::c_void, mem::MaybeUninit, ptr};

use rxce_engine::Error;
use wdk_sys::PVOID;

use super::{
    event::Event,
    irql::{self, Pageable},
    spin_lock::SpinLock,
    thread::SystemThread,
};

/// Work that waits for the thread; lies on the stack of the caller, who waits for `done`.
struct Job {
    next: *mut Job,
    run: unsafe fn(*mut c_void),
    work: *mut c_void,
    done: Event,
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
            thread.join();
        }
    }

    /// Runs `work` at `PASSIVE_LEVEL` with special kernel APCs enabled: here if that is the case, else on the thread.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(crate) fn at_passive<R: Send>(&self, at: &Pageable, work: impl FnOnce() -> R + Send) -> R {
        if irql::allows_handles() {
            return work();
        }
        self.post(at, work)
    }

    fn post<W: FnOnce() -> R + Send, R: Send>(&self, at: &Pageable, work: W) -> R {
        let mut errand = Errand {
            work: Some(work),
            result: MaybeUninit::uninit(),
        };
        let mut job = Job {
            next: ptr::null_mut(),
            run: Errand::<W, R>::run,
            work: (&raw mut errand).cast(),
            done: Event::uninit(),
        };
        // SAFETY: The job stays where it is until the wait below is over.
        unsafe { job.done.init_manual_reset() };
        let job_pointer = &raw mut job;
        self.queue.with(|queue| {
            if queue.first.is_null() {
                queue.first = job_pointer;
            } else {
                // SAFETY: `last` is the `next` of a job that still waits, under the lock that unlinks it.
                unsafe { *queue.last = job_pointer };
            }
            // SAFETY: The job lives until it was served, and is unlinked before.
            queue.last = unsafe { &raw mut (*job_pointer).next };
        });
        self.arrived.set();
        // SAFETY: The thread only reads the job until it has signalled `done`.
        let done = unsafe { &(*job_pointer).done };
        done.wait(at);
        // SAFETY: The thread has run the work, once, before it signalled.
        unsafe { errand.result.assume_init() }
    }

    fn take(&self) -> Next {
        self.queue.with(|queue| {
            let first = queue.first;
            if first.is_null() {
                return if queue.stop { Next::Stop } else { Next::Idle };
            }
            // SAFETY: A queued job lives until it was served.
            queue.first = unsafe { (*first).next };
            Next::Job(first)
        })
    }
}

enum Next {
    Job(*mut Job),
    Idle,
    Stop,
}

struct Errand<W, R> {
    work: Option<W>,
    result: MaybeUninit<R>,
}

impl<W: FnOnce() -> R, R> Errand<W, R> {
    /// # Safety
    ///
    /// `errand` is the errand of a job that is served for the first time.
    unsafe fn run(errand: *mut c_void) {
        let errand = errand.cast::<Self>();
        // SAFETY: The owner of the errand waits and does not touch it.
        let work = unsafe { (*errand).work.take() };
        if let Some(work) = work {
            let result = work();
            // SAFETY: As above.
            unsafe { (*errand).result.write(result) };
        }
    }
}

unsafe extern "C" fn serve(_context: PVOID) {
    // SAFETY: A system thread starts at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    loop {
        match HANDLE_THREAD.take() {
            Next::Job(job) => {
                // SAFETY: The job's owner waits until `done` is signalled.
                let (run, work) = unsafe { ((*job).run, (*job).work) };
                // SAFETY: The job was unlinked, so it is served once.
                unsafe { run(work) };
                // SAFETY: As above; the job is not touched after this.
                unsafe { (*job).done.set() };
            }
            Next::Idle => HANDLE_THREAD.arrived.wait(&at),
            Next::Stop => return,
        }
    }
}
