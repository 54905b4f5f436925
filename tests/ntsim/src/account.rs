//! The account: which kernel resources are alive, and which image owns them.
//!
//! Each routine that hands out a resource calls [`track`], each that takes it back [`untrack`]. Pool blocks are counted
//! by [`crate::pool`] itself and added here.

use crate::image::Image;
use crate::tables::Sharded;
use crate::{image, pool, stop};
use core::fmt::{self, Display, Formatter};
use std::collections::BTreeMap;
use std::collections::hash_map::Entry as Slot;

/// Kinds of resources besides pool blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// I/O request packets.
    Irp,
    /// Memory descriptor lists.
    Mdl,
    /// Open handles.
    Handle,
    /// References on objects taken by drivers.
    ObjectReference,
    /// Work items, allocated or queued.
    WorkItem,
    /// Device objects.
    Device,
    /// Symbolic links.
    SymbolicLink,
    /// System threads created by drivers and still running.
    Thread,
    /// Callbacks the kernel still owes or may still make (timers, DPCs, completion routines, notifications).
    Callback,
    /// Mappings and locks of pages.
    Mapping,
}

/// What a resource is, for the list of what is left over.
#[derive(Clone, Debug)]
pub enum What {
    /// The routine that made it, or another fixed text.
    Name(&'static str),
    /// A text of its own.
    Text(String),
    /// A packet: the routine that made it, and its stack locations.
    Packet(&'static str, i8),
}

impl From<&'static str> for What {
    fn from(name: &'static str) -> Self {
        Self::Name(name)
    }
}

impl From<String> for What {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Display for What {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Text(text) => f.write_str(text),
            Self::Packet(routine, stacks) => write!(f, "{routine}, {stacks} stack locations"),
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    image: Option<u32>,
    caller: usize,
    what: What,
}

/// The entries of a resource: one, and seldom more.
struct Entries {
    first: Entry,
    more: Vec<Entry>,
}

impl Entries {
    fn iter(&self) -> impl Iterator<Item = &Entry> {
        core::iter::once(&self.first).chain(&self.more)
    }

    /// Takes the last entry of an image out, or the last one if it has none. False if that leaves nothing.
    fn remove(&mut self, image: Option<u32>) -> bool {
        let of_image = self.more.iter().rposition(|entry| entry.image == image);
        if let Some(index) = of_image {
            self.more.remove(index);
        } else if self.more.is_empty() {
            return false;
        } else if self.first.image == image {
            self.first = self.more.remove(0);
        } else {
            self.more.pop();
        }
        true
    }
}

/// Owners by resource and key.
static LIVE: Sharded<(Resource, u64), Entries> = Sharded::new();

/// Records that driver code at `caller` now owns a resource. The same key may be tracked more than once (references).
pub fn track(resource: Resource, key: u64, caller: usize, what: impl Into<What>) {
    let image = image::find(caller).map(|image| image.id);
    let entry = Entry {
        image,
        caller,
        what: what.into(),
    };
    let key = (resource, key);
    LIVE.with(&key, |live| match live.entry(key) {
        Slot::Occupied(mut entries) => entries.get_mut().more.push(entry),
        Slot::Vacant(place) => {
            place.insert(Entries {
                first: entry,
                more: Vec::new(),
            });
        }
    });
}

/// Records that a resource was given back by driver code at `caller` (0: by the kernel). A resource that was tracked
/// more than once loses the entry of the same image if there is one, else the last. Returns whether there was one.
pub fn untrack(resource: Resource, key: u64, caller: usize) -> bool {
    let image = image::find(caller).map(|image| image.id);
    let key = (resource, key);
    LIVE.with(&key, |live| {
        let Slot::Occupied(mut entries) = live.entry(key) else {
            return false;
        };
        if !entries.get_mut().remove(image) {
            entries.remove();
        }
        true
    })
}

/// Whether a resource is alive.
#[must_use]
pub fn is_tracked(resource: Resource, key: u64) -> bool {
    let key = (resource, key);
    LIVE.with(&key, |live| live.contains_key(&key))
}

/// Live resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sum over all images and the kernel's own allocations on their behalf.
    pub total: Counts,
    /// Per loaded image, by name.
    pub images: Vec<(String, Counts)>,
}

/// Numbers of live resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pool blocks.
    pub pool_blocks: u64,
    /// Bytes in pool blocks.
    pub pool_bytes: u64,
    /// I/O request packets.
    pub irps: u64,
    /// Memory descriptor lists.
    pub mdls: u64,
    /// Handles.
    pub handles: u64,
    /// References on objects.
    pub object_references: u64,
    /// Work items.
    pub work_items: u64,
    /// Device objects.
    pub devices: u64,
    /// Symbolic links.
    pub symbolic_links: u64,
    /// System threads.
    pub threads: u64,
    /// Outstanding callbacks.
    pub callbacks: u64,
    /// Mappings and locks of pages.
    pub mappings: u64,
}

