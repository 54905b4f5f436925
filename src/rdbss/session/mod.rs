//! One 9P session over one circuit: built, used by several requests at once, taken down.

mod asking;
mod exchange;
mod receive;
mod table;

use core::{
    cell::UnsafeCell,
    ptr::{self, NonNull},
};

use p9::{FidPool, NOFID, Reply, Request, VERSION};
use rxce_engine::Error;
use wdk_sys::{
    NTSTATUS, STATUS_CONNECTION_DISCONNECTED, STATUS_INVALID_NETWORK_RESPONSE,
    STATUS_TOO_MANY_OPENED_FILES,
};

pub(super) use self::receive::address_events;
use self::{exchange::Answer, table::Table};
use super::running::{self, Use};
use crate::{
    abi::{self, Client},
    connection::{
        information::Remote,
        lifecycle,
        list::{Linked, Links, List},
        peer,
    },
    nt::{
        event::Event,
        irql::Pageable,
        mutex::Mutex,
        pool::{Pooled, Tag},
        shared::Shared,
        spin_lock::SpinLock,
    },
};

/// The longest message that is asked for: what a read brings at once, and some room.
const MOST_MESSAGE: u32 = (1 << 16) + OVERHEAD;
/// The shortest message size worth talking.
const LEAST_MESSAGE: u32 = 4096;
/// A read's overhead plus some room, as every 9P client subtracts it.
const OVERHEAD: u32 = 24;

/// A session with one server.
pub(super) struct Session {
    connection: UnsafeCell<abi::Connection>,
    vc: UnsafeCell<abi::Vc>,
    /// Whether connection and circuit are built; whoever builds or tears down has the lock.
    built: Mutex<bool>,
    table: SpinLock<Table>,
    /// Signalled when a tag becomes free.
    freed: Event,
    fids: SpinLock<FidPool>,
    /// How long an answer may take.
    limit_100ns: u64,
    /// What the server agreed on; written by the build.
    message: UnsafeCell<u32>,
    /// Under the lock of the list of all sessions.
    links: UnsafeCell<Links<Self>>,
}

// SAFETY: The structures are the engine's, which synchronises itself; `message` is written before others see the session.
unsafe impl Sync for Session {}
// SAFETY: No thread is special to it.
unsafe impl Send for Session {}

impl Pooled for Session {
    const TAG: Tag = Tag::new(*b"RxSe");
}

// SAFETY: The links belong to the list of all sessions.
unsafe impl Linked for Session {
    fn links(node: NonNull<Self>) -> *mut Links<Self> {
        // SAFETY: A listed session lives.
        unsafe { node.as_ref() }.links.get()
    }
}

/// Every session that a stop has to close. The list has a part of each.
static LISTED: SpinLock<List<Session>> = SpinLock::new(List::new());

/// Lists a session, and uses what it runs on.
///
/// # Errors
///
/// `STATUS_REDIRECTOR_NOT_STARTED`.
fn admit(session: &Shared<Session>) -> Result<Use, Error> {
    LISTED.with(|list| {
        // A stop withdraws what runs before it looks into the list.
        let running = running::running()?;
        if let Some(listed) = NonNull::new(session.clone().into_context().cast::<Session>()) {
            // SAFETY: The session is in no list, and the list's part keeps it.
            unsafe { list.insert(listed) };
        }
        Ok(running)
    })
}

/// Takes a session out of the list, if it is there.
fn dismiss(session: &Session) {
    let listed = LISTED.with(|list| {
        let mut at = list.first();
        while let Some(listed) = at.filter(|listed| !ptr::eq(listed.as_ptr(), session)) {
            // SAFETY: It is in this list.
            at = unsafe { list.after(listed) };
        }
        // SAFETY: As above.
        at.filter(|listed| unsafe { list.remove(*listed) })
    });
    if let Some(listed) = listed {
        // SAFETY: The list's part was made by `admit`, and the session has left the list.
        drop(unsafe { Shared::<Session>::from_context(listed.as_ptr().cast()) });
    }
}

/// The first listed session, taken out of the list.
fn pop() -> Option<Shared<Session>> {
    let first = LISTED.with(|list| {
        let first = list.first()?;
        // SAFETY: It is the first of this list.
        unsafe { list.remove(first) };
        Some(first)
    })?;
    // SAFETY: As in `dismiss`.
    unsafe { Shared::from_context(first.as_ptr().cast()) }
}

