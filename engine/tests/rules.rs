//! Lengths, encodings, index arithmetic and counts against plain models.

use std::collections::{BTreeSet, HashMap};

use proptest::{prelude::*, test_runner::RngSeed};
use rxce_engine::{
    Error, ea,
    ledger::{Handover, InFlight, Kind, Ledger},
    life::{Closing, Life},
    send::{self, ZeroLength},
    spread, transport_address,
};

/// Byte counts of a chain: mostly small, so that sums meet the wanted length, now and then huge.
fn chain() -> impl Strategy<Value = Vec<u32>> {
    let bytes = prop_oneof![8 => 0..6_u32, 1 => any::<u32>()];
    prop::collection::vec(bytes, 0..6)
}

/// Segment bases by adding up the segments before.
fn base(segment: u32) -> u64 {
    (0..segment)
        .map(|before| u64::from(spread::segment_length(before)))
        .sum()
}

#[derive(Default)]
struct Names {
    listed: Vec<u32>,
    called: BTreeSet<u32>,
}

impl InFlight for Names {
    type Request = u32;

    fn insert(&mut self, request: &u32) {
        self.listed.push(*request);
    }

    fn remove(&mut self, request: &u32) {
        self.listed.retain(|listed| listed != request);
    }

    fn note_called(&mut self, request: &u32) -> bool {
        self.called.insert(*request)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5278_4365),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_send_fits_its_chain(
        chain in chain(),
        length in prop_oneof![8 => 0..20_u32, 1 => any::<u32>()],
        options in any::<u32>(),
        zero in any::<bool>(),
    ) {
        let policy = if zero { ZeroLength::Allowed } else { ZeroLength::Refused };
        let total: u64 = chain.iter().copied().map(u64::from).sum();
        let wanted = u64::from(length);
        let fits = if options & 0x2000_0000 != 0 {
            0 < wanted && wanted <= total
        } else {
            wanted == total && (wanted > 0 || zero)
        };
        let expected = if fits { Ok(()) } else { Err(Error::InvalidParameter) };
        prop_assert_eq!(send::check_length(options, length, chain.into_iter(), policy), expected);
    }

    #[test]
    fn a_transport_sees_its_own_flags_only(options in any::<u32>()) {
        prop_assert_eq!(send::tdi_flags(options), options & 0x00FF_FFFF);
    }

    #[test]
    fn an_attribute_reads_as_it_was_written(
        name in prop::collection::vec(any::<u8>(), 0..300),
        value in prop::collection::vec(any::<u8>(), 0..80),
        excess in -1..=1_isize,
    ) {
        let value_length = u16::try_from(value.len()).expect("short");
        let exact = 8 + name.len() + 1 + value.len();
        prop_assert_eq!(ea::encoded_length(&name, value_length), exact);
        let mut entry = vec![0xA5; exact.saturating_add_signed(excess)];
        let place = ea::begin(&name, value_length, &mut entry);
        prop_assert_eq!(place.is_some(), name.len() <= 255 && excess == 0);
        if let Some(place) = place {
            prop_assert_eq!(place.len(), value.len());
            place.copy_from_slice(&value);
            // NextEntryOffset, Flags, EaNameLength, EaValueLength, EaName, NUL, value
            prop_assert_eq!(&entry[..5], &[0; 5]);
            prop_assert_eq!(usize::from(entry[5]), name.len());
            prop_assert_eq!(u16::from_le_bytes([entry[6], entry[7]]), value_length);
            prop_assert_eq!(&entry[8..8 + name.len()], &name[..]);
            prop_assert_eq!(entry[8 + name.len()], 0);
            prop_assert_eq!(&entry[8 + name.len() + 1..], &value[..]);
        }
    }

    #[test]
    fn an_address_is_as_long_as_its_parts(
        lengths in prop_oneof![
            prop::collection::vec(0..40_u16, 0..5),
            prop::collection::vec(any::<u16>(), 0..4),
        ],
        missing in 0..3_i32,
    ) {
        // TAAddressCount, then for each address AddressLength, AddressType and so many bytes.
        let count = i32::try_from(lengths.len()).expect("short") - missing;
        let mut bytes = count.to_le_bytes().to_vec();
        let told = usize::try_from(count).unwrap_or(0);
        for &length in &lengths[..told] {
            bytes.extend(length.to_le_bytes());
            bytes.extend([2, 0]);
            bytes.resize(bytes.len() + usize::from(length), 0xA5);
        }
        let result = transport_address::length(count, |at| {
            let at = usize::from(at);
            u16::from_le_bytes([bytes[at], bytes[at + 1]])
        });
        let whole = u16::try_from(bytes.len()).ok().filter(|_| count > 0);
        prop_assert_eq!(result, whole.ok_or(Error::InvalidParameter));
    }

