//! Security, as far as a control device asks: who is calling, and is that an administrator.
//!
//! There is one simulated user; whether it is an administrator is the host program's choice ([`set_user_admin`]).

pub mod dacl;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::{APC_LEVEL, PASSIVE_LEVEL};
use crate::mem::poke;
use crate::own::{self, Own};
use crate::stop::Stop;

const APC: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5));
const PASSIVE: IrqlRule = IrqlRule::Max(PASSIVE_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub const ROUTINES: &[Routine] = &[
    Routine {
        name: "SeCaptureSubjectContext",
        args: 1,
        irql: APC,
        run: capture,
    },
    Routine {
        name: "SeReleaseSubjectContext",
        args: 1,
        irql: APC,
        run: release,
    },
    Routine {
        name: "SeLockSubjectContext",
        args: 1,
        irql: APC,
        run: |_| 0,
    },
    Routine {
        name: "SeUnlockSubjectContext",
        args: 1,
        irql: APC,
        run: |_| 0,
    },
    Routine {
        name: "SeTokenIsAdmin",
        args: 1,
        irql: PASSIVE,
        run: is_admin,
    },
    Routine {
        name: "SeSinglePrivilegeCheck",
        args: 2,
        irql: PASSIVE,
        run: privilege,
    },
];

static USER_IS_ADMIN: AtomicBool = AtomicBool::new(true);

/// Makes the simulated user an administrator, or not. It is one at boot.
pub fn set_user_admin(admin: bool) {
    USER_IS_ADMIN.store(admin, Ordering::Relaxed);
}

/// Whether the simulated user is an administrator.
pub(crate) fn user_is_admin() -> bool {
    USER_IS_ADMIN.load(Ordering::Relaxed)
}

/// The two tokens: the processes themselves stand for them.
fn token(system: bool) -> usize {
    if system {
        crate::ps::system_process()
    } else {
        crate::ps::user_process()
    }
}

/// SECURITY_SUBJECT_CONTEXT { ClientToken 0, ImpersonationLevel 8, PrimaryToken 10, ProcessAuditId 18 }.
fn capture(call: &Call) -> u64 {
    let primary = token(call.thread().system);
    poke(call.addr(0), [0, 0, primary, 0]);
    crate::ob::reference(primary, call.caller());
    0
}

fn release(call: &Call) -> u64 {
    let primary: usize = crate::mem::peek(call.addr(0) + 0x10);
    if primary != token(true) && primary != token(false) {
        own::violation(
            Own::Object,
            [call.arg(0), 0, 0],
            "SeReleaseSubjectContext of a context that was not captured",
        );
    }
    poke(call.addr(0), [0_usize; 4]);
    crate::ob::dereference(primary, call.caller());
    0
}

fn is_admin(call: &Call) -> u64 {
    u64::from(
        call.addr(0) == token(true)
            || (call.addr(0) == token(false) && USER_IS_ADMIN.load(Ordering::Relaxed)),
    )
}

fn privilege(call: &Call) -> u64 {
    u64::from(call.u8(1) == 0 || call.thread().system || USER_IS_ADMIN.load(Ordering::Relaxed))
}
