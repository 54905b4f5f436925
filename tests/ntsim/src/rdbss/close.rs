//! IRP_MJ_CLEANUP and IRP_MJ_CLOSE, and how FOBX, SRV_OPEN and FCB go.

use std::sync::Arc;

use super::calldown::Slot;
use super::context::Request;
use super::dispatch::Fate;
use super::file::{Fcb, Fobx, SrvOpen, change};
use super::registration::Redirector;
use super::start_stop;
use crate::io::status;

/// The last handle is closed: MRxCleanupFobx.
pub(super) fn cleanup(request: &Arc<Request>) -> Fate {
    let Some(fobx) = request.fobx() else {
        return Fate::status(status::SUCCESS);
    };
    let fcb = Arc::clone(&fobx.open.fcb);
    fcb.lock.with(|| {
        request.call(Slot::CLEANUP_FOBX);
        change(fobx.open.view().unclean_fobxs(), -1);
        let at = fobx.view().0;
        fcb.sharing.lock().retain(|(owner, _)| *owner != at);
    });
    Fate::status(status::SUCCESS)
}

/// The file object goes: MRxCloseSrvOpen with the last FOBX of an open, then the deallocators.
pub(super) fn close(request: &Arc<Request>) -> Fate {
    let Some(fobx) = request.fobx() else {
        return Fate::status(status::SUCCESS);
    };
    let redirector = Arc::clone(&request.redirector);
    let open = Arc::clone(&fobx.open);
    let fcb = Arc::clone(&open.fcb);
    fcb.node.acquire();
    fcb.lock.with(|| {
        change(open.view().opens(), -1);
        if open.view().opens().get() == 0 {
            request.call(Slot::CLOSE_SRV_OPEN);
        }
        forget_fobx(&redirector, &fobx);
        if open.view().opens().get() == 0 {
            forget_srv_open(&redirector, &open);
        }
    });
    request.at.fobx().set(0);
    request.at.srv_open().set(0);
    drop((fobx, open));
    release_fcb(&redirector, &fcb);
    if redirector.state() != start_stop::STARTED {
        // It was stopped with this handle open: nothing waits for the scavenger.
        redirector.scavenge_all();
    }
    Fate::status(status::SUCCESS)
}

/// MRxDeallocateForFobx; the FOBX is no more.
pub(super) fn forget_fobx(redirector: &Arc<Redirector>, fobx: &Arc<Fobx>) {
    let at = fobx.view().0;
    redirector.try_call(Slot::DEALLOCATE_FOR_FOBX, &[at as u64]);
    let mut tables = redirector.tables.lock();
    tables.fobxs.remove(&at);
    fobx.open.node.release();
}

/// The SRV_OPEN is no more.
pub(super) fn forget_srv_open(redirector: &Arc<Redirector>, open: &Arc<SrvOpen>) {
    redirector.tables.lock().srv_opens.remove(&open.view().0);
    let _tables = redirector.tables.lock();
    open.fcb.node.release();
}

/// A user of an FCB less: with the last, MRxDeallocateForFcb.
pub(super) fn release_fcb(redirector: &Arc<Redirector>, fcb: &Arc<Fcb>) {
    let last = {
        let mut tables = redirector.tables.lock();
        let last = fcb.node.release();
        if last {
            tables.fcbs.remove(&fcb.key);
        }
        last
    };
    if !last {
        return;
    }
    if fcb.storage.lock().is_some() {
        redirector.try_call(Slot::DEALLOCATE_FOR_FCB, &[fcb.node.at() as u64]);
    }
    redirector.gone(fcb);
    redirector.show_fcbs();
    redirector.release(&fcb.view.node);
}
