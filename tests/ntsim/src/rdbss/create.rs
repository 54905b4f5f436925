//! IRP_MJ_CREATE: from a path to an open file.

use std::sync::Arc;

use super::calldown::Slot;
use super::context::Request;
use super::dispatch::Fate;
use super::file::{Fcb, Fobx, Sharing, SrvOpen, change};
use super::net_root::{self, VNetRoot};
use super::registration::Redirector;
use super::rule::{Rule, violation};
use super::{close, name, server};
use crate::io::status;
use crate::layout::ke::UnicodeString;
use crate::mem::peek;

/// FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_CREATE_TREE_CONNECTION, FILE_OPEN_BY_FILE_ID.
const DIRECTORY_FILE: u32 = 0x1;
const NON_DIRECTORY_FILE: u32 = 0x40;
const TREE_CONNECTION: u32 = 0x80;
const BY_FILE_ID: u32 = 0x2000;

/// Opens what a path names.
pub(super) fn run(request: &Arc<Request>) -> Fate {
    match open(request) {
        Ok(information) => Fate::Done(status::SUCCESS, information),
        Err(status) => Fate::status(status),
    }
}

fn open(request: &Arc<Request>) -> Result<usize, i32> {
    let file = request.file();
    fill_parameters(request);
    let options = request.at.create_options().get();
    if file.related().get() != 0 || options & (TREE_CONNECTION | BY_FILE_ID) != 0 {
        return Err(status::NOT_SUPPORTED);
    }
    let given = name::read(UnicodeString(file.name().address()));
    let (path, trailing) = name::canonical(&given).ok_or(status::OBJECT_NAME_INVALID)?;
    if trailing && options & NON_DIRECTORY_FILE != 0 {
        return Err(status::OBJECT_NAME_INVALID);
    }
    if trailing {
        request.at.create_options().set(options | DIRECTORY_FILE);
    }
    let (view, rest) = claim(request, &path)?;
    let redirector = Arc::clone(&request.redirector);
    let result = open_file(request, &view, &rest);
    // The file has a use of the view of its own.
    redirector.release(&view.node);
    let fobx = result?;
    file.context().set(fobx.open.fcb.node.at());
    file.context2().set(fobx.view().0);
    Ok(request.at.create_information().get() as usize)
}

/// Finds or makes server and share of a path. The view has a user more; the rest of the path is the file's name.
pub(super) fn claim(
    request: &Arc<Request>,
    path: &[u16],
) -> Result<(Arc<VNetRoot>, Vec<u16>), i32> {
    let server_name = name::server_of(path).ok_or(status::OBJECT_NAME_INVALID)?;
    let redirector = Arc::clone(&request.redirector);
    let server = server::find_or_create(request, server_name)?;
    request.at.create_srv_call().set(server.view().0);
    let (share, rest) = net_root::split(&redirector, &server, path);
    let view = if share.len() > server_name.len() + 1 {
        net_root::find_or_create(request, &server, &share)
    } else {
        Err(status::BAD_NETWORK_NAME)
    };
    redirector.release(&server.node);
    let view = view?;
    request.at.create_net_root().set(view.net_root.view().0);
    request.at.create_v_net_root().set(view.view().0);
    Ok((view, rest))
}

/// NT_CREATE_PARAMETERS, from the stack location.
fn fill_parameters(request: &Request) {
    let (stack, context) = (request.stack(), request.at);
    let security = stack.parameter::<usize>(0).get();
    let options = stack.parameter::<u32>(8).get();
    context.security_context().set(security);
    context.desired_access().set(if security == 0 {
        0
    } else {
        peek(security + 0x10)
    });
    context.allocation_size().set(0);
    context
        .file_attributes()
        .set(stack.parameter::<u16>(0x10).get().into());
    context
        .share_access()
        .set(stack.parameter::<u16>(0x12).get().into());
    context.disposition().set(options >> 24);
    context.create_options().set(options & 0x00FF_FFFF);
    context.ea_buffer().set(request.irp.system_buffer().get());
    context.ea_length().set(stack.parameter::<u32>(0x18).get());
}

fn open_file(request: &Arc<Request>, view: &Arc<VNetRoot>, name: &[u16]) -> Result<Arc<Fobx>, i32> {
    let redirector = &request.redirector;
    let ignore_case = view.net_root.ignores_case();
    let key = (view.view().0, name::key(name, ignore_case));
    let fcb = {
        let mut tables = redirector.tables.lock();
        if let Some(fcb) = tables.fcbs.get(&key) {
            fcb.node.acquire();
            Arc::clone(fcb)
        } else {
            view.node.acquire();
            let fcb = Arc::new(Fcb::new(view, key.clone(), name));
            Redirector::made(&fcb);
            tables.fcbs.insert(key, Arc::clone(&fcb));
            fcb
        }
    };
    redirector.show_fcbs();
    request.at.fcb().set(fcb.node.at());
    let result = fcb.lock.with(|| open_locked(request, &fcb));
    close::release_fcb(redirector, &fcb);
    result
}

