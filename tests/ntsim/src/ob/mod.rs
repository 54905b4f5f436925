//! Objects: headers with reference and handle counts, kept in a host table by the address of the object's body.

pub mod handle;
pub mod namespace;
pub mod registry;
pub mod routines;

use crate::account::{self, Resource};
use crate::arena::{self, Kind};
use crate::irql::{self, PASSIVE_LEVEL};
use crate::stop;
use crate::tables::{Map, Sharded};
use crate::trace::{self, EventKind};

/// The kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// Device object.
    Device,
    /// Driver object.
    Driver,
    /// File object.
    File,
    /// Thread object.
    Thread,
    /// Process object.
    Process,
    /// Event object.
    Event,
    /// Registry key.
    Key,
}

/// What the object manager knows about an object.
#[derive(Debug)]
struct Object {
    kind: ObjectKind,
    references: i64,
    handles: i64,
    name: Option<String>,
}

static OBJECTS: Sharded<usize, Object> = Sharded::new();

/// Runs something with the part of the table that has this object.
fn with<R>(body: usize, run: impl FnOnce(&mut Map<usize, Object>) -> R) -> R {
    OBJECTS.with(&body, run)
}

/// Makes an object of the kernel with one reference; its body is zeroed.
pub fn create(kind: ObjectKind, bytes: usize, name: Option<String>) -> usize {
    let body = arena::alloc(bytes, Kind::Object);
    adopt(body, kind, name);
    body
}

/// Makes an object of memory that exists already, with one reference.
pub fn adopt(body: usize, kind: ObjectKind, name: Option<String>) {
    with(body, |objects| {
        objects.insert(
            body,
            Object {
                kind,
                references: 1,
                handles: 0,
                name,
            },
        )
    });
}

/// Whether an object lives at this address.
pub fn is_object(body: usize) -> bool {
    with(body, |objects| objects.contains_key(&body))
}

/// The kind of an object.
pub fn kind(body: usize) -> Option<ObjectKind> {
    with(body, |objects| objects.get(&body).map(|object| object.kind))
}

/// The name of an object for people.
pub fn name(body: usize) -> String {
    with(body, |objects| {
        objects.get(&body).and_then(|object| object.name.clone())
    })
    .unwrap_or_else(|| format!("{body:#x}"))
}

/// Pointer and handle counts of an object, for tests and reports.
pub fn counts(body: usize) -> Option<(i64, i64)> {
    with(body, |objects| {
        objects
            .get(&body)
            .map(|object| (object.references, object.handles))
    })
}

/// The objects of a kind that are alive.
pub fn all(kind: ObjectKind) -> Vec<usize> {
    let mut bodies = Vec::new();
    OBJECTS.for_each(|body, object| {
        if object.kind == kind {
            bodies.push(*body);
        }
    });
    bodies.sort_unstable();
    bodies
}

/// Adds a reference; `caller` is the driver code that will have to drop it, or 0 for the kernel.
pub fn reference(body: usize, caller: usize) {
    let known = with(body, |objects| match objects.get_mut(&body) {
        Some(object) if object.references > 0 => {
            object.references += 1;
            true
        }
        _ => false,
    });
    if !known {
        let text = format!(
            "reference of {body:#x}, which is no object, or one without references that is being deleted"
        );
        stop::bug_check(0xc4, [0x3f, body as u64, 0, 0], text);
    }
    if caller != 0 {
        account::track(Resource::ObjectReference, body as u64, caller, name(body));
    }
}

/// Drops a reference; the last one deletes the object. `caller` is the driver code that drops it, or 0 for the kernel.
///
/// At PASSIVE_LEVEL the object is deleted in place, above on a worker thread.
pub fn dereference(body: usize, caller: usize) {
    let last = with(body, |objects| {
        let object = objects.get_mut(&body)?;
        object.references -= 1;
        Some(object.references == 0)
    });
    if caller != 0 {
        account::untrack(Resource::ObjectReference, body as u64, caller);
    }
    match last {
        Some(false) => {}
        Some(true) if irql::current() == PASSIVE_LEVEL => delete(body),
        Some(true) => crate::ex::work::queue_host(move || delete(body)),
        None => {
            let text = format!(
                "dereference of {body:#x}, which is no object (its last reference went before?)"
            );
            stop::bug_check(0xc4, [0x3f, body as u64, 0, 0], text);
        }
    }
}

/// The last reference is gone.
fn delete(body: usize) {
    let Some(kind) = kind(body) else { return };
    trace::event(EventKind::Object, 0, || {
        format!("{kind:?} {} is deleted", name(body))
    });
    match kind {
        ObjectKind::File => crate::io::file::close(body),
        ObjectKind::Thread => {
            // Thread objects stay mapped: reports may name them later.
            with(body, |objects| objects.remove(&body));
            return;
        }
        ObjectKind::Device => {
            crate::se::dacl::forget(body);
            crate::io::device::deleted(body);
        }
        _ => {}
    }
    with(body, |objects| objects.remove(&body));
    arena::free(body);
}

fn handle_opened(body: usize) {
    with(body, |objects| {
        if let Some(object) = objects.get_mut(&body) {
            object.handles += 1;
        }
    });
}

/// A handle is closed; the last one of a file object runs IRP_MJ_CLEANUP.
fn handle_closed(body: usize) {
    let last = with(body, |objects| match objects.get_mut(&body) {
        Some(object) => {
            object.handles -= 1;
            object.handles == 0 && object.kind == ObjectKind::File
        }
        None => false,
    });
    if last {
        crate::io::file::cleanup(body);
    }
}

/// Removes an object that was never handed out.
pub(crate) fn forget(body: usize) {
    with(body, |objects| objects.remove(&body));
    arena::free(body);
}
