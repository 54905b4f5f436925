//! Scenarios of transports, addresses, connections and circuits: built, disconnected, torn down.

use rxce_client::RXCEX_COUNTERS;

use super::{
    Scenario,
    attempt::Step,
    life::{Life, live},
};
use crate::{
    client::Call,
    engine::{self, extension},
    fixture::{self, buffer, endpoint_of, script},
    nt::status,
    outcome::same,
    transport::{self, Kind, Personality, Script},
};

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "addresses on every kind of provider",
        run: |attempt| {
            for personality in Personality::ALL {
                live(attempt, personality, |life| life.addressed())?;
            }
            Ok(())
        },
    },
    Scenario {
        name: "circuits, connects at once",
        run: |attempt| {
            live(attempt, Personality::Orderly, circuits)?;
            live(attempt, Personality::Abortive, circuits)
        },
    },
    Scenario {
        name: "circuits, connects later",
        run: |attempt| {
            script(Kind::Connect, Script::Later(status::SUCCESS));
            live(attempt, Personality::Buffering, circuits)
        },
    },
    Scenario {
        name: "a connect that is cancelled",
        run: |attempt| live(attempt, Personality::Orderly, cancelled),
    },
    Scenario {
        name: "initiate, RELEASE at once",
        run: |attempt| live(attempt, Personality::Orderly, initiated),
    },
    Scenario {
        name: "initiate, RELEASE later",
        run: |attempt| {
            script(Kind::Release, Script::Later(status::SUCCESS));
            live(attempt, Personality::Orderly, initiated)
        },
    },
    Scenario {
        name: "initiate, RELEASE until the ABORT",
        run: |attempt| {
            script(Kind::Release, Script::UNTIL_ABORT);
            live(attempt, Personality::Orderly, initiated)
        },
    },
    Scenario {
        name: "initiate, ABORT only",
        run: |attempt| {
            script(Kind::Abort, Script::Later(status::SUCCESS));
            live(attempt, Personality::Abortive, initiated)
        },
    },
    Scenario {
        name: "the peer releases",
        run: |attempt| live(attempt, Personality::Orderly, released_by_the_peer),
    },
    Scenario {
        name: "the peer aborts",
        run: |attempt| live(attempt, Personality::Orderly, aborted_by_the_peer),
    },
    Scenario {
        name: "an address fails under two circuits",
        run: |attempt| live(attempt, Personality::Orderly, address_fails),
    },
    Scenario {
        name: "torn down with a send and a receive pending",
        run: |attempt| {
            script(Kind::Send, Script::UNTIL_ABORT);
            live(attempt, Personality::Orderly, torn_down_in_use)
        },
    },
    Scenario {
        name: "torn down, everything ends at the close only",
        run: |attempt| {
            for kind in [Kind::Send, Kind::Receive, Kind::Release, Kind::Abort] {
                script(kind, Script::UNTIL_CLOSE);
            }
            // The last disconnect request is ended by the close.
            live(attempt, Personality::Orderly, |life| {
                life.is_torn_down_with(status::CONNECTION_ABORTED);
                torn_down_in_use(life)
            })
        },
    },
];

fn circuits(life: &mut Life) -> Step {
    let first = life.connected()?;
    let second = life.build_vc()?;
    life.send_and_wait(first)?;
    life.send_through(second, 0)?;
    life.tear_down_vc(first)?;
    let third = life.build_vc()?;
    life.send_and_wait(third)
}

fn cancelled(life: &mut Life) -> Step {
    let vc = life.connected()?;
    // The transport's answer to the ABORT of a build that ends anyway is told to nobody.
    life.attempt.may_hide();
    script(Kind::Connect, Script::PEND);
    life.build_vc_and_cancel()?;
    life.send_and_wait(vc)?;
    let mut counters = RXCEX_COUNTERS {
        Size: u32::try_from(size_of::<RXCEX_COUNTERS>()).unwrap_or_default(),
        ..RXCEX_COUNTERS::default()
    };
    let answer = extension::query_counters(vc.cast(), &raw mut counters);
    Ok(fixture::ok("RxCexQueryCounters", answer)?)
}

fn initiated(life: &mut Life) -> Step {
    let vc = life.connected()?;
    life.initiate(vc)?;
    // The second time it has nothing to do.
    fixture::ok("RxCeInitiateVCDisconnect once more", engine::initiate(vc))?;
    let data = buffer(b"too late")?;
    let answer = fixture::send(vc, &data, 1);
    crate::outcome::status("RxCeSend", answer, status::CONNECTION_DISCONNECTED)?;
    life.tear_down_vc(vc)
}

/// TDI_DISCONNECT_ABORT and TDI_DISCONNECT_RELEASE, in indications.
const ABORT: u32 = 2;
const RELEASE: u32 = 4;

fn released_by_the_peer(life: &mut Life) -> Step {
    let vc = life.connected()?;
    let other = life.build_vc()?;
    transport::disconnect(endpoint_of(vc), RELEASE);
    transport::disconnect(endpoint_of(other), RELEASE);
    same("Disconnect callbacks", fixture::called(Call::Disconnect), 2)?;
    // One is acknowledged by initiate, the other by tear-down.
    life.initiate(vc)?;
    life.tear_down_vc(other)
}

fn aborted_by_the_peer(life: &mut Life) -> Step {
    let vc = life.connected()?;
    transport::disconnect(endpoint_of(vc), ABORT);
    same("Disconnect callbacks", fixture::called(Call::Disconnect), 1)?;
    life.initiate_in_vain(vc)?;
    life.tear_down_vc(vc)
}

fn address_fails(life: &mut Life) -> Step {
    let vc = life.connected()?;
    life.build_vc()?;
    transport::error(life.f.address_file(), status::LINK_FAILED);
    let told = fixture::called(Call::ConnectionError);
    same("Error callbacks of the connection", told, 2)?;
    life.initiate_in_vain(vc)
}

fn torn_down_in_use(life: &mut Life) -> Step {
    let vc = life.connected()?;
    let (data, chain) = (buffer(b"on its way")?, buffer(&[0xFF; 30])?);
    life.attempt.may_hide();
    let context = life.send(vc, 0, &data)?;
    let lane = crate::client::Lane::Normal;
    crate::client::CLIENT.update(|client| {
        client.answer(crate::client::Answer::More(chain.mdl(), 30));
    });
    let answered = life.indicate(vc, lane, &mut [7; 10], 40);
    same("bytes taken", answered.map(|answer| answer.taken), Some(10))?;
    life.tear_down_vc(vc)?;
    let [sent, ready] = [Call::SendComplete, Call::DataReady].map(fixture::called);
    same("[SendComplete, DataReady] callbacks", [sent, ready], [1, 1])?;
    let last = crate::client::CLIENT.read(|client| client.last(Call::SendComplete));
    let told = last.map(|last| last.object.addr());
    Ok(same("SendComplete's context", told, Some(context))?)
}
