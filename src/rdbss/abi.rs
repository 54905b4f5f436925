//! The structures that this driver shares with RDBSS, as `mrx.h`, `mrxfcb.h`, `rxcontx.h` and `lowio.h` declare them.
//!
//! Offsets come from headers of the Vista generation and **were not compared with an installed WDK**: the assertions
//! below say what was assumed. Only members that this driver uses have a name of their own; nothing of `MRX_FCB` is
//! assumed but that it is passed by pointer, since its first member has grown from release to release.
#![expect(non_snake_case, reason = "documented DDI names")]

mod context;
mod dispatch;
mod objects;

pub(crate) use self::{
    context::{ReadWrite, RxContext},
    dispatch::MinirdrDispatch,
    objects::{
        CreateNetRootContext, Fobx, MrxFcb, NetRoot, RdbssDeviceObject, SrvCall, SrvCallContext,
        SrvOpen, VNetRoot,
    },
};

/// What every node begins with.
#[repr(C)]
pub(crate) struct NodeHeader {
    pub(crate) NodeTypeCode: u16,
    pub(crate) NodeByteSize: i16,
    pub(crate) NodeReferenceCount: u32,
}
