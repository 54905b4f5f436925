//! Calls of the mini-redirector: a callback returns at the IRQL, and with the locks, that it was called with.

use super::context::Request;
use super::registration::Redirector;
use super::rule::{Rule, violation};
use crate::gate;
use crate::io::status;
use crate::irql;
use crate::mem::peek;

/// A callback: its offset in MINIRDR_DISPATCH, and its name.
#[derive(Clone, Copy)]
pub(super) struct Slot(pub(super) usize, pub(super) &'static str);

macro_rules! slots {
    ($($name:ident = $offset:literal $text:literal,)*) => {
        impl Slot {
            $(pub(super) const $name: Self = Self($offset, $text);)*
        }
    };
}

slots! {
    START = 0x020 "MRxStart",
    STOP = 0x028 "MRxStop",
    CREATE = 0x038 "MRxCreate",
    COLLAPSE_OPEN = 0x040 "MRxCollapseOpen",
    SHOULD_COLLAPSE = 0x048 "MRxShouldTryToCollapseThisOpen",
    FLUSH = 0x050 "MRxFlush",
    CLEANUP_FOBX = 0x068 "MRxCleanupFobx",
    CLOSE_SRV_OPEN = 0x070 "MRxCloseSrvOpen",
    DEALLOCATE_FOR_FCB = 0x078 "MRxDeallocateForFcb",
    DEALLOCATE_FOR_FOBX = 0x080 "MRxDeallocateForFobx",
    QUERY_DIRECTORY = 0x0D0 "MRxQueryDirectory",
    QUERY_FILE = 0x0D8 "MRxQueryFileInfo",
    SET_FILE = 0x0E0 "MRxSetFileInfo",
    QUERY_EA = 0x0F0 "MRxQueryEaInfo",
    SET_EA = 0x0F8 "MRxSetEaInfo",
    QUERY_SECURITY = 0x100 "MRxQuerySdInfo",
    SET_SECURITY = 0x108 "MRxSetSdInfo",
    QUERY_VOLUME = 0x120 "MRxQueryVolumeInfo",
    SET_VOLUME = 0x128 "MRxSetVolumeInfo",
    READ = 0x140 "MRxLowIOSubmit[READ]",
    WRITE = 0x148 "MRxLowIOSubmit[WRITE]",
    FSCTL = 0x170 "MRxLowIOSubmit[FSCTL]",
    IOCTL = 0x178 "MRxLowIOSubmit[IOCTL]",
    CREATE_V_NET_ROOT = 0x1B0 "MRxCreateVNetRoot",
    FINALIZE_V_NET_ROOT = 0x1B8 "MRxFinalizeVNetRoot",
    FINALIZE_NET_ROOT = 0x1C0 "MRxFinalizeNetRoot",
    EXTRACT_NET_ROOT_NAME = 0x1D0 "MRxExtractNetRootName",
    CREATE_SRV_CALL = 0x1D8 "MRxCreateSrvCall",
    SRV_CALL_WINNER = 0x1E8 "MRxSrvCallWinnerNotify",
    FINALIZE_SRV_CALL = 0x1F0 "MRxFinalizeSrvCall",
    DEVICE_CONTROL = 0x1F8 "MRxDevFcbXXXControlFile",
}

/// Callbacks that RDBSS never calls: their slots are NULL.
pub(super) const NEVER_CALLED: [Slot; 10] = [
    Slot(0x030, "MRxCancel"),
    Slot(0x0A0, "MRxOpenPrintFile"),
    Slot(0x0A8, "MRxClosePrintFile"),
    Slot(0x0B0, "MRxWritePrintFile"),
    Slot(0x0B8, "MRxEnumeratePrintQueue"),
    Slot(0x0C0, "MRxClosedSrvOpenTimeOut"),
    Slot(0x0C8, "MRxClosedFcbTimeOut"),
    Slot(0x188, "MRxLowIOSubmit[CLEAROUT]"),
    Slot(0x1C8, "MRxUpdateNetRootState"),
    Slot(0x1E0, "MRxCancelCreateSrvCall"),
];

impl Redirector {
    /// Calls the mini-redirector; nothing if it has no such callback.
    pub(super) fn try_call(&self, slot: Slot, arguments: &[u64]) -> Option<i32> {
        let routine = peek::<usize>(self.dispatch + slot.0);
        if routine == 0 {
            return None;
        }
        let rax = irql::guarded(slot.1, || gate::call_named(slot.1, routine, arguments));
        Some(u32::try_from(rax & 0xFFFF_FFFF).unwrap_or(0).cast_signed())
    }

    /// The same; STATUS_NOT_IMPLEMENTED if it has no such callback.
    pub(super) fn call(&self, slot: Slot, arguments: &[u64]) -> i32 {
        self.try_call(slot, arguments)
            .unwrap_or(status::NOT_IMPLEMENTED)
    }

    /// The same for a callback that must be done when it returns.
    pub(super) fn call_done(&self, slot: Slot, arguments: &[u64]) -> i32 {
        let result = self.call(slot, arguments);
        if result == status::PENDING {
            violation(
                Rule::Pending,
                peek(self.dispatch + slot.0),
                format!("{} returned STATUS_PENDING", slot.1),
            );
        }
        result
    }
}

impl Request {
    /// Calls the mini-redirector with the context, for something that is done when the callback returns.
    pub(super) fn call(&self, slot: Slot) -> i32 {
        self.redirector.call_done(slot, &[self.at.0 as u64])
    }
}
