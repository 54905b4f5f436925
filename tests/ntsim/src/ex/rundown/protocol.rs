//! The steps of run-down protection: how the words change, and what changes only under the dispatcher lock.
//!
//! A word whose bit 0 says that the run-down has begun changes only under that lock, in one hold with the wake-up: when the
//! wait has returned, the words may be gone. A word that does not say so yet may change at any moment, and is not looked at
//! again after that.

use crate::sync::{AtomicU64, Ordering};

/// Says that the run-down has begun.
pub(crate) const ACTIVE: u64 = 1;
/// One reference.
pub(crate) const ONE: u64 = 2;

/// The dispatcher, as far as a reference needs it.
pub(crate) trait Dispatcher {
    /// Has its lock.
    type Hold;
    /// Somebody who is going to sleep.
    type Waiter;

    fn lock(&self) -> Self::Hold;
    /// Announces who waits for the reference.
    fn enlist(&self, hold: &mut Self::Hold) -> Self::Waiter;
    /// Wakes who waits for the reference, if somebody does.
    fn wake(&self, hold: &mut Self::Hold);
    /// Sleeps until woken.
    fn sleep(&self, waiter: Self::Waiter);
}

/// The words of a cache-aware reference.
pub(crate) trait Words {
    /// What counts once the run-down has begun.
    fn plain(&self) -> &AtomicU64;
    /// How many words there are for processors, at least one.
    fn count(&self) -> usize;
    fn word(&self, at: usize) -> &AtomicU64;
}

/// More was released than acquired: what the word, or the sum of all words, was.
pub(crate) struct TooOften(pub(crate) u64);

/// Changes a word unless the run-down has begun; what it was before.
fn change(word: &AtomicU64, next: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
    let mut value = word.load(Ordering::Acquire);
    loop {
        if value & ACTIVE != 0 {
            return Err(value);
        }
        let next = next(value).ok_or(value)?;
        value = match word.compare_exchange_weak(value, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(value),
            Err(now) => now,
        };
    }
}

/// Takes references, in steps of [`ONE`], unless the run-down has begun.
pub(crate) fn acquire(word: &AtomicU64, step: u64) -> bool {
    change(word, |value| Some(value.wrapping_add(step))).is_ok()
}

/// The same on this processor.
pub(crate) fn acquire_on(words: &impl Words, processor: usize, step: u64) -> bool {
    acquire(words.word(processor % words.count()), step)
}

/// Gives references back.
pub(crate) fn release(
    word: &AtomicU64,
    step: u64,
    dispatcher: &impl Dispatcher,
) -> Result<(), TooOften> {
    match change(word, |value| value.checked_sub(step)) {
        Ok(_) => Ok(()),
        Err(value) if value & ACTIVE == 0 => Err(TooOften(value)),
        Err(_) => release_waited_for(word, step, dispatcher),
    }
}

/// The same on this processor, which need not be the one where they were taken.
pub(crate) fn release_on(
    words: &impl Words,
    processor: usize,
    step: u64,
    dispatcher: &impl Dispatcher,
) -> Result<(), TooOften> {
    // Before the word changes: then the words may be gone.
    let count = words.count();
    let word = words.word(processor % count);
    match change(word, |value| Some(value.wrapping_sub(step))) {
        Ok(before) if before < step && count == 1 => Err(TooOften(before)),
        Ok(_) => Ok(()),
        Err(_) => release_waited_for(words.plain(), step, dispatcher),
    }
}

fn release_waited_for(
    word: &AtomicU64,
    step: u64,
    dispatcher: &impl Dispatcher,
) -> Result<(), TooOften> {
    let mut hold = dispatcher.lock();
    let before = word.fetch_sub(step, Ordering::AcqRel);
    if before < step + ACTIVE {
        return Err(TooOften(before));
    }
    if before - step == ACTIVE {
        dispatcher.wake(&mut hold);
    }
    Ok(())
}

/// Begins the run-down and waits for the last release.
pub(crate) fn wait(word: &AtomicU64, dispatcher: &impl Dispatcher) -> Result<(), TooOften> {
    wait_after(dispatcher, || {
        Ok(word.fetch_or(ACTIVE, Ordering::AcqRel) & !ACTIVE)
    })
}

/// The same, with words for processors.
pub(crate) fn wait_on_all(
    words: &impl Words,
    dispatcher: &impl Dispatcher,
) -> Result<(), TooOften> {
    wait_after(dispatcher, || {
        let before = words.plain().load(Ordering::Acquire);
        if before & ACTIVE != 0 {
            return Ok(before & !ACTIVE);
        }
        // Who finds a word active counts in the plain one, for which it needs the lock that is held here.
        let left = (0..words.count()).fold(0_u64, |sum, at| {
            let before = words.word(at).fetch_or(ACTIVE, Ordering::AcqRel);
            sum.wrapping_add(before & !ACTIVE)
        });
        if left.cast_signed() < 0 {
            return Err(TooOften(left));
        }
        words.plain().store(left | ACTIVE, Ordering::Release);
        Ok(left)
    })
}

/// `begin` begins the run-down and says how many references there are.
fn wait_after(
    dispatcher: &impl Dispatcher,
    begin: impl FnOnce() -> Result<u64, TooOften>,
) -> Result<(), TooOften> {
    let waiter = {
        let mut hold = dispatcher.lock();
        if begin()? == 0 {
            return Ok(());
        }
        dispatcher.enlist(&mut hold)
    };
    dispatcher.sleep(waiter);
    Ok(())
}
