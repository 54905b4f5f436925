//! Access to driver-visible memory, by address.
//!
//! The executive works on addresses which a simulated driver passed in. They may be wrong; that is what the bench is for: a
//! bad one faults, and the signal handler turns the fault into a report that names the routine and the driver which called it.
//! Nothing here keeps a Rust reference into driver memory, because the driver may write it at the same moment.

use std::fmt;
use std::marker::PhantomData;

/// Plain data that may be read from driver memory whatever its bytes are.
pub trait Plain: Copy + 'static {}

impl Plain for u8 {}
impl Plain for i8 {}
impl Plain for u16 {}
impl Plain for i16 {}
impl Plain for u32 {}
impl Plain for i32 {}
impl Plain for u64 {}
impl Plain for i64 {}
impl Plain for usize {}
impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Reads a value at an address, aligned or not.
pub(crate) fn peek<T: Plain>(address: usize) -> T {
    // SAFETY: `T` is plain data. The address comes from the simulated driver: an inaccessible one faults and is reported.
    unsafe { (address as *const T).read_unaligned() }
}

/// Writes a value at an address, aligned or not.
pub(crate) fn poke<T: Plain>(address: usize, value: T) {
    // SAFETY: as for `peek`; no Rust object lives in driver-visible memory.
    unsafe { (address as *mut T).write_unaligned(value) }
}

/// Copies bytes out of driver memory.
pub(crate) fn read_bytes(address: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    read_into(address, &mut bytes);
    bytes
}

/// Copies bytes out of driver memory into a buffer of the host.
pub(crate) fn read_into(address: usize, buffer: &mut [u8]) {
    if buffer.is_empty() {
        return;
    }
    // SAFETY: as for `peek`; the destination is a host buffer of that length, which driver memory cannot overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(address as *const u8, buffer.as_mut_ptr(), buffer.len())
    }
}

/// Copies bytes of the host into driver memory.
pub(crate) fn write_bytes(address: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    // SAFETY: as for `poke`; the source is a host buffer, which driver memory cannot overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) }
}

/// Copies bytes inside driver memory; the ranges may overlap.
pub(crate) fn copy(from: usize, to: usize, length: usize) {
    if length != 0 {
        // SAFETY: as for `peek` and `poke`.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, length) }
    }
}

/// Sets bytes of driver memory to zero.
pub(crate) fn zero(address: usize, length: usize) {
    if length != 0 {
        // SAFETY: as for `poke`.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, length) }
    }
}

/// One member of a structure in driver memory.
pub struct Place<T> {
    address: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T: Plain> Place<T> {
    /// The place at an address.
    pub const fn at(address: usize) -> Self {
        Self {
            address,
            kind: PhantomData,
        }
    }

    /// Where it is.
    pub const fn address(self) -> usize {
        self.address
    }

    /// Reads it.
    pub fn get(self) -> T {
        peek(self.address)
    }

    /// Writes it.
    pub fn set(self, value: T) {
        poke(self.address, value);
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Place<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}: {:?}", self.address, self.get())
    }
}

/// Declares a structure of the kernel interface with the offset of each member, and a view of one in driver memory.
///
/// The offsets are asserted at compile time.
macro_rules! layout {
    ($(#[$meta:meta])* $name:ident as $view:ident, size $size:literal {
        $($(#[$field_meta:meta])* $offset:literal $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        const _: () = assert!(size_of::<$name>() == $size);
        $(const _: () = assert!(std::mem::offset_of!($name, $field) == $offset);)*

        #[doc = concat!("A [`", stringify!($name), "`] in driver memory.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $view(pub usize);

        impl $view {
            /// The size of the structure.
            pub const SIZE: usize = $size;

            $($(#[$field_meta])*
            pub const fn $field(self) -> $crate::mem::Place<$type> {
                $crate::mem::Place::at(self.0 + $offset)
            })*
        }
    };
}
pub(crate) use layout;
