//! Who listens to which events.

use core::sync::atomic::{AtomicU8, Ordering};

use wdk_sys::{EVENT_DESCRIPTOR, GUID, LPCGUID, PEVENT_FILTER_DESCRIPTOR, PVOID};

use super::description;
use crate::nt::etw::{Kind, Piece, Provider};

/// The provider's name.
const NAME: &str = "Rxce.Engine";
/// {29bf4ee9-95d8-560d-2601-9a7b760043b8}: made from the name, in the way that tools of TraceLogging know.
static ID: GUID = GUID {
    Data1: 0x29BF_4EE9,
    Data2: 0x95D8,
    Data3: 0x560D,
    Data4: [0x26, 0x01, 0x9A, 0x7B, 0x76, 0x00, 0x43, 0xB8],
};
static DESCRIPTION: [u8; description::length_of_provider(NAME)] = description::provider(NAME);

static PROVIDER: Provider = Provider::new();
/// A bit for each class of events to which somebody listens.
static LISTENED: AtomicU8 = AtomicU8::new(0);

/// What listeners can choose by level and keyword.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// What is built, connected, disconnected and torn down.
    Life,
    /// What goes wrong there.
    Trouble,
    /// Each send and each receive.
    Data,
}

impl Class {
    const ALL: [Self; 3] = [Self::Life, Self::Trouble, Self::Data];

    const fn bit(self) -> u8 {
        match self {
            Self::Life => 1,
            Self::Trouble => 2,
            Self::Data => 4,
        }
    }

    /// `TRACE_LEVEL_INFORMATION`, `TRACE_LEVEL_WARNING`, `TRACE_LEVEL_VERBOSE`.
    const fn level(self) -> u8 {
        match self {
            Self::Life => 4,
            Self::Trouble => 3,
            Self::Data => 5,
        }
    }

    const fn keyword(self) -> u64 {
        match self {
            Self::Life | Self::Trouble => 1,
            Self::Data => 2,
        }
    }

    /// What ETW is told of an event of this class. Events of TraceLogging have no number, and a channel of their own.
    pub(super) const fn descriptor(self) -> EVENT_DESCRIPTOR {
        EVENT_DESCRIPTOR {
            Id: 0,
            Version: 0,
            Channel: 11,
            Level: self.level(),
            Opcode: 0,
            Task: 0,
            Keyword: self.keyword(),
        }
    }
}

/// Whether somebody listens to this class: one load.
///
/// # IRQL
///
/// any
#[inline]
pub(super) fn listens(class: Class) -> bool {
    LISTENED.load(Ordering::Relaxed) & class.bit() != 0
}

/// Writes an event with its values.
///
/// # IRQL
///
/// any
pub(super) fn write<D, V>(descriptor: &EVENT_DESCRIPTOR, event: &'static D, values: &V) {
    let pieces = [
        Piece::new(Kind::Provider, &DESCRIPTION),
        Piece::new(Kind::Event, event),
        Piece::new(Kind::Values, values),
    ];
    PROVIDER.write(descriptor, pieces);
}

/// Registers the provider. It may fail: then nobody can listen.
///
/// # Safety
///
/// The engine is being started. [`stop`] is called before the image goes.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
pub(crate) unsafe fn start() {
    // SAFETY: Forwarded; the entry points of the driver are serialised.
    unsafe { PROVIDER.register(&ID, Some(control)) };
}

/// Ends the registration.
///
/// # Safety
///
/// The engine is being ended, and nothing is left that could write.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`
pub(crate) unsafe fn stop() {
    // SAFETY: Forwarded.
    unsafe { PROVIDER.unregister() };
    LISTENED.store(0, Ordering::Relaxed);
}

/// `EVENT_CONTROL_CODE_DISABLE_PROVIDER` and `EVENT_CONTROL_CODE_ENABLE_PROVIDER`.
const DISABLE: u32 = 0;
const ENABLE: u32 = 1;

/// ETW tells what all who listen ask for together: the highest level, the keywords of which one or all must be there.
unsafe extern "C" fn control(
    _source: LPCGUID,
    code: u32,
    level: u8,
    any: u64,
    all: u64,
    _filter: PEVENT_FILTER_DESCRIPTOR,
    _context: PVOID,
) {
    let asked_for = |class: &Class| {
        let keyword = class.keyword();
        // Level 0 and no keywords stand for all of them.
        (level == 0 || class.level() <= level)
            && (any == 0 || keyword & any != 0)
            && keyword & all == all
    };
    match code {
        DISABLE => LISTENED.store(0, Ordering::Relaxed),
        ENABLE => {
            let classes = Class::ALL.into_iter().filter(asked_for);
            LISTENED.store(
                classes.fold(0, |bits, class| bits | class.bit()),
                Ordering::Relaxed,
            );
        }
        _ => {}
    }
}
