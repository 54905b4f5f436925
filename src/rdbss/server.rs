//! Servers: `MRX_SRV_CALL`.

use rxce_engine::Error;
use rxce_netfs::server::{self, Server as Target};
use wdk_sys::{NTSTATUS, PVOID, STATUS_CONNECTION_DISCONNECTED, STATUS_PENDING, STATUS_SUCCESS};

use super::{
    abi::{SrvCall, SrvCallContext},
    session::Session,
    status, worker,
};
use crate::nt::{
    irql::Pageable,
    mutex::Mutex,
    pool::{Pooled, Tag},
    shared::{self, Shared},
    unicode,
};

/// What the driver keeps of a server.
pub(super) struct Server {
    target: Target,
    /// The session of the moment; another one is made when it is needed and this one has failed.
    session: Mutex<Option<Shared<Session>>>,
}

impl Pooled for Server {
    const TAG: Tag = Tag::new(*b"RxSv");
}

impl Server {
    /// Connects to a server for the first time.
    fn connect(at: &Pageable, target: Target) -> Result<Shared<Self>, Error> {
        let server = Shared::new(Self {
            target,
            session: Mutex::uninit(None),
        })?;
        // SAFETY: The server is at its place, and nobody else has it.
        unsafe { server.session.init() };
        server.session(at)?;
        Ok(server)
    }

    /// A session that works, as far as is known.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn session(&self, at: &Pageable) -> Result<Shared<Session>, Error> {
        self.session.with(at, |current| {
            if let Some(session) = current.as_ref().filter(|session| session.is_usable()) {
                return Ok(session.clone());
            }
            let target = self.target;
            let failed = current.take();
            let session = worker::run(at, move |at| {
                if let Some(failed) = failed {
                    failed.close(at, STATUS_CONNECTION_DISCONNECTED);
                }
                Session::connect(at, target.ip, target.port)
            })??;
            *current = Some(session.clone());
            Ok(session)
        })
    }

    /// The user that the server's name says, if it does.
    pub(super) const fn uid(&self) -> Option<u32> {
        self.target.uid
    }

    fn close(&self, at: &Pageable) {
        if let Some(session) = self.session.with(at, Option::take) {
            // Without a worker it stays in the list, and goes with the stop.
            let _ = worker::run(at, move |at| {
                session.close(at, STATUS_CONNECTION_DISCONNECTED);
            });
        }
    }
}

/// The server's name, as RDBSS has it.
///
/// # Safety
///
/// RDBSS's object, which lives for `'a`.
pub(super) unsafe fn name<'a>(srv_call: *mut SrvCall) -> &'a [u16] {
    // SAFETY: Forwarded.
    let string = unsafe { (*srv_call).pSrvCallName };
    // SAFETY: Forwarded.
    unsafe { unicode::text(string) }
}

/// The driver's part of a server.
///
/// # Safety
///
/// RDBSS's object, which was announced by [`winner`] and is not finalised meanwhile.
pub(super) unsafe fn of(srv_call: *mut SrvCall) -> Option<Shared<Server>> {
    // SAFETY: Forwarded.
    let context = unsafe { srv_call.as_ref() }?.Context;
    // SAFETY: Forwarded: the part that the context stands for lives.
    unsafe { shared::share(context) }
}

/// `MRxCreateSrvCall`: connects, in a worker of RDBSS's process.
///
/// # Safety
///
/// RDBSS's call.
pub(super) unsafe extern "C" fn create(
    _srv_call: *mut SrvCall,
    context: *mut SrvCallContext,
) -> NTSTATUS {
    // SAFETY: The routine takes such a context, which lives until its callback was called.
    if let Err(error) = unsafe { worker::enter(serve, context.cast()) } {
        // SAFETY: Forwarded; nobody else reports.
        unsafe { report(context, Err(error)) };
    }
    STATUS_PENDING
}

unsafe extern "C" fn serve(context: PVOID) {
    let context: *mut SrvCallContext = context.cast();
    // SAFETY: Worker routines run at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: RDBSS's structure.
    let structure = unsafe { (*context).SrvCalldownStructure };
    // SAFETY: The context leads to it.
    let srv_call = unsafe { (*structure).SrvCall };
    // SAFETY: And that to the server.
    let server = server::server(unsafe { name(srv_call) })
        .map_err(Error::Transport)
        .and_then(|target| Server::connect(&at, target));
    // SAFETY: Nobody else reports.
    unsafe { report(context, server) };
}

/// Tells RDBSS, once.
///
/// # Safety
///
/// The context was given to [`create`], and is not touched afterwards.
unsafe fn report(context: *mut SrvCallContext, server: Result<Shared<Server>, Error>) {
    // SAFETY: Forwarded.
    let now = unsafe { &mut *context };
    now.Status = match server {
        Ok(server) => {
            now.RecommunicateContext = server.into_context();
            STATUS_SUCCESS
        }
        Err(error) => status(error),
    };
    // SAFETY: The context leads to its structure.
    if let Some(callback) = unsafe { (*now.SrvCalldownStructure).CallBack } {
        // SAFETY: RDBSS's routine takes its context.
        unsafe { callback(context) };
    }
}

/// `MRxSrvCallWinnerNotify`: the server is this driver's. Names are compared as they are: no flag says otherwise.
///
/// # Safety
///
/// RDBSS's call, after the server was reported.
pub(super) unsafe extern "C" fn winner(
    srv_call: *mut SrvCall,
    _winner: u8,
    recommunicate: PVOID,
) -> NTSTATUS {
    // SAFETY: Forwarded.
    unsafe { (*srv_call).Context = recommunicate };
    STATUS_SUCCESS
}

/// `MRxFinalizeSrvCall`: disconnects.
///
/// # Safety
///
/// RDBSS's call, once for a server.
pub(super) unsafe extern "C" fn finalize(srv_call: *mut SrvCall, _force: u8) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    let srv_call = unsafe { &mut *srv_call };
    let context = core::mem::replace(&mut srv_call.Context, core::ptr::null_mut());
    // SAFETY: The context has the part that was reported, and nobody has taken it back.
    if let Some(server) = unsafe { Shared::<Server>::from_context(context) } {
        server.close(&at);
    }
    STATUS_SUCCESS
}
