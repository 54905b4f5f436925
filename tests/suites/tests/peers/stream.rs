//! Circuits over TCP.

use anyhow::{Result, ensure};
use exchange_ioctl::{Answer, How, Kind, Protocol};
use ntsim::io::status;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};

use super::client::{ABORT, Client, RELEASE, TAKE_ALL, number};
use super::servers::{BIG, SMALL, Server, Which, noise};
use super::{Scenario, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("a_server_that_closes_first", Which::Xinetd, closes_first),
    scenario(
        "a_server_that_closes_while_its_answer_is_half_read",
        Which::Webfs,
        half_read,
    ),
    scenario(
        "a_server_that_closes_behind_refused_data",
        Which::Webfs,
        closes_behind_refused_data,
    ),
    scenario(
        "a_server_that_sends_more_than_there_is_room_for",
        Which::Xinetd,
        more_than_room,
    ),
    scenario(
        "a_server_that_sends_for_ever_to_one_who_takes_nothing",
        Which::Xinetd,
        takes_nothing,
    ),
    scenario(
        "a_server_that_sends_for_ever_into_further_buffers",
        Which::Xinetd,
        further_buffers,
    ),
    scenario(
        "a_server_that_resets_in_the_middle_of_a_send",
        Which::Memcached,
        resets,
    ),
    scenario("a_server_that_refuses", Which::Nobody, refuses),
    scenario("a_server_that_is_killed", Which::Memcached, killed),
    scenario(
        "a_server_that_is_killed_with_unread_data",
        Which::Memcached,
        killed_with_unread_data,
    ),
    scenario(
        "a_server_that_is_killed_behind_refused_data",
        Which::Memcached,
        killed_behind_refused_data,
    ),
    scenario("a_server_that_is_slow", Which::Memcached, slow),
    scenario(
        "a_server_that_stops_while_sends_are_under_way",
        Which::Memcached,
        stopped,
    ),
    scenario(
        "megabytes_to_a_server_and_back",
        Which::Memcached,
        there_and_back,
    ),
    scenario(
        "megabytes_from_a_server_that_closes",
        Which::Webfs,
        large_file,
    ),
];

fn closes_first(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 1000, TAKE_ALL)?;
    client.wait(Kind::Disconnected, 1)?;
    let told = [(Kind::Received, 0), (Kind::Disconnected, RELEASE)];
    assert_eq!(client.story()?, told);
    let text = String::from_utf8(client.bytes()?)?;
    ensure!(
        text.ends_with(" UTC\r\n") || text.ends_with("\r\n"),
        "{text:?}"
    );
    assert_eq!(text.len(), 26, "{text:?}");
    // The peer's half is closed, so the engine takes no more sends; our half is still to be closed.
    for how in [How::Synchronous, How::Asynchronous] {
        assert_eq!(
            client.send(how, b"thanks")?,
            status::CONNECTION_DISCONNECTED
        );
    }
    assert_eq!(client.disconnect()?, 0);
    assert_eq!(client.story()?, told, "nothing follows the disconnect");
    client.close_well()
}

/// `GET` in a version of HTTP in which the server closes after its answer.
fn get(client: &Client, path: &str) -> Result<()> {
    client.say(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
}

/// The part of an answer behind its head.
fn body(answer: &[u8]) -> Result<&[u8]> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = end.and_then(|end| answer.get(end + 4..));
    body.ok_or_else(|| anyhow::anyhow!("no head: {:?}", String::from_utf8_lossy(answer)))
}

fn half_read(server: &Server) -> Result<()> {
    // Seven bytes an indication: the server has closed long before the last one.
    let client = Client::connected(server.port, 10_000, Answer::Take(7))?;
    get(&client, "/small.txt")?;
    client.wait(Kind::Disconnected, 1)?;
    assert_eq!(body(&client.bytes()?)?, SMALL);
    assert_eq!(
        client.story()?,
        [(Kind::Received, 0), (Kind::Disconnected, RELEASE)]
    );
    assert_eq!(client.disconnect()?, 0);
    client.close_well()
}

fn closes_behind_refused_data(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 10_000, Answer::Refuse)?;
    get(&client, "/small.txt")?;
    client.wait(Kind::Refused, 1)?;
    // The end of the connection stays behind the data that nobody takes.
    ensure!(!client.has_within(Kind::Disconnected, 1, 500)?);
    assert_eq!(client.story()?, [(Kind::Refused, 0)]);
    assert_eq!(client.disconnect()?, 0);
    client.close_well()?;
    assert_eq!(client.bytes()?, b"");
    Ok(())
}

/// What `chargen` sends: lines of 72 printable characters, each line a character further than the one before (RFC 864).
/// This server knows 93 such characters, and after the line that begins with the last of them come two that begin with the
/// first two, before it begins again. It chooses where it begins at all. The last line may be cut.
pub(crate) fn ensure_chargen(bytes: &[u8]) -> Result<()> {
    let ring: Vec<u8> = (b'!'..=b'}').collect();
    let begin = bytes.first().map_or(0, |first| first.saturating_sub(b'!'));
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    for (number, line) in lines.iter().enumerate() {
        let skipped = (usize::from(begin) + number) % (ring.len() + 2) % ring.len();
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let whole = text.len() == 72 || number + 2 >= lines.len();
        ensure!(
            whole
                && text
                    .iter()
                    .eq(ring.iter().cycle().skip(skipped).take(text.len())),
            "line {number}: {:?}",
            String::from_utf8_lossy(line)
        );
    }
    Ok(())
}

