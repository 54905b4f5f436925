//! What programs are made of: random bytes, structured by `arbitrary` into steps that a client and a transport could take,
//! and some that they should not.

use arbitrary::{Result, Unstructured};
use conform_ioctl::{Operation, Operation as O, Step};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{listing::Program, target::Target};

/// The `number`-th program of a seed.
pub(crate) fn of_seed(target: &Target, seed: u64, number: u64) -> Program {
    let mut name = 0_u64;
    for byte in target.name.bytes() {
        name = name.rotate_left(8) ^ u64::from(byte);
    }
    let mut random = StdRng::seed_from_u64(seed ^ name.rotate_left(24) ^ number.rotate_left(48));
    let mut bytes = vec![0; 2500];
    random.fill_bytes(&mut bytes);
    from_bytes(target, &bytes)
}

/// The program that bytes stand for.
fn from_bytes(target: &Target, bytes: &[u8]) -> Program {
    let mut source = Unstructured::new(bytes);
    let mut program = Program::new();
    // Bytes that are used up end a program.
    let _ = fill(target, &mut source, &mut program);
    program.truncate(conform_ioctl::MOST_STEPS);
    program
}

fn fill(target: &Target, source: &mut Unstructured<'_>, program: &mut Program) -> Result<()> {
    if source.ratio(9, 10)? {
        let provider = source.int_in_range(0..=4)?;
        program.push(step(O::BuildTransport, 0, 0, 0, provider));
        program.push(step(O::BuildAddress, 0, 0, 0, 0));
        program.push(step(O::BuildConnection, 0, 0, 0, 0));
        if source.ratio(1, 3)? {
            program.push(step(O::BuildVc, 1, 0, 0, 0));
        }
        if source.ratio(1, 4)? {
            program.push(step(O::BuildTransport, 1, 0, 0, 2));
            program.push(step(O::BuildAddress, 1, 1, 0, 0));
        }
    }
    if target.eager {
        // The client wants more than it is offered, and most requests take their time.
        for lane in 0..3 {
            program.push(Step {
                a: 4,
                b: source.arbitrary()?,
                c: 0x0100 | source.int_in_range(1..=5)? | source.arbitrary::<u32>()? << 16,
                ..step(O::Client, 0, lane, 0, 0)
            });
        }
        program.push(step(O::Script, 0, 3, 0, 0x20));
        program.push(step(O::Script, 0, 6, 0, 0x20));
    }
    let count = source.int_in_range(target.least..=36)?;
    for _ in 0..count {
        program.push(any(target, source)?);
    }
    Ok(())
}

fn step(operation: Operation, on: u8, with: u8, also: u8, a: u32) -> Step {
    let operation = O::ALL.iter().position(|&other| other == operation);
    Step {
        operation: operation
            .and_then(|place| place.try_into().ok())
            .unwrap_or_default(),
        on,
        with,
        also,
        a,
        ..Step::default()
    }
}