impl Counts {
    fn slot(&mut self, resource: Resource) -> &mut u64 {
        match resource {
            Resource::Irp => &mut self.irps,
            Resource::Mdl => &mut self.mdls,
            Resource::Handle => &mut self.handles,
            Resource::ObjectReference => &mut self.object_references,
            Resource::WorkItem => &mut self.work_items,
            Resource::Device => &mut self.devices,
            Resource::SymbolicLink => &mut self.symbolic_links,
            Resource::Thread => &mut self.threads,
            Resource::Callback => &mut self.callbacks,
            Resource::Mapping => &mut self.mappings,
        }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pool {} bytes in {} blocks, IRPs {}, MDLs {}, handles {}, references {}, work items {}, devices {}, links {}, \
             threads {}, callbacks {}, mappings {}",
            self.pool_bytes,
            self.pool_blocks,
            self.irps,
            self.mdls,
            self.handles,
            self.object_references,
            self.work_items,
            self.devices,
            self.symbolic_links,
            self.threads,
            self.callbacks,
            self.mappings
        )
    }
}

impl Display for Account {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, counts) in &self.images {
            writeln!(f, "{name}: {counts}")?;
        }
        write!(f, "total: {}", self.total)
    }
}

/// Everything that is alive now.
#[must_use]
pub fn account() -> Account {
    Account {
        total: counts(None),
        images: image::loaded()
            .into_iter()
            .map(|image| (image.name.clone(), counts(Some(image))))
            .collect(),
    }
}

/// What one image owns, or everybody.
#[must_use]
pub fn counts(of: Option<&Image>) -> Counts {
    let mut counts = Counts::default();
    LIVE.for_each(|(resource, _), entries| {
        let number = entries
            .iter()
            .filter(|entry| of.is_none_or(|image| entry.image == Some(image.id)))
            .count();
        *counts.slot(*resource) += number as u64;
    });
    let usage = pool::usage(of, None);
    counts.pool_blocks = usage.blocks;
    counts.pool_bytes = usage.bytes;
    counts
}

/// The pool of one image by name, under each of its tags.
#[must_use]
pub fn pool_by_tag(image_name: &str) -> BTreeMap<String, pool::Usage> {
    image::loaded()
        .into_iter()
        .filter(|image| image.name.eq_ignore_ascii_case(image_name))
        .flat_map(|image| pool::by_tag(Some(image)))
        .map(|(tag, usage)| (pool::tag_text(tag), usage))
        .collect()
}

/// What the image that contains this address owns; nothing if there is none.
pub(crate) fn counts_at(address: usize) -> Counts {
    image::find(address).map_or_else(Counts::default, |image| counts(Some(image)))
}

/// One line per live resource of an image: what, and who made it.
#[must_use]
pub fn leaks(of: &Image) -> Vec<(Resource, String)> {
    let mut leaks = Vec::new();
    LIVE.for_each(|(resource, key), entries| {
        let own = entries
            .iter()
            .filter(|entry| entry.image == Some(of.id))
            .map(|entry| (*resource, *key, entry.clone()));
        leaks.extend(own);
    });
    leaks.sort_by_key(|(resource, key, _)| (*resource, *key));
    leaks
        .into_iter()
        .map(|(resource, key, entry)| {
            (
                resource,
                format!(
                    "{resource:?} 0x{key:X} {}, made by {}",
                    entry.what,
                    stop::describe(entry.caller)
                ),
            )
        })
        .collect()
}
