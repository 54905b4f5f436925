//! The registry, as far as drivers ask it: every key below `SYSTEM` can be opened, and has the values that the host program
//! has put there.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::handle;
use super::routines::{ZW, attributes};
use super::{ObjectKind, create, dereference, name};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, Routine};
use crate::io::status;
use crate::layout::ke::{OBJ_KERNEL_HANDLE, ObjectAttributes, UnicodeString};
use crate::mem::{self, poke};

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "ZwOpenKey",
        args: 3,
        irql: ZW,
        run: open_key,
    },
    Routine {
        name: "ZwQueryValueKey",
        args: 6,
        irql: ZW,
        run: query_value,
    },
];

/// Where everything is.
const ROOT: &str = r"\registry\machine\system\";
/// KeyValuePartialInformation.
const PARTIAL: u32 = 2;
/// KEY_VALUE_PARTIAL_INFORMATION { TitleIndex 0, Type 4, DataLength 8, Data 0C }.
const PARTIAL_HEAD: usize = 0x0c;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// REG_DWORD.
    Number(u32),
    /// REG_SZ.
    Text(String),
}

impl Value {
    /// Its type and its bytes.
    fn encoded(&self) -> (u32, Vec<u8>) {
        match self {
            Self::Number(number) => (4, number.to_le_bytes().into()),
            Self::Text(text) => {
                let units = text.encode_utf16().chain([0]);
                (1, units.flat_map(u16::to_le_bytes).collect())
            }
        }
    }
}

/// Key and name, both in lower case.
static VALUES: Mutex<Option<HashMap<(String, String), Value>>> = Mutex::new(None);

/// Puts a value into the `Parameters` key of a service; drivers find it from now on.
pub fn set_parameter(service: &str, name: &str, value: Value) {
    let key = format!(r"{ROOT}currentcontrolset\services\{service}\parameters").to_lowercase();
    VALUES
        .lock()
        .get_or_insert_default()
        .insert((key, name.to_lowercase()), value);
}

/// ZwOpenKey: by a full path, or below a key that is open.
fn open_key(call: &Call) -> u64 {
    if fault::should_fail(call, FaultKind::Object) {
        return answer(status::INSUFFICIENT_RESOURCES);
    }
    let (given, flags) = attributes(call.addr(2), "ZwOpenKey");
    let root = ObjectAttributes(call.addr(2)).root().get();
    let path = if root == 0 {
        given
    } else {
        match handle::object(root as u64) {
            Some(key) => format!(r"{}\{given}", name(key)),
            None => return handle::bad_kernel_handle(root as u64, "ZwOpenKey"),
        }
    };
    if !path.to_lowercase().starts_with(ROOT) {
        return answer(status::OBJECT_NAME_NOT_FOUND);
    }
    let key = create(ObjectKind::Key, 8, Some(path));
    poke(
        call.addr(0),
        handle::open(key, flags & OBJ_KERNEL_HANDLE != 0, call.caller()),
    );
    dereference(key, 0);
    answer(status::SUCCESS)
}

/// ZwQueryValueKey, for KeyValuePartialInformation.
fn query_value(call: &Call) -> u64 {
    let Some(key) = handle::object(call.arg(0)) else {
        return handle::bad_kernel_handle(call.arg(0), "ZwQueryValueKey");
    };
    let value = UnicodeString(call.addr(1)).text().to_lowercase();
    let place = (name(key).to_lowercase(), value);
    let Some(value) = VALUES
        .lock()
        .as_ref()
        .and_then(|all| all.get(&place))
        .cloned()
    else {
        return answer(status::OBJECT_NAME_NOT_FOUND);
    };
    if call.u32(2) != PARTIAL {
        return answer(status::INVALID_PARAMETER);
    }
    let (kind, bytes) = value.encoded();
    let (buffer, room) = (call.addr(3), call.u32(4) as usize);
    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    poke(call.addr(5), count.saturating_add(0x0c));
    let Some(room) = room.checked_sub(PARTIAL_HEAD) else {
        return answer(status::BUFFER_TOO_SMALL);
    };
    poke(buffer, [0, kind, count]);
    let fits = bytes.get(..room.min(bytes.len())).unwrap_or_default();
    mem::write_bytes(buffer + PARTIAL_HEAD, fits);
    answer(if fits.len() < bytes.len() {
        status::BUFFER_OVERFLOW
    } else {
        status::SUCCESS
    })
}

const fn answer(status: i32) -> u64 {
    status.cast_unsigned() as u64
}