fn any(target: &Target, source: &mut Unstructured<'_>) -> Result<Step> {
    let all = || target.life.iter().chain(target.weights);
    let sum: u32 = all().map(|(_, weight)| weight).sum();
    let mut left = source.int_in_range(0..=sum.saturating_sub(1))?;
    let mut operation = O::Wait;
    for &(this, weight) in all() {
        if left < weight {
            operation = this;
            break;
        }
        left -= weight;
    }
    let mut step = step(
        operation,
        structure(target, source)?,
        structure(target, source)?,
        0,
        0,
    );
    let odd = source.int_in_range(0..=99)? < target.odd;
    match operation {
        O::BuildTransport => {
            step.with = if odd {
                0xF0 | source.arbitrary::<u8>()?
            } else {
                0
            };
            step.a = source.arbitrary()?;
            step.b = source.arbitrary()?;
        }
        O::BuildAddress => {
            step.b = callbacks(source)?;
            if odd {
                step.a = source.arbitrary()?;
                step.c = number(source)?;
            }
        }
        O::BuildConnection => {
            step.also = structure(target, source)?;
            step.b = callbacks(source)?;
            step.a = if odd { source.arbitrary()? } else { 0 };
        }
        O::Send | O::SendDatagram => {
            step.with = source.arbitrary()?;
            step.c = source.arbitrary()?;
            step.a = options(source)?;
            step.b = if odd { number(source)? } else { 0 };
            if odd && operation == O::SendDatagram {
                step.also = source.arbitrary()?;
            }
        }
        O::Query => {
            step.with = u8::from(odd && source.ratio(1, 4)?);
            step.a = if odd {
                number(source)?
            } else {
                source.int_in_range(1..=4)?
            };
            step.b = if odd { number(source)? } else { 64 };
        }
        O::QueryAdapter | O::QueryTransport => step.with = u8::from(odd && source.ratio(1, 2)?),
        O::AllocateIrp => step.a = if odd { number(source)? } else { 4 },
        O::FreeIrp | O::Level | O::Fault | O::Wait => step.a = source.arbitrary()?,
        O::BuildOverMultiple => {
            step.also = if odd {
                source.arbitrary()?
            } else {
                source.int_in_range(0..=2)?
            };
            step.a = if odd {
                source.arbitrary()?
            } else {
                source.int_in_range(0..=9)?
            };
            step.b = u32::from_le_bytes([
                structure(target, source)?,
                structure(target, source)?,
                structure(target, source)?,
                0,
            ]);
            step.c = if odd { source.arbitrary()? } else { 0 };
        }
        O::Change => {
            step.with = source.arbitrary()?;
            step.a = if source.ratio(1, 2)? {
                source.int_in_range(0..=3)?
            } else {
                source.arbitrary()?
            };
            step.b = source.arbitrary()?;
        }
        O::Repair => step.with = source.arbitrary()?,
        O::Client => {
            step.also = if source.ratio(1, 5)? {
                source.arbitrary()?
            } else {
                0
            };
            step.with = source.int_in_range(0..=2)?;
            step.a = if odd {
                source.arbitrary()?
            } else {
                source.int_in_range(0..=5)?
            };
            step.b = source.arbitrary()?;
            step.c = source.arbitrary()?;
        }
        O::Script => {
            step.with = source.arbitrary()?;
            step.a = source.arbitrary()?;
            step.b = source.arbitrary()?;
        }
        O::Provider => {
            step.with = source.arbitrary()?;
            step.a = if source.ratio(1, 2)? {
                source.arbitrary()?
            } else {
                source.int_in_range(0..=0xFFF)?
            };
            step.b = number(source)?;
            // Forty bytes, with success.
            step.c = if odd { source.arbitrary()? } else { 80 };
        }
        O::Answer => {
            step.a = source.arbitrary()?;
            step.b = source.arbitrary()?;
        }
        O::Receive | O::Disconnect | O::Error | O::Datagram | O::SendPossible => {
            step.on = if odd {
                source.arbitrary()?
            } else {
                source.int_in_range(0..=2)?
            };
            step.with = source.arbitrary()?;
            step.also = when(source)?;
            step.a = amount(source)?;
            step.b = if odd {
                number(source)?
            } else {
                step.a.saturating_add(amount(source)?)
            };
            step.c = source.arbitrary()?;
            if operation == O::Disconnect && !odd {
                step.a = *source.choose(&[2, 4, 4, 6, 0])?;
            }
        }
        O::Complete => {
            step.with = if source.ratio(2, 3)? {
                0x80
            } else {
                *source.choose(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])?
            };
            step.also = when(source)?;
            step.a = source.arbitrary()?;
            step.b = if odd {
                source.arbitrary()?
            } else {
                1 | amount(source)? << 2
            };
        }
        O::BuildVc
        | O::Initiate
        | O::TearDownVc
        | O::TearDownConnection
        | O::TearDownAddress
        | O::TearDownTransport
        | O::CancelConnect => {}
    }
    Ok(step)
}

/// A choice of a structure.
fn structure(target: &Target, source: &mut Unstructured<'_>) -> Result<u8> {
    if source.int_in_range(0..=99)? < target.strange {
        return source.arbitrary();
    }
    // The first ones are those that are built.
    Ok(*source.choose(&[0, 0, 0, 0, 1, 1, 2, 3])?)
}

fn callbacks(source: &mut Unstructured<'_>) -> Result<u32> {
    if source.ratio(1, 6)? {
        return source.arbitrary();
    }
    Ok(8)
}

fn options(source: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match source.int_in_range(0..=5)? {
        0 => 0x1000_0000,
        1 => 0x2000_0000,
        2 => 1_u32.wrapping_shl(source.int_in_range(0..=31)?),
        3 => source.arbitrary()?,
        _ => 0,
    })
}

fn when(source: &mut Unstructured<'_>) -> Result<u8> {
    if source.ratio(2, 3)? {
        return Ok(source.arbitrary::<u8>()? & 0x20);
    }
    source.arbitrary()
}

fn amount(source: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match source.int_in_range(0..=9)? {
        0 => 0,
        1 => source.int_in_range(0..=0xFFFF)?,
        2 => 4096,
        _ => source.int_in_range(1..=300)?,
    })
}

/// A number that somebody may have forgotten.
fn number(source: &mut Unstructured<'_>) -> Result<u32> {
    const LIKED: &[u32] = &[
        0,
        1,
        2,
        3,
        4,
        7,
        8,
        15,
        16,
        39,
        40,
        41,
        47,
        48,
        55,
        56,
        59,
        60,
        64,
        127,
        128,
        255,
        256,
        4095,
        4096,
        4097,
        0xFFFE,
        0xFFFF,
        0x1_0000,
        0x1_0001,
        0x7FFF_FFFF,
        0x8000_0000,
        0xFFFF_0000,
        0xFFFF_FFFE,
        0xFFFF_FFFF,
    ];
    if source.ratio(2, 3)? {
        return Ok(*source.choose(LIKED)?);
    }
    source.arbitrary()
}