/// Closes every session; whatever waits gets `reason`. What they ran on was withdrawn before, so no session comes after.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, in a system worker thread of RDBSS's process
pub(super) fn close_all(at: &Pageable, reason: NTSTATUS) {
    while let Some(session) = pop() {
        session.close(at, reason);
    }
}

impl Session {
    /// Connects to a server and agrees with it on the protocol.
    ///
    /// # Errors
    ///
    /// The statuses of the build, `STATUS_INVALID_NETWORK_RESPONSE` for a server that does not speak the protocol,
    /// `STATUS_IO_TIMEOUT` for one that says nothing.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`, in a system worker thread of RDBSS's process
    pub(super) fn connect(at: &Pageable, ip: [u8; 4], port: u16) -> Result<Shared<Self>, Error> {
        let limit_100ns = running::running()?.parameters.exchange_100ns;
        let session = Shared::new(Self::new(limit_100ns))?;
        // SAFETY: The session is at its place, and nobody else has it.
        unsafe { session.built.init() };
        // SAFETY: As above.
        unsafe { session.freed.init_auto_reset() };
        let connected = session
            .build(at, &session, ip, port)
            .and_then(|()| session.agree(at));
        match connected {
            Ok(()) => Ok(session),
            Err(error) => {
                session.close(at, STATUS_CONNECTION_DISCONNECTED);
                Err(error)
            }
        }
    }

    fn new(limit_100ns: u64) -> Self {
        // SAFETY: All zeroes is the state of a structure before its build.
        let connection = unsafe { core::mem::zeroed() };
        // SAFETY: As above.
        let vc = unsafe { core::mem::zeroed() };
        Self {
            connection: UnsafeCell::new(connection),
            vc: UnsafeCell::new(vc),
            built: Mutex::uninit(false),
            table: SpinLock::new(Table::new()),
            freed: Event::uninit(),
            fids: SpinLock::new(FidPool::new()),
            limit_100ns,
            message: UnsafeCell::new(LEAST_MESSAGE),
            links: UnsafeCell::new(Links::new()),
        }
    }

    fn build(
        &self,
        at: &Pageable,
        this: &Shared<Self>,
        ip: [u8; 4],
        port: u16,
    ) -> Result<(), Error> {
        let remote = rxce_engine::transport_address::ip_v4(ip, port);
        let running = admit(this)?;
        self.built.with(at, |built| {
            // A stop may have come before the lock was had.
            self.table.with(|table| table.check())?;
            lifecycle::build_connection(
                at,
                running.address()?,
                Remote {
                    address: &remote,
                    user_data: &[],
                    options: &[],
                },
                receive::connection_events(),
                ptr::from_ref(self).cast_mut().cast(),
                Client::new(self.connection.get())?,
                self.vc()?,
            )?;
            *built = true;
            Ok(())
        })
    }

    /// Agrees on version and message size.
    fn agree(&self, at: &Pageable) -> Result<(), Error> {
        let request = Request::Version {
            msize: MOST_MESSAGE,
            version: VERSION,
        };
        let answer = self.ask(at, &request)?;
        match answer.reply()? {
            Reply::Version {
                msize,
                version: VERSION,
            } if (LEAST_MESSAGE..=MOST_MESSAGE).contains(&msize) => {
                // SAFETY: Nobody else has the session yet.
                unsafe { *self.message.get() = msize };
                Ok(())
            }
            _ => Err(self.broken()),
        }
    }

    /// Takes the session down; whatever waits gets `reason`. May be called again.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`, in a system worker thread of RDBSS's process
    pub(super) fn close(&self, at: &Pageable, reason: NTSTATUS) {
        self.fail(reason);
        if let Ok(vc) = self.vc() {
            // Ends a connect that is under way: there is none, otherwise.
            let _ = lifecycle::cancel_build(vc);
        }
        self.built.with(at, |built| {
            if core::mem::take(built) {
                self.demolish(at);
            }
        });
        dismiss(self);
    }

