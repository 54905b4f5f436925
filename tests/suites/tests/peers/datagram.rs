//! Datagrams over UDP.

use anyhow::{Result, ensure};
use exchange_ioctl::{Answer, Event, How, Kind};
use ntsim::io::status;

use super::client::{Client, TAKE_ALL, number};
use super::servers::{CACHE_HEADER, Server, Which, noise};
use super::stream::ensure_chargen;
use super::{Scenario, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("a_question_and_its_answer", Which::Xinetd, echo),
    scenario("an_answer_of_several_datagrams", Which::Memcached, several),
    scenario("an_answer_larger_than_the_buffer", Which::Xinetd, too_large),
    scenario(
        "an_answer_that_ends_in_a_further_buffer",
        Which::Xinetd,
        further_buffer,
    ),
    scenario("a_port_where_nobody_listens", Which::Nobody, nobody),
    scenario("a_storm_of_datagrams", Which::Xinetd, storm),
];

/// Sends a datagram and waits until it is sent.
fn ask(client: &Client, bytes: &[u8], sent: u32) -> Result<()> {
    let answered = client.send(How::Asynchronous, bytes)?;
    ensure!(answered == 0, "not sent: {}", status::name(answered));
    client.wait(Kind::Sent, sent)
}

fn datagrams(client: &Client) -> Result<Vec<(u32, u64)>> {
    let events = client.events()?.into_iter();
    Ok(events
        .filter(|event| event.kind == Kind::Datagram)
        .map(|event| (event.first, event.second))
        .collect())
}

fn echo(server: &Server) -> Result<()> {
    let client = Client::datagrams(server.echo, 1000, TAKE_ALL)?;
    ask(&client, b"is anybody there?", 1)?;
    client.wait(Kind::Datagram, 1)?;
    assert_eq!(client.bytes()?, b"is anybody there?");
    assert_eq!(datagrams(&client)?, [(17, 17)]);
    client.close_well()
}

fn several(server: &Server) -> Result<()> {
    let client = Client::datagrams(server.port, 10_000, TAKE_ALL)?;
    ask(&client, &[&CACHE_HEADER[..], b"stats\r\n"].concat(), 1)?;
    client.wait(Kind::Datagram, 2)?;
    let [(first, _), (second, _)] = datagrams(&client)?[..] else {
        anyhow::bail!("not two datagrams: {:?}", client.events()?);
    };
    assert_eq!(first, 1400);
    // In order, each with its number behind the request's.
    let bytes = client.bytes()?;
    assert_eq!(bytes.len(), 1400 + second as usize);
    assert_eq!(bytes.get(..8), Some(&[0, 1, 0, 0, 0, 2, 0, 0][..]));
    assert_eq!(bytes.get(1400..1408), Some(&[0, 1, 0, 1, 0, 2, 0, 0][..]));
    ensure!(bytes.ends_with(b"END\r\n"));
    client.close_well()
}

fn too_large(server: &Server) -> Result<()> {
    let client = Client::datagrams(server.chargen, 5000, Answer::Further(10, 100))?;
    ask(&client, b"?", 1)?;
    client.wait(Kind::Ready, 1)?;
    let events = client.events()?;
    let came: Vec<&Event> = events
        .iter()
        .filter(|event| event.kind != Kind::Sent)
        .collect();
    let [datagram, ready] = came[..] else {
        anyhow::bail!("{events:?}");
    };
    assert_eq!(
        (datagram.kind, datagram.first, datagram.second),
        (Kind::Datagram, 1024, 10)
    );
    assert_eq!(
        (ready.kind, ready.first, ready.second),
        (Kind::Ready, number(status::BUFFER_OVERFLOW), 100)
    );
    assert_eq!(client.bytes()?.len(), 110);
    // What was cut off is lost; the next one is whole again.
    client.answer(TAKE_ALL)?;
    ask(&client, b"?", 2)?;
    client.wait(Kind::Datagram, 2)?;
    assert_eq!(datagrams(&client)?, [(1024, 10), (1024, 1024)]);
    client.close_well()
}

fn further_buffer(server: &Server) -> Result<()> {
    let client = Client::datagrams(server.chargen, 5000, Answer::Further(10, 4000))?;
    ask(&client, b"?", 1)?;
    client.wait(Kind::Ready, 1)?;
    let events = client.events()?;
    let ready = events.iter().find(|event| event.kind == Kind::Ready);
    assert_eq!(
        ready.map(|ready| (ready.first, ready.second)),
        Some((0, 1014))
    );
    assert_eq!(client.bytes()?.len(), 1024);
    ensure_chargen(&client.bytes()?)?;
    client.close_well()
}

fn nobody(server: &Server) -> Result<()> {
    let client = Client::datagrams(server.port, 1000, TAKE_ALL)?;
    for sent in 1..=3 {
        ask(&client, b"is anybody there?", sent)?;
    }
    // The host's ICMP answer is no error of the address: other peers can still be reached.
    ensure!(!client.has_within(Kind::Datagram, 1, 300)?);
    assert_eq!(client.story()?, [(Kind::Sent, 0); 3]);
    client.close_well()
}

fn storm(server: &Server) -> Result<()> {
    const EACH: usize = 1000;
    const COUNT: u32 = 2000;
    const ROUNDS: u32 = 20;
    let client = Client::datagrams(server.echo, 200 * 1000, TAKE_ALL)?;
    let bytes = noise(EACH);
    // There is room for 200. Most may be lost on the way where the server gets no processor; all others after that are refused.
    for round in 1..=ROUNDS {
        for _ in 0..COUNT {
            let answered = client.send(How::Asynchronous, &bytes)?;
            ensure!(answered == 0, "not sent: {}", status::name(answered));
        }
        client.wait(Kind::Sent, round * COUNT)?;
        if client.has_within(Kind::Refused, 1, 1000)? {
            break;
        }
    }
    client.wait(Kind::Refused, 1)?;
    let got = client.bytes()?;
    assert_eq!(got.len(), 200 * EACH);
    ensure!(got.chunks(EACH).all(|one| one == bytes));
    // In the middle of what still comes.
    client.close_well()
}
