//! FCB, a file; SRV_OPEN, an open of it at the server; FOBX, a file object's view of that open.

use std::sync::Arc;

use parking_lot::Mutex;

use super::context::{self, Request};
use super::layout::{Dispatch, MrxFobx, MrxSrvOpen, manage, node, write_header};
use super::life::Node;
use super::lock::SleepLock;
use super::name::Text;
use super::net_root::VNetRoot;
use super::registration::Redirector;
use super::rule::{Rule, violation};
use crate::fault::{self, FaultKind};
use crate::gate::{Call, IrqlRule, Routine};
use crate::irql::APC_LEVEL;
use crate::layout::ke::UnicodeString;
use crate::mem::{Place, peek};
use crate::stop::Stop;

const RULE: IrqlRule = IrqlRule::Max(APC_LEVEL, Stop::verifier(0xe5));

/// The routines of this file.
pub(super) const ROUTINES: &[Routine] = &[
    Routine {
        name: "RxFinishFcbInitialization",
        args: 3,
        irql: RULE,
        run: finish_fcb,
    },
    Routine {
        name: "RxCreateNetFobx",
        args: 2,
        irql: RULE,
        run: create_fobx,
    },
];

/// Bytes of an FCB: nothing in it is documented.
const FCB_BYTES: usize = 0x200;
/// Pointers in an FCB_INIT_PACKET.
const INIT_PACKET: usize = 9;

/// Rights and sharing of the opens of a file (IoCheckShareAccess).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sharing {
    /// Reads, writes, deletes.
    wants: [bool; 3],
    /// Lets others read, write, delete.
    shares: [bool; 3],
}

impl Sharing {
    /// FILE_READ_DATA or FILE_EXECUTE, FILE_WRITE_DATA or FILE_APPEND_DATA, DELETE; the generic rights with them.
    const WANTS: [u32; 3] = [
        0x8000_0000 | 0x2000_0000 | 0x21,
        0x4000_0000 | 0x6,
        0x1_0000,
    ];
    /// FILE_SHARE_READ, _WRITE, _DELETE.
    const SHARES: [u32; 3] = [1, 2, 4];

    pub(super) fn of(access: u32, share: u32) -> Self {
        Self {
            wants: Self::WANTS.map(|mask| access & mask != 0),
            shares: Self::SHARES.map(|mask| share & mask != 0),
        }
    }

    /// Whether an open with this sharing may be beside another; opens that want nothing do not count.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let lets = |shares: &[bool; 3], wants: &[bool; 3]| {
            shares
                .iter()
                .zip(wants)
                .all(|(share, want)| *share || !*want)
        };
        let counts = |one: &Self| one.wants.contains(&true);
        !counts(self)
            || !counts(other)
            || lets(&self.shares, &other.wants) && lets(&other.shares, &self.wants)
    }
}

/// A file.
pub(super) struct Fcb {
    pub(super) node: Node,
    pub(super) view: Arc<VNetRoot>,
    /// The key in the table.
    pub(super) key: (usize, String),
    /// The name inside the share.
    pub(super) name: Vec<u16>,
    /// Held to open and to close the file.
    pub(super) lock: SleepLock,
    /// STORAGE_TYPE_, after RxFinishFcbInitialization.
    pub(super) storage: Mutex<Option<u16>>,
    pub(super) sharing: Mutex<Vec<(usize, Sharing)>>,
}

impl Fcb {
    pub(super) fn new(view: &Arc<VNetRoot>, key: (usize, String), name: &[u16]) -> Self {
        Self {
            node: Node::new(node::STORAGE_UNKNOWN, FCB_BYTES, None),
            view: Arc::clone(view),
            key,
            name: name.to_vec(),
            lock: SleepLock::new(),
            storage: Mutex::new(None),
            sharing: Mutex::default(),
        }
    }

    /// Whether the mini-redirector said that it is a directory.
    pub(super) fn is_directory(&self) -> bool {
        *self.storage.lock() == Some(node::STORAGE_DIRECTORY)
    }
}

/// An open of a file at the server.
pub(super) struct SrvOpen {
    pub(super) node: Node,
    pub(super) fcb: Arc<Fcb>,
    _text: Text,
}

impl SrvOpen {
    pub(super) const fn view(&self) -> MrxSrvOpen {
        MrxSrvOpen(self.node.at())
    }