    /// The documented order. An error of a tear-down says how the circuit ended; the circuit is gone all the same.
    fn demolish(&self, at: &Pageable) {
        if let Ok(vc) = self.vc() {
            let _ = lifecycle::initiate_disconnect(vc);
            let _ = lifecycle::tear_down(at, vc);
        }
        if let Ok(connection) = Client::new(self.connection.get()) {
            let _ = peer::tear_down(at, connection);
        }
    }

    /// Makes the session useless and wakes whoever waits; the first reason counts.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn fail(&self, reason: NTSTATUS) {
        self.table.with(|table| table.fail(reason));
        self.freed.set();
    }

    /// Notes that the server broke the protocol.
    pub(super) fn broken(&self) -> Error {
        self.fail(STATUS_INVALID_NETWORK_RESPONSE);
        Error::Transport(STATUS_INVALID_NETWORK_RESPONSE)
    }

    /// Whether requests can still be made.
    pub(super) fn is_usable(&self) -> bool {
        self.table.with(|table| table.check()).is_ok()
    }

    /// Most bytes of file data, or of directory entries, in one answer.
    pub(super) fn most_data(&self) -> u32 {
        // SAFETY: Written by the build only.
        unsafe { *self.message.get() }.saturating_sub(OVERHEAD)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    ///
    /// Why the session failed; `STATUS_IO_TIMEOUT`, and then the session has failed; [`Error::InsufficientResources`].
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(super) fn ask(&self, at: &Pageable, request: &Request<'_>) -> Result<Answer, Error> {
        // SAFETY: There is no destination.
        unsafe { asking::run(self, at, request, ptr::null_mut(), 0) }
    }

    /// Sends a request whose answer carries data for `destination`; the number of bytes that came.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`], and what the server's error number stands for.
    ///
    /// # Safety
    ///
    /// `destination` is resident memory of `room` bytes that nobody else uses during the call.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(super) unsafe fn fetch(
        &self,
        at: &Pageable,
        request: &Request<'_>,
        destination: *mut u8,
        room: usize,
    ) -> Result<usize, Error> {
        // SAFETY: Forwarded.
        let answer = unsafe { asking::run(self, at, request, destination, room) }?;
        answer.data_length()
    }

    /// A fid that nobody uses.
    ///
    /// # Errors
    ///
    /// `STATUS_TOO_MANY_OPENED_FILES`.
    pub(super) fn new_fid(&self) -> Result<u32, Error> {
        self.fids
            .with(FidPool::take)
            .ok_or(Error::Transport(STATUS_TOO_MANY_OPENED_FILES))
    }

    /// Gives back a fid that the server does not know.
    pub(super) fn forget_fid(&self, fid: u32) {
        self.fids.with(|fids| fids.give_back(fid));
    }

    /// Gives a fid back to the server. One whose clunk cannot be sent is kept, and given back along with the next one.
    ///
    /// # IRQL
    ///
    /// `<= APC_LEVEL`
    pub(super) fn clunk(&self, at: &Pageable, fid: u32) {
        let mut next = Some(fid);
        while let Some(fid) = next.filter(|_| self.is_usable()) {
            // The fid is free whatever the server answers (clunk(5)).
            if self.ask(at, &Request::Clunk { fid }).is_err() {
                self.fids.with(|fids| fids.keep(fid));
                return;
            }
            self.forget_fid(fid);
            next = self.fids.with(FidPool::take_kept);
        }
    }

    /// Attaches to an exported tree.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`], and what the server's error number stands for.
    pub(super) fn attach(&self, at: &Pageable, aname: &[u8], uid: u32) -> Result<u32, Error> {
        let fid = self.new_fid()?;
        let request = Request::Attach {
            fid,
            afid: NOFID,
            uname: b"",
            aname,
            n_uname: uid,
        };
        let attached = self
            .ask(at, &request)
            .and_then(|answer| match answer.reply()? {
                Reply::Attach { qid } if qid.is_dir() => Ok(()),
                _ => Err(self.broken()),
            });
        match attached {
            Ok(()) => Ok(fid),
            Err(error) => {
                self.forget_fid(fid);
                Err(error)
            }
        }
    }

    fn vc(&self) -> Result<Client<abi::Vc>, Error> {
        Client::new(self.vc.get())
    }
}
