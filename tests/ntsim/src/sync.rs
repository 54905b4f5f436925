//! What the lock-free parts stand on. The suite `models` compiles their files once more, with the model checker's types here.

pub(crate) use core::hint::spin_loop;
pub(crate) use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::thread::yield_now;
