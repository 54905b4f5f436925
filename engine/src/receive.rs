//! Order of a circuit's received bytes: who may offer them to the client, and what was refused meanwhile.
//!
//! The guard of a stream is taken before the client's Receive is called and goes when nothing was accepted or when
//! the accepted receive was filled (specification, section 6). An indication that comes while it is taken is refused
//! and remembered: a receive request of ours has to fetch those bytes.

use crate::life::Life;

/// The two byte streams of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Normal data.
    Normal,
    /// Expedited data, which may overtake normal data.
    Expedited,
}

/// The guards of both streams.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    normal: Stream,
    expedited: Stream,
}

impl Streams {
    /// Two free streams.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            normal: Stream::new(),
            expedited: Stream::new(),
        }
    }

    /// The guard of one stream.
    pub const fn of(&mut self, channel: Channel) -> &mut Stream {
        match channel {
            Channel::Normal => &mut self.normal,
            Channel::Expedited => &mut self.expedited,
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self::new()
    }
}

/// What to do with an indication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// Offer it to the client; the guard is taken.
    Offer,
    /// `STATUS_DATA_NOT_ACCEPTED`: somebody else has the guard.
    Refuse,
    /// Take all of it and tell nobody: the circuit is being torn down.
    Discard,
}

/// What to do when the guard would go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the guard went.
    Idle,
    /// Bytes were refused meanwhile: fetch them. The guard is kept for that.
    Redeliver,
}

/// The guard of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    taken: bool,
    held: bool,
}

impl Stream {
    const fn new() -> Self {
        Self {
            taken: false,
            held: false,
        }
    }

    /// Decides about an indication.
    pub fn indicate(&mut self, life: &Life) -> Indication {
        match (life.admits_receive(), self.taken) {
            (true, _) if !life.is_announced() => {
                self.held = !mutant!(EarlyRefusalForgotten);
                Indication::Refuse
            }
            (true, false) => {
                self.taken = !mutant!(GuardNotTaken);
                Indication::Offer
            }
            (true, true) => {
                self.held = !mutant!(RefusalForgotten);
                Indication::Refuse
            }
            // A receive in progress must not get bytes after a hole.
            (false, true) if mutant!(DiscardBehindReceive) => Indication::Discard,
            (false, true) => Indication::Refuse,
            (false, false) if mutant!(TearDownRefuses) => Indication::Refuse,
            (false, false) => Indication::Discard,
        }
    }

    /// Notes that an indication was refused by whoever has the guard: its bytes have to be fetched when the guard goes.
    pub const fn hold_back(&mut self) {
        self.held = true;
    }

    /// Notes that a receive request is about to be handed to the transport: it fetches whatever was refused before.
    pub fn requested(&mut self) {
        self.held &= mutant!(FetchedTwice);
    }

    /// Lets the guard go, unless refused bytes have to be fetched first and `room` says that they can be taken.
    pub fn release(&mut self, life: &Life, room: Room) -> Next {
        if self.held && life.admits_receive() && matches!(room, Room::Left) {
            self.held = false;
            return Next::Redeliver;
        }
        self.taken = false;
        Next::Idle
    }

    /// Takes the guard for bytes that were refused, if there are any and nobody has it. Its [`Self::release`] decides whether they can
    /// be fetched: the redelivery buffer may be full of others.
    pub const fn claim_held(&mut self) -> bool {
        let claimed = self.held && !self.taken;
        if claimed {
            self.taken = true;
        }
        claimed
    }

    /// Lets the guard go for good: nothing will be fetched.
    pub const fn abandon(&mut self) {
        self.taken = false;
    }
}

/// Whether the redelivery buffer can take more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It can.
    Left,
    /// It is full of bytes that the client refuses.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::Closing;

    #[test]
    fn a_stray_indication_is_refused_and_fetched_later() {
        let life = Life::new(Closing::Orderly);
        let mut stream = Stream::new();
        assert_eq!(stream.indicate(&life), Indication::Offer);
        assert_eq!(stream.indicate(&life), Indication::Refuse);
        assert_eq!(stream.release(&life, Room::Left), Next::Redeliver);
        assert_eq!(
            stream.indicate(&life),
            Indication::Refuse,
            "the redelivery has the guard"
        );
    }

    #[test]
    fn a_receive_issued_after_the_refusal_fetches_the_bytes() {
        let life = Life::new(Closing::Orderly);
        let mut stream = Stream::new();
        assert_eq!(stream.indicate(&life), Indication::Offer);
        assert_eq!(stream.indicate(&life), Indication::Refuse);
        stream.requested();
        assert_eq!(stream.release(&life, Room::Left), Next::Idle);
        assert_eq!(stream.indicate(&life), Indication::Offer);
    }

    #[test]
    fn refused_bytes_wait_while_the_buffer_is_full() {
        let life = Life::new(Closing::Orderly);
        let mut stream = Stream::new();
        assert_eq!(stream.indicate(&life), Indication::Offer);
        assert_eq!(stream.indicate(&life), Indication::Refuse);
        assert_eq!(stream.release(&life, Room::None), Next::Idle);
        // Whoever announces the circuit only now.
        assert!(stream.claim_held());
        assert_eq!(stream.release(&life, Room::None), Next::Idle);
        assert!(stream.claim_held());
        assert!(!stream.claim_held(), "somebody has the guard");
        assert_eq!(stream.release(&life, Room::Left), Next::Redeliver);
    }

    #[test]
    fn a_tear_down_discards_but_never_behind_an_accepted_receive() {
        let mut life = Life::new(Closing::Orderly);
        let mut stream = Stream::new();
        assert_eq!(stream.indicate(&life), Indication::Offer);
        assert_eq!(life.end_build(true), crate::life::Built::Alive(None));
        assert_eq!(life.begin_tear_down(), Ok(()));
        assert_eq!(stream.indicate(&life), Indication::Refuse);
        assert_eq!(stream.release(&life, Room::Left), Next::Idle);
        assert_eq!(stream.indicate(&life), Indication::Discard);
    }
}
