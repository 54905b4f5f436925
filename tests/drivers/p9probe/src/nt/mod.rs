//! Owners of kernel objects: one file per object, each with its `Drop` and its IRQL rules.

pub(crate) mod event;
pub(crate) mod irp;
pub(crate) mod mdl;
pub(crate) mod pool;
pub(crate) mod spin_lock;
pub(crate) mod unicode;
