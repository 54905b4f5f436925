//! Questions about addresses and names.

use crate::gate::{self, Call};
use crate::layout::mm::UnicodeString;
use crate::{arena, image, pageable, rtl, stop};

/// Kernel routines, kernel variables and the bench's own services, by name. The page: exports of ntoskrnl and hal only.
pub(super) fn mm_get_system_routine_address(call: &Call) -> u64 {
    // SAFETY: A bad pointer faults, and the report names this routine and its caller.
    let name = rtl::text(unsafe { &*call.ptr::<UnicodeString>(0) });
    call.note(|| name.clone());
    gate::import(&name).unwrap_or(0) as u64
}

pub(super) fn mm_is_address_valid(call: &Call) -> u64 {
    u64::from(arena::is_mapped(call.addr(0)))
}

/// Checks a user buffer. The routine raises an exception for a bad one; drivers without SEH stop there.
pub(super) fn probe_for_read(call: &Call) -> u64 {
    let (address, bytes, alignment) = (call.addr(0), call.addr(1), call.addr(2));
    let outside = address
        .checked_add(bytes)
        .is_none_or(|end| !arena::is_user(end.saturating_sub(1)));
    let misaligned = alignment > 1 && address % alignment != 0;
    if bytes != 0 && (outside || misaligned) {
        stop::bug_check(
            0x1E,
            [
                if outside { 0xC000_0005 } else { 0x8000_0002 },
                call.caller() as u64,
                0,
                address as u64,
            ],
            format!(
                "{} by {} refused {bytes} bytes at 0x{address:X}",
                call.routine(),
                stop::describe(call.caller())
            ),
        );
    }
    0
}

/// An opaque handle for the image that contains the address.
pub(super) fn image_handle(call: &Call) -> u64 {
    image::find(call.addr(0)).map_or(0, |image| image.base as u64)
}

/// Locks the section that contains the address; its handle is its address.
pub(super) fn lock_section(call: &Call) -> u64 {
    let image = image::find(call.addr(0));
    let section = image.and_then(|image| Some((image.base, image.section(call.addr(0))?)));
    section.map_or(0, |(base, section)| {
        let start = base + section.rva as usize;
        pageable::pin(start, section.bytes as usize);
        start as u64
    })
}

/// Undoes [`lock_section`].
pub(super) fn unlock_section(call: &Call) -> u64 {
    if let Some(section) = image::find(call.addr(0)).and_then(|image| image.section(call.addr(0))) {
        pageable::unpin(call.addr(0), section.bytes as usize);
    }
    0
}
