//! Handles, objects, devices and work items.

use core::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use wdk_sys::{
    _WORK_QUEUE_TYPE::DelayedWorkQueue, DEVICE_OBJECT, FILE_READ_DATA, HANDLE, IO_STATUS_BLOCK,
    OBJECT_ATTRIBUTES, PVOID, SECURITY_SUBJECT_CONTEXT, UNICODE_STRING, WORK_QUEUE_ITEM,
};

use super::{irql::with_handle, table};
use crate::{
    driver::{Bench, create_device},
    nt::{attributes, event, free, new, nt, poke, pool, set, settle, wait, with},
    thread,
    unicode::unicode,
};

table![
    handle_closed_twice,
    handle_not_open,
    handle_null,
    handle_of_a_user,
    handle_of_the_kernel,
    object_dereferenced_too_often,
    object_referenced_too_late,
    zw_with_a_user_address,
    zw_with_a_malformed_string,
    zw_with_malformed_attributes,
    thread_object_of_something_else,
    subject_never_captured,
    file_object_of_something_else,
    device_deleted_twice,
    work_item_queued_twice,
    work_item_pageable,
    io_work_item_queued_twice,
    io_work_item_freed_queued,
    io_work_item_freed_twice,
    io_work_item_of_nothing,
];

fn handle_of_the_kernel(bench: &Bench) {
    with_handle(|handle| reference_as(handle, bench.either(1, 0)));
}

/// References the object of a handle and drops the reference.
fn reference(handle: HANDLE) {
    reference_as(handle, 0);
}

/// The same in a mode of the processor.
fn reference_as(handle: HANDLE, mode: i8) {
    let mut object: PVOID = ptr::null_mut();
    let status = nt!(ObReferenceObjectByHandle(
        handle,
        0,
        ptr::null_mut(),
        mode,
        &raw mut object,
        ptr::null_mut()
    ));
    if status >= 0 {
        nt!(ObfDereferenceObject(object));
    }
}

fn handle_closed_twice(bench: &Bench) {
    with_handle(|handle| {
        bench.if_guilty(|| {
            nt!(ZwClose(handle));
        });
    });
}

fn handle_not_open(bench: &Bench) {
    with_handle(|handle| {
        let other = handle.map_addr(|value| value.wrapping_add(0x4000));
        reference(bench.either(other, handle));
    });
}

fn handle_null(bench: &Bench) {
    with_handle(|handle| reference(bench.either(ptr::null_mut(), handle)));
}

/// Opens the device below with these attributes.
fn open(attributes: &mut OBJECT_ATTRIBUTES) -> HANDLE {
    let mut handle: HANDLE = ptr::null_mut();
    let mut status = IO_STATUS_BLOCK::default();
    nt!(ZwOpenFile(
        &raw mut handle,
        FILE_READ_DATA,
        attributes,
        &raw mut status,
        0,
        0
    ));
    handle
}

fn handle_of_a_user(bench: &Bench) {
    let mut name = unicode!(breaker_ioctl::BELOW_NAME);
    let mut attributes = attributes(&raw mut name);
    if bench.guilty() {
        attributes.Attributes = 0;
    }
    let handle = open(&mut attributes);
    reference(handle);
    nt!(ZwClose(handle));
}

unsafe extern "C" fn nothing(_: PVOID) {}

fn object_dereferenced_too_often(bench: &Bench) {
    let thread = thread::start(nothing, ptr::null_mut::<u8>());
    wait(thread);
    settle();
    nt!(ObfDereferenceObject(thread));
    bench.if_guilty(|| {
        nt!(ObfDereferenceObject(thread));
    });
}

fn object_referenced_too_late(bench: &Bench) {
    let thread = thread::start(nothing, ptr::null_mut::<u8>());
    wait(thread);
    settle();
    bench.if_guilty(|| {
        nt!(ObfDereferenceObject(thread));
    });
    nt!(ObfReferenceObject(thread));
    nt!(ObfDereferenceObject(thread));
    nt!(ObfDereferenceObject(thread));
}

fn zw_with_a_user_address(bench: &Bench) {
    let mut name = unicode!(breaker_ioctl::BELOW_NAME);
    let user = ptr::without_provenance_mut::<UNICODE_STRING>(0x1_0000);
    let mut attributes = attributes(bench.either(user, &raw mut name));
    nt!(ZwClose(open(&mut attributes)));
}

fn zw_with_a_malformed_string(bench: &Bench) {
    let mut name = unicode!(breaker_ioctl::BELOW_NAME);
    if bench.guilty() {
        name.MaximumLength = 2;
    }
    let mut attributes = attributes(&raw mut name);
    nt!(ZwClose(open(&mut attributes)));
}

fn zw_with_malformed_attributes(bench: &Bench) {
    let mut name = unicode!(breaker_ioctl::BELOW_NAME);
    let mut attributes = attributes(&raw mut name);
    attributes.Length = bench.either(0x20, 0x30);
    nt!(ZwClose(open(&mut attributes)));
}

fn thread_object_of_something_else(_: &Bench) {
    nt!(PsIsSystemThread(pool(0x800).cast()));
}

fn subject_never_captured(_: &Bench) {
    let mut context = SECURITY_SUBJECT_CONTEXT::default();
    nt!(SeReleaseSubjectContext(&raw mut context));
}

