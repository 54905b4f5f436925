//! Executive support routines: rundown protection, resources, work queues, interlocked and look-aside lists.

pub mod lookaside;
pub mod resource;
pub mod rundown;
pub mod slist;
pub mod work;
