//! Builds over several transports: the client's side, its completion routine included.

use alloc::{format, vec::Vec};
use core::ptr;

use conform_ioctl::StormCount;
use rxce_client::{
    RXCE_CONNECTION_COMPLETION_CONTEXT, RXCE_CONNECTION_SIGNATURE, RXCE_VC_SIGNATURE,
};
use wdk_sys::NTSTATUS;

use super::{
    actor, calls,
    chance::Chance,
    report::{count, must, violated},
    slot::Slot,
    world::{self, World},
};
use crate::{
    engine::{self, Multiple},
    fixture,
    nt::{irql, pool::Block, status, time::SECOND, watch::Watch},
    outcome::{Outcome, Trouble},
    race::{ALL, BEST, FIRST},
};

/// Most addresses of one build.
const MOST: u32 = 3;
/// Longest that the completion routine may let wait: whatever the transport keeps, it keeps for a shorter time.
const PATIENCE: i64 = 1800 * SECOND;

/// What a storage's builds over several transports need besides it.
pub(super) struct Competition {
    context: Block<RXCE_CONNECTION_COMPLETION_CONTEXT>,
    told: Watch<Told>,
}

/// What the completion routine has told.
struct Told {
    calls: u32,
    status: NTSTATUS,
    seed: u64,
    addresses: u32,
}

impl Competition {
    pub(super) fn new() -> Outcome<Self> {
        Ok(Self {
            context: Block::filled(0xCC).ok_or_else(Trouble::no_memory)?,
            told: Watch::new(Told {
                calls: 0,
                status: status::PENDING,
                seed: 0,
                addresses: 0,
            }),
        })
    }
}

/// RxCeBuildConnectionOverMultipleTransports; if it is pending, the status that comes with the completion routine.
pub(super) fn build(
    world: &World,
    slot: &Slot,
    event_context: usize,
    chance: &mut Chance,
) -> NTSTATUS {
    let addresses = chance.below(MOST).saturating_add(1);
    let mut chosen: Vec<_> = (0..addresses)
        .filter_map(|_| world.any_address(chance))
        .map(Block::ptr)
        .collect();
    let competition = &slot.competition;
    competition.context.change(|context| {
        context.Status = status::PENDING;
        context.AddressIndex = u32::MAX;
        context.pConnection = slot.own.ptr();
        context.pVc = slot.vc.ptr();
    });
    competition.told.update(|told| {
        *told = Told {
            calls: 0,
            status: status::PENDING,
            seed: chance.next(),
            addresses,
        };
    });
    let mut information = fixture::information(&world.peer);
    let mut handlers = calls::connection_handlers();
    count(StormCount::Competitions);
    let answer = engine::build_over_multiple(Multiple {
        device: ptr::null_mut(),
        option: chance.pick(&[FIRST, BEST, ALL]),
        count: addresses,
        addresses: chosen.as_mut_ptr(),
        information: &raw mut information,
        handler: &raw mut handlers,
        event_context: ptr::without_provenance_mut(event_context),
        routine: Some(on_completion),
        context: competition.context.ptr(),
    });
    if answer != status::PENDING {
        let calls = competition.told.read(|told| told.calls);
        must(calls == 0, || {
            format!("the completion routine came although {answer:#010x} was returned")
        });
        return answer;
    }
    let came = competition.told.wait_until(PATIENCE, |told| told.calls > 0);
    must(came, || "the completion routine never came".into());
    let (calls, status) = competition.told.read(|told| (told.calls, told.status));
    must(calls == 1, || {
        format!("the completion routine came {calls} times")
    });
    status
}

unsafe extern "C" fn on_completion(context: *mut RXCE_CONNECTION_COMPLETION_CONTEXT) -> NTSTATUS {
    count(StormCount::Completions);
    let Some(world) = world::current() else {
        return status::SUCCESS;
    };
    let slot = world
        .slots
        .iter()
        .find(|slot| slot.competition.context.ptr() == context);
    let Some(slot) = slot else {
        violated(|| format!("the completion routine came with context {context:p}"));
        return status::SUCCESS;
    };
    let told = slot.competition.context.read();
    let (code, index) = (told.Status, told.AddressIndex);
    let (seed, addresses) = slot
        .competition
        .told
        .read(|told| (told.seed, told.addresses));
    must(
        irql::current() == irql::PASSIVE && code != status::PENDING,
        || format!("the completion routine came with {code:#010x}"),
    );
    let mut chance = Chance::new(seed, 5);
    if code >= 0 {
        let circuit = slot.vc_signature();
        // SAFETY: Both views of the union are plain numbers.
        let connection = unsafe { slot.own.read().__bindgen_anon_1.Signature };
        // Somebody else may have torn the circuit down meanwhile; the connection stays.
        let built = circuit == RXCE_VC_SIGNATURE || slot.was_torn_down();
        must(
            index < addresses && built && connection == RXCE_CONNECTION_SIGNATURE,
            || format!("the winner is {index}, the signatures are {circuit:#x}, {connection:#x}"),
        );
        calls::dawdle(&mut chance);
        if chance.percent(25) {
            actor::tear_down(world, slot);
        }
    }
    slot.competition.told.update(|told| {
        told.calls = told.calls.saturating_add(1);
        told.status = code;
    });
    status::SUCCESS
}
