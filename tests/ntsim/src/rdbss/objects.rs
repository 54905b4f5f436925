//! Finding the objects behind addresses.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::context::Request;
use super::file::{Fcb, Fobx, SrvOpen};
use super::registration::Redirector;
use crate::mem::peek;

/// FCBs of all redirectors: RxFinishFcbInitialization gets nothing but the FCB.
static FCBS: Mutex<Option<HashMap<usize, Weak<Fcb>>>> = Mutex::new(None);

impl Redirector {
    /// Whether RDBSS allocates an extension with this kind of object.
    pub(super) fn manages(&self, flag: u32) -> bool {
        super::layout::Dispatch(self.dispatch).flags().get() & flag != 0
    }

    /// The FCB at an address.
    pub(super) fn find_fcb(at: usize) -> Option<Arc<Fcb>> {
        FCBS.lock().as_ref()?.get(&at)?.upgrade()
    }

    /// Lists an FCB that was made.
    pub(super) fn made(fcb: &Arc<Fcb>) {
        FCBS.lock()
            .get_or_insert_default()
            .insert(fcb.node.at(), Arc::downgrade(fcb));
    }

    /// Forgets an FCB.
    pub(super) fn gone(&self, fcb: &Arc<Fcb>) {
        FCBS.lock().get_or_insert_default().remove(&fcb.node.at());
    }

    /// NumberOfActiveFcbs.
    pub(super) fn show_fcbs(&self) {
        let number = self.tables.lock().fcbs.len();
        self.device
            .active_fcbs()
            .set(u32::try_from(number).unwrap_or(u32::MAX));
    }

    /// A FOBX of an open.
    pub(super) fn fobx_of(&self, open: &Arc<SrvOpen>) -> Option<Arc<Fobx>> {
        let tables = self.tables.lock();
        tables
            .fobxs
            .values()
            .find(|fobx| Arc::ptr_eq(&fobx.open, open))
            .cloned()
    }
}

impl Request {
    /// The FOBX of the file object, with its open and its file in the context.
    pub(super) fn fobx(&self) -> Option<Arc<Fobx>> {
        let file = self.file();
        let fobx = {
            let tables = self.redirector.tables.lock();
            tables.fobxs.get(&file.context2().get()).cloned()
        }?;
        self.at.fcb().set(fobx.open.fcb.node.at());
        self.at.fobx().set(fobx.view().0);
        self.at.srv_open().set(fobx.open.view().0);
        Some(fobx)
    }

    /// The bytes of an IRP's system buffer parameter `Length`.
    pub(super) fn length(&self) -> u32 {
        peek(self.stack().parameter::<u32>(0).address())
    }
}
