//! Property tests: whatever comes, no panic, no overrun; whatever is cut in pieces comes together again.

use p9::{
    Assembler, Attr, Error, HEADER_LEN, Kind, NOTAG, Next, Qid, READ_OVERHEAD, Reply, Request, Time,
};
use proptest::prelude::*;

fn qid() -> impl Strategy<Value = Qid> {
    (any::<u8>(), any::<u32>(), any::<u64>()).prop_map(|(kind, version, path)| Qid {
        kind,
        version,
        path,
    })
}

fn attr() -> impl Strategy<Value = Attr> {
    (qid(), any::<[u32; 3]>(), any::<[u64; 6]>()).prop_map(
        |(qid, [mode, uid, gid], [valid, links, size, blocks, sec, nsec])| Attr {
            valid,
            qid,
            mode,
            uid,
            gid,
            links,
            size,
            blocks,
            modified: Time { sec, nsec },
            accessed: Time {
                sec: nsec,
                nsec: sec,
            },
            changed: Time { sec, nsec: blocks },
            created: Time { sec: links, nsec },
        },
    )
}

/// An encoded reply with its tag.
fn reply() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let body = prop_oneof![
        any::<u32>().prop_map(|errno| encode(&Reply::Lerror { errno })),
        (any::<u32>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(msize, version)| {
            encode(&Reply::Version {
                msize,
                version: &version,
            })
        }),
        qid().prop_map(|qid| encode(&Reply::Attach { qid })),
        (qid(), any::<u32>()).prop_map(|(qid, iounit)| encode(&Reply::Lopen { qid, iounit })),
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|data| encode(&Reply::Read { data: &data })),
        attr().prop_map(|attr| encode(&Reply::Getattr { attr })),
        Just(encode(&Reply::Clunk)),
    ];
    (any::<u16>(), body).prop_map(|(tag, mut message)| {
        message[5..7].copy_from_slice(&tag.to_le_bytes());
        (tag, message)
    })
}

fn encode(reply: &Reply<'_>) -> Vec<u8> {
    let mut buffer = [0; 512];
    reply
        .encode(NOTAG, &mut buffer)
        .expect("512 bytes are enough")
        .to_vec()
}

/// Feeds the bytes in pieces of the given lengths (the last one repeats); `in_place` lets the "transport" write data.
fn assemble(
    mut assembler: Assembler,
    stream: &[u8],
    pieces: &[usize],
    in_place: bool,
    room: usize,
) -> Result<(Vec<u8>, Vec<u8>, usize), Error> {
    let mut reply = vec![0xcc; 200];
    let mut data = vec![0xcc; room];
    let mut used = 0;
    let mut piece = 0;
    while used < stream.len() {
        let length = pieces[piece.min(pieces.len() - 1)].min(stream.len() - used);
        piece += 1;
        let input = &stream[used..used + length];
        let step = if in_place {
            assembler.feed_up_to_data(input, &mut reply)?
        } else {
            assembler.feed(input, &mut reply, &mut data)?
        };
        assert!(step.taken <= length);
        used += step.taken;
        match step.next {
            Next::Nothing => {
                reply.truncate(assembler.reply_len());
                data.truncate(assembler.data_len());
                return Ok((reply, data, used));
            }
            Next::Data { offset, missing } if in_place => {
                let count = missing.min(stream.len() - used);
                data[offset..offset + count].copy_from_slice(&stream[used..used + count]);
                used += count;
                if assembler.written(count)? == Next::Nothing {
                    reply.truncate(assembler.reply_len());
                    data.truncate(assembler.data_len());
                    return Ok((reply, data, used));
                }
            }
            Next::Data { .. } | Next::Bytes => {
                assert_eq!(step.taken, length, "bytes left although more are needed")
            }
        }
    }
    Err(Error::Truncated)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn replies_survive_the_round_trip((tag, message) in reply()) {
        let (decoded_tag, decoded) = Reply::decode(&message).unwrap();
        prop_assert_eq!(decoded_tag, tag);
        let mut buffer = [0; 512];
        prop_assert_eq!(decoded.encode(tag, &mut buffer).unwrap(), message.as_slice());
    }

    #[test]
    fn every_shortened_reply_is_refused((_, message) in reply(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(message.len());
        prop_assert!(Reply::decode(&message[..cut]).is_err());
        // Also when the size agrees with what is there.
        let mut short = message[..cut].to_vec();
        if let Some(size) = short.first_chunk_mut::<4>() {
            *size = u32::try_from(cut).unwrap().to_le_bytes();
        }
        prop_assert!(Reply::decode(&short).is_err());
    }

    #[test]
    fn any_bytes_decode_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), honest in any::<bool>(), kind in 0_u8..130) {
        if honest && bytes.len() >= HEADER_LEN {
            let size = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&size.to_le_bytes());
            bytes[4] = kind;
        }
        if let Ok((_, Reply::Readdir { entries })) = Reply::decode(&bytes) {
            prop_assert!(entries.count() <= bytes.len());
        }
    }

    #[test]
    fn a_reply_comes_together_from_any_pieces(
        (tag, message) in reply(),
        pieces in prop::collection::vec(1_usize..40, 1..30),
        rest in prop::collection::vec(any::<u8>(), 0..10),
        in_place in any::<bool>(),
    ) {
        let kind = Kind::try_from(message[4]).unwrap();
        let assembler = Assembler::new(tag, kind, 300);
        let mut stream = message.clone();
        stream.extend(&rest);
        let (reply, data, used) = assemble(assembler, &stream, &pieces, in_place, 300).unwrap();
        prop_assert_eq!(used, message.len());
        prop_assert_eq!([reply, data].concat(), message);
    }

    #[test]
    fn garbage_never_overruns(stream in prop::collection::vec(any::<u8>(), 1..600), in_place in any::<bool>(), header in any::<bool>(), count in 0_u32..400, wanted in 0_usize..300) {
        let mut stream = stream;
        if header && stream.len() >= READ_OVERHEAD {
            stream[..4].copy_from_slice(&(count + 11).to_le_bytes());
            stream[4] = Kind::Rread as u8;
            stream[5..7].copy_from_slice(&1_u16.to_le_bytes());
            stream[7..11].copy_from_slice(&count.to_le_bytes());
        }
        let assembler = Assembler::new(1, Kind::Rread, wanted);
        if let Ok((_, data, _)) = assemble(assembler, &stream, &[7, 13], in_place, wanted) {
            prop_assert!(data.len() <= wanted);
        }
    }

    #[test]
    fn requests_say_their_own_length(path in prop::collection::vec(any::<u8>(), 0..80), fid in any::<u32>(), offset in any::<u64>()) {
        let names: Vec<&[u8]> = path.chunks(7).take(16).collect();
        for request in [
            Request::Walk { fid, new_fid: !fid, names: &names },
            Request::Read { fid, offset, count: fid },
            Request::Attach { fid, afid: fid, uname: &path, aname: &path, n_uname: fid },
        ] {
            let mut buffer = [0; 512];
            let message = request.encode(9, &mut buffer).unwrap();
            let size = u32::from_le_bytes(*message.first_chunk().unwrap());
            prop_assert_eq!(size as usize, message.len());
            prop_assert_eq!(message[4], request.kind() as u8);
            prop_assert_eq!(request.reply_kind() as u8, request.kind() as u8 + 1);
        }
    }
}

