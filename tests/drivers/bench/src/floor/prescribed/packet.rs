//! Packets that are kept.

use core::ptr::NonNull;

use client_nt::status::Result;
use wdk_sys::{
    IRP, STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS,
    ntddk::{IoAllocateIrp, IoFreeIrp, IoReuseIrp},
};

/// A packet, freed when it is dropped.
pub(super) struct Packet(NonNull<IRP>);

impl Packet {
    /// A packet for stacks of this size.
    ///
    /// # Errors
    ///
    /// `STATUS_INSUFFICIENT_RESOURCES`
    pub(super) fn new(stack_size: i8) -> Result<Self> {
        // SAFETY: IoAllocateIrp has no requirements beyond the level.
        let irp = unsafe { IoAllocateIrp(stack_size, 0) };
        NonNull::new(irp)
            .map(Self)
            .ok_or(STATUS_INSUFFICIENT_RESOURCES)
    }

    #[inline]
    pub(super) const fn irp(&self) -> NonNull<IRP> {
        self.0
    }

    /// The stacks that it fits.
    #[inline]
    pub(super) const fn stack_size(&self) -> i8 {
        // SAFETY: The packet exists, and nobody changes this member.
        unsafe { (*self.0.as_ptr()).StackCount }
    }

    /// Makes it ready for another use.
    ///
    /// # Safety
    ///
    /// It is not under way.
    pub(super) unsafe fn reuse(&self) {
        // SAFETY: Forwarded.
        unsafe { IoReuseIrp(self.0.as_ptr(), STATUS_SUCCESS) };
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: Ours, and whoever has sent it owns it no longer than until it is over.
        unsafe { IoFreeIrp(self.0.as_ptr()) };
    }
}
