//! Blocks by the address of the client's structure: a sharded hash that grows by linear hashing.
//!
//! A look-up holds one shard's lock for a handful of instructions, however many structures there are: a bucket has one
//! block on average, and an insertion splits at most one bucket per hold.

use core::{
    mem::offset_of,
    ptr::{self, NonNull},
};

use rxce_engine::{Error, mutant, spread};

use super::{
    Block, Found, Header, Ref,
    segments::{Segment, Segments},
    take,
};
use crate::nt::spin_lock::SpinLock;

/// The shards, each on cache lines of its own.
pub(in crate::connection) static SHARDS: [Shard; spread::SHARDS] =
    [const { Shard(SpinLock::new(Table::new())) }; spread::SHARDS];

/// One of them.
#[repr(align(64))]
pub(in crate::connection) struct Shard(SpinLock<Table>);

/// The table in a shard, for debuggers.
const TABLE: usize = offset_of!(Shard, 0) + SpinLock::<Table>::VALUE;
/// Heads of the first buckets.
pub(in crate::connection) const FIRST_HEADS: usize =
    TABLE + offset_of!(Table, heads) + Segments::<*mut Header>::FIRST_ELEMENTS;
/// Pointers to the heads of more buckets.
pub(in crate::connection) const MORE_HEADS: usize =
    TABLE + offset_of!(Table, heads) + Segments::<*mut Header>::MORE;
/// How many buckets there are, in four bytes.
pub(in crate::connection) const BUCKETS: usize = TABLE + offset_of!(Table, buckets);

struct Table {
    heads: Segments<*mut Header>,
    buckets: u32,
    blocks: u32,
}

// SAFETY: Blocks are registered only while they live, and reached only under the shard's lock.
unsafe impl Send for Table {}

/// Finds the block of the structure at `key`.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn find<T: Block>(key: usize) -> Found<T> {
    shard(key).with(|table| match table.find(key) {
        // SAFETY: The header is registered, under this lock.
        Some(header) if unsafe { header.as_ref() }.usable.get() => unsafe { take(header) },
        _ => Found::Nothing,
    })
}

/// Finds the block of the structure at `key`, also while it is reserved by a build.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn find_reserved<T: Block>(key: usize) -> Found<T> {
    shard(key).with(|table| match table.find(key) {
        // SAFETY: The header is registered, under this lock.
        Some(header) => unsafe { take(header) },
        None => Found::Nothing,
    })
}

/// Looks at the block of the structure at `key`, if it is one of this type, under the lock that keeps it registered.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn look<T: Block, R>(key: usize, look: impl FnOnce(&T) -> R) -> Option<R> {
    shard(key).with(|table| {
        let header = table.find(key)?;
        // SAFETY: A registered block exists.
        let right = unsafe { header.as_ref() }.kind == T::KIND;
        // SAFETY: As above; its kind says what it is.
        right.then(|| look(unsafe { header.cast::<T>().as_ref() }))
    })
}

/// Whether anything is registered for `key`, usable or not.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn is_taken(key: usize) -> bool {
    shard(key).with(|table| table.find(key).is_some())
}

/// Runs `work` while `key` is free and stays free: nobody can reserve it meanwhile.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if the address is taken.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn while_free(key: usize, work: impl FnOnce()) -> Result<(), Error> {
    shard(key).with(|table| {
        if table.find(key).is_some() {
            return Err(Error::InvalidParameter);
        }
        work();
        Ok(())
    })
}

/// Reserves the address in the block's header, before the first write to the structure there. The block stays unusable
/// until [`set_usable`]; the returned reference is the builder's.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if the address is taken.
///
/// # Safety
///
/// The block lives at `block` until [`remove`], and its rundown protection is initialised.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn reserve<T: Block>(block: NonNull<T>) -> Result<Ref<T>, Error> {
    let header: NonNull<Header> = block.cast();
    // SAFETY: Forwarded: the block exists.
    let key = unsafe { header.as_ref() }.key();
    let (block, missing) = shard(key).with(|table| {
        if table.find(key).is_some() && !mutant!(BuiltTwice) {
            return Err(Error::InvalidParameter);
        }
        table.insert(key, header);
        // SAFETY: The header was registered just now, under this lock.
        let block = unsafe { take(header) }.required()?;
        Ok((block, table.split()))
    })?;
    if let Some(missing) = missing {
        grow(key, missing);
    }
    Ok(block)
}

/// Puts a block into the place of one that was reserved for the same structure, and lets look-ups find it.
///
/// # Safety
///
/// `old` is registered under the key of `new`, which lives until [`remove`] and whose rundown protection is initialised.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn replace<O: Block, N: Block>(old: NonNull<O>, new: NonNull<N>) {
    let header: NonNull<Header> = new.cast();
    // SAFETY: Forwarded: the block exists.
    let key = unsafe { header.as_ref() }.key();
    shard(key).with(|table| {
        table.remove(key, old.cast());
        // SAFETY: The member changes only under this lock.
        unsafe { header.as_ref() }.usable.set(true);
        table.insert(key, header);
    });
}

