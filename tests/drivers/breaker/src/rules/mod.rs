//! One routine per rule, by subject; a rule's name in `breaker-ioctl` is its routine's.

mod executive;
mod irp;
mod irql;
mod lock;
mod mdl;
mod memory;
mod object;
mod pool;
mod tdi;
mod unload;
mod wait;

use crate::driver::Bench;

pub(crate) use unload::at_unload;

/// Breaks a rule, or does the nearest legal thing.
pub(crate) type Routine = fn(&Bench);

/// Makes the table of a subject: `table![one, two]`.
macro_rules! table {
    ($($name:ident),* $(,)?) => {
        pub(super) const TABLE: &[(&str, super::Routine)] = &[$((stringify!($name), $name)),*];
    };
}
use table;

/// The routine of a rule.
pub(crate) fn find(name: &str) -> Option<Routine> {
    [
        pool::TABLE,
        memory::TABLE,
        mdl::TABLE,
        irql::TABLE,
        lock::TABLE,
        wait::TABLE,
        executive::TABLE,
        object::TABLE,
        irp::TABLE,
        tdi::TABLE,
        unload::TABLE,
    ]
    .iter()
    .flat_map(|table| table.iter())
    .find(|(known, _)| *known == name)
    .map(|(_, routine)| *routine)
}
