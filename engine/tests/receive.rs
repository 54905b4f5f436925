//! The guard of a byte stream against section 6 of the connection engine specification: one holder at a time, and
//! nothing that was refused stays behind in the transport.

use proptest::{prelude::*, test_runner::RngSeed};
use rxce_engine::{
    life::{Built, Closing, Life},
    receive::{Channel, Indication, Next, Room, Streams},
};

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The transport indicates, at the right moment or not.
    Indicate,
    /// The client wants more: a receive request goes to the transport.
    More,
    /// The receive needs a continuation.
    Continue,
    /// What was offered is dealt with, or the receive was filled.
    Finish(Room),
    /// Nothing will be fetched.
    Abandon,
    TearDown,
    /// The client learns of the circuit, which has won against others.
    Announce,
    /// What was refused before that is fetched.
    CatchUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    Client,
    Receive,
}

/// One stream as the client and the transport see it.
#[derive(Clone, Copy, Debug)]
struct Model {
    holder: Holder,
    /// The transport has bytes that we refused, and says nothing of them until a receive fetches them.
    stuck: bool,
}

fn event() -> impl Strategy<Value = (Channel, Event)> {
    let channel = prop_oneof![3 => Just(Channel::Normal), 1 => Just(Channel::Expedited)];
    let event = prop_oneof![
        8 => Just(Event::Indicate),
        4 => Just(Event::More),
        3 => Just(Event::Continue),
        6 => Just(Event::Finish(Room::Left)),
        2 => Just(Event::Finish(Room::None)),
        1 => Just(Event::Abandon),
        1 => Just(Event::TearDown),
        4 => Just(Event::Announce),
        4 => Just(Event::CatchUp),
    ];
    (channel, event)
}

struct World {
    life: Life,
    streams: Streams,
    alive: bool,
    announced: bool,
    models: [Model; 2],
}

impl World {
    fn new(competing: bool) -> Self {
        let life = if competing {
            Life::competing(Closing::Orderly)
        } else {
            let mut life = Life::new(Closing::Orderly);
            assert_eq!(life.end_build(true), Built::Alive(None));
            life
        };
        let free = Model {
            holder: Holder::Nobody,
            stuck: false,
        };
        Self {
            life,
            streams: Streams::default(),
            alive: true,
            announced: !competing,
            models: [free; 2],
        }
    }

    fn step(&mut self, channel: Channel, event: Event) {
        let stream = self.streams.of(channel);
        let model = match channel {
            Channel::Normal => &mut self.models[0],
            Channel::Expedited => &mut self.models[1],
        };
        match (event, model.holder) {
            (Event::Indicate, _) if self.alive && !self.announced => {
                assert_eq!(stream.indicate(&self.life), Indication::Refuse);
                model.stuck = true;
            }
            (Event::Announce, _) if self.alive && !self.announced => {
                self.life.announce();
                self.announced = true;
            }
            (Event::CatchUp, _) if self.alive && self.announced => {
                let fetch = model.stuck && model.holder == Holder::Nobody;
                assert_eq!(stream.claim_held(), fetch);
                // What follows is the end of a holding like any other.
                if fetch {
                    model.holder = Holder::Receive;
                }
            }
            (Event::Indicate, Holder::Nobody) => {
                let expected = if self.alive {
                    model.holder = Holder::Client;
                    Indication::Offer
                } else {
                    Indication::Discard
                };
                assert_eq!(stream.indicate(&self.life), expected);
            }
            (Event::Indicate, _) => {
                assert_eq!(stream.indicate(&self.life), Indication::Refuse);
                model.stuck |= self.alive;
            }
            (Event::More, Holder::Client) if self.alive => {
                stream.requested();
                *model = Model {
                    holder: Holder::Receive,
                    stuck: false,
                };
            }
            (Event::Continue, Holder::Receive) if self.alive => {
                stream.requested();
                model.stuck = false;
            }
            (Event::Finish(room), Holder::Client | Holder::Receive) => {
                let fetch = model.stuck && self.alive && room == Room::Left;
                let expected = if fetch {
                    *model = Model {
                        holder: Holder::Receive,
                        stuck: false,
                    };
                    Next::Redeliver
                } else {
                    model.holder = Holder::Nobody;
                    Next::Idle
                };
                assert_eq!(stream.release(&self.life, room), expected);
            }
            (Event::Abandon, Holder::Client | Holder::Receive) => {
                stream.abandon();
                model.holder = Holder::Nobody;
            }
            (Event::TearDown, _) if !self.announced => {
                self.life.give_up();
                self.alive = false;
            }
            (Event::TearDown, _) => {
                assert_eq!(self.life.begin_tear_down().is_ok(), self.alive);
                self.alive = false;
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5278_4365),
        ..ProptestConfig::default()
    })]

    #[test]
    fn one_holder_and_nothing_left_behind(
        competing in any::<bool>(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut world = World::new(competing);
        for (channel, event) in events {
            world.step(channel, event);
        }
    }
}
