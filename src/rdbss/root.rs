//! Exported trees: `MRX_NET_ROOT`, and `MRX_V_NET_ROOT`, which adds nothing here.

use rxce_engine::Error;
use rxce_netfs::{server as names, status as statuses};
use wdk_sys::{FILE_DEVICE_DISK, NTSTATUS, PVOID, STATUS_PENDING, STATUS_SUCCESS, UNICODE_STRING};

use super::{
    abi::{CreateNetRootContext, NetRoot, SrvCall, VNetRoot},
    running,
    server::{self, Server},
    session::Session,
    status, worker,
};
use crate::nt::{
    irql::Pageable,
    mutex::Mutex,
    pool::{Bytes, Pooled, Tag},
    shared::{self, Shared},
    unicode,
};

/// `NET_ROOT_DISK`.
const DISK: u8 = 0;
/// `MRX_NET_ROOT_STATE_GOOD`.
const GOOD: u8 = 0;
/// Names of trees.
const NAME_TAG: Tag = Tag::new(*b"RxAn");

/// What the driver keeps of a tree.
pub(super) struct Root {
    server: Shared<Server>,
    name: Bytes,
    /// The user who attached.
    uid: u32,
    attached: Mutex<Option<Attached>>,
}

impl Pooled for Root {
    const TAG: Tag = Tag::new(*b"RxRt");
}

/// The root in one session.
#[derive(Clone)]
pub(super) struct Attached {
    pub(super) session: Shared<Session>,
    pub(super) fid: u32,
}

impl Root {
    fn attach(at: &Pageable, server: Shared<Server>, share: &[u16]) -> Result<Shared<Self>, Error> {
        let mut buffer = [0; names::MOST_ANAME];
        let length = names::tree(share, &mut buffer).map_err(Error::Transport)?;
        let mut name = Bytes::new(length, NAME_TAG)?;
        for (to, from) in name.iter_mut().zip(&buffer) {
            *to = *from;
        }
        let uid = match server.uid() {
            Some(uid) => uid,
            None => running::running()?.parameters.anonymous,
        };
        let root = Shared::new(Self {
            server,
            name,
            uid,
            attached: Mutex::uninit(None),
        })?;
        // SAFETY: The root is at its place, and nobody else has it.
        unsafe { root.attached.init() };
        root.attached(at)?;
        Ok(root)
    }

    /// The root in a session that works, as far as is known.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn attached(&self, at: &Pageable) -> Result<Attached, Error> {
        self.attached.with(at, |current| {
            if let Some(attached) = current
                .as_ref()
                .filter(|attached| attached.session.is_usable())
            {
                return Ok(attached.clone());
            }
            *current = None;
            let session = self.server.session(at)?;
            let fid = session.attach(at, &self.name, self.uid)?;
            let attached = Attached { session, fid };
            *current = Some(attached.clone());
            Ok(attached)
        })
    }
}

/// The driver's part of the tree that a view belongs to.
///
/// # Safety
///
/// RDBSS's object, which is not finalised meanwhile.
pub(super) unsafe fn of(view: *mut VNetRoot) -> Option<Shared<Root>> {
    // SAFETY: Forwarded.
    let net_root = unsafe { view.as_ref() }?.pNetRoot;
    // SAFETY: Forwarded.
    let context = unsafe { net_root.as_ref() }?.Context;
    // SAFETY: Forwarded: the part that the context stands for lives.
    unsafe { shared::share(context) }
}

/// `MRxExtractNetRootName`: one component behind the server's name.
///
/// # Safety
///
/// RDBSS's call.
pub(super) unsafe extern "C" fn extract_name(
    path: *mut UNICODE_STRING,
    srv_call: *mut SrvCall,
    net_root: *mut UNICODE_STRING,
    rest: *mut UNICODE_STRING,
) {
    // SAFETY: Forwarded.
    let path = unsafe { unicode::text(path) };
    // SAFETY: Forwarded.
    let server = unsafe { server::name(srv_call) };
    let (start, length) = names::share_length(path, server.len());
    let (_, behind) = path.split_at_checked(start).unwrap_or((path, &[]));
    let (share, remaining) = behind.split_at_checked(length).unwrap_or((behind, &[]));
    for (string, text) in [(net_root, share), (rest, remaining)] {
        if let (false, Some(text)) = (string.is_null(), unicode::borrowed(text)) {
            // SAFETY: A result of RDBSS's, which lies in its path.
            unsafe { string.write(text) };
        }
    }
}

