//! Debug output, assertions and exceptions.

use super::string::{terminated, terminated_bytes};
use crate::gate::Call;
use crate::layout::mm::UnicodeString;
use crate::stop;
use crate::trace::{self, EventKind};
use core::fmt::Write as _;

pub(super) fn dbg_print(call: &Call) -> u64 {
    print(call, 0)
}

/// `DbgPrintEx(ComponentId, Level, Format, …)`: no filter, everything is shown.
pub(super) fn dbg_print_ex(call: &Call) -> u64 {
    print(call, 2)
}

fn print(call: &Call, format_argument: usize) -> u64 {
    let text = format(call, format_argument);
    if crate::options().echo_debug_output {
        let who = call.image().map_or("?", |image| image.name.as_str());
        stop::write_error(&format!("[{who}] {}\n", text.trim_end()));
    }
    trace::event(EventKind::Debug, call.caller(), || {
        text.trim_end().to_owned()
    });
    0
}

/// Formats like the C library of Windows: `%d %i %u %x %X %o %p %c %C %s %S %ws %hs %wZ %Z %%`, with flags, width,
/// precision and the sizes `h l ll w I I32 I64 z`.
#[must_use]
pub fn format(call: &Call, format_argument: usize) -> String {
    let format = terminated_bytes(call.ptr::<u8>(format_argument));
    let mut rest = format.iter().copied().peekable();
    let mut next = format_argument + 1;
    let mut out = String::new();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let mut argument = || {
            next += 1;
            next - 1
        };
        let mut spec = Spec::default();
        while let Some(&flag) = rest.peek().filter(|flag| b"-+ #0".contains(flag)) {
            spec.left |= flag == b'-';
            spec.zero |= flag == b'0';
            spec.plus |= flag == b'+';
            spec.alternate |= flag == b'#';
            rest.next();
        }
        spec.width = number(&mut rest, || call.u32(argument()) as usize).unwrap_or(0);
        if rest.next_if_eq(&b'.').is_some() {
            spec.precision = Some(number(&mut rest, || call.u32(argument()) as usize).unwrap_or(0));
        }
        let mut size = String::new();
        while let Some(byte) = rest.next_if(|byte| b"hlwIzq".contains(byte)) {
            size.push(char::from(byte));
            while let Some(digit) =
                rest.next_if(|digit| size.starts_with('I') && b"3264".contains(digit))
            {
                size.push(char::from(digit));
            }
        }
        let Some(conversion) = rest.next() else { break };
        if conversion == b'%' {
            out.push('%');
            continue;
        }
        spec.convert(&mut out, conversion, &size, call, argument());
    }
    out
}

fn number(
    rest: &mut core::iter::Peekable<impl Iterator<Item = u8>>,
    star: impl FnOnce() -> usize,
) -> Option<usize> {
    if rest.next_if_eq(&b'*').is_some() {
        return Some(star());
    }
    let mut value = None;
    while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
        value = Some((value.unwrap_or(0) * 10 + usize::from(digit - b'0')).min(4096));
    }
    value
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one per flag of a C format")]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

impl Spec {
    fn convert(&self, out: &mut String, conversion: u8, size: &str, call: &Call, n: usize) {
        let wide = matches!(size, "ll" | "I64" | "q" | "I" | "z");
        let unsigned = if wide {
            call.arg(n)
        } else {
            u64::from(call.u32(n))
        };
        let signed = if wide {
            call.arg(n).cast_signed()
        } else {
            i64::from(call.i32(n))
        };
        match conversion {
            b'd' | b'i' => {
                let sign = if signed < 0 {
                    "-"
                } else if self.plus {
                    "+"
                } else {
                    ""
                };
                self.number(out, sign, &signed.unsigned_abs().to_string());
            }
            b'u' => self.number(out, "", &unsigned.to_string()),
            b'x' => self.number(
                out,
                if self.alternate { "0x" } else { "" },
                &format!("{unsigned:x}"),
            ),
            b'X' => self.number(
                out,
                if self.alternate { "0X" } else { "" },
                &format!("{unsigned:X}"),
            ),
            b'o' => self.number(out, "", &format!("{unsigned:o}")),
            b'p' => self.pad(out, &format!("{:016X}", call.arg(n))),
            b'c' | b'C' => self.pad(
                out,
                &char::from_u32(call.u32(n) & 0xFFFF)
                    .unwrap_or('?')
                    .to_string(),
            ),
            b's' | b'S' => {
                let is_wide = size.contains('w')
                    || size.contains('l')
                    || (conversion == b'S' && !size.contains('h'));
                let text = if call.arg(n) == 0 {
                    "(null)".to_owned()
                } else if is_wide {
                    String::from_utf16_lossy(terminated(call.ptr::<u16>(n)))
                } else {
                    self.bounded(call.ptr::<u8>(n))
                };
                self.text(out, &text);
            }
            b'Z' => self.text(out, &counted(call, n, size.contains('w'))),
            other => {
                let _ = write!(out, "%{size}{}", char::from(other));
            }
        }
    }

