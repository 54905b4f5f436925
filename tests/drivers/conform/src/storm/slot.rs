//! A circuit's storage and the lives it has had: what every call and every callback is judged by.
//!
//! One life lasts from a build to the tear-down that was not refused, or to the failure of the build. A storage is
//! built again only when nobody uses it any more: that is the caller's rule.

use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};

use rxce_client::{RXCE_CONNECTION, RXCE_VC};
use wdk_sys::NTSTATUS;

use super::{
    multiple::Competition,
    report::{must, violated},
};
use crate::{
    nt::{mdl::Buffer, pool::Block, status, watch::Watch},
    outcome::{Outcome, Trouble},
};

/// Streams of a circuit: normal and expedited data.
pub(super) const LANES: usize = 2;
/// Bytes of the two elements of a receive's chain.
const ROOM: [usize; 2] = [300, 212];
/// Bytes of a receive's chain.
pub(super) const ROOM_BYTES: u32 = 512;

/// How the build of a life stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    Never,
    Running,
    Succeeded,
    Failed,
}

/// One stream as the client sees it.
#[derive(Clone, Copy, Default)]
pub(super) struct Lane {
    /// The receive callback is running.
    pub(super) inside: bool,
    /// Bytes still wanted by a receive that was accepted.
    pub(super) accepted: Option<u32>,
    /// Bytes taken so far.
    pub(super) offset: u32,
}

/// One life.
pub(super) struct Life {
    pub(super) build: Build,
    /// Tear-downs that were not refused.
    downs: u32,
    /// Tear-downs that are running, and that ever began.
    tearing: u32,
    tears: u32,
    /// Calls that are running.
    users: u32,
    /// Calls that rely on nobody tearing down.
    pins: u32,
    /// Asynchronous sends under way.
    pub(super) sends: u32,
    /// Disconnect and Error callbacks.
    pub(super) notices: u32,
    /// Callbacks that are running.
    pub(super) inside: u32,
    /// A callback is calling the engine: no deeper.
    pub(super) nested: bool,
    /// What the connection was built with.
    pub(super) context: usize,
    /// Whether the connection is the storage's own, and built.
    pub(super) owns: bool,
    pub(super) lanes: [Lane; LANES],
}

/// Storage, and its life.
pub(super) struct Slot {
    pub(super) vc: Block<RXCE_VC>,
    pub(super) own: Block<RXCE_CONNECTION>,
    pub(super) life: Watch<Life>,
    /// For builds over several transports.
    pub(super) competition: Competition,
    rooms: [[Buffer; 2]; LANES],
    lives: AtomicU32,
}

/// What can be done with a slot now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// Build it: the caller does, is counted, and ends with [`Slot::built`] and [`Slot::leave`].
    Build,
    /// Use it: the caller is counted, and ends with [`Slot::leave`].
    Use,
    /// Others still use what is gone.
    Nothing,
}

/// How things stood when a call began.
#[derive(Clone, Copy)]
pub(super) struct Start {
    tears: u32,
    /// Built, and nobody was tearing it down.
    up: bool,
}

impl Life {
    const fn new() -> Self {
        Self {
            build: Build::Never,
            downs: 0,
            tearing: 0,
            tears: 0,
            users: 0,
            pins: 0,
            sends: 0,
            notices: 0,
            inside: 0,
            nested: false,
            context: 0,
            owns: false,
            lanes: [Lane {
                inside: false,
                accepted: None,
                offset: 0,
            }; LANES],
        }
    }

    /// Nothing may be heard of it any more.
    const fn is_over(&self) -> bool {
        matches!(self.build, Build::Never | Build::Failed) || self.downs > 0
    }

    const fn is_up(&self) -> bool {
        matches!(self.build, Build::Succeeded) && self.downs == 0 && self.tearing == 0
    }

    /// A callback came: it must be in time, and bring what the connection was built with.
    pub(super) fn heard(&mut self, call: &str, context: usize) {
        self.inside = self.inside.saturating_add(1);
        must(!self.is_over(), || {
            format!(
                "{call} came after the end of the circuit ({:?}, {} torn down)",
                self.build, self.downs
            )
        });
        must(context == self.context, || {
            format!(
                "{call} came with context {context:#x}, not {:#x}",
                self.context
            )
        });
    }

    /// The life is over: everything owed has been delivered.
    fn settle(&self) {
        must(self.inside == 0, || {
            format!(
                "the circuit is gone, and {} callbacks are still running",
                self.inside
            )
        });
        for (lane, stream) in self.lanes.iter().enumerate() {
            must(stream.accepted.is_none() && !stream.inside, || {
                format!("the circuit is gone, and DataReady of stream {lane} is still owed")
            });
        }
    }
}

impl Slot {
    /// Storage that nobody uses.
    pub(super) fn new() -> Outcome<Self> {
        let room = || -> Option<[Buffer; 2]> {
            let [first, second] = ROOM;
            let (first, second) = (
                Buffer::new(&alloc::vec![0; first])?,
                Buffer::new(&alloc::vec![0; second])?,
            );
            first.chain(second.mdl());
            Some([first, second])
        };
        let competition = Competition::new()?;
        let storage = || {
            Some(Self {
                vc: Block::filled(0xCC)?,
                own: Block::filled(0xCC)?,
                life: Watch::new(Life::new()),
                competition,
                rooms: [room()?, room()?],
                lives: AtomicU32::new(0),
            })
        };
        storage().ok_or_else(Trouble::no_memory)
    }

