//! Programs as text: one step per line, `name on with also a b c`, numbers in hexadecimal, `#` begins a comment.
//! Programs of one machine are divided by a line `---`.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use conform_ioctl::{Operation, Step};

/// A program.
pub(crate) type Program = Vec<Step>;

/// Writes programs down.
pub(crate) fn write(programs: &[Program]) -> String {
    let mut text = String::new();
    for (number, program) in programs.iter().enumerate() {
        if number > 0 {
            text.push_str("---\n");
        }
        for step in program {
            let Step {
                on,
                with,
                also,
                a,
                b,
                c,
                ..
            } = *step;
            let word = step.operation().word();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{word} {on:x} {with:x} {also:x} {a:x} {b:x} {c:x}");
        }
    }
    text
}

/// Reads programs.
pub(crate) fn read(text: &str) -> Result<Vec<Program>> {
    let mut programs = vec![Program::new()];
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line == "---" {
            programs.push(Program::new());
        } else if !line.is_empty() {
            let step = step(line).with_context(|| format!("no step: {line}"))?;
            programs.last_mut().context("no program")?.push(step);
        }
    }
    Ok(programs)
}

fn step(line: &str) -> Result<Step> {
    let mut words = line.split_whitespace();
    let word = words.next().unwrap_or_default();
    let operation = Operation::ALL
        .iter()
        .position(|operation| operation.word() == word)
        .context("unknown operation")?;
    let numbers: Vec<u32> = words
        .map(|word| u32::from_str_radix(word, 16))
        .collect::<Result<_, _>>()?;
    ensure!(numbers.len() == 6, "six numbers are needed");
    Ok(Step {
        operation: operation.try_into()?,
        on: numbers[0].try_into()?,
        with: numbers[1].try_into()?,
        also: numbers[2].try_into()?,
        a: numbers[3],
        b: numbers[4],
        c: numbers[5],
    })
}

/// Any program comes back as it went.
pub(crate) fn round_trip(seed: u64) {
    for target in crate::target::TARGETS {
        let programs: Vec<Program> = (0..50)
            .map(|n| crate::program::of_seed(target, seed, n))
            .collect();
        let back = read(&write(&programs)).expect("a listing can be read");
        assert_eq!(back, programs, "{}", target.name);
    }
    assert!(read("send 1 2 3").is_err());
}
