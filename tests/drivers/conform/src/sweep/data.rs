//! Scenarios of data, datagrams, queries and packets.

use super::{
    Scenario,
    attempt::Step,
    life::{Life, live},
};
use crate::{
    client::{Answer, CLIENT, Lane},
    fixture::script,
    nt::{mdl::Buffer, status, time::SECOND},
    outcome::{Trouble, same},
    transport::{self, Kind, Personality, Script, TRANSPORT, state::State},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "sends, at once",
        run: |attempt| live(attempt, Personality::Orderly, sends),
    },
    Scenario {
        name: "sends, later",
        run: |attempt| {
            script(Kind::Send, Script::Later(status::SUCCESS));
            live(attempt, Personality::Orderly, sends)
        },
    },
    Scenario {
        name: "further data",
        run: |attempt| live(attempt, Personality::Orderly, further_data),
    },
    Scenario {
        name: "data that the engine fetches itself",
        run: |attempt| live(attempt, Personality::Orderly, backlog),
    },
    Scenario {
        name: "datagrams sent, at once",
        run: |attempt| live(attempt, Personality::Datagram, datagrams_sent),
    },
    Scenario {
        name: "datagrams sent, later",
        run: |attempt| {
            script(Kind::SendDatagram, Script::Later(status::SUCCESS));
            live(attempt, Personality::Datagram, datagrams_sent)
        },
    },
    Scenario {
        name: "datagrams received",
        run: |attempt| live(attempt, Personality::Datagram, datagrams_received),
    },
    Scenario {
        name: "queries, at once",
        run: |attempt| live(attempt, Personality::Orderly, queries),
    },
    Scenario {
        name: "queries, later",
        run: |attempt| {
            script(Kind::Query, Script::Later(status::SUCCESS));
            live(attempt, Personality::Orderly, queries)
        },
    },
    Scenario {
        name: "packets",
        run: |attempt| {
            live(attempt, Personality::Orderly, |life| {
                life.addressed()?;
                life.packet()?;
                life.packet()?;
                life.ask_the_rest()
            })
        },
    },
];

/// TDI_SEND_EXPEDITED.
const EXPEDITED: u32 = 0x20;

fn sends(life: &mut Life) -> Step {
    let vc = life.connected()?;
    life.send_and_wait(vc)?;
    life.send_through(vc, 0)?;
    life.send_through(vc, EXPEDITED)?;
    life.send_through(vc, 0)
}

fn further_data(life: &mut Life) -> Step {
    let vc = life.connected()?;
    for lane in [Lane::Normal, Lane::Expedited, Lane::Normal] {
        life.take_more(vc, lane)?;
    }
    let taken = life.indicate(vc, Lane::Normal, &mut [1; 20], 20);
    Ok(same("bytes taken", taken.map(|all| all.taken), Some(20))?)
}

/// Data is indicated while a receive is outstanding: the engine refuses it, fetches it itself afterwards, and offers it. The
/// client wants it in memory that has to be mapped.
fn backlog(life: &mut Life) -> Step {
    let vc = life.connected()?;
    let no_memory = Trouble::no_memory;
    let first = Buffer::new(&[0xFF; 30]).ok_or_else(no_memory)?;
    let second = Buffer::locked(&[0xFF; 15]).ok_or_else(no_memory)?;
    CLIENT.update(|client| client.answer(Answer::More(first.mdl(), 30)));
    life.indicate(vc, Lane::Normal, &mut [1; 10], 10);
    life.indicate(vc, Lane::Normal, &mut [2; 20], 20);
    CLIENT.update(|client| client.answer(Answer::Into(second.mdl(), 15)));
    transport::complete_with_data(&[1; 30]);
    if !life.ready(&first)? {
        // Without a receive there was no reason to refuse anything.
        return life.tear_down_vc(vc);
    }
    let fetches = |state: &State| state.awaits_data();
    if TRANSPORT.wait_until(SECOND, fetches) {
        transport::complete_with_data(&[2; 20]);
        life.ready(&second)?;
    } else {
        // The receive that failed was the engine's own: the client hears of nothing, and the next data goes on.
        life.nothing_came(&second)?;
    }
    life.tear_down_vc(vc)
}

fn datagrams_sent(life: &mut Life) -> Step {
    life.addressed()?;
    life.datagram_through()?;
    life.datagram_through()
}

fn datagrams_received(life: &mut Life) -> Step {
    life.addressed()?;
    let nobody = core::ptr::null_mut();
    life.take_more(nobody, Lane::Datagram)?;
    life.take_more(nobody, Lane::Datagram)?;
    let taken = life.indicate(nobody, Lane::Datagram, &mut [1; 20], 20);
    Ok(same("bytes taken", taken.map(|all| all.taken), Some(20))?)
}

fn queries(life: &mut Life) -> Step {
    let vc = life.connected()?;
    transport::answer_queries(&[7; 60], status::SUCCESS);
    for class in 1..=4 {
        life.query(vc, class)?;
    }
    life.query_adapter()?;
    life.query(vc, 3)?;
    life.query_adapter()
}