    /// The chain that a stream's receive fills.
    pub(super) fn chain(&self, lane: usize) -> wdk_sys::PMDL {
        self.rooms
            .get(lane)
            .map_or(core::ptr::null_mut(), |[first, _]| first.mdl())
    }

    /// The first bytes of that chain.
    pub(super) fn received(&self, lane: usize, out: &mut [u8]) {
        // SAFETY: The chain was built in `new` and lives as long as `self`.
        unsafe { crate::nt::mdl::take(self.chain(lane), out) };
    }

    /// Begins whatever can be done now. To build, `context` is what the connection will have.
    pub(super) fn begin(&self) -> Begun {
        self.life.update(|life| {
            if !life.is_over() {
                life.users = life.users.saturating_add(1);
                return Begun::Use;
            }
            if life.users > 0 {
                return Begun::Nothing;
            }
            let owns = life.owns;
            *life = Life::new();
            life.owns = owns;
            life.build = Build::Running;
            life.users = 1;
            self.lives.fetch_add(1, Ordering::Relaxed);
            Begun::Build
        })
    }

    /// Whether a tear-down ever began.
    pub(super) fn was_torn_down(&self) -> bool {
        self.life.read(|life| life.tears > 0)
    }

    /// The circuit's signature at this moment.
    pub(super) fn vc_signature(&self) -> u32 {
        let signature = self.vc.ptr().cast::<u32>();
        // SAFETY: The storage lives as long as `self`, and begins with the signature; the engine may write it now.
        unsafe { signature.read_volatile() }
    }

    /// A number for this life.
    pub(super) fn number(&self) -> u32 {
        self.lives.load(Ordering::Relaxed)
    }

    /// A call ended that [`Slot::begin`] counted.
    pub(super) fn leave(&self) {
        self.life
            .update(|life| life.users = life.users.saturating_sub(1));
    }

    /// The build ended.
    pub(super) fn built(&self, answer: NTSTATUS) {
        self.life.update(|life| {
            if answer >= 0 {
                life.build = Build::Succeeded;
                return;
            }
            must(life.downs == 0, || {
                format!("a build failed ({answer:#010x}) although the circuit was torn down")
            });
            must(life.notices == 0, || {
                "a build failed after Disconnect or Error was called".into()
            });
            life.build = Build::Failed;
            life.settle();
        });
    }

    /// A call that may meet a tear-down begins.
    pub(super) fn start(&self) -> Start {
        self.life.read(|life| Start {
            tears: life.tears,
            up: life.is_up(),
        })
    }

    /// Whether the circuit was built, and nobody tore it down, from `start` until now.
    pub(super) fn stayed_up(&self, start: Start) -> bool {
        self.life
            .read(|life| start.up && life.is_up() && life.tears == start.tears)
    }

    /// Keeps others from tearing the circuit down; whether it is built.
    pub(super) fn pin(&self) -> bool {
        self.life.update(|life| {
            let up = life.is_up();
            if up {
                life.pins = life.pins.saturating_add(1);
            }
            up
        })
    }

    /// Ends [`Slot::pin`].
    pub(super) fn unpin(&self) {
        self.life
            .update(|life| life.pins = life.pins.saturating_sub(1));
    }

    /// A tear-down begins, unless a pin forbids it.
    pub(super) fn begin_tear_down(&self) -> Option<Start> {
        self.life.update(|life| {
            if life.pins > 0 {
                return None;
            }
            let start = Start {
                tears: life.tears,
                up: life.is_up(),
            };
            life.tearing = life.tearing.saturating_add(1);
            life.tears = life.tears.saturating_add(1);
            Some(start)
        })
    }

    /// A tear-down returned.
    pub(super) fn torn_down(&self, start: Start, answer: NTSTATUS) {
        let zero = self.vc.is_zero();
        self.life.update(|life| {
            life.tearing = life.tearing.saturating_sub(1);
            if answer == status::INVALID_PARAMETER {
                // Somebody else must have been faster.
                must(!start.up || life.downs > 0 || life.tearing > 0, || {
                    "a built circuit was refused by RxCeTearDownVC".into()
                });
                return;
            }
            life.downs = life.downs.saturating_add(1);
            must(life.downs == 1, || "a circuit was torn down twice".into());
            must(life.build != Build::Failed, || {
                "a circuit was torn down whose build failed".into()
            });
            must(zero, || {
                "RxCeTearDownVC left something in the structure".into()
            });
            life.settle();
        });
    }

    /// Nothing happens any more: the whole life is judged. Whether it has still to be torn down.
    pub(super) fn is_left(&self) -> bool {
        self.life.read(|life| {
            if life.users > 0 || life.tearing > 0 || life.build == Build::Running {
                violated(|| "a call is still counted".into());
            }
            !life.is_over()
        })
    }

    /// Nothing happens any more, and the circuit is gone.
    pub(super) fn judge(&self) {
        self.life.read(|life| {
            must(life.is_over(), || "the circuit is still there".into());
            must(life.sends == 0, || {
                format!("{} sends never got their SendComplete", life.sends)
            });
        });
    }
}
