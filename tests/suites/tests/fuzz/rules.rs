//! The rules that the engine's pure code is compared with, worked out here in another way.

use arbitrary::Unstructured;
use rxce_engine::{
    Error, ea,
    life::{Built, Closing, Life, Local, Mode, State},
    receive::{Channel, Indication, Next, Room, Streams},
    send::{self, ZeroLength},
    transport_address,
};

/// Bytes that are used up are no finding.
pub(crate) type Checked = std::result::Result<(), Trouble>;

/// Why an input went no further.
pub(crate) enum Trouble {
    Exhausted,
    Found(String),
}

impl From<arbitrary::Error> for Trouble {
    fn from(_: arbitrary::Error) -> Self {
        Self::Exhausted
    }
}

fn must(condition: bool, text: impl FnOnce() -> String) -> Checked {
    if condition {
        Ok(())
    } else {
        Err(Trouble::Found(text()))
    }
}

/// `transport-addresses`.
pub(crate) fn addresses(source: &mut Unstructured<'_>) -> Checked {
    let count: i32 = match source.int_in_range(0..=3)? {
        0 => source.arbitrary()?,
        1 => source.int_in_range(-1..=40_000)?,
        _ => source.int_in_range(0..=6)?,
    };
    let scale: u16 = *source.choose(&[0, 16, 256, u16::MAX])?;
    let member_lengths: Vec<u16> = source
        .bytes(source.len())?
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]) & scale)
        .collect();
    let nth = |place: usize| member_lengths.get(place).copied().unwrap_or(14);
    let mut asked = Vec::new();
    let seen = transport_address::length(count, |at| {
        let length = nth(asked.len());
        asked.push(at);
        length
    });
    let mut end = 4_usize;
    let mut starts = Vec::new();
    for place in 0..usize::try_from(count).unwrap_or_default() {
        starts.push(end);
        end += 4 + usize::from(nth(place));
        if end > 0xFFFF {
            break;
        }
    }
    let expected = match u16::try_from(end) {
        Ok(length) if count > 0 => Ok(length),
        _ => Err(Error::InvalidParameter),
    };
    must(seen == expected, || {
        format!("{count} addresses: {seen:?}, not {expected:?}")
    })?;
    let honest = asked
        .iter()
        .zip(&starts)
        .all(|(&asked, &start)| usize::from(asked) == start);
    must(honest && asked.len() <= starts.len(), || {
        format!("lengths were read at {asked:?}, members are at {starts:?}")
    })
}

/// The packed lengths of the known address types (tdi.h).
fn least(address_type: u16) -> usize {
    match address_type {
        2 => 14,
        17 => 18,
        22 => 34,
        23 => 26,
        24 => 74,
        _ => 0,
    }
}

