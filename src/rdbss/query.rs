//! Attributes of files and volumes.

use core::slice;

use p9::{Reply, Request, Statfs};
use rxce_engine::Error;
use rxce_netfs::{attributes::Attributes, file as classes, server as names, volume as volumes};
use wdk_sys::{NTSTATUS, STATUS_SUCCESS};

use super::{
    abi::{RxContext, SrvOpen},
    open,
    session::Session,
    status,
};
use crate::nt::{irql::Pageable, unicode};

/// The buffer of a query.
///
/// # Safety
///
/// RDBSS's request, whose buffer is as long as it says and belongs to this callback.
pub(super) unsafe fn buffer<'a>(context: &RxContext) -> &'a mut [u8] {
    let length = usize::try_from(context.Info.LengthRemaining).unwrap_or(0);
    if context.Info.Buffer.is_null() || length == 0 {
        return &mut [];
    }
    // SAFETY: Forwarded.
    unsafe { slice::from_raw_parts_mut(context.Info.Buffer.cast(), length) }
}

/// Tells RDBSS how much of the buffer is in use.
pub(super) fn report_used(context: &mut RxContext, used: usize) {
    let used_of_it = i32::try_from(used).unwrap_or(i32::MAX);
    context.Info.LengthRemaining = context.Info.LengthRemaining.saturating_sub(used_of_it);
    context.InformationToReturn = used;
}

/// `MRxQueryFileInfo`.
///
/// # Safety
///
/// RDBSS's request.
pub(super) unsafe extern "C" fn file(context: *mut RxContext) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    let request = unsafe { RxContext::of(context) };
    // SAFETY: Forwarded.
    match unsafe { query_file(&at, request) } {
        Ok(()) => STATUS_SUCCESS,
        Err(error) => status(error),
    }
}

/// # Safety
///
/// As [`file`].
unsafe fn query_file(at: &Pageable, context: &mut RxContext) -> Result<(), Error> {
    // SAFETY: Forwarded.
    let open = unsafe { open::of(context.pRelevantSrvOpen) }?;
    let now = Attributes::new(&open::attributes(at, &open.session, open.fid)?);
    // SAFETY: Forwarded.
    let buffer = unsafe { buffer(context) };
    let used =
        classes::encode(context.Info.InformationClass, &now, buffer).map_err(Error::Transport)?;
    report_used(context, used);
    Ok(())
}

/// `MRxQueryVolumeInfo`.
///
/// # Safety
///
/// RDBSS's request.
pub(super) unsafe extern "C" fn volume(context: *mut RxContext) -> NTSTATUS {
    // SAFETY: RDBSS calls at PASSIVE_LEVEL.
    let at = unsafe { Pageable::assume() };
    // SAFETY: Forwarded.
    let request = unsafe { RxContext::of(context) };
    // SAFETY: Forwarded.
    unsafe { query_volume(&at, request) }.unwrap_or_else(status)
}

/// # Safety
///
/// As [`volume`].
unsafe fn query_volume(at: &Pageable, context: &mut RxContext) -> Result<NTSTATUS, Error> {
    let class = context.Info.InformationClass;
    // SAFETY: Forwarded.
    let open = unsafe { open::of(context.pRelevantSrvOpen) }?;
    let sizes = if volumes::wants_sizes(class) {
        sizes(at, &open.session, open.fid)?
    } else {
        Statfs::default()
    };
    // SAFETY: Forwarded.
    let label = names::share_of(unsafe { net_root_name(context.pRelevantSrvOpen) });
    // SAFETY: Forwarded.
    let buffer = unsafe { buffer(context) };
    let answer = volumes::encode(class, &sizes, label, buffer).map_err(Error::Transport)?;
    report_used(context, answer.length);
    Ok(answer.status)
}

fn sizes(at: &Pageable, session: &Session, fid: u32) -> Result<Statfs, Error> {
    let answer = session.ask(at, &Request::Statfs { fid })?;
    match answer.reply()? {
        Reply::Statfs { statfs } => Ok(statfs),
        _ => Err(session.broken()),
    }
}

/// The name of the tree that a file is in, as RDBSS has it.
///
/// # Safety
///
/// RDBSS's object, which keeps its view and its net root.
unsafe fn net_root_name<'a>(open: *mut SrvOpen) -> &'a [u16] {
    // SAFETY: Forwarded.
    let Some(open) = (unsafe { open.as_ref() }) else {
        return &[];
    };
    // SAFETY: Forwarded.
    let Some(view) = (unsafe { open.pVNetRoot.as_ref() }) else {
        return &[];
    };
    // SAFETY: Forwarded.
    let Some(net_root) = (unsafe { view.pNetRoot.as_ref() }) else {
        return &[];
    };
    // SAFETY: Forwarded.
    unsafe { unicode::text(net_root.pNetRootName) }
}
