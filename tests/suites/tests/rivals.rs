//! The clients that the engine is measured against keep the rules that it keeps: with ntsim's checks on they are used over
//! each provider, each of their calls that can fail fails once, and nothing is left.
//!
//! It needs the release images of rxce.sys and bench.sys (`cargo xtask build --all`).

use std::{
    io,
    net::{TcpListener, TcpStream},
    thread,
};

use bench_ioctl::{Command, Contest, DEVICE_NAME, IOCTL_BENCH, Provider, Rival};
use ntsim::{Driver, File, fault};
use suites::machine;

/// A list of points that shrinks by accident is no success.
const LEAST_POINTS: u32 = 100;

fn start(name: &str) -> Driver {
    machine::start(&machine::images("release").join(name)).expect("the driver starts")
}

/// Runs a command; whether it succeeded.
fn run(device: &File, command: Command) -> bool {
    let answer = device.ioctl(IOCTL_BENCH, &command.to_bytes(), command.answer_len());
    answer.is_ok()
}

fn contest(rival: Rival, contest: Contest) -> Command {
    Command::Contest {
        rival,
        contest,
        batches: 2,
        each: 3,
    }
}

/// Sends back what comes, until the client ends the connection.
fn echo() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("it has an address").port();
    let answer = |stream: TcpStream| io::copy(&mut &stream, &mut &stream);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    port
}

#[test]
fn the_clients_by_hand_keep_the_rules_and_leave_nothing() {
    ntsim::boot(ntsim::Options::default());
    ntsim::tcp::install(r"\Device\Tcp");
    let (rxce, bench) = (start("rxce.sys"), start("bench.sys"));
    let device = File::open(DEVICE_NAME).expect("the control device opens");
    let uses: [(Provider, &[Contest]); 3] = [
        (
            Provider::Null,
            &[Contest::Send, Contest::Cycle, Contest::Threads],
        ),
        (Provider::Pending, &[Contest::PendedSend, Contest::Cycle]),
        (Provider::Tcp(echo()), &[Contest::Echo, Contest::Cycle]),
    ];
    for (provider, contests) in uses {
        let circuits = 2;
        assert!(run(&device, Command::Pair { provider, circuits }));
        for rival in [Rival::ByHand, Rival::Prescribed] {
            for &what in contests {
                let command = contest(rival, what);
                assert!(run(&device, command), "{command:?} over {provider:?}");
            }
        }
    }

    // The contract by hand lives as long as a command: its parents, its builds and all that follows.
    let pair = |circuits| Command::Pair {
        provider: Provider::Null,
        circuits,
    };
    assert!(run(&device, pair(1)));
    let mut points = 0;
    for what in [Contest::Cycle, Contest::Send] {
        for nth in 1.. {
            fault::fail_nth(bench.image(), nth);
            let succeeded = run(&device, contest(Rival::Prescribed, what));
            if fault::injected(bench.image()) == 0 {
                assert!(succeeded);
                break;
            }
            points += 1;
        }
    }
    fault::fail_nth(bench.image(), 0);
    println!("{points} calls have failed");
    assert!(points >= LEAST_POINTS, "only {points} calls can fail");

    assert!(run(&device, pair(0)));
    drop(device);
    bench.unload().expect("bench.sys leaves nothing");
    rxce.unload().expect("rxce.sys leaves nothing");
    machine::nothing_is_left().expect("nothing is left");
}