/// `remote-addresses`: an address of which it is known how many bytes there are.
pub(crate) fn remote(source: &mut Unstructured<'_>) -> Checked {
    let count: i32 = match source.int_in_range(0..=3)? {
        0 => source.arbitrary()?,
        _ => source.int_in_range(0..=4)?,
    };
    let mut bytes = count.to_le_bytes().to_vec();
    for _ in 0..source.int_in_range(0..=4)? {
        let kind: u16 = *source.choose(&[2, 17, 22, 23, 24, 5])?;
        let length: u16 = match source.int_in_range(0..=4)? {
            0 => source.arbitrary()?,
            1 => source.int_in_range(0..=80)?,
            _ => u16::try_from(least(kind)).unwrap_or_default(),
        };
        bytes.extend(length.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.resize(bytes.len() + usize::from(length), 0x22);
    }
    match source.int_in_range(0..=4)? {
        0 => bytes.truncate(source.int_in_range(0..=bytes.len())?),
        1 => bytes.push(0),
        _ => {}
    }
    let mut end = 4;
    let mut whole = count > 0 && bytes.len() >= 4;
    for _ in 0..count {
        let Some([a, b, c, d]) = bytes
            .get(end..)
            .and_then(|rest| rest.first_chunk().copied())
        else {
            whole = false;
            break;
        };
        let length = usize::from(u16::from_le_bytes([a, b]));
        whole &= length >= least(u16::from_le_bytes([c, d]));
        end += 4 + length;
    }
    let expected = whole && end <= bytes.len() && end <= 0xFFFF;
    let seen = transport_address::check(&bytes);
    must(seen.is_ok() == expected, || {
        format!("{count} addresses in {} bytes: {seen:?}", bytes.len())
    })
}

/// `extended-attributes`.
pub(crate) fn attributes(source: &mut Unstructured<'_>) -> Checked {
    let name_length = source.int_in_range(0..=300)?;
    let name: Vec<u8> = source.bytes(name_length.min(source.len()))?.to_vec();
    let most: u16 = *source.choose(&[u16::MAX, 22, 300])?;
    let value_length = source.arbitrary::<u16>()? % most;
    let exact = ea::encoded_length(&name, value_length);
    must(exact == 9 + name.len() + usize::from(value_length), || {
        format!("a length of {exact}")
    })?;
    let room = match source.int_in_range(0..=3)? {
        0 => source.int_in_range(0..=0x1_1000)?,
        1 => exact + 1,
        2 => exact - 1,
        _ => exact,
    };
    let mut entry = vec![0xEE; room];
    let begun = ea::begin(&name, value_length, &mut entry).map(|value| {
        let length = value.len();
        value.fill(0x11);
        length
    });
    let possible = room == exact && name.len() <= 255;
    must(begun == possible.then_some(value_length.into()), || {
        format!("{begun:?} for {} and {value_length} bytes", name.len())
    })?;
    if !possible {
        return must(entry.iter().all(|&byte| byte == 0xEE), || {
            "a refused entry was written to".to_owned()
        });
    }
    let mut expected = vec![0, 0, 0, 0, 0, u8::try_from(name.len()).unwrap_or_default()];
    expected.extend(value_length.to_le_bytes());
    expected.extend(&name);
    expected.push(0);
    expected.resize(exact, 0x11);
    must(entry == expected, || "the entry is malformed".to_owned())
}

/// `send-lengths`.
pub(crate) fn lengths(source: &mut Unstructured<'_>) -> Checked {
    let options: u32 = match source.int_in_range(0..=2)? {
        0 => source.arbitrary()?,
        1 => send::PARTIAL,
        _ => 0,
    };
    must(send::tdi_flags(options) == options % 0x0100_0000, || {
        format!(
            "options {options:#x} become {:#x}",
            send::tdi_flags(options)
        )
    })?;
    let zero = *source.choose(&[ZeroLength::Allowed, ZeroLength::Refused])?;
    let chosen: u32 = source.arbitrary()?;
    let slack = source.int_in_range(0..=5)?;
    let huge = source.ratio(1, 8)?;
    let count = source.int_in_range(0..=40)?;
    let mut chain = Vec::new();
    for _ in 0..count {
        chain.push(if huge {
            source.arbitrary()?
        } else {
            u32::from(source.arbitrary::<u8>()?)
        });
    }
    let total: u128 = chain.iter().map(|&bytes| u128::from(bytes)).sum();
    let near = u32::try_from(total).unwrap_or(u32::MAX);
    let length = match slack {
        0 => chosen,
        1 => near.wrapping_add(1),
        2 => near.wrapping_sub(1),
        3 => 0,
        _ => near,
    };
    let fits = if options & send::PARTIAL == 0 {
        u128::from(length) == total && (length > 0 || zero == ZeroLength::Allowed)
    } else {
        length > 0 && u128::from(length) <= total
    };
    let seen = send::check_length(options, length, chain.iter().copied(), zero);
    must(seen.is_ok() == fits, || {
        format!("{length} of {total} bytes with options {options:#x}: {seen:?}")
    })?;
    // Chains in a circle must come to an end too; only a part of one can be sent.
    let circle = chain.iter().copied().cycle();
    let seen = send::check_length(options, length, circle, zero);
    let part = options & send::PARTIAL != 0 && length > 0;
    must(seen.is_err() || part || chain.is_empty(), || {
        format!("a circle was accepted for {length} bytes: {seen:?}")
    })
}

/// What a circuit's life has shown so far.
#[derive(Default)]
struct Shown {
    releases: u32,
    aborts: u32,
    notices: u32,
}

impl Shown {
    fn request(&mut self, mode: Mode) {
        match mode {
            Mode::Release => self.releases += 1,
            Mode::Abort => self.aborts += 1,
        }
    }
}

/// `circuit-life`.
pub(crate) fn life(source: &mut Unstructured<'_>) -> Checked {
    let orderly: bool = source.arbitrary()?;
    let closing = if orderly {
        Closing::Orderly
    } else {
        Closing::AbortOnly
    };
    let mut life = Life::new(closing);
    let mut shown = Shown::default();
    let (mut connecting, mut ended_by_client, mut aborted) = (false, false, false);
    while !source.is_empty() {
        let before = life;
        let action: u8 = source.int_in_range(0..=7)?;
        match action {
            0 => match life.begin_local_disconnect() {
                Local::Submit(mode) => {
                    shown.request(mode);
                    ended_by_client |= before.state() == State::Active;
                    must(
                        mode == Mode::Abort || (orderly && !before.is_building()),
                        || format!("{mode:?} by a circuit that is {before:?}"),
                    )?;
                }
                Local::Nothing => must(before == life, || "nothing changed it".to_owned())?,
                Local::Refuse => must(before.state() == State::TearDown, || {
                    format!("a disconnect was refused: {before:?}")
                })?,
            },
            1 => {
                let flags = *source.choose(&[0, 2, 4, 6, u32::MAX])?;
                aborted |= flags != 4 || !orderly;
                shown.notices += u32::from(life.remote_disconnect(flags).is_some());
            }
            2 => {
                aborted = true;
                shown.notices += u32::from(life.address_error(-1).is_some());
            }
            3 if life.is_building() && !connecting && life.state() != State::TearDown => {
                connecting = life.begin_connect();
            }
            4 if connecting && life.state() != State::TearDown => {
                connecting = false;
                if let Built::Alive(owed) = life.end_build(source.arbitrary()?) {
                    shown.notices += u32::from(owed.is_some());
                    must(!ended_by_client, || {
                        "a build outlived its disconnect".to_owned()
                    })?;
                }
            }
            5 => {
                let refused = life.begin_tear_down().is_err();
                let may = !before.is_building() && before.state() != State::TearDown;
                must(refused != may, || format!("a tear-down of {before:?}"))?;
                if !refused {
                    if let Some(mode) = life.tear_down_disconnect() {
                        shown.request(mode);
                        must(!aborted, || {
                            "a disconnect after the peer's abort".to_owned()
                        })?;
                    }
                    if source.arbitrary()? {
                        shown.aborts += u32::from(life.escalate());
                    }
                    shown.aborts += u32::from(life.escalate());
                }
            }
            6 => {
                let sends = life.admits_send();
                must(sends == (life.state() == State::Active), || {
                    format!("sends are admitted: {life:?}")
                })?;
            }
            _ => {}
        }
        let order = |state| match state {
            State::Active => 0,
            State::Disconnected => 1,
            State::TearDown => 2,
        };
        must(order(before.state()) <= order(life.state()), || {
            format!("{before:?} went back to {life:?}")
        })?;
        let Shown {
            releases,
            aborts,
            notices,
        } = shown;
        must(releases <= 1 && aborts <= 1 && notices <= 1, || {
            format!("{releases} releases, {aborts} aborts, {notices} notices")
        })?;
        must(!ended_by_client || notices == 0, || {
            "the client was told of its own disconnect".to_owned()
        })?;
    }
    Ok(())
}

/// `receive-guards`.
pub(crate) fn guards(source: &mut Unstructured<'_>) -> Checked {
    let mut streams = Streams::new();
    let mut life = Life::new(Closing::Orderly);
    life.announce();
    // Per stream: whether somebody has the guard, and whether bytes were refused since the last request.
    let mut taken = [false; 2];
    let mut refused = [false; 2];
    while !source.is_empty() {
        let lane = usize::from(source.arbitrary::<bool>()?);
        let channel = [Channel::Normal, Channel::Expedited][lane];
        let alive = life.admits_receive();
        let stream = streams.of(channel);
        match source.int_in_range(0..=4)? {
            0 | 1 => {
                let expected = match (alive, taken[lane]) {
                    (true, false) => Indication::Offer,
                    (false, false) => Indication::Discard,
                    (_, true) => Indication::Refuse,
                };
                let seen = stream.indicate(&life);
                must(seen == expected, || {
                    format!("an indication: {seen:?}, not {expected:?}")
                })?;
                refused[lane] |= seen == Indication::Refuse && alive;
                taken[lane] |= seen == Indication::Offer;
            }
            2 if taken[lane] => {
                stream.requested();
                refused[lane] = false;
            }
            3 if taken[lane] => {
                let room = *source.choose(&[Room::Left, Room::None])?;
                let fetch = refused[lane] && alive && room == Room::Left;
                let seen = stream.release(&life, room);
                must((seen == Next::Redeliver) == fetch, || {
                    format!("a release: {seen:?}, refused before: {}", refused[lane])
                })?;
                taken[lane] = fetch;
                refused[lane] &= !fetch;
            }
            4 if source.ratio(1, 20)? => {
                must(life.begin_tear_down().is_ok() == alive, || {
                    "a tear-down".to_owned()
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}