/// All pool of the machine.
fn pool() -> u64 {
    ntsim::account().total.pool_bytes
}

fn more_than_room(server: &Server) -> Result<()> {
    const ROOM: u32 = 100_000;
    let before = pool();
    let client = Client::connected(server.chargen, ROOM, TAKE_ALL)?;
    client.wait(Kind::Refused, 1)?;
    let bytes = client.bytes()?;
    assert_eq!(bytes.len(), ROOM as usize);
    ensure_chargen(&bytes)?;
    // Refused once, and not asked again: what the server goes on sending piles up in the network, not in the pool.
    ensure!(!client.has_within(Kind::Refused, 2, 500)?);
    assert_eq!(client.story()?, [(Kind::Received, 0), (Kind::Refused, 0)]);
    let grown = pool() - before;
    ensure!(grown < u64::from(ROOM) + 200_000, "{grown} bytes of pool");
    assert_eq!(client.disconnect()?, 0);
    client.close_well()?;
    assert_eq!(client.bytes()?.len(), ROOM as usize);
    Ok(())
}

fn takes_nothing(server: &Server) -> Result<()> {
    // Success with no byte taken: the same bytes are indicated again, for ever.
    let client = Client::connected(server.chargen, 100_000, Answer::Take(0))?;
    ensure!(!client.has_within(Kind::Received, 1, 5)?);
    client.answer(Answer::Take(1))?;
    client.wait(Kind::Received, 1000)?;
    client.answer(Answer::Take(0))?;
    assert_eq!(client.disconnect()?, 0);
    client.close_well()?;
    ensure_chargen(&client.bytes()?)
}

/// Further buffers are handed over one after the other, as a redirector does that reads a large file.
fn further_buffers(server: &Server) -> Result<()> {
    // The room is full before the list of events is: two of them are about 1,000 bytes.
    let client = Client::connected(server.chargen, 200_000, Answer::Further(11, 997))?;
    client.wait(Kind::Received, 100_000)?;
    client.answer(Answer::Refuse)?;
    client.wait(Kind::Refused, 1)?;
    let bytes = client.bytes()?;
    ensure!(bytes.len() >= 100_000);
    ensure_chargen(&bytes)?;
    // Each indication is followed by its buffer, and the refusal by nothing.
    let story = client.story()?;
    let (last, pairs) = story.split_last().unwrap_or((&(Kind::Sent, 0), &[]));
    assert_eq!(*last, (Kind::Refused, 0));
    for pair in pairs.chunks(2) {
        assert_eq!(pair, [(Kind::Received, 0), (Kind::Ready, 0)]);
    }
    assert_eq!(client.disconnect()?, 0);
    client.close_well()
}

fn resets(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 10_000, TAKE_ALL)?;
    // The second one is behind the first, which is half sent when the reset comes; or it comes too late.
    let nonsense = vec![b'x'; 15 << 20];
    assert_eq!(client.send(How::Asynchronous, &nonsense)?, 0);
    let second = client.send(How::Asynchronous, &nonsense)?;
    client.wait(Kind::Disconnected, 1)?;
    client.wait(Kind::Sent, if second == 0 { 2 } else { 1 })?;
    let story = client.story()?;
    let reset = number(status::CONNECTION_RESET);
    let invalid = number(status::CONNECTION_INVALID);
    let expected = match (second, story.as_slice()) {
        (0, [first, second, last]) if *last == (Kind::Disconnected, ABORT) => {
            *first == (Kind::Sent, reset) && *second == (Kind::Sent, reset)
        }
        (0, [first, told, late]) => {
            *first == (Kind::Sent, reset)
                && *told == (Kind::Disconnected, ABORT)
                && *late == (Kind::Sent, invalid)
        }
        (status::CONNECTION_DISCONNECTED, [first, last]) => {
            *first == (Kind::Sent, reset) && *last == (Kind::Disconnected, ABORT)
        }
        _ => false,
    };
    ensure!(expected, "second send {second:#x}, {story:x?}");
    assert_eq!(
        client.send(How::Synchronous, b"again")?,
        status::CONNECTION_DISCONNECTED
    );
    // There is nothing left to disconnect.
    assert_eq!(client.disconnect()?, 0);
    client.close_well()
}

fn refuses(server: &Server) -> Result<()> {
    let client = Client::new()?;
    let answered = client.build(Protocol::Tcp, server.port, 1000, TAKE_ALL)?;
    assert_eq!(answered, status::CONNECTION_REFUSED);
    assert_eq!(client.events()?, []);
    let closed = client.close()?;
    assert_eq!((closed.address, closed.transport), (0, 0));
    assert_eq!(closed.circuit, exchange_ioctl::NOT_BUILT);
    Ok(())
}