/// Lets look-ups find a reserved block.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) fn set_usable<T: Block>(block: &Ref<T>) {
    let header: NonNull<Header> = block.as_ptr().cast();
    // SAFETY: The reference keeps the block.
    let key = unsafe { header.as_ref() }.key();
    // SAFETY: The member changes only under this lock.
    shard(key).with(|_| unsafe { header.as_ref() }.usable.set(true));
}

/// Removes a block, after the last write to the client's structure.
///
/// # Safety
///
/// The block is registered, and nobody else removes it.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`
pub(crate) unsafe fn remove<T: Block>(block: NonNull<T>) {
    let header: NonNull<Header> = block.cast();
    // SAFETY: Forwarded: the block exists.
    let key = unsafe { header.as_ref() }.key();
    shard(key).with(|table| table.remove(key, header));
}

/// Frees the tables.
///
/// # Safety
///
/// Nothing is registered, and nobody uses the registry any more.
pub(crate) unsafe fn clear() {
    for shard in &SHARDS {
        let segments = shard.0.with(|table| {
            table.buckets = FIRST_BUCKETS;
            table.heads.clear()
        });
        drop(segments);
    }
}

/// The shard by the upper bits of the hash, the bucket by the lower ones.
fn shard(key: usize) -> &'static SpinLock<Table> {
    let number = (spread::hash(key) >> 28) as usize;
    // There is a shard for each value of four bits.
    let [first, ..] = &SHARDS;
    &SHARDS.get(number).unwrap_or(first).0
}

/// Adds the missing segment to a table that has become too full. Without memory it stays as it is, and a little slower.
fn grow(key: usize, missing: u32) {
    let Some(segment) = Segment::for_element(missing) else {
        return;
    };
    let superfluous = shard(key).with(|table| {
        let superfluous = table.heads.install(segment);
        table.split();
        superfluous
    });
    drop(superfluous);
}

const FIRST_BUCKETS: u32 = 16;

impl Table {
    const fn new() -> Self {
        Self {
            heads: Segments::new([ptr::null_mut(); FIRST_BUCKETS as usize]),
            buckets: FIRST_BUCKETS,
            blocks: 0,
        }
    }

    fn bucket(&self, key: usize) -> u32 {
        spread::bucket(spread::hash(key), self.buckets)
    }

    fn find(&mut self, key: usize) -> Option<NonNull<Header>> {
        let bucket = self.bucket(key);
        let mut at = NonNull::new(*self.heads.get(bucket)?);
        while let Some(header) = at {
            // SAFETY: A registered block exists.
            let header_ref = unsafe { header.as_ref() };
            if header_ref.key() == key {
                return at;
            }
            at = NonNull::new(header_ref.next.get());
        }
        None
    }

    fn insert(&mut self, key: usize, header: NonNull<Header>) {
        let bucket = self.bucket(key);
        if let Some(head) = self.heads.get(bucket) {
            // SAFETY: The block exists, and its link is this table's.
            unsafe { header.as_ref() }.next.set(*head);
            *head = header.as_ptr();
            self.blocks = self.blocks.saturating_add(1);
        }
    }

    fn remove(&mut self, key: usize, header: NonNull<Header>) {
        let bucket = self.bucket(key);
        let Some(head) = self.heads.get(bucket) else {
            return;
        };
        let mut link: *mut *mut Header = head;
        loop {
            // SAFETY: `link` is the head or the link of a registered block.
            let at = unsafe { *link };
            if at.is_null() {
                return;
            }
            // SAFETY: A registered block exists.
            let next = unsafe { (*at).next.as_ptr() };
            if at == header.as_ptr() {
                // SAFETY: The link belongs to this table.
                let rest = unsafe { *next };
                // SAFETY: As above.
                unsafe { *link = rest };
                self.blocks = self.blocks.saturating_sub(1);
                return;
            }
            link = next;
        }
    }

    /// Splits one bucket if there are more blocks than buckets; names the bucket whose segment is missing.
    fn split(&mut self) -> Option<u32> {
        if self.blocks <= self.buckets {
            return None;
        }
        let new = self.buckets;
        if self.heads.get(new).is_none() {
            return Some(new);
        }
        let source = spread::split_source(self.buckets);
        let head = self.heads.get(source)?;
        let mut chain = core::mem::replace(head, ptr::null_mut());
        self.buckets = self.buckets.saturating_add(1);
        while let Some(header) = NonNull::new(chain) {
            // SAFETY: A registered block exists, and its link is this table's.
            let header_ref = unsafe { header.as_ref() };
            chain = header_ref.next.get();
            let bucket = spread::bucket(spread::hash(header_ref.key()), self.buckets);
            if let Some(head) = self.heads.get(bucket) {
                header_ref.next.set(*head);
                *head = header.as_ptr();
            }
        }
        None
    }
}