    /// A narrow string need not be terminated if a precision limits it.
    fn bounded(&self, start: *const u8) -> String {
        let Some(limit) = self.precision else {
            return String::from_utf8_lossy(terminated_bytes(start)).into_owned();
        };
        let mut bytes = Vec::new();
        for n in 0..limit {
            // SAFETY: The driver vouches for the string; a bad one faults, and the report names routine and caller.
            match unsafe { start.wrapping_add(n).read() } {
                0 => break,
                byte => bytes.push(byte),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn text(&self, out: &mut String, text: &str) {
        let cut: String = text
            .chars()
            .take(self.precision.unwrap_or(usize::MAX))
            .collect();
        self.pad(out, &cut);
    }

    fn number(&self, out: &mut String, sign: &str, digits: &str) {
        let least = match self.precision {
            Some(precision) => precision,
            None if self.zero && !self.left => self.width.saturating_sub(sign.len()),
            None => 1,
        };
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        self.pad(out, &format!("{sign}{zeros}{digits}"));
    }

    fn pad(&self, out: &mut String, text: &str) {
        let _ = if self.left {
            write!(out, "{text:<0$}", self.width)
        } else {
            write!(out, "{text:>0$}", self.width)
        };
    }
}

fn counted(call: &Call, n: usize, wide: bool) -> String {
    if call.arg(n) == 0 {
        return "(null)".to_owned();
    }
    // SAFETY: As in `Spec::bounded`.
    let string = unsafe { &*call.ptr::<UnicodeString>(n) };
    if wide {
        return super::text(string);
    }
    if string.length == 0 || string.buffer.is_null() {
        return String::new();
    }
    // SAFETY: As above: an ANSI_STRING has the same shape.
    let bytes = unsafe {
        core::slice::from_raw_parts(string.buffer.cast::<u8>(), usize::from(string.length))
    };
    String::from_utf8_lossy(bytes).into_owned()
}

/// A failed `ASSERT`: a checked kernel would break into the debugger; here it stops.
pub(super) fn rtl_assert(call: &Call) -> u64 {
    let text = String::from_utf8_lossy(terminated_bytes(call.ptr::<u8>(0)));
    let file = String::from_utf8_lossy(terminated_bytes(call.ptr::<u8>(1)));
    stop::bug_check(
        0x1E,
        [0xC000_0420, call.caller() as u64, 0, 0],
        format!(
            "assertion failed: {text} ({file}:{}) in {}",
            call.u32(2),
            stop::describe(call.caller())
        ),
    )
}

pub(super) fn dbg_break_point(call: &Call) -> u64 {
    stop::bug_check(
        0x1E,
        [0x8000_0003, call.caller() as u64, 0, 0],
        format!("breakpoint in {}", stop::describe(call.caller())),
    )
}

/// The handler of C's `__try`: exceptions are not dispatched here, so that it is only ever bound, never called for one.
pub(super) fn c_specific_handler(_: &Call) -> u64 {
    const EXCEPTION_CONTINUE_SEARCH: u64 = 1;
    EXCEPTION_CONTINUE_SEARCH
}
