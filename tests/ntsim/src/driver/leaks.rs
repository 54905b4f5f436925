//! What a driver may not leave behind.
//!
//! 0xC4/62: "a driver has forgotten to free its pool allocations prior to unloading"; 0xCE for operations that would
//! still run into the unloaded image. One stop lists everything.

use crate::account::{self, Resource};
use crate::image::Image;
use crate::layout::io::DriverObject;
use crate::pool;
use crate::stop::{self, Stop};
use std::time::{Duration, Instant};

/// Real time that the kernel's own workers get to finish.
const PATIENCE: Duration = Duration::from_millis(300);

/// Device objects of a driver that is going away.
pub(super) fn check_devices(image: &Image, object: DriverObject) {
    if object.device().get() != 0 {
        check(image);
        stop::violation(
            Stop::verifier(0x62),
            [0, 0, 1],
            format!("{} was unloaded with a device object", image.name),
        );
    }
}

/// Everything that the account still lists for the image.
pub(super) fn check(image: &Image) {
    // Deletions that were put off to worker threads of the kernel are on their way.
    let patience = Instant::now();
    while account::counts(Some(image)) != account::Counts::default()
        && patience.elapsed() < PATIENCE
    {
        if crate::explore::on() {
            crate::explore::pause();
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
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
    } else {
        Stop::verifier(0x62)
    };
    let number = lines.len();
    stop::violation(
        stop,
        [bytes, 0, number as u64],
        format!(
            "{} was unloaded and left {number} things behind:\n      {}",
            image.name,
            lines.join("\n      ")
        ),
    )
}