fn file_object_of_something_else(_: &Bench) {
    nt!(IoGetRelatedDeviceObject(pool(0x100).cast()));
}

fn device_deleted_twice(bench: &Bench) {
    // SAFETY: Our device.
    let driver = unsafe { (*bench.device).DriverObject };
    if let Ok(device) = create_device(driver, unicode!(r"\Device\BreakerOwn")) {
        nt!(IoDeleteDevice(device));
        bench.if_guilty(|| nt!(IoDeleteDevice(device)));
    }
}

unsafe extern "C" fn set_it(event: PVOID) {
    set(event.cast());
}

fn work_item_pageable(bench: &Bench) {
    let done = event();
    let item = if bench.guilty() {
        super::mdl::paged().cast()
    } else {
        new::<WORK_QUEUE_ITEM>()
    };
    poke(
        item,
        WORK_QUEUE_ITEM {
            WorkerRoutine: Some(set_it),
            Parameter: done.cast(),
            ..WORK_QUEUE_ITEM::default()
        },
    );
    nt!(ExQueueWorkItem(item, DelayedWorkQueue));
    wait(done);
    settle();
    free(item);
    free(done);
}

fn work_item_queued_twice(bench: &Bench) {
    let (item, done) = (new::<WORK_QUEUE_ITEM>(), event());
    // ExInitializeWorkItem, which is inline.
    poke(
        item,
        WORK_QUEUE_ITEM {
            WorkerRoutine: Some(set_it),
            Parameter: done.cast(),
            ..WORK_QUEUE_ITEM::default()
        },
    );
    let crowd = Crowd::gather(bench);
    nt!(ExQueueWorkItem(item, DelayedWorkQueue));
    bench.if_guilty(|| nt!(ExQueueWorkItem(item, DelayedWorkQueue)));
    crowd.dismiss();
    wait(done);
    free(item);
    free(done);
}

unsafe extern "C" fn hold(_: *mut DEVICE_OBJECT, door: PVOID) {
    // SAFETY: The crowd's door, which stands until all have gone through.
    let door = unsafe { &*door.cast::<Door>() };
    wait(door.open);
    if door.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
        set(door.empty);
    }
}

const MEMBERS: usize = 40;

/// More work items than there are threads for, all waiting: what is queued after them stays queued.
struct Crowd {
    items: [wdk_sys::PIO_WORKITEM; MEMBERS],
    door: *mut Door,
}

/// What they wait for.
struct Door {
    open: *mut wdk_sys::KEVENT,
    /// Set by the last one.
    empty: *mut wdk_sys::KEVENT,
    waiting: AtomicUsize,
}

impl Crowd {
    fn gather(bench: &Bench) -> Self {
        let door = new::<Door>();
        poke(
            door,
            Door {
                open: event(),
                empty: event(),
                waiting: AtomicUsize::new(MEMBERS),
            },
        );
        let items = core::array::from_fn(|_| {
            let item = nt!(IoAllocateWorkItem(bench.device));
            nt!(IoQueueWorkItem(
                item,
                Some(hold),
                DelayedWorkQueue,
                door.cast()
            ));
            item
        });
        Self { items, door }
    }

    /// Lets them go, and waits until none of them is queued any more.
    fn dismiss(self) {
        // SAFETY: Made by `gather`.
        let Door { open, empty, .. } = unsafe { &*self.door };
        let (open, empty) = (*open, *empty);
        set(open);
        wait(empty);
        for item in self.items {
            nt!(IoFreeWorkItem(item));
        }
        free(open);
        free(empty);
        free(self.door);
    }
}

unsafe extern "C" fn set_io(_: *mut DEVICE_OBJECT, event: PVOID) {
    // SAFETY: As for a plain work item.
    unsafe { set_it(event) };
}

fn io_work_item_queued_twice(bench: &Bench) {
    let (item, done) = (nt!(IoAllocateWorkItem(bench.device)), event());
    let crowd = Crowd::gather(bench);
    let queue = || {
        nt!(IoQueueWorkItem(
            item,
            Some(set_io),
            DelayedWorkQueue,
            done.cast()
        ))
    };
    queue();
    bench.if_guilty(queue);
    crowd.dismiss();
    wait(done);
    nt!(IoFreeWorkItem(item));
    free(done);
}

fn io_work_item_freed_queued(bench: &Bench) {
    let (item, done) = (nt!(IoAllocateWorkItem(bench.device)), event());
    let crowd = Crowd::gather(bench);
    nt!(IoQueueWorkItem(
        item,
        Some(set_io),
        DelayedWorkQueue,
        done.cast()
    ));
    bench.if_guilty(|| nt!(IoFreeWorkItem(item)));
    crowd.dismiss();
    wait(done);
    nt!(IoFreeWorkItem(item));
    free(done);
}

fn io_work_item_freed_twice(bench: &Bench) {
    let item = nt!(IoAllocateWorkItem(bench.device));
    nt!(IoFreeWorkItem(item));
    bench.if_guilty(|| nt!(IoFreeWorkItem(item)));
}

fn io_work_item_of_nothing(_: &Bench) {
    with(|block: *mut [u64; 64]| {
        nt!(IoAllocateWorkItem(block.cast()));
    });
}
