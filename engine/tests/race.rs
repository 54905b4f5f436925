//! The choice among several connects against section 5.8 of the connection engine specification: ends in any order, a
//! decision after each.

use proptest::{prelude::*, test_runner::RngSeed};
use rxce_engine::race::{Attempt, Choice, Verdict, decide};

/// What becomes of an attempt: `None` if it never begins, else its status.
type Fate = Option<i32>;

fn fates() -> impl Strategy<Value = Vec<(Fate, u32)>> {
    let fate = prop::sample::select(vec![None, Some(0), Some(0), Some(-1), Some(-2)]);
    // With each goes a number that says in which order the connects end.
    prop::collection::vec((fate, any::<u32>()), 0..7)
}

/// The winner, by what the specification says of it; `ended` is in the order of time.
fn winner(choice: Choice, fates: &[Fate], ended: &[usize]) -> Option<usize> {
    let succeeded = |index: usize| fates[index] == Some(0) && ended.contains(&index);
    let lowest = (0..fates.len()).find(|&index| succeeded(index));
    match choice {
        Choice::First => ended.iter().copied().find(|&index| succeeded(index)),
        Choice::Best => lowest.filter(|&index| {
            (0..index).all(|better| fates[better].is_none() || ended.contains(&better))
        }),
        Choice::All => lowest.filter(|_| {
            (0..fates.len()).all(|index| fates[index].is_none() || ended.contains(&index))
        }),
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
    fn the_first_verdict_is_the_right_one(fates in fates(), option in 0..3_u32) {
        let choice = Choice::new(option).expect("a known option");
        let mut order: Vec<usize> = (0..fates.len()).filter(|&n| fates[n].0.is_some()).collect();
        order.sort_by_key(|&index| fates[index].1);
        let fates: Vec<Fate> = fates.into_iter().map(|(fate, _)| fate).collect();

        let mut decided = false;
        for ends in 0..=order.len() {
            let ended = &order[..ends];
            let attempts = fates.iter().enumerate().map(|(index, fate)| match fate {
                None => Attempt::Absent,
                Some(_) if !ended.contains(&index) => Attempt::Connecting,
                Some(0) => Attempt::Connected,
                Some(status) => Attempt::Failed(*status),
            });
            let expected = match winner(choice, &fates, ended) {
                Some(index) => Verdict::Winner(index),
                None if ends == order.len() => {
                    Verdict::Lost(fates.iter().copied().flatten().next())
                }
                None => Verdict::Open,
            };
            prop_assert_eq!(decide(choice, attempts), expected);
            if expected != Verdict::Open {
                decided = true;
                break;
            }
        }
        prop_assert!(decided, "a race that never ends");
    }
}

#[test]
fn unknown_options_are_refused() {
    assert!((3..40).all(|option| Choice::new(option).is_err()));
    assert!(Choice::new(u32::MAX).is_err());
}
