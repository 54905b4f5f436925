//! A table that grows without moving an element, from memory that is allocated outside any lock.

use core::{array, mem::offset_of, ptr};

use rxce_engine::spread;

use crate::nt::pool::{self, Tag};

/// How many elements the first segment has; it is part of the table, so that an empty table needs no memory.
const FIRST: usize = 16;

const _: () = assert!(spread::segment_length(0) as usize == FIRST);

/// Memory for one more segment.
pub(super) struct Segment<T> {
    start: *mut T,
    number: u32,
}

/// A segmented table. `T` is valid when zeroed.
pub(super) struct Segments<T> {
    first: [T; FIRST],
    more: [*mut T; spread::SEGMENTS],
}

// SAFETY: The segments are owned by the table.
unsafe impl<T: Send> Send for Segments<T> {}

impl<T> Segments<T> {
    /// Where the first elements are, for debuggers.
    pub(super) const FIRST_ELEMENTS: usize = offset_of!(Self, first);
    /// Where the pointers to the other segments are.
    pub(super) const MORE: usize = offset_of!(Self, more);

    pub(super) const fn new(first: [T; FIRST]) -> Self {
        Self {
            first,
            more: [ptr::null_mut(); spread::SEGMENTS],
        }
    }

    /// Element `index`, if its segment exists.
    pub(super) fn get(&mut self, index: u32) -> Option<&mut T> {
        let (segment, offset) = spread::place(index);
        if segment == 0 {
            return self.first.get_mut(offset as usize);
        }
        let start = *self.more.get(segment as usize)?;
        if start.is_null() {
            return None;
        }
        // SAFETY: The segment has `segment_length(segment)` elements, and `place` stays below that.
        let element = unsafe { start.add(offset as usize) };
        // SAFETY: The element is initialised: zeroes are a value of it. The table is borrowed exclusively.
        Some(unsafe { &mut *element })
    }

    /// Puts a segment into its place, or gives it back if another thread was faster.
    pub(super) fn install(&mut self, segment: Segment<T>) -> Option<Segment<T>> {
        match self.more.get_mut(segment.number as usize) {
            Some(place) if place.is_null() => {
                *place = segment.start;
                core::mem::forget(segment);
                None
            }
            _ => Some(segment),
        }
    }

    /// Takes all segments out, to be freed.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Segment<T>> + use<T> {
        let mut segments: [Option<Segment<T>>; spread::SEGMENTS] = array::from_fn(|_| None);
        for ((slot, number), place) in segments.iter_mut().zip(0..).zip(&mut self.more) {
            if !place.is_null() {
                *slot = Some(Segment {
                    start: core::mem::replace(place, ptr::null_mut()),
                    number,
                });
            }
        }
        segments.into_iter().flatten()
    }
}

impl<T> Segment<T> {
    /// Allocates the segment in which element `index` lies.
    ///
    /// # IRQL
    ///
    /// `<= DISPATCH_LEVEL`
    pub(super) fn for_element(index: u32) -> Option<Self> {
        let (number, _) = spread::place(index);
        let bytes = size_of::<T>().checked_mul(spread::segment_length(number) as usize)?;
        let start = pool::allocate(bytes, TAG)?;
        Some(Self {
            start: start.as_ptr().cast(),
            number,
        })
    }
}

impl<T> Drop for Segment<T> {
    fn drop(&mut self) {
        if let Some(start) = ptr::NonNull::new(self.start) {
            // SAFETY: The segment owns its memory, which came from `allocate` with this tag.
            unsafe { pool::free(start.cast(), TAG) };
        }
    }
}

/// Tables of the registry.
const TAG: Tag = Tag::new(*b"RxRg");
