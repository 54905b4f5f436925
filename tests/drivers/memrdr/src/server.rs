//! Servers, shares, and how names are split.

use memrdr_ioctl::{NO_SERVER, SERVER, SHARE, SLOW_SERVER};
use wdk_sys::{
    NTSTATUS, STATUS_BAD_NETWORK_NAME, STATUS_BAD_NETWORK_PATH, STATUS_PENDING, STATUS_SUCCESS,
};

use crate::{
    control::pause,
    driver::device,
    rdbss::{
        DELAYED, RxDispatchToWorkerThread, RxGetRDBSSProcess, breaks, count, peek, poke, rx, text,
    },
    tree::is_ascii,
};

/// Members of MRX_SRVCALL_CALLBACK_CONTEXT and MRX_SRVCALLDOWN_STRUCTURE.
const STRUCTURE: usize = 0x00;
const STATUS: usize = 0x18;
const RECOMMUNICATE: usize = 0x20;
const SRV_CALL: usize = 0x30;
const CALL_BACK: usize = 0x38;
/// Members of MRX_SRV_CALL, MRX_NET_ROOT and MRX_V_NET_ROOT.
const SRV_CALL_CONTEXT: usize = 0x08;
const SRV_CALL_NAME: usize = 0x20;
const NET_ROOT_NAME: usize = 0x38;
const NET_ROOT_KIND: usize = 0x2D;
const V_NET_ROOT_PARENT: usize = 0x08;
/// Members of MRX_CREATENETROOT_CONTEXT.
const V_NET_ROOT: usize = 0x08;
const V_NET_ROOT_STATUS: usize = 0x28;
const NET_ROOT_STATUS: usize = 0x2C;
const NET_ROOT_CALL_BACK: usize = 0x58;
/// What the callback hands to MRxSrvCallWinnerNotify.
const MARK: usize = 0x4D45_4D52;
/// NET_ROOT_DISK.
const DISK: u8 = 0;

/// Calls a callback of RDBSS.
fn call_back(routine: usize, argument: usize) {
    // SAFETY: RDBSS gives the address of a routine with this signature.
    let routine: unsafe extern "C" fn(usize) = unsafe { core::mem::transmute(routine) };
    rx!(routine, argument);
}

fn in_rdbss_process() -> bool {
    rx!(wdk_sys::ntddk::IoGetCurrentProcess,).cast() == rx!(RxGetRDBSSProcess,)
}

/// MRxCreateSrvCall: STATUS_PENDING on every path.
pub(crate) unsafe extern "C" fn create_srv_call(_srv_call: usize, callback: usize) -> NTSTATUS {
    count(0);
    if breaks("srv_call_never_called_back") {
        return STATUS_PENDING;
    }
    if in_rdbss_process() {
        connect(callback);
    } else if rx!(
        RxDispatchToWorkerThread,
        device(),
        DELAYED,
        connect_worker,
        callback
    ) < 0
    {
        poke(
            callback.wrapping_add(STATUS),
            wdk_sys::STATUS_INSUFFICIENT_RESOURCES,
        );
        report(callback);
    }
    if breaks("srv_call_not_pending") {
        return STATUS_SUCCESS;
    }
    STATUS_PENDING
}

unsafe extern "C" fn connect_worker(callback: usize) {
    connect(callback);
}

/// What a real redirector connects for.
fn connect(callback: usize) {
    let structure: usize = peek(callback.wrapping_add(STRUCTURE));
    let srv_call: usize = peek(structure.wrapping_add(SRV_CALL));
    let name = text(peek(srv_call.wrapping_add(SRV_CALL_NAME)));
    let name = name.get(1..).unwrap_or_default();
    let status = if is_ascii(name, SERVER) {
        STATUS_SUCCESS
    } else if is_ascii(name, SLOW_SERVER) {
        pause();
        STATUS_SUCCESS
    } else if is_ascii(name, NO_SERVER) {
        pause();
        STATUS_BAD_NETWORK_PATH
    } else {
        STATUS_BAD_NETWORK_PATH
    };
    poke(callback.wrapping_add(STATUS), status);
    if breaks("srv_call_called_back_as_pending") {
        poke(callback.wrapping_add(STATUS), STATUS_PENDING);
    }
    poke(callback.wrapping_add(RECOMMUNICATE), MARK);
    report(callback);
}

