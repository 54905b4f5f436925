//! What keeps a driver in memory after its unload routine has run.
//!
//! The I/O manager holds a reference on the device object for which it runs a work item ("IoQueueWorkItem": so that the driver
//! cannot be unloaded before the routine has returned) or a completion routine of IoSetCompletionRoutineEx. A device
//! object refers to its driver object, and the image is unmapped with that one's last reference.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::dispatcher::{Sleep, host::HostEvent};
use crate::layout::io::{Device, DriverObject};
use crate::ob::{self, ObjectKind};
use crate::trace::{self, EventKind};

#[derive(Default)]
struct Kept {
    count: usize,
    waiters: Vec<Arc<HostEvent>>,
}

/// By driver object.
static KEPT: Mutex<Option<HashMap<usize, Kept>>> = Mutex::new(None);

/// A reference of the I/O manager on a device or driver object.
#[derive(Debug)]
#[must_use = "the reference is dropped with this"]
pub(crate) struct Keep {
    object: usize,
    driver: usize,
}

impl Keep {
    /// Takes a reference on a device object, or a driver object.
    pub(crate) fn new(object: usize) -> Self {
        let driver = match ob::kind(object) {
            Some(ObjectKind::Device) => Device(object).driver().get(),
            _ => object,
        };
        ob::reference(object, 0);
        let mut kept = KEPT.lock();
        kept.get_or_insert_default()
            .entry(driver)
            .or_default()
            .count += 1;
        Self { object, driver }
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        ob::dereference(self.object, 0);
        let waiters = {
            let mut kept = KEPT.lock();
            let kept = kept.get_or_insert_default();
            let Some(entry) = kept.get_mut(&self.driver) else {
                return;
            };
            entry.count -= 1;
            if entry.count != 0 {
                return;
            }
            kept.remove(&self.driver).unwrap_or_default().waiters
        };
        for waiter in waiters {
            waiter.set();
        }
    }
}

/// Waits until the I/O manager runs and owes nothing more for a driver and its devices.
pub fn wait(driver: DriverObject) {
    let event = Arc::new(HostEvent::manual());
    {
        let mut kept = KEPT.lock();
        let Some(entry) = kept.get_or_insert_default().get_mut(&driver.0) else {
            return;
        };
        entry.waiters.push(Arc::clone(&event));
        let count = entry.count;
        trace::event(EventKind::Driver, 0, || {
            format!(
                "{} stays for {count} work items or completion routines",
                ob::name(driver.0)
            )
        });
    }
    event.wait(Sleep::Wanted);
}
