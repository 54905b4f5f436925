//! What the threads of a duel do.

use super::stage::Stage;
use crate::{
    engine,
    fixture::{self, query, send},
    nt::{sim, status},
    transport::{self, Kind, Personality, Script, TRANSPORT},
};

/// TDI_DISCONNECT_ABORT and _RELEASE.
const ABORT: u32 = 2;
const RELEASE: u32 = 4;
/// An answer of a part that had nothing to do.
pub(super) const NOTHING: i32 = i32::MIN;

/// RxCeInitiateVCDisconnect.
pub(super) fn initiate(stage: &Stage) -> i32 {
    engine::initiate(stage.vc)
}

/// RxCeInitiateVCDisconnect on the circuit that another part builds.
pub(super) fn initiate_other(stage: &Stage) -> i32 {
    engine::initiate(stage.other)
}

/// RxCeTearDownVC.
pub(super) fn tear_down(stage: &Stage) -> i32 {
    engine::tear_down_vc(stage.vc)
}

/// RxCeTearDownVC on the circuit that another part builds.
pub(super) fn tear_down_other(stage: &Stage) -> i32 {
    engine::tear_down_vc(stage.other)
}

/// RxCeBuildVC.
pub(super) fn build_other(stage: &Stage) -> i32 {
    engine::build_vc(stage.other, stage.connection)
}

/// RxCeBuildConnection. Its own memory must be there.
pub(super) fn connect(stage: &Stage) -> i32 {
    stage.fixture.connect().unwrap_or(NOTHING)
}

/// RxCeBuildAddress.
pub(super) fn open_address(stage: &Stage) -> i32 {
    let fixture = &stage.fixture;
    fixture::open_address(&fixture.address, &fixture.transport).unwrap_or(NOTHING)
}

/// RxCeTearDownConnection.
pub(super) fn tear_down_connection(stage: &Stage) -> i32 {
    engine::tear_down_connection(stage.connection)
}

/// RxCeTearDownAddress.
pub(super) fn tear_down_address(stage: &Stage) -> i32 {
    engine::tear_down_address(stage.fixture.address.ptr())
}

/// RxCeTearDownTransport.
pub(super) fn tear_down_transport(stage: &Stage) -> i32 {
    engine::tear_down_transport(stage.fixture.transport.ptr())
}

/// An asynchronous RxCeSend.
pub(super) fn send_data(stage: &Stage) -> i32 {
    send(stage.vc, &stage.data, 1)
}

/// RxCeQueryInformation of something that the transport has to be asked for.
pub(super) fn ask(stage: &Stage) -> i32 {
    const CONNECTION_ENDPOINT: u32 = 3;
    query(stage.vc, CONNECTION_ENDPOINT, &mut [0; 64])
}

/// The peer has closed its side.
pub(super) fn remote_release(stage: &Stage) -> i32 {
    sim::here();
    transport::disconnect(stage.endpoint, RELEASE).unwrap_or(NOTHING)
}

/// The peer has reset the circuit.
pub(super) fn remote_abort(stage: &Stage) -> i32 {
    sim::here();
    transport::disconnect(stage.endpoint, ABORT).unwrap_or(NOTHING)
}

/// The peer resets the circuit that another part builds, if there is an endpoint for it.
pub(super) fn remote_abort_other(stage: &Stage) -> i32 {
    match TRANSPORT.read(|state| state.endpoint_on(Personality::Orderly)) {
        Some(endpoint) if endpoint != stage.endpoint => {
            sim::here();
            transport::disconnect(endpoint, ABORT).unwrap_or(NOTHING)
        }
        _ => NOTHING,
    }
}

/// The address has failed.
pub(super) fn address_error(stage: &Stage) -> i32 {
    sim::here();
    transport::error(stage.address, status::LINK_FAILED).unwrap_or(NOTHING)
}

/// Data has come.
pub(super) fn receive(stage: &Stage) -> i32 {
    sim::here();
    let indicated = transport::receive(stage.endpoint, &mut [1, 2, 3, 4], 4);
    indicated.map_or(NOTHING, |indication| indication.status)
}

/// Data has come, and more is to come.
pub(super) fn receive_more(stage: &Stage) -> i32 {
    sim::here();
    let indicated = transport::receive(stage.endpoint, &mut [1, 2, 3, 4], 16);
    indicated.map_or(NOTHING, |indication| indication.status)
}

/// The transport ends what it holds, and does everything at once from now on.
pub(super) fn answer(_stage: &Stage) -> i32 {
    TRANSPORT.update(transport::state::State::restore_scripts);
    let mut ended = 0;
    for kind in [Kind::Connect, Kind::Release, Kind::Abort, Kind::Send] {
        while transport::complete(kind, status::SUCCESS) {
            ended += 1;
        }
    }
    while transport::complete_query() {
        ended += 1;
    }
    ended
}

/// As [`answer`], and a receive gets the data that is still to come.
pub(super) fn answer_with_data(stage: &Stage) -> i32 {
    let ended = answer(stage);
    ended + i32::from(transport::complete_with_data(&[5; 12]).is_some())
}

/// Has the transport hold requests of a kind until it is told.
pub(super) fn hold(kind: Kind) {
    fixture::script(kind, Script::PEND);
}
