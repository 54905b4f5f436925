//! Access control lists of devices: what a driver sets (ZwSetSecurityObject) decides who may open its device, and how.
//!
//! Devices without a list are everybody's. Only entries that allow something are understood, of the system, administrators
//! and everybody; a descriptor with others is a driver's mistake here.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::io::status;
use crate::mem::{peek, read_bytes};
use crate::ob::handle;
use crate::ob::routines::require_system;
use crate::stop::Stop;

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[Routine {
    name: "ZwSetSecurityObject",
    args: 3,
    irql: IrqlRule::PassiveWithApcs(Stop::verifier(0xe6)),
    run: set,
}];

/// DACL_SECURITY_INFORMATION.
const DACL_INFORMATION: u32 = 4;
/// SE_DACL_PRESENT, SE_SELF_RELATIVE.
const PRESENT: u16 = 0x0004;
const SELF_RELATIVE: u16 = 0x8000;
/// GENERIC_READ, _WRITE, _EXECUTE, _ALL, each with what it stands for where files are meant.
const GENERIC: [(u32, u32); 4] = [
    (0x8000_0000, 0x12_0089),
    (0x4000_0000, 0x12_0116),
    (0x2000_0000, 0x12_00a0),
    (0x1000_0000, 0x1f_01ff),
];
/// MAXIMUM_ALLOWED.
const MAXIMUM: u32 = 0x0200_0000;

/// Who an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// S-1-5-18.
    System,
    /// S-1-5-32-544.
    Administrators,
    /// S-1-1-0.
    Everyone,
}

/// What somebody is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    who: Who,
    mask: u32,
}

/// The lists of objects that have one.
static LISTS: Mutex<Option<HashMap<usize, Vec<Entry>>>> = Mutex::new(None);

/// Forgets the list of an object that goes.
pub(crate) fn forget(object: usize) {
    if let Some(lists) = LISTS.lock().as_mut() {
        lists.remove(&object);
    }
}

/// The specific rights that generic ones stand for, as the mapping of files has them.
pub(crate) fn mapped(access: u32) -> u32 {
    let generic = GENERIC
        .iter()
        .filter(|(generic, _)| access & generic != 0)
        .fold(0, |sum, (_, specific)| sum | specific);
    access & 0x01ff_ffff | generic
}

/// Whether the user may have this access to an object.
pub(crate) fn allows(object: usize, is_admin: bool, access: u32) -> bool {
    let lists = LISTS.lock();
    let Some(list) = lists.as_ref().and_then(|lists| lists.get(&object)) else {
        return true;
    };
    let granted = list
        .iter()
        .filter(|entry| entry.who == Who::Everyone || entry.who == Who::Administrators && is_admin)
        .fold(0, |sum, entry| sum | entry.mask);
    mapped(access & !MAXIMUM) & !granted == 0
}

/// ZwSetSecurityObject(handle, information, descriptor).
fn set(call: &Call) -> u64 {
    if fault::should_fail(call, FaultKind::Object) {
        return u64::from(status::INSUFFICIENT_RESOURCES.cast_unsigned());
    }
    let Some(object) = handle::object(call.arg(0)) else {
        return handle::bad_kernel_handle(call.arg(0), "ZwSetSecurityObject");
    };
    require_system(call.addr(2), "ZwSetSecurityObject");
    let result = if call.u32(1) != DACL_INFORMATION {
        status::SUCCESS
    } else {
        match read(call.addr(2)) {
            Some(list) => {
                LISTS.lock().get_or_insert_default().insert(object, list);
                status::SUCCESS
            }
            None => status::INVALID_SECURITY_DESCR,
        }
    };
    u64::from(result.cast_unsigned())
}

/// The entries of a SECURITY_DESCRIPTOR's DACL: Revision 0, Control 2, then Owner, Group, Sacl, Dacl, which are offsets from
/// 4 on in a self-relative one, pointers from 8 on in another.
fn read(descriptor: usize) -> Option<Vec<Entry>> {
    let control: u16 = peek(descriptor + 2);
    if peek::<u8>(descriptor) != 1 || control & PRESENT == 0 {
        return None;
    }
    let acl = if control & SELF_RELATIVE == 0 {
        peek::<usize>(descriptor + 0x20)
    } else {
        descriptor + peek::<u32>(descriptor + 0x10) as usize
    };
    // ACL { AclRevision 0, Sbz1 1, AclSize 2, AceCount 4, Sbz2 6 }.
    let (size, count) = (usize::from(peek::<u16>(acl + 2)), peek::<u16>(acl + 4));
    let bytes = read_bytes(acl, size);
    let mut rest = bytes.get(8..)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        // ACE { AceType 0, AceFlags 1, AceSize 2, Mask 4, Sid 8 }.
        let [kind, _, low, high] = *rest.first_chunk::<4>()?;
        let size = usize::from(u16::from_le_bytes([low, high]));
        let (ace, behind) = rest.split_at_checked(size)?;
        let mask = u32::from_le_bytes(*ace.get(4..)?.first_chunk()?);
        entries.push(Entry {
            who: who(ace.get(8..)?)?,
            mask: mapped(mask),
        });
        if kind != 0 {
            return None;
        }
        rest = behind;
    }
    Some(entries)
}

/// SID { Revision 0, SubAuthorityCount 1, IdentifierAuthority 2, SubAuthority 8 }.
fn who(sid: &[u8]) -> Option<Who> {
    match sid {
        [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0] => Some(Who::System),
        [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0] => Some(Who::Administrators),
        [1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0] => Some(Who::Everyone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_what_it_says_and_no_more() {
        let object = 0x1000;
        assert!(allows(object, false, 0xc010_0000), "there is no list");
        let list = [(Who::Everyone, 0x12_00a9), (Who::Administrators, 0x1f_01ff)];
        let list = list.map(|(who, mask)| Entry { who, mask });
        LISTS
            .lock()
            .get_or_insert_default()
            .insert(object, list.into());
        assert!(allows(object, false, 0x8000_0000));
        assert!(!allows(object, false, 0x4000_0000));
        assert!(!allows(object, false, 0x1_0000));
        assert!(allows(object, true, 0xc010_0000));
        forget(object);
        assert!(allows(object, false, 0x4000_0000));
    }
}