/// `MRxCreateVNetRoot`: attaches, in a worker of RDBSS's process.
///
/// # Safety
///
/// RDBSS's call.
pub(super) unsafe extern "C" fn create(context: *mut CreateNetRootContext) -> NTSTATUS {
    // SAFETY: The routine takes such a context, which lives until its callback was called.
    if let Err(error) = unsafe { worker::enter(serve, context.cast()) } {
        // SAFETY: Forwarded; nobody else reports.
        unsafe { report(context, Err(error)) };
    }
    STATUS_PENDING
}

unsafe extern "C" fn serve(context: PVOID) {
    let context: *mut CreateNetRootContext = context.cast();
    // SAFETY: Worker routines run at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: RDBSS's structure.
    let view = unsafe { (*context).pVNetRoot };
    // SAFETY: It leads to the view.
    let net_root = unsafe { (*view).pNetRoot };
    // SAFETY: And that to the net root, which is under construction.
    let net_root = unsafe { &mut *net_root };
    // SAFETY: RDBSS's object, under construction.
    let result = unsafe { prepare(&at, net_root) };
    // SAFETY: Nobody else reports.
    unsafe { report(context, result) };
}

/// Attaches to the tree of a net root that is new.
///
/// # Safety
///
/// RDBSS's object, under construction.
unsafe fn prepare(at: &Pageable, net_root: &mut NetRoot) -> Result<(), Error> {
    if !net_root.Context.is_null() {
        return Ok(());
    }
    // SAFETY: Forwarded: the net root keeps its server.
    let server = unsafe { server::of(net_root.pSrvCall) }
        .ok_or(Error::Transport(statuses::BAD_NETWORK_PATH))?;
    // SAFETY: Forwarded.
    let name = unsafe { unicode::text(net_root.pNetRootName) };
    let root = Root::attach(at, server, names::share_of(name)).map_err(no_such_tree)?;
    net_root.Context = root.into_context();
    net_root.Type = DISK;
    net_root.DeviceType = FILE_DEVICE_DISK;
    net_root.MRxNetRootState = GOOD;
    Ok(())
}

/// What a server says of a file that is not there, it says of a tree.
fn no_such_tree(error: Error) -> Error {
    match error {
        Error::Transport(statuses::OBJECT_NAME_NOT_FOUND | statuses::NOT_A_DIRECTORY) => {
            Error::Transport(statuses::BAD_NETWORK_NAME)
        }
        other => other,
    }
}

/// Tells RDBSS, once.
///
/// # Safety
///
/// The context was given to [`create`], and is not touched afterwards.
unsafe fn report(context: *mut CreateNetRootContext, result: Result<(), Error>) {
    let outcome = result.map_or_else(status, |()| STATUS_SUCCESS);
    // SAFETY: Forwarded.
    let now = unsafe { &mut *context };
    now.VirtualNetRootStatus = outcome;
    now.NetRootStatus = outcome;
    if let Some(callback) = now.Callback {
        // SAFETY: RDBSS's routine takes its context.
        unsafe { callback(context) };
    }
}

/// `MRxFinalizeVNetRoot`: there is nothing of its own.
///
/// # Safety
///
/// RDBSS's call.
pub(super) const unsafe extern "C" fn finalize_view(_: *mut VNetRoot, _: *mut u8) -> NTSTATUS {
    STATUS_SUCCESS
}

/// `MRxFinalizeNetRoot`: gives the root's fid back.
///
/// # Safety
///
/// RDBSS's call, once for a net root.
pub(super) unsafe extern "C" fn finalize(net_root: *mut NetRoot, _force: *mut u8) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    let net_root = unsafe { &mut *net_root };
    let context = core::mem::replace(&mut net_root.Context, core::ptr::null_mut());
    // SAFETY: The context has the part that the construction put there, and nobody has taken it back.
    if let Some(root) = unsafe { Shared::<Root>::from_context(context) }
        && let Some(attached) = root.attached.with(&at, Option::take)
    {
        attached.session.clunk(&at, attached.fid);
    }
    STATUS_SUCCESS
}
