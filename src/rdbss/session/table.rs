//! Which requests of a session wait for an answer, and the answer that is coming in.

use core::ptr::NonNull;

use p9::{NOTAG, Next, Splitter};
use rxce_engine::Error;
use wdk_sys::{NTSTATUS, STATUS_INVALID_NETWORK_RESPONSE};

use super::exchange::Exchange;

/// How many requests of a session may wait at once.
pub(super) const MOST_REQUESTS: usize = 32;

/// Under the session's lock.
pub(super) struct Table {
    /// Why the session is of no use any more.
    failure: Option<NTSTATUS>,
    splitter: Splitter,
    /// The place of the request whose answer is coming in.
    current: Option<usize>,
    /// A request's tag is the number of its place.
    places: [Place; MOST_REQUESTS],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Free,
    /// Somebody makes a request with this tag.
    Reserved,
    Waiting(NonNull<Exchange>),
}

// SAFETY: A listed exchange lives: whoever waits for it takes it out first.
unsafe impl Send for Table {}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            failure: None,
            splitter: Splitter::new(),
            current: None,
            places: [Place::Free; MOST_REQUESTS],
        }
    }

    /// Refuses once the session has failed.
    ///
    /// # Errors
    ///
    /// The reason.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.failure
            .map_or(Ok(()), |reason| Err(Error::Transport(reason)))
    }

    /// Reserves a place, which [`Self::list`] or [`Self::release`] must follow; `None` while all are taken.
    ///
    /// # Errors
    ///
    /// Why the session has failed.
    pub(super) fn reserve(&mut self) -> Result<Option<usize>, Error> {
        self.check()?;
        let free = self.places.iter().position(|place| *place == Place::Free);
        if let Some(place) = free.and_then(|index| self.places.get_mut(index)) {
            *place = Place::Reserved;
        }
        Ok(free)
    }

    /// Lists a request at its place. It is about to be sent.
    ///
    /// # Errors
    ///
    /// Why the session has failed; the place stays reserved.
    pub(super) fn list(&mut self, index: usize, exchange: NonNull<Exchange>) -> Result<(), Error> {
        self.check()?;
        if let Some(place) = self.places.get_mut(index) {
            *place = Place::Waiting(exchange);
        }
        Ok(())
    }

    /// Frees a place. After that, nobody but its owner touches the exchange that was there.
    pub(super) fn release(&mut self, index: usize) {
        if let Some(place) = self.places.get_mut(index) {
            *place = Place::Free;
        }
        if self.current == Some(index) {
            // The rest of this answer belongs to nobody. Only a session that has failed gets here.
            self.current = None;
        }
    }

    /// Makes the session useless, and ends whatever waits.
    pub(super) fn fail(&mut self, reason: NTSTATUS) {
        self.failure.get_or_insert(reason);
        self.current = None;
        let reason = self.failure.unwrap_or(reason);
        for place in &mut self.places {
            if let Place::Waiting(exchange) = *place {
                // Whoever waits frees the place.
                *place = Place::Reserved;
                // SAFETY: A listed exchange lives; the lock is held.
                let exchange = unsafe { exchange.as_ref() };
                // SAFETY: As above.
                unsafe { exchange.end(Err(Error::Transport(reason))) };
            }
        }
    }

    /// Uses received bytes, all of them.
    pub(super) fn receive(&mut self, mut input: &[u8]) {
        while !input.is_empty() && self.failure.is_none() {
            match self.advance(input) {
                Ok(taken) => input = input.get(taken..).unwrap_or_default(),
                Err(_) => self.fail(STATUS_INVALID_NETWORK_RESPONSE),
            }
        }
    }

    /// Uses some bytes; returns how many.
    fn advance(&mut self, input: &[u8]) -> Result<usize, p9::Error> {
        if let Some(current) = self.current {
            return self.feed(current, input);
        }
        let step = self.splitter.feed(input)?;
        if let Some((bytes, header)) = step.header {
            // `Tversion` has a tag of its own, and comes alone.
            let index = match header.tag {
                NOTAG => 0,
                tag => usize::from(tag),
            };
            self.current = Some(index);
            self.feed(index, &bytes)?;
        }
        Ok(step.taken)
    }

    /// Gives bytes to the request at a place.
    fn feed(&mut self, index: usize, input: &[u8]) -> Result<usize, p9::Error> {
        let place = self.places.get_mut(index).ok_or(p9::Error::Unsolicited)?;
        let Place::Waiting(exchange) = *place else {
            return Err(p9::Error::Unsolicited);
        };
        // SAFETY: A listed exchange lives; the lock is held.
        let exchange = unsafe { exchange.as_ref() };
        // SAFETY: As above.
        let step = unsafe { exchange.feed(input) }?;
        if step.next == Next::Nothing {
            *place = Place::Reserved;
            self.current = None;
            // SAFETY: As above; whoever waits may free it from now on.
            unsafe { exchange.end(Ok(())) };
        }
        Ok(step.taken)
    }
}