fn report(callback: usize) {
    let structure: usize = peek(callback.wrapping_add(STRUCTURE));
    let routine: usize = peek(structure.wrapping_add(CALL_BACK));
    call_back(routine, callback);
    if breaks("srv_call_called_back_twice") {
        call_back(routine, callback);
    }
    if breaks("srv_call_context_touched") {
        poke(callback.wrapping_add(RECOMMUNICATE), 0_usize);
    }
}

/// MRxSrvCallWinnerNotify.
pub(crate) unsafe extern "C" fn winner(
    srv_call: usize,
    winner: u8,
    recommunicate: usize,
) -> NTSTATUS {
    if winner == 0 || recommunicate != MARK {
        return wdk_sys::STATUS_INVALID_PARAMETER;
    }
    poke(srv_call.wrapping_add(SRV_CALL_CONTEXT), MARK);
    STATUS_SUCCESS
}

/// MRxFinalizeSrvCall.
pub(crate) unsafe extern "C" fn finalize_srv_call(srv_call: usize, _force: u8) -> NTSTATUS {
    if peek::<usize>(srv_call.wrapping_add(SRV_CALL_CONTEXT)) == MARK && in_rdbss_process() {
        count(1);
    }
    STATUS_SUCCESS
}

/// MRxCreateVNetRoot.
pub(crate) unsafe extern "C" fn create_v_net_root(create: usize) -> NTSTATUS {
    count(2);
    let view: usize = peek(create.wrapping_add(V_NET_ROOT));
    let net_root: usize = peek(view.wrapping_add(V_NET_ROOT_PARENT));
    let name = text(peek(net_root.wrapping_add(NET_ROOT_NAME)));
    let share = name
        .iter()
        .rposition(|unit| *unit == u16::from(b'\\'))
        .and_then(|at| name.get(at + 1..))
        .unwrap_or_default();
    let status = if is_ascii(share, SHARE) {
        poke(net_root.wrapping_add(NET_ROOT_KIND), DISK);
        STATUS_SUCCESS
    } else {
        STATUS_BAD_NETWORK_NAME
    };
    poke(create.wrapping_add(V_NET_ROOT_STATUS), status);
    poke(create.wrapping_add(NET_ROOT_STATUS), status);
    let routine: usize = peek(create.wrapping_add(NET_ROOT_CALL_BACK));
    call_back(routine, create);
    if breaks("net_root_called_back_twice") {
        call_back(routine, create);
    }
    if breaks("net_root_not_pending") {
        return STATUS_SUCCESS;
    }
    STATUS_PENDING
}

/// MRxFinalizeVNetRoot.
pub(crate) unsafe extern "C" fn finalize_v_net_root(_view: usize, _force: usize) -> NTSTATUS {
    count(3);
    STATUS_SUCCESS
}

/// MRxFinalizeNetRoot.
pub(crate) unsafe extern "C" fn finalize_net_root(_net_root: usize, _force: usize) -> NTSTATUS {
    count(4);
    STATUS_SUCCESS
}

/// MRxExtractNetRootName: `\server\share\rest`.
pub(crate) unsafe extern "C" fn extract_net_root_name(
    path: usize,
    srv_call: usize,
    net_root: usize,
    rest: usize,
) {
    let characters = text(path);
    let server = text(peek(srv_call.wrapping_add(SRV_CALL_NAME))).len();
    let end = characters
        .iter()
        .enumerate()
        .skip(server + 1)
        .find(|(_, unit)| **unit == u16::from(b'\\'))
        .map_or(characters.len(), |(at, _)| at);
    let buffer: usize = peek(path.wrapping_add(8));
    let begin = if breaks("net_root_name_elsewhere") {
        characters.len() + 1
    } else {
        server
    };
    set(net_root, buffer.wrapping_add(begin * 2), end - server);
    if rest != 0 {
        set(rest, buffer.wrapping_add(end * 2), characters.len() - end);
    }
}

/// Fills a UNICODE_STRING.
fn set(string: usize, buffer: usize, characters: usize) {
    let bytes = u16::try_from(characters * 2).unwrap_or(0);
    poke(string, bytes);
    poke(string.wrapping_add(2), bytes);
    poke(string.wrapping_add(8), buffer);
}