/// The FCB's lock is held.
fn open_locked(request: &Arc<Request>, fcb: &Arc<Fcb>) -> Result<Arc<Fobx>, i32> {
    let context = request.at;
    let sharing = Sharing::of(context.desired_access().get(), context.share_access().get());
    if !fcb
        .sharing
        .lock()
        .iter()
        .all(|(_, other)| sharing.agrees(other))
    {
        return Err(status::SHARING_VIOLATION);
    }
    let options = context.create_options().get();
    match (fcb.is_directory(), fcb.storage.lock().is_some()) {
        (true, _) if options & NON_DIRECTORY_FILE != 0 => return Err(status::FILE_IS_A_DIRECTORY),
        (false, true) if options & DIRECTORY_FILE != 0 => return Err(status::NOT_A_DIRECTORY),
        _ => {}
    }
    if let Some(fobx) = try_collapse(request, fcb)? {
        fcb.sharing.lock().push((fobx.view().0, sharing));
        return Ok(fobx);
    }
    let redirector = &request.redirector;
    let open = Arc::new(SrvOpen::new(redirector, fcb, request));
    let at = open.view().0;
    context.srv_open().set(at);
    context.fobx().set(0);
    fcb.node.acquire();
    redirector
        .tables
        .lock()
        .srv_opens
        .insert(at, Arc::clone(&open));
    let status = request.call(Slot::CREATE);
    let fobx = redirector.fobx_of(&open);
    if !status::is_success(status) {
        if let Some(fobx) = &fobx {
            close::forget_fobx(redirector, fobx);
        }
        close::forget_srv_open(redirector, &open);
        return Err(status);
    }
    let routine: usize = peek(redirector.dispatch + Slot::CREATE.0);
    let fobx = fobx
        .filter(|fobx| context.fobx().get() == fobx.view().0)
        .unwrap_or_else(|| {
            violation(
                Rule::NoFobx,
                routine,
                "MRxCreate succeeded, and RxContext->pFobx is not what RxCreateNetFobx made for it",
            )
        });
    if fcb.storage.lock().is_none() {
        violation(
            Rule::NoFcb,
            routine,
            "MRxCreate succeeded for a new FCB without RxFinishFcbInitialization",
        );
    }
    fcb.sharing.lock().push((fobx.view().0, sharing));
    // The use of whoever made it is over; the FOBX has its own.
    let _tables = redirector.tables.lock();
    open.node.release();
    drop(_tables);
    Ok(fobx)
}

/// Uses an open of the file that is there already, if the mini-redirector wants that.
fn try_collapse(request: &Arc<Request>, fcb: &Arc<Fcb>) -> Result<Option<Arc<Fobx>>, i32> {
    let (redirector, context) = (&request.redirector, request.at);
    let fits = |open: &&Arc<SrvOpen>| {
        let view = open.view();
        Arc::ptr_eq(&open.fcb, fcb)
            && view.desired_access().get() == context.desired_access().get()
            && view.share_access().get() == context.share_access().get()
            && view.create_options().get() == context.create_options().get()
    };
    let open = redirector
        .tables
        .lock()
        .srv_opens
        .values()
        .find(fits)
        .cloned();
    let Some(open) = open else { return Ok(None) };
    context.srv_open().set(open.view().0);
    context.fobx().set(0);
    let wanted = request.call(Slot::SHOULD_COLLAPSE);
    if !status::is_success(wanted) {
        return Ok(None);
    }
    let before: Vec<usize> = redirector.tables.lock().fobxs.keys().copied().collect();
    let status = request.call(Slot::COLLAPSE_OPEN);
    let fobx = {
        let tables = redirector.tables.lock();
        tables.fobxs.get(&context.fobx().get()).cloned()
    };
    let fobx = fobx.filter(|fobx| !before.contains(&fobx.view().0));
    match (status::is_success(status), fobx) {
        (true, Some(fobx)) => Ok(Some(fobx)),
        (true, None) => violation(
            Rule::NoFobx,
            peek(redirector.dispatch + Slot::COLLAPSE_OPEN.0),
            "MRxCollapseOpen succeeded, and RxContext->pFobx is not what RxCreateNetFobx made for it",
        ),
        (false, made) => {
            if let Some(fobx) = made {
                change(open.view().opens(), -1);
                close::forget_fobx(redirector, &fobx);
            }
            Err(status)
        }
    }
}
