//! Property tests: whatever a server or a program says, no panic, and every name has one form.

use proptest::prelude::*;
use rxce_netfs::{
    attributes::Attributes,
    directory::{Added, Entries},
    file, name, pattern, server, volume,
};

fn to_windows(bytes: &[u8]) -> Option<Vec<u16>> {
    let mut output = [0; name::MOST_UNITS];
    name::to_windows(bytes, &mut output).map(|length| output[..length].to_vec())
}

fn to_server(units: &[u16]) -> Option<Vec<u8>> {
    let mut output = [0; name::MOST_BYTES];
    name::to_server(units, &mut output)
        .ok()
        .map(|length| output[..length].to_vec())
}

/// Bytes among which the interesting ones are frequent, and characters of the private use area.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::sample::select(b"./\\:*?<>|\" \x01\x7f\x80\xbf\xc3\xa9\xef\xf0".to_vec())
            .prop_map(|byte| vec![byte]),
        prop::char::range('\u{F000}', '\u{F100}').prop_map(|c| c.to_string().into_bytes()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn unit() -> impl Strategy<Value = u16> {
    prop_oneof![
        any::<u16>(),
        0xF000_u16..0xF100,
        prop::sample::select("ab.\\*?<>\"@!0 ".encode_utf16().collect::<Vec<_>>())
    ]
}

proptest! {
    #[test]
    fn what_is_listed_can_be_opened(bytes in bytes()) {
        if let Some(units) = to_windows(&bytes) {
            prop_assert_eq!(to_server(&units), Some(bytes));
            prop_assert!(!units.contains(&u16::from(b'\\')) && !units.contains(&u16::from(b':')));
        }
    }

    #[test]
    fn what_can_be_opened_is_listed_like_that(units in prop::collection::vec(unit(), 0..40)) {
        if let Some(bytes) = to_server(&units) {
            prop_assert!(!bytes.contains(&b'/') && !bytes.contains(&0) && !bytes.is_empty());
            prop_assert!(bytes != b"." && bytes != b"..");
            prop_assert_eq!(to_windows(&bytes), Some(units));
        }
    }

    #[test]
    fn parsers_do_not_panic(units in prop::collection::vec(unit(), 0..400), split in 0_usize..500) {
        let _ = server::server(&units);
        let _ = server::tree(&units, &mut [0; server::MOST_ANAME]);
        let (start, length) = server::share_length(&units, split);
        prop_assert!(start + length <= units.len());
        prop_assert!(name::components(&units).count() <= units.len());
    }

    /// A slow matcher that follows the definition.
    #[test]
    fn patterns_are_those_of_the_definition(
        pattern in prop::collection::vec(prop::sample::select("ab.*?<>\"".encode_utf16().collect::<Vec<_>>()), 1..7),
        name in prop::collection::vec(prop::sample::select("ab.".encode_utf16().collect::<Vec<_>>()), 0..7),
    ) {
        let expected = if pattern::has_wildcards(&pattern) { slow(&pattern, &name, &name) } else { pattern == name };
        prop_assert_eq!(pattern::fits(&pattern, &name), expected);
    }

    #[test]
    fn queries_stay_in_their_buffers(
        class in 0_u32..50,
        length in 0_usize..600,
        name_length in 0_usize..255,
    ) {
        let mut buffer = vec![0xCC; length + 8];
        let file = Attributes::of_directory(1);
        let _ = file::encode(class, &file, &mut buffer[..length]);
        let _ = volume::encode(class, &p9::Statfs::default(), &vec![1; name_length], &mut buffer[..length]);
        if let Ok(mut entries) = Entries::new(class, &mut buffer[..length]) {
            let mut count = 0;
            while entries.add(&vec![1; name_length], &file) == Added::Whole {
                count += 1;
                prop_assert!(count < 100);
            }
            prop_assert!(entries.used() <= length);
        }
        prop_assert!(buffer[length..].iter().all(|byte| *byte == 0xCC));
    }
}

fn slow(pattern: &[u16], name: &[u16], whole: &[u16]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    let next = name.split_first();
    let one = |fits: bool| fits && next.is_some_and(|(_, after)| slow(rest, after, whole));
    let at_dot = next.is_none_or(|(unit, _)| *unit == u16::from(b'.'));
    match u8::try_from(*first) {
        Ok(b'*') => {
            slow(rest, name, whole) || next.is_some_and(|(_, after)| slow(pattern, after, whole))
        }
        Ok(b'<') => {
            let at = whole.len() - name.len();
            let last = whole.iter().rposition(|unit| *unit == u16::from(b'.'));
            slow(rest, name, whole)
                || (last != Some(at) && next.is_some_and(|(_, after)| slow(pattern, after, whole)))
        }
        Ok(b'?') => one(true),
        Ok(b'>') => (at_dot && slow(rest, name, whole)) || one(!at_dot),
        Ok(b'"') => (name.is_empty() && slow(rest, name, whole)) || one(at_dot && !name.is_empty()),
        _ => one(next.is_some_and(|(unit, _)| unit == first)),
    }
}
