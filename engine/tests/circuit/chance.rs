//! Choices that the model checker makes, and repeats when it replays an execution.

use shuttle::rand::{Rng, thread_rng};

pub(crate) fn coin() -> bool {
    thread_rng().gen_bool(0.5)
}

pub(crate) fn one_of<T: Copy>(options: &[T]) -> T {
    options[thread_rng().gen_range(0..options.len())]
}
