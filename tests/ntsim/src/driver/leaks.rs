//! What a driver may not leave behind.
//!
//! What is left of memory, of which requests and MDLs are made, is 0xC4/62: "a driver has forgotten to free its pool allocations prior to unloading"; 0xCE for operations that would
//! still run into the unloaded image. One stop lists everything.

use crate::account::{self, Resource};
use crate::etw;
use crate::image::{Image, unwind};
use crate::layout::io::DriverObject;
use crate::own::{self, Own};
use crate::pool;
use crate::stop::{self, Stop};
use crate::thread;
use core::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Real time that the kernel's own workers get to finish once no thread runs any more, ...
const PATIENCE: Duration = Duration::from_millis(300);
/// ... and as long as one does: a busy host may let it wait.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(20);

/// Device objects of a driver that is going away.
pub(super) fn check_devices(image: &Image, object: DriverObject) {
    if object.device().get() != 0 {
        check(image);
        own::violation(
            Own::Left,
            [0, 0, 1],
            format!("{} was unloaded with a device object", image.name),
        );
    }
}

/// Code of the image that a thread would return to: nothing that the driver waited for in its unload routine.
pub(super) fn check_stacks(image: &Image) {
    for thread in thread::all() {
        if thread.exited.load(Ordering::Acquire) {
            continue;
        }
        let on_stack = thread
            .frames()
            .iter()
            .flat_map(unwind::walk_from)
            .find(|address| (image.base..image.base + image.bytes).contains(address));
        if let Some(address) = on_stack {
            stop::bug_check(
                0xCE,
                [address as u64, 8, address as u64, 0],
                format!(
                    "{} was unloaded while thread {} \"{}\" is in its code, at {}",
                    image.name,
                    thread.id,
                    thread.name,
                    stop::describe(address)
                ),
            );
        }
    }
}

/// Everything that the account still lists for the image.
pub(super) fn check(image: &Image) {
    // Deletions that were put off to worker threads of the kernel are on their way.
    let begun = Instant::now();
    let mut alone_since = begun;
    while account::counts(Some(image)) != account::Counts::default()
        && alone_since.elapsed() < PATIENCE
    {
        if crate::explore::on() {
            crate::explore::pause();
            continue;
        }
        std::thread::sleep(Duration::from_millis(1));
        if crate::dispatcher::others_run() && begun.elapsed() < PATIENCE_WITH_OTHERS {
            alone_since = Instant::now();
        }
    }
    // ETW would call into the image that is gone.
    if let Some((handle, what)) = etw::forget(image).first() {
        stop::enforce(
            Stop::verifier(0xDD),
            [*handle, image.base as u64, 0],
            format!("{} was unloaded without EtwUnregister: {what}", image.name),
        );
    }
    let mut lines: Vec<String> = pool::leaks(image)
        .iter()
        .map(pool::Block::describe)
        .collect();
    let pool::Usage { blocks, bytes } = pool::usage(Some(image), None);
    if lines.is_empty() && blocks != 0 {
        lines.push(format!("{blocks} pool blocks with {bytes} bytes"));
    }
    let others = account::leaks(image);
    let memory = others
        .iter()
        .any(|(resource, _)| matches!(resource, Resource::Irp | Resource::Mdl));
    let pending = others.iter().any(|(resource, _)| {
        matches!(
            resource,
            Resource::Thread | Resource::WorkItem | Resource::Callback
        )
    });
    lines.extend(others.into_iter().map(|(_, text)| text));
    if lines.is_empty() {
        return;
    }
    let stop = if pending && blocks == 0 {
        Stop::plain(0xCE)
    } else if memory || blocks != 0 {
        Stop::verifier(0x62)
    } else {
        Own::Left.stop()
    };
    let number = lines.len();
    stop::enforce(
        stop,
        [bytes, 0, number as u64],
        format!(
            "{} was unloaded and left {number} things behind:\n      {}",
            image.name,
            lines.join("\n      ")
        ),
    )
}
