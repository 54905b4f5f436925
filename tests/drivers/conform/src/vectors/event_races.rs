//! Events that come when what they are for has just ended, or has not quite.

use core::{
    ptr,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use wdk_sys::MDL;

use super::{Vector, own};
use crate::{
    client::{Answer, CLIENT, Call},
    engine,
    fixture::{self, Fixture, buffer, called, held, script, script_hook},
    nt::{irql, status, thread::Thread},
    outcome::{Outcome, Run, Trouble, holds, same},
    transport::{self, Indication, Kind, Script, TRANSPORT},
};

pub(super) const VECTORS: &[Vector] = &[
    own(
        "E13",
        "the token of a circuit that is gone, when its place is used again",
        place_used_again,
    ),
    own(
        "E14",
        "a receive accepted while the thread that sent the last one is still in the transport",
        submitter_inside,
    ),
];

const DROPPED: Indication = Indication {
    status: status::DATA_NOT_ACCEPTED,
    taken: 0,
    request: false,
};

fn place_used_again(_run: &Run) -> Outcome {
    let f = Fixture::orderly()?;
    let endpoint = f.endpoint();
    let token = TRANSPORT
        .read(|state| state.file(endpoint).map(|file| file.token))
        .unwrap_or_default();
    let calls = fixture::calls();
    // Sixteen tables give the places in turn: one of these circuits gets the place of the first.
    for _ in 0..17 {
        fixture::ok("RxCeTearDownVC", engine::tear_down_vc(f.vc.ptr()))?;
        let built = engine::build_vc(f.vc.ptr(), f.connection.ptr());
        fixture::ok("RxCeBuildVC", built)?;
        let answer = transport::receive_from(f.endpoint(), token, &mut [1; 10], 10);
        same("RECEIVE with the old token", answer, Some(DROPPED))?;
        same("callbacks", fixture::calls(), calls)?;
    }
    f.close()
}

/// The chain that the second receive is accepted into.
static SECOND: AtomicPtr<MDL> = AtomicPtr::new(ptr::null_mut());
/// Whether the second receive was accepted. Without memory it is not, so it is no rule of the transport.
static ACCEPTED: AtomicBool = AtomicBool::new(false);

/// The continuation of the first receive is in its dispatch routine; another thread completes it there, and indicates more,
/// which the client accepts. The spare request still has a submitter.
fn meddle(endpoint: usize) {
    script(Kind::Receive, Script::PEND);
    let work = move || {
        let completed = transport::complete_with_data(&[2; 4]);
        let chain = SECOND.load(Ordering::SeqCst);
        CLIENT.update(|client| client.answer(Answer::More(chain, 4)));
        (completed, transport::receive(endpoint, &mut [3; 2], 2))
    };
    let accepted = Indication {
        status: status::MORE_PROCESSING_REQUIRED,
        taken: 2,
        request: true,
    };
    let seen = Thread::start(work).and_then(|thread| thread.join("the other thread"));
    let as_expected = seen.ok() == Some((Some(4), Some(accepted)));
    ACCEPTED.store(as_expected, Ordering::SeqCst);
}

fn submitter_inside(_run: &Run) -> Outcome {
    let (first, second) = (buffer(&[0; 8])?, buffer(&[0; 4])?);
    SECOND.store(second.mdl(), Ordering::SeqCst);
    ACCEPTED.store(false, Ordering::SeqCst);
    let f = Fixture::orderly()?;
    CLIENT.update(|client| client.answer(Answer::More(first.mdl(), 8)));
    let answer = transport::receive(f.endpoint(), &mut [0; 1], 1)
        .ok_or_else(|| Trouble::Failed("no receive handler is registered".into()))?;
    holds("the first receive is accepted", answer.request)?;
    script_hook(Kind::Receive, meddle);
    // The hook starts a thread.
    TRANSPORT.update(|state| state.complete_at = irql::PASSIVE);
    let came = transport::complete_with_data(&[1; 4]);
    same("bytes of the partial receive", came, Some(4))?;
    holds(
        "the second receive is accepted",
        ACCEPTED.load(Ordering::SeqCst),
    )?;
    same("receives held", held(Kind::Receive), 1)?;
    same("DataReady callbacks", called(Call::DataReady), 1)?;
    let came = transport::complete_with_data(&[4; 4]);
    same("bytes of the second receive", came, Some(4))?;
    same("DataReady callbacks", called(Call::DataReady), 2)?;
    same(
        "the first chain",
        first.bytes(),
        [1, 1, 1, 1, 2, 2, 2, 2].to_vec(),
    )?;
    same("the second chain", second.bytes(), [4; 4].to_vec())?;
    f.close()
}
