//! The arguments, split as every Windows program splits them.

use alloc::{string::String, vec::Vec};
use core::slice;

use windows_sys::{
    Win32::{
        Foundation::LocalFree, System::Environment::GetCommandLineW, UI::Shell::CommandLineToArgvW,
    },
    core::PWSTR,
};

/// The arguments without the program's name. What is no UTF-16 gets replacement characters.
pub(crate) fn arguments() -> Vec<String> {
    let mut count = 0;
    // SAFETY: No requirements.
    let line = unsafe { GetCommandLineW() };
    // SAFETY: The process's command line ends with a zero; the count is ours.
    let list = unsafe { CommandLineToArgvW(line, &raw mut count) };
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: The list has that many pointers, until it is freed.
    let words: &[PWSTR] =
        unsafe { slice::from_raw_parts(list, usize::try_from(count).unwrap_or(0)) };
    let arguments = words
        .iter()
        .skip(1)
        .map(|word| {
            // SAFETY: Each points to a string that ends with a zero.
            let units = unsafe { string(*word) };
            String::from_utf16_lossy(units)
        })
        .collect();
    // SAFETY: The list is one block, which is ours to free.
    unsafe { LocalFree(list.cast()) };
    arguments
}

/// # Safety
///
/// `start` points to UTF-16 units which end with a zero, and live as long as the result.
unsafe fn string<'a>(start: PWSTR) -> &'a [u16] {
    let mut length = 0;
    loop {
        // SAFETY: Not past the zero.
        let unit = unsafe { start.add(length) };
        // SAFETY: As above.
        if unsafe { *unit } == 0 {
            break;
        }
        length = length.saturating_add(1);
    }
    // SAFETY: The units before the zero.
    unsafe { slice::from_raw_parts(start, length) }
}
