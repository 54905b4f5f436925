//! Force pending: the drivers below get a copy of a request, and the request itself is inaccessible until it is back.
//!
//! So whoever touches a request after `IoCallDriver`, before its completion routine was called, faults; and so do drivers below
//! that touch the copy after they completed it.

use super::irp::{self, Packet, Phase};
use crate::arena::{self, Kind, PAGE};
use crate::layout::io::Irp;
use crate::mem;
use crate::rules::Rules;
use std::sync::atomic::Ordering;

/// The pages of a request.
fn pages(irp: Irp, bytes: usize) -> (usize, usize) {
    let base = irp.0 & !(PAGE - 1);
    (base, arena::pages(irp.0 + bytes - base))
}

/// Hides a request that is prepared for the driver below, and returns the copy for it.
pub(super) fn begin(irp: Irp, packet: &Packet) -> Irp {
    let bytes = usize::from(irp.size().get());
    let copy = Irp(arena::alloc(bytes, Kind::Irp));
    mem::copy(irp.0, copy.0, bytes);
    copy.current_stack()
        .set(copy.0 + (irp.current_stack().get() - irp.0));
    for list in [copy.thread_list(), copy.list()] {
        list.set([list.address(), list.address()]);
    }
    irp::alias(copy, irp);
    packet.original.store(irp.0, Ordering::Relaxed);
    packet.surrogate.store(copy.0, Ordering::Release);
    let (base, bytes) = pages(irp, bytes);
    arena::protect(base, bytes, libc::PROT_NONE);
    copy
}

/// The request is on its way back: shows it again, with what became of the copy, which goes.
pub(super) fn end(copy: Irp, packet: &Packet) -> Irp {
    let irp = Irp(packet.original.load(Ordering::Relaxed));
    let life = packet.life.lock();
    let bytes = usize::from(copy.size().get());
    let (base, all) = pages(irp, bytes);
    arena::protect(base, all, libc::PROT_READ | libc::PROT_WRITE);
    let lists = [irp.thread_list().get(), irp.list().get()];
    mem::copy(copy.0, irp.0, bytes);
    irp.current_stack()
        .set(irp.0 + (copy.current_stack().get() - copy.0));
    for (place, list) in [irp.thread_list(), irp.list()].iter().zip(lists) {
        place.set(list);
    }
    packet.surrogate.store(0, Ordering::Release);
    drop(life);
    irp::forget_alias(copy);
    arena::free(copy.0);
    irp
}

impl Packet {
    /// The copy that drivers below have, if this is the request that they have it of.
    pub(super) fn copy_below(&self, irp: Irp) -> Option<Irp> {
        let copy = self.surrogate.load(Ordering::Acquire);
        (copy != 0 && copy != irp.0).then_some(Irp(copy))
    }
}

/// Whether there is a hidden request at an address, for fault reports.
pub(crate) fn is_hidden(address: usize) -> bool {
    irp::find_near(address).is_some_and(|packet| {
        packet.surrogate.load(Ordering::Acquire) & !(PAGE - 1) != address & !(PAGE - 1)
            && packet.surrogate.load(Ordering::Acquire) != 0
    })
}

/// Whether a request of this phase, sent by this driver code, is to be hidden.
pub(super) fn wanted(packet: &Packet, before: Phase, caller: usize) -> bool {
    crate::options()
        .rules
        .contains(Rules::FORCE_PENDING | Rules::IO)
        && before == Phase::Idle
        && crate::image::find(caller).is_some()
        && matches!(packet.life.lock().origin, irp::Origin::Driver)
}
