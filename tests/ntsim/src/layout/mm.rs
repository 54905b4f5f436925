//! Structures of the memory manager and of strings.

use core::mem::offset_of;

/// A memory descriptor list (`MDL`); the page numbers follow.
#[repr(C)]
#[derive(Debug)]
pub struct Mdl {
    /// The next list of a chain.
    pub next: *mut Mdl,
    /// Bytes of this structure with its page numbers.
    pub size: i16,
    /// `MDL_*` flags.
    pub flags: i16,
    /// Process whose pages these are.
    pub process: *mut u8,
    /// Address in system space, if mapped.
    pub mapped_system_va: usize,
    /// First page of the buffer.
    pub start_va: usize,
    /// Length of the buffer.
    pub byte_count: u32,
    /// Offset of the buffer in its first page.
    pub byte_offset: u32,
}

const _: () = assert!(size_of::<Mdl>() == 0x30);
const _: () = assert!(offset_of!(Mdl, flags) == 0x0A && offset_of!(Mdl, mapped_system_va) == 0x18);
const _: () = assert!(offset_of!(Mdl, start_va) == 0x20 && offset_of!(Mdl, byte_offset) == 0x2C);

impl Mdl {
    /// Address of the buffer that the list describes (`MmGetMdlVirtualAddress`).
    #[must_use]
    pub const fn virtual_address(&self) -> usize {
        self.start_va + self.byte_offset as usize
    }
}

/// `MDL_MAPPED_TO_SYSTEM_VA`.
pub const MAPPED_TO_SYSTEM_VA: i16 = 0x1;
/// `MDL_PAGES_LOCKED`.
pub const PAGES_LOCKED: i16 = 0x2;
/// `MDL_SOURCE_IS_NONPAGED_POOL`.
pub const SOURCE_IS_NONPAGED_POOL: i16 = 0x4;
/// `MDL_ALLOCATED_FIXED_SIZE`.
pub const ALLOCATED_FIXED_SIZE: i16 = 0x8;
/// `MDL_PARTIAL`.
pub const PARTIAL: i16 = 0x10;
/// `MDL_PARTIAL_HAS_BEEN_MAPPED`.
pub const PARTIAL_HAS_BEEN_MAPPED: i16 = 0x20;
/// `MDL_WRITE_OPERATION`.
pub const WRITE_OPERATION: i16 = 0x80;

/// `UNICODE_STRING`, and `ANSI_STRING` with bytes instead of words.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnicodeString {
    /// Bytes in use.
    pub length: u16,
    /// Bytes there are.
    pub maximum_length: u16,
    /// The characters, not necessarily terminated.
    pub buffer: *mut u16,
}

const _: () = assert!(size_of::<UnicodeString>() == 0x10 && offset_of!(UnicodeString, buffer) == 8);