#[test]
fn more_data_than_asked_for_is_refused() {
    let message = encode(&Reply::Read { data: &[1; 101] });
    let error = assemble(
        Assembler::new(NOTAG, Kind::Rread, 100),
        &message,
        &[64],
        true,
        100,
    );
    assert_eq!(error, Err(Error::BadSize(112)));
}

#[test]
fn a_count_that_disagrees_with_the_size_is_refused() {
    let mut message = encode(&Reply::Read { data: &[1; 50] });
    message[7] = 49;
    assert_eq!(
        assemble(
            Assembler::new(NOTAG, Kind::Rread, 100),
            &message,
            &[64],
            true,
            100
        ),
        Err(Error::BadSize(49))
    );
    message[7] = 101;
    let error = assemble(
        Assembler::new(NOTAG, Kind::Rread, 100),
        &message,
        &[64],
        true,
        100,
    );
    assert_eq!(error, Err(Error::TooMuchData(101)));
}

#[test]
fn another_tag_or_type_is_refused() {
    let message = encode(&Reply::Clunk);
    let error = assemble(
        Assembler::new(1, Kind::Rclunk, 0),
        &message,
        &[64],
        false,
        0,
    );
    assert_eq!(error, Err(Error::UnexpectedTag(NOTAG)));
    let error = assemble(
        Assembler::new(NOTAG, Kind::Rwalk, 0),
        &message,
        &[64],
        false,
        0,
    );
    assert_eq!(error, Err(Error::UnexpectedKind(121)));
}

#[test]
fn a_message_longer_than_the_reply_buffer_is_refused() {
    let message = encode(&Reply::Version {
        msize: 1,
        version: &[b'x'; 250],
    });
    let error = assemble(
        Assembler::new(NOTAG, Kind::Rversion, 0),
        &message,
        &[64],
        false,
        0,
    );
    assert_eq!(error, Err(Error::BadSize(263)));
}

#[test]
fn a_refusal_answers_any_request() {
    let message = encode(&Reply::Lerror { errno: 5 });
    for kind in [Kind::Rread, Kind::Rwalk, Kind::Rversion] {
        let (reply, data, _) =
            assemble(Assembler::new(NOTAG, kind, 100), &message, &[3], true, 100).unwrap();
        assert_eq!(
            Reply::decode(&reply),
            Ok((NOTAG, Reply::Lerror { errno: 5 }))
        );
        assert!(data.is_empty());
    }
}

#[test]
fn in_place_data_cannot_exceed_what_is_missing() {
    let message = encode(&Reply::Read { data: &[1; 50] });
    let mut assembler = Assembler::new(NOTAG, Kind::Rread, 50);
    let step = assembler
        .feed(&message[..20], &mut [0; 32], &mut [0; 50])
        .unwrap();
    assert_eq!(
        step.next,
        Next::Data {
            offset: 9,
            missing: 41
        }
    );
    assert_eq!(assembler.written(42), Err(Error::TooMuchData(42)));
    assert_eq!(assembler.written(41), Ok(Next::Nothing));
}