    #[test]
    fn a_place_is_its_index(index in 0..1_u32 << 29) {
        let (segment, offset) = spread::place(index);
        prop_assert!((segment as usize) < spread::SEGMENTS);
        prop_assert!(offset < spread::segment_length(segment));
        prop_assert_eq!(base(segment) + u64::from(offset), u64::from(index));
        if segment > 0 {
            let before = base(segment);
            prop_assert_eq!(u64::from(spread::segment_length(segment)), before);
        }
    }

    #[test]
    fn a_bucket_is_that_of_linear_hashing(
        hash in any::<u32>(),
        buckets in prop_oneof![1..100_u32, 1..1_u32 << 30],
    ) {
        let round = buckets.next_power_of_two();
        let whole = hash % round;
        let expected = if whole < buckets { whole } else { hash % (round / 2) };
        prop_assert_eq!(spread::bucket(hash, buckets), expected);
        // The bucket that the newest one was split from lacks its highest bit.
        prop_assert_eq!(spread::split_source(buckets), buckets - (1 << buckets.ilog2()));
    }

    #[test]
    fn a_table_that_grows_loses_nothing(
        hashes in prop::collection::vec(any::<u32>(), 0..60),
        growth in 1..70_u32,
    ) {
        let mut table: HashMap<u32, Vec<u32>> = HashMap::from([(0, hashes.clone())]);
        for buckets in 1..=growth {
            let split = table.remove(&spread::split_source(buckets)).unwrap_or_default();
            for hash in split {
                table.entry(spread::bucket(hash, buckets + 1)).or_default().push(hash);
            }
            for &hash in &hashes {
                let found = table.get(&spread::bucket(hash, buckets + 1));
                prop_assert!(found.is_some_and(|bucket| bucket.contains(&hash)));
            }
        }
    }

    #[test]
    fn an_id_says_what_it_names(
        shard in 0..spread::SHARDS,
        index in 0..1_u32 << 28,
        generation in 1..=u32::MAX,
    ) {
        let id = spread::Id::from_raw(spread::Id::new(shard, index, generation).raw());
        prop_assert_eq!((id.shard(), id.index(), id.generation()), (shard, index, generation));
        prop_assert_ne!(id.raw(), 0);
    }

    #[test]
    fn a_ledger_counts_what_is_listed(steps in prop::collection::vec((0..4_u8, any::<u8>()), 0..60)) {
        let mut ledger = Ledger::new(Life::new(Closing::Orderly), Names::default());
        let mut listed: Vec<(u32, Kind)> = Vec::new();
        // Receives whose submitter is not back, and other requests for which nobody has said that the transport was called.
        let (mut receiving, mut uncalled) = (0_u32, Vec::new());
        for (name, (step, choice)) in (0..).zip(steps) {
            match step {
                0 | 1 => {
                    let connecting = listed.iter().any(|&(_, kind)| kind == Kind::Connect);
                    let kind = match choice % 4 {
                        0 if !connecting => Kind::Connect,
                        1 | 2 => Kind::Receive,
                        _ => Kind::Other,
                    };
                    let handover = if choice < 128 { Handover::Submitted } else { Handover::Returned };
                    match (handover, kind) {
                        (Handover::Returned, _) => {}
                        (Handover::Submitted, Kind::Receive) => receiving += 1,
                        (Handover::Submitted, _) => uncalled.push(name),
                    }
                    ledger.insert(&name, kind, handover);
                    listed.push((name, kind));
                }
                2 if !listed.is_empty() => {
                    let (name, kind) = listed.remove(usize::from(choice) % listed.len());
                    ledger.remove(&name, kind);
                    uncalled.retain(|&other| other != name);
                }
                3 if choice < 128 && receiving > 0 => {
                    receiving -= 1;
                    ledger.receive_returned();
                }
                3 if choice >= 128 && !uncalled.is_empty() => {
                    let name = uncalled.remove(usize::from(choice) % uncalled.len());
                    ledger.called(&name);
                    // The other one who finds out says it again.
                    ledger.called(&name);
                }
                _ => {}
            }
            let any = |wanted| listed.iter().any(|&(_, kind)| kind == wanted);
            prop_assert_eq!(&ledger.list.listed, &listed.iter().map(|&(name, _)| name).collect::<Vec<_>>());
            prop_assert_eq!(ledger.is_empty(), listed.is_empty());
            prop_assert_eq!(ledger.is_connecting(), any(Kind::Connect));
            prop_assert_eq!(ledger.only_receives(), !any(Kind::Connect) && !any(Kind::Other));
            prop_assert_eq!(ledger.nobody_submits(), receiving == 0 && uncalled.is_empty());
            prop_assert!(!ledger.is_waited_for());
        }
    }
}