fn killed(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 1000, TAKE_ALL)?;
    client.say(b"version\r\n")?;
    client.wait(Kind::Received, 16)?;
    server.signal(Signal::KILL)?;
    client.wait(Kind::Disconnected, 1)?;
    // It had read everything: its system closes the connection in order.
    assert_eq!(
        client.story()?,
        [(Kind::Received, 0), (Kind::Disconnected, RELEASE)]
    );
    client.close_well()
}

fn killed_with_unread_data(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 1000, TAKE_ALL)?;
    server.signal(Signal::STOP)?;
    client.say(b"version\r\n")?;
    server.signal(Signal::KILL)?;
    client.wait(Kind::Disconnected, 1)?;
    // It had not: its system resets the connection.
    assert_eq!(client.story()?, [(Kind::Disconnected, ABORT)]);
    client.close_well()
}

fn killed_behind_refused_data(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 1000, Answer::Refuse)?;
    client.say(b"version\r\n")?;
    client.wait(Kind::Refused, 1)?;
    server.signal(Signal::STOP)?;
    client.say(b"version\r\n")?;
    server.signal(Signal::KILL)?;
    // A reset, unlike an orderly end, does not wait for the data to be taken: it is gone.
    client.wait(Kind::Disconnected, 1)?;
    assert_eq!(
        client.story()?,
        [(Kind::Refused, 0), (Kind::Disconnected, ABORT)]
    );
    client.close_well()
}

fn slow(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 1000, TAKE_ALL)?;
    server.signal(Signal::STOP)?;
    client.say(b"version\r\n")?;
    ensure!(!client.has_within(Kind::Received, 1, 700)?);
    server.signal(Signal::CONT)?;
    client.wait(Kind::Received, 1)?;
    ensure!(client.bytes()?.starts_with(b"VERSION "));
    assert_eq!(client.disconnect()?, 0);
    client.close_well()
}

fn stopped(server: &Server) -> Result<()> {
    let client = Client::connected(server.port, 1000, TAKE_ALL)?;
    server.signal(Signal::STOP)?;
    // More than the host's sockets hold.
    for _ in 0..3 {
        assert_eq!(client.send(How::Asynchronous, &vec![b'x'; 8 << 20])?, 0);
    }
    let closed = client.close()?;
    // The orderly end never came; it was ended the hard way, and the parents could go.
    assert_eq!(
        (closed.connection, closed.address, closed.transport),
        (0, 0, 0)
    );
    let story = client.story()?;
    let [.., (Kind::Sent, last)] = story[..] else {
        anyhow::bail!("{story:x?}");
    };
    ensure!(
        story.len() == 3 && last == number(status::CONNECTION_ABORTED),
        "{story:x?}"
    );
    Ok(())
}

fn there_and_back(server: &Server) -> Result<()> {
    const LENGTH: usize = 8 << 20;
    let value = noise(LENGTH);
    let head = format!("VALUE key 0 {LENGTH}\r\n");
    let whole = u32::try_from(head.len() + LENGTH + b"\r\nEND\r\n".len())?;
    // One byte and a further buffer, four times: a buffer that is not full would wait for more.
    let four_buffers = Answer::Further(1, whole / 4 - 1);
    assert_eq!(whole % 4, 0);
    for answer in [TAKE_ALL, four_buffers, Answer::Take(30_000)] {
        let client = Client::connected(server.port, 9 << 20, TAKE_ALL)?;
        let command = format!("set key 0 0 {LENGTH}\r\n");
        client.say(&[command.as_bytes(), &value, b"\r\n"].concat())?;
        client.wait(Kind::Received, 8)?;
        assert_eq!(client.bytes()?, b"STORED\r\n");
        client.answer(answer)?;
        client.say(b"get key\r\n")?;
        client.wait(Kind::Received, 8 + whole)?;
        let bytes = client.bytes()?;
        assert_eq!(bytes.len(), 8 + whole as usize);
        let got = bytes.get(8 + head.len()..).unwrap_or_default();
        let (got, tail) = got.split_at(LENGTH);
        assert_eq!(tail, b"\r\nEND\r\n");
        ensure!(
            Sha256::digest(got) == Sha256::digest(&value),
            "other bytes, {answer:?}"
        );
        assert_eq!(client.disconnect()?, 0);
        client.close_well()?;
    }
    Ok(())
}

fn large_file(server: &Server) -> Result<()> {
    let file = noise(BIG);
    for answer in [TAKE_ALL, Answer::Further(300, 200_000), Answer::Take(9_999)] {
        let client = Client::connected(server.port, 5 << 20, answer)?;
        get(&client, "/big.bin")?;
        client.wait(Kind::Disconnected, 1)?;
        let bytes = client.bytes()?;
        let body = body(&bytes)?;
        ensure!(
            Sha256::digest(body) == Sha256::digest(&file),
            "other bytes, {answer:?}"
        );
        assert_eq!(client.story()?.last(), Some(&(Kind::Disconnected, RELEASE)));
        assert_eq!(client.disconnect()?, 0);
        client.close_well()?;
    }
    Ok(())
}
