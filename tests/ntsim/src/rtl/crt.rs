//! The routines of the C library that the kernel exports: strings of bytes and of 16-bit units, classes of ASCII characters.
//!
//! Facts: the C run-time library's pages. Comparing without case knows the "C" locale, that is ASCII.

use super::string::{terminated, terminated_bytes};
use crate::gate::{Call, IrqlRule, Routine};
use crate::mem::poke;

const fn routine(name: &'static str, args: u8, run: fn(&Call) -> u64) -> Routine {
    Routine {
        name,
        args,
        irql: IrqlRule::Any,
        run,
    }
}

/// Routines of this module.
pub const ROUTINES: &[Routine] = &[
    routine("strlen", 1, |call| bytes(call, 0).len() as u64),
    routine("strcmp", 2, |call| {
        order(bytes(call, 0).cmp(bytes(call, 1)))
    }),
    routine("strncmp", 3, |call| {
        let most = call.addr(2);
        order(first(bytes(call, 0), most).cmp(first(bytes(call, 1), most)))
    }),
    routine("strcpy", 2, |call| {
        copy(call.addr(0), bytes(call, 1));
        call.arg(0)
    }),
    routine("strchr", 2, |call| {
        let (text, wanted) = (bytes(call, 0), call.u8(1));
        let place = text.iter().chain(&[0]).position(|byte| *byte == wanted);
        place.map_or(0, |place| call.arg(0) + place as u64)
    }),
    routine("strstr", 2, |call| {
        place_of(bytes(call, 0), bytes(call, 1)).map_or(0, |place| call.arg(0) + place as u64)
    }),
    routine("wcslen", 1, |call| units(call, 0).len() as u64),
    routine("wcscmp", 2, |call| {
        order(units(call, 0).cmp(units(call, 1)))
    }),
    routine("wcsncmp", 3, |call| {
        let most = call.addr(2);
        order(first(units(call, 0), most).cmp(first(units(call, 1), most)))
    }),
    routine("_wcsicmp", 2, |call| {
        order(lower(units(call, 0)).cmp(lower(units(call, 1))))
    }),
    routine("_wcsnicmp", 3, |call| {
        let most = call.addr(2);
        let part = |n| lower(first(units(call, n), most));
        order(part(0).cmp(part(1)))
    }),
    routine("wcscpy", 2, |call| {
        copy(call.addr(0), units(call, 1));
        call.arg(0)
    }),
    routine("wcscat", 2, |call| {
        copy(call.addr(0) + units(call, 0).len() * 2, units(call, 1));
        call.arg(0)
    }),
    routine("wcschr", 2, |call| {
        let (text, wanted) = (units(call, 0), call.u16(1));
        let place = text.iter().chain(&[0]).position(|unit| *unit == wanted);
        place.map_or(0, |place| call.arg(0) + place as u64 * 2)
    }),
    routine("wcsrchr", 2, |call| {
        let (text, wanted) = (units(call, 0), call.u16(1));
        let place = if wanted == 0 {
            Some(text.len())
        } else {
            text.iter().rposition(|unit| *unit == wanted)
        };
        place.map_or(0, |place| call.arg(0) + place as u64 * 2)
    }),
    routine("wcsstr", 2, |call| {
        place_of(units(call, 0), units(call, 1)).map_or(0, |place| call.arg(0) + place as u64 * 2)
    }),
    routine("towlower", 1, |call| u64::from(lower_unit(call.u16(0)))),
    routine("isprint", 1, |call| {
        u64::from((0x20..0x7F).contains(&call.u32(0)))
    }),
    routine("isspace", 1, |call| {
        u64::from(matches!(call.u32(0), 0x20 | 0x09..=0x0D))
    }),
];

fn bytes(call: &Call, n: usize) -> &'static [u8] {
    terminated_bytes(call.ptr(n))
}

fn units(call: &Call, n: usize) -> &'static [u16] {
    terminated(call.ptr(n))
}

fn first<T>(text: &[T], most: usize) -> &[T] {
    text.get(..most).unwrap_or(text)
}

fn lower_unit(unit: u16) -> u16 {
    if (u16::from(b'A')..=u16::from(b'Z')).contains(&unit) {
        unit + 0x20
    } else {
        unit
    }
}

fn lower(text: &[u16]) -> impl Iterator<Item = u16> {
    text.iter().map(|unit| lower_unit(*unit))
}

/// `int` below, at or above zero.
fn order(order: core::cmp::Ordering) -> u64 {
    u64::from((order as i32).cast_unsigned())
}

/// Writes a string and its end.
fn copy<T: crate::mem::Plain + Default>(to: usize, text: &[T]) {
    for (place, unit) in text.iter().chain(&[T::default()]).enumerate() {
        poke(to + place * size_of::<T>(), *unit);
    }
}

fn place_of<T: PartialEq>(text: &[T], part: &[T]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}
