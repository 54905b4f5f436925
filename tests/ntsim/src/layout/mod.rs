//! Memory layouts that drivers see, asserted against the documented sizes and offsets.

pub mod io;
pub mod ke;
pub mod mm;
