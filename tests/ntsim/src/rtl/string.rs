//! Counted strings.

use crate::gate::Call;
use crate::layout::mm::UnicodeString;
use core::cmp::Ordering;

const STATUS_BUFFER_TOO_SMALL: u64 = 0xC000_0023;

/// The characters of a counted string.
fn units(string: &UnicodeString) -> &[u16] {
    if string.length < 2 || string.buffer.is_null() {
        return &[];
    }
    // SAFETY: The string says how long its buffer is; a bad one faults, and the report names the routine and its caller.
    unsafe { core::slice::from_raw_parts(string.buffer, usize::from(string.length / 2)) }
}

/// A counted string as text.
#[must_use]
pub fn text(string: &UnicodeString) -> String {
    String::from_utf16_lossy(units(string))
}

fn argument(call: &Call, n: usize) -> &'static mut UnicodeString {
    // SAFETY: As in `units`.
    unsafe { &mut *call.ptr::<UnicodeString>(n) }
}

/// Units before the terminating zero.
pub(super) fn terminated(start: *const u16) -> &'static [u16] {
    if start.is_null() {
        return &[];
    }
    let mut length = 0;
    // SAFETY: As in `units`: the string ends somewhere, or reading faults.
    while unsafe { start.wrapping_add(length).read() } != 0 {
        length += 1;
    }
    // SAFETY: All these units were just read.
    unsafe { core::slice::from_raw_parts(start, length) }
}

/// Bytes before the terminating zero.
pub(super) fn terminated_bytes(start: *const u8) -> &'static [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: As in `terminated`.
    unsafe { core::ffi::CStr::from_ptr(start.cast()) }.to_bytes()
}

fn clamp(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

pub(super) fn rtl_init_unicode_string(call: &Call) -> u64 {
    let source = call.ptr::<u16>(1);
    let bytes = terminated(source).len() * 2;
    // The page: at most 65532 bytes; NULL gives an empty string.
    let length = clamp(bytes.min(0xFFFC));
    let maximum_length = if source.is_null() { 0 } else { length + 2 };
    *argument(call, 0) = UnicodeString {
        length,
        maximum_length,
        buffer: source,
    };
    0
}

pub(super) fn rtl_init_ansi_string(call: &Call) -> u64 {
    let source = call.ptr::<u8>(1);
    let length = clamp(terminated_bytes(source).len().min(0xFFFE));
    let maximum_length = if source.is_null() { 0 } else { length + 1 };
    *argument(call, 0) = UnicodeString {
        length,
        maximum_length,
        buffer: source.cast(),
    };
    0
}

pub(super) fn rtl_copy_unicode_string(call: &Call) -> u64 {
    let target = argument(call, 0);
    let source = if call.arg(1) == 0 {
        &[]
    } else {
        units(argument(call, 1))
    };
    let room = usize::from(target.maximum_length / 2);
    let copied = source.get(..room).unwrap_or(source);
    write(target, 0, copied);
    0
}

/// Writes units at a position of a string's buffer, sets the length, and terminates it if there is room.
fn write(target: &mut UnicodeString, at: usize, data: &[u16]) {
    // SAFETY: The callers compared the length with the string's maximum; a wrong maximum faults or hits a guard page.
    unsafe { core::ptr::copy(data.as_ptr(), target.buffer.wrapping_add(at), data.len()) };
    target.length = clamp((at + data.len()) * 2);
    if target.length + 2 <= target.maximum_length {
        // SAFETY: As above.
        unsafe { target.buffer.wrapping_add(at + data.len()).write(0) };
    }
}

fn append(target: &mut UnicodeString, data: &[u16]) -> u64 {
    let at = usize::from(target.length / 2);
    if (at + data.len()) * 2 > usize::from(target.maximum_length) {
        return STATUS_BUFFER_TOO_SMALL;
    }
    if !data.is_empty() {
        write(target, at, data);
    }
    0
}

pub(super) fn rtl_append_unicode_to_string(call: &Call) -> u64 {
    append(argument(call, 0), terminated(call.ptr::<u16>(1)))
}

pub(super) fn rtl_append_unicode_string_to_string(call: &Call) -> u64 {
    append(argument(call, 0), units(argument(call, 1)))
}

fn upcase(unit: u16) -> u16 {
    let Some(character) = char::from_u32(u32::from(unit)) else {
        return unit;
    };
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => u16::try_from(u32::from(one)).unwrap_or(unit),
        _ => unit,
    }
}

pub(super) fn rtl_upcase_unicode_char(call: &Call) -> u64 {
    u64::from(upcase(call.u16(0)))
}

fn compare(left: &[u16], right: &[u16], ignore_case: u8) -> Ordering {
    if ignore_case == 0 {
        left.cmp(right)
    } else {
        left.iter()
            .map(|&unit| upcase(unit))
            .cmp(right.iter().map(|&unit| upcase(unit)))
    }
}

pub(super) fn rtl_compare_unicode_string(call: &Call) -> u64 {
    let order = compare(
        units(argument(call, 0)),
        units(argument(call, 1)),
        call.u8(2),
    ) as i32;
    u64::from(order.cast_unsigned())
}

pub(super) fn rtl_equal_unicode_string(call: &Call) -> u64 {
    u64::from(
        compare(
            units(argument(call, 0)),
            units(argument(call, 1)),
            call.u8(2),
        )
        .is_eq(),
    )
}

pub(super) fn rtl_prefix_unicode_string(call: &Call) -> u64 {
    let prefix = units(argument(call, 0));
    let head = units(argument(call, 1)).get(..prefix.len());
    u64::from(head.is_some_and(|head| compare(prefix, head, call.u8(2)).is_eq()))
}
