//! The clock around the engine's routines.

use core::{arch::x86_64::_rdtsc, ptr};

use bench_ioctl::{Operation, Pick};
use client_nt::{
    mdl::Mdl,
    pool::Bytes,
    status::{Result, check},
};
use rxce_client::{TDI_PROVIDER_INFO, enumeration};
use wdk_sys::{
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_PROCEDURE_NOT_FOUND,
    ntddk::{IoAllocateIrp, IoFreeIrp},
};

use crate::{
    client::{Client as _, SHORT},
    rig::{Rig, engine},
};

const TAG: u32 = u32::from_le_bytes(*b"Benc");

/// Bytes of the block of [`kernel_alone`].
const BLOCK: usize = 56;

/// `RxCeTransportProviderInformation`.
const PROVIDER_INFORMATION: u32 = 1;

/// Chooses circuits.
struct Picker {
    live: u32,
    pick: Pick,
    turn: u32,
    chance: u64,
}

impl Picker {
    /// # Errors
    ///
    /// Without a live circuit.
    const fn new(live: u32, pick: Pick) -> Result<Self> {
        if live == 0 || matches!(pick, Pick::Last(0) | Pick::Spread(0)) {
            return Err(STATUS_INVALID_PARAMETER);
        }
        Ok(Self {
            live,
            pick,
            turn: 0,
            chance: 0x9E37_79B9_7F4A_7C15,
        })
    }

    fn next(&mut self) -> u32 {
        let live = u64::from(self.live);
        let index = match self.pick {
            Pick::Last(set) => {
                let set = set.min(self.live);
                self.turn = self.turn.wrapping_add(1).checked_rem(set).unwrap_or(0);
                live.saturating_sub(u64::from(set))
                    .saturating_add(u64::from(self.turn))
            }
            Pick::Spread(set) => {
                let set = set.min(self.live);
                self.turn = self.turn.wrapping_add(1).checked_rem(set).unwrap_or(0);
                let place = u64::from(self.turn).saturating_mul(live);
                place.checked_div(u64::from(set)).unwrap_or(0)
            }
            Pick::Random => {
                // xorshift64
                self.chance ^= self.chance << 13;
                self.chance ^= self.chance >> 7;
                self.chance ^= self.chance << 17;
                self.chance.checked_rem(live).unwrap_or(0)
            }
        };
        u32::try_from(index).unwrap_or(0)
    }
}

/// The time-stamp counter.
pub(crate) fn now() -> u64 {
    // SAFETY: Every x64 processor has it.
    unsafe { _rdtsc() }
}

/// Runs the batches and writes the ticks of each to `answer`; returns the bytes written.
///
/// # Errors
///
/// The first failure of a routine.
pub(crate) fn run(
    rig: &Rig,
    operation: Operation,
    pick: Pick,
    each: u32,
    answer: &mut [u8],
) -> Result<usize> {
    let mut picker = Picker::new(rig.live(), pick)?;
    let mut memory = Bytes::try_new(SHORT as usize, TAG)?;
    // SAFETY: The memory outlives the MDL.
    let mdl = unsafe { Mdl::over(memory.as_mut_ptr(), SHORT as usize) }?;
    let mut written = 0_usize;
    for batch in answer.chunks_exact_mut(operation.columns().saturating_mul(8)) {
        let ticks = match operation {
            Operation::LookUp => [look_ups(rig, &mut picker, each)?, 0, 0, 0],
            Operation::Send => [sends(rig, &mut picker, each, &mdl)?, 0, 0, 0],
            Operation::Cycle => cycles(rig, &mut picker, each)?,
        };
        for (to, from) in batch
            .iter_mut()
            .zip(ticks.iter().flat_map(|n| n.to_le_bytes()))
        {
            *to = from;
        }
        written = written.saturating_add(batch.len());
    }
    Ok(written)
}

fn look_ups(rig: &Rig, picker: &mut Picker, each: u32) -> Result<u64> {
    let mut info = TDI_PROVIDER_INFO::default();
    #[expect(clippy::cast_possible_truncation, reason = "40 bytes")]
    const LENGTH: u32 = size_of::<TDI_PROVIDER_INFO>() as u32;
    let began = now();
    for _ in 0..each {
        let vc = rig.circuit(picker.next())?;
        let buffer = (&raw mut info).cast();
        let class = enumeration(PROVIDER_INFORMATION);
        engine!(rig, QueryInformation(vc, class, buffer, LENGTH))?;
    }
    Ok(now().wrapping_sub(began))
}

fn sends(rig: &Rig, picker: &mut Picker, each: u32, mdl: &Mdl) -> Result<u64> {
    let began = now();
    for _ in 0..each {
        let (index, mdl) = (picker.next(), mdl.as_ptr());
        // SAFETY: The transport has ended the send when the routine returns.
        unsafe { rig.send(index, mdl, SHORT, ptr::null_mut()) }?;
    }
    Ok(now().wrapping_sub(began))
}

fn cycles(rig: &Rig, picker: &mut Picker, each: u32) -> Result<[u64; 4]> {
    let mut sums = [0_u64; 4];
    for _ in 0..each {
        let index = picker.next();
        let began = now();
        rig.disconnect(index)?;
        let initiated = now();
        rig.tear_down(index)?;
        let gone = now();
        rig.build(index)?;
        let built = now();
        kernel_alone()?;
        let ended = now();
        let spans = [
            (began, initiated),
            (initiated, gone),
            (gone, built),
            (built, ended),
        ];
        for (sum, (from, to)) in sums.iter_mut().zip(spans) {
            *sum = sum.wrapping_add(to.wrapping_sub(from));
        }
    }
    Ok(sums)
}

/// Allocates and frees what a disconnect takes: an IRP and a small pool block.
fn kernel_alone() -> Result {
    let block = Bytes::try_new(BLOCK, TAG)?;
    // SAFETY: IoAllocateIrp has no requirements beyond the level.
    let irp = unsafe { IoAllocateIrp(1, 0) };
    if irp.is_null() {
        return Err(STATUS_INSUFFICIENT_RESOURCES);
    }
    // SAFETY: Allocated above, and never sent.
    unsafe { IoFreeIrp(irp) };
    drop(block);
    Ok(())
}
