//! Executive support routines: rundown protection, work queues, interlocked lists.

pub mod rundown;
pub mod slist;
pub mod work;
