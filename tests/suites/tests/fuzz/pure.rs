//! Hostile bytes for the engine's pure code, which must keep the rules and never panic.

use std::{fmt::Write as _, fs, panic};

use anyhow::{Context as _, Result, bail};
use arbitrary::Unstructured;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::rules::{self, Checked, Trouble};

/// One target.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    check: fn(&mut Unstructured<'_>) -> Checked,
}

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "transport-addresses",
        check: rules::addresses,
    },
    Target {
        name: "remote-addresses",
        check: rules::remote,
    },
    Target {
        name: "extended-attributes",
        check: rules::attributes,
    },
    Target {
        name: "send-lengths",
        check: rules::lengths,
    },
    Target {
        name: "circuit-life",
        check: rules::life,
    },
    Target {
        name: "receive-guards",
        check: rules::guards,
    },
];

/// Runs `count` inputs of a seed. What is found is made small, saved, and an error.
pub(crate) fn run(target: &Target, seed: u64, count: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..count {
        let mut bytes = vec![0; random.random_range(0..400)];
        random.fill_bytes(&mut bytes);
        let Some(found) = find(target, &bytes) else {
            continue;
        };
        let small = shrink(target, bytes);
        let mut text = format!("# {found}\n{}\n", target.name);
        for byte in &small {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        let file = crate::long::directory().join(format!("{}-{seed:x}-{number}.hex", target.name));
        fs::create_dir_all(crate::long::directory())?;
        fs::write(&file, &text)?;
        bail!("{text}saved as {}", file.display());
    }
    Ok(())
}

/// Replays an input that is kept.
pub(crate) fn replay(text: &str) -> Result<()> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let name = lines.next().context("no target")?;
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .context("unknown target")?;
    let digits = lines.next().unwrap_or_default();
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|place| u8::from_str_radix(&digits[2 * place..2 * place + 2], 16))
        .collect::<std::result::Result<_, _>>()?;
    find(target, &bytes).map_or(Ok(()), |found| bail!("{found}"))
}

fn find(target: &Target, bytes: &[u8]) -> Option<String> {
    let checked = panic::catch_unwind(|| (target.check)(&mut Unstructured::new(bytes)));
    match checked {
        Ok(Ok(()) | Err(Trouble::Exhausted)) => None,
        Ok(Err(Trouble::Found(text))) => Some(text),
        Err(_) => Some("it panics".to_owned()),
    }
}

/// Shorter, then with more zeros, as long as something is found.
fn shrink(target: &Target, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut length = bytes.len() / 2;
    while length > 0 {
        let mut start = 0;
        while start + length <= bytes.len() {
            let mut less = bytes.clone();
            less.drain(start..start + length);
            if find(target, &less).is_some() {
                bytes = less;
            } else {
                start += length;
            }
        }
        length /= 2;
    }
    for place in 0..bytes.len() {
        let was = std::mem::take(&mut bytes[place]);
        if find(target, &bytes).is_none() {
            bytes[place] = was;
        }
    }
    bytes
}