    pub(super) fn new(redirector: &Redirector, fcb: &Arc<Fcb>, request: &Request) -> Self {
        let table = Dispatch(redirector.dispatch);
        let extension = redirector
            .manages(manage::SRV_OPEN)
            .then(|| table.srv_open_size().get());
        let open = Self {
            node: Node::new(node::SRV_OPEN, MrxSrvOpen::SIZE, extension),
            fcb: Arc::clone(fcb),
            _text: Text::new(&fcb.name),
        };
        let view = open.view();
        view.fcb().set(fcb.node.at());
        view.v_net_root().set(fcb.view.view().0);
        view.context().set(open.node.extension());
        view.name().set(open._text.address());
        view.desired_access().set(request.at.desired_access().get());
        view.share_access().set(request.at.share_access().get());
        view.create_options().set(request.at.create_options().get());
        open
    }
}

/// A file object's view.
pub(super) struct Fobx {
    pub(super) node: Node,
    pub(super) open: Arc<SrvOpen>,
    pub(super) template: Mutex<Option<Text>>,
}

impl Fobx {
    pub(super) const fn view(&self) -> MrxFobx {
        MrxFobx(self.node.at())
    }

    /// The pattern of the directory's enumeration is fixed by the first query.
    pub(super) fn set_template(&self, pattern: &[u16]) {
        let text = Text::new(pattern);
        let string = UnicodeString(self.view().template().address());
        let length = u16::try_from(pattern.len() * 2).unwrap_or(u16::MAX);
        string.length().set(length);
        string.maximum().set(length);
        string.buffer().set(text.buffer());
        *self.template.lock() = Some(text);
    }
}

/// RxFinishFcbInitialization(FCB, node type, init packet).
fn finish_fcb(call: &Call) -> u64 {
    let (at, node_type, packet) = (call.addr(0), call.u16(1), call.addr(2));
    let Some(fcb) = Redirector::find_fcb(at) else {
        violation(
            Rule::NoObject,
            at,
            format!("{}: {at:#x} is not an FCB", call.routine()),
        );
    };
    if packet != 0 {
        for n in 0..INIT_PACKET {
            let value = peek::<usize>(packet + n * 8);
            if value != 0 {
                // A bad pointer faults here, as in RDBSS.
                peek::<u32>(value);
            }
        }
    }
    write_header(at, node_type, FCB_BYTES);
    *fcb.storage.lock() = Some(node_type);
    0
}

/// RxCreateNetFobx(context, SRV_OPEN): the FOBX, or NULL.
fn create_fobx(call: &Call) -> u64 {
    let request = context::require(call.addr(0), call.routine());
    let redirector = &request.redirector;
    let at = call.addr(1);
    let open = redirector.tables.lock().srv_opens.get(&at).cloned();
    let Some(open) = open else {
        violation(
            Rule::NoObject,
            at,
            format!("{}: {at:#x} is not a SRV_OPEN", call.routine()),
        );
    };
    if fault::should_fail(call, FaultKind::Object) {
        return 0;
    }
    let table = Dispatch(redirector.dispatch);
    let extension = redirector
        .manages(manage::FOBX)
        .then(|| table.fobx_size().get());
    let fobx = Arc::new(Fobx {
        node: Node::new(node::FOBX, MrxFobx::SIZE, extension),
        open,
        template: Mutex::new(None),
    });
    let view = fobx.view();
    view.srv_open().set(at);
    view.context().set(fobx.node.extension());
    view.file().set(request.file().0);
    let opens = fobx.open.view().opens();
    opens.set(opens.get() + 1);
    change(fobx.open.view().unclean_fobxs(), 1);
    fobx.open.node.acquire();
    redirector.tables.lock().fobxs.insert(view.0, fobx);
    view.0 as u64
}

/// Adds to a counter in driver-visible memory; the FCB's lock is held.
pub(super) fn change(place: Place<i32>, by: i32) {
    place.set(place.get() + by);
}

#[cfg(test)]
mod tests {
    use super::Sharing;

    #[test]
    fn sharing_is_mutual() {
        let reader = Sharing::of(0x1, 0x1);
        let writer = Sharing::of(0x2, 0x1);
        let generous = Sharing::of(0x1, 0x3);
        let nothing = Sharing::of(0x80, 0x0);
        assert!(reader.agrees(&reader));
        assert!(!reader.agrees(&writer));
        assert!(!writer.agrees(&reader));
        assert!(generous.agrees(&writer));
        assert!(nothing.agrees(&writer) && writer.agrees(&nothing));
    }
}
