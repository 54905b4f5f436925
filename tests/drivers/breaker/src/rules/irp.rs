//! I/O requests.

use core::ptr;

use wdk_sys::{
    DEVICE_OBJECT, IO_STATUS_BLOCK, IRP_MJ_INTERNAL_DEVICE_CONTROL, IRP_MJ_READ, IRP_MJ_WRITE,
    KEVENT, NTSTATUS, PIRP, PVOID, STATUS_MORE_PROCESSING_REQUIRED, STATUS_SUCCESS,
};

use super::table;
use crate::{
    below,
    driver::Bench,
    nt::{APC, DISPATCH, at, event, free, nt, peek, poke, pool, set, settle, wait, with},
    request::{Below, Request, complete, next, set_cancel_routine, set_minor},
    unicode::unicode,
};

table![
    irp_freed_twice,
    irp_reused_after_free,
    irp_cancelled_after_free,
    irp_touched_after_free,
    irp_touched_beyond_its_end,
    irp_touched_while_below,
    irp_touched_after_completion,
    irp_sent_again_while_hidden,
    irp_buffer_changed,
    irp_send_buffer_changed,
    irp_cancelled_for_ever,
    irp_of_a_thread_freed,
    irp_sent_after_free,
    irp_sent_to_no_device,
    irp_sent_to_null,
    irp_freed_while_below,
    irp_reused_while_below,
    irp_sent_while_below,
    irp_freed_by_its_completion_routine,
    irp_initialised_again,
    irp_without_a_location,
    irp_of_no_locations,
    irp_sent_with_a_cancel_routine,
    irp_completed_with_a_cancel_routine,
    irp_completed_before_its_cancel_routine,
    irp_with_a_user_buffer,
    irp_with_a_status_block_gone,
    irp_with_an_event_gone,
    irp_copied_with_control_bits,
    irp_copied_with_a_routine,
    irp_pending_not_propagated,
    irp_read_at_dispatch,
    irp_completion_routine_pageable,
    completion_routine_changes_irql,
    completion_routine_changes_apcs,
    irp_nobody_keeps,
    irp_completed_as_pending,
    irp_completed_twice,
    irp_completed_by_its_owner,
    irp_pending_unmarked,
    irp_marked_not_pending,
    irp_another_status,
    irp_minus_one,
    irp_forgotten,
    dispatch_default_above_dispatch,
    dispatch_changes_irql,
    dispatch_changes_apcs,
    irp_of_a_direct_method,
    irp_of_a_thread_at_apc_level,
    entry_at_raised_irql,
];

fn allocate() -> PIRP {
    nt!(IoAllocateIrp(1, 0))
}

fn free_irp(irp: PIRP) {
    nt!(IoFreeIrp(irp));
}

fn reuse(irp: PIRP) {
    nt!(IoReuseIrp(irp, STATUS_SUCCESS));
}

/// Runs something before or after the IRP is freed.
fn around_free(bench: &Bench, run: impl Fn(PIRP)) {
    let irp = allocate();
    if !bench.guilty() {
        run(irp);
    }
    free_irp(irp);
    bench.if_guilty(|| run(irp));
}

fn irp_freed_twice(bench: &Bench) {
    let irp = allocate();
    free_irp(irp);
    bench.if_guilty(|| free_irp(irp));
}

fn irp_reused_after_free(bench: &Bench) {
    around_free(bench, reuse);
}

fn irp_cancelled_after_free(bench: &Bench) {
    around_free(bench, |irp| {
        nt!(IoCancelIrp(irp));
    });
}

/// Reads an IRP.
fn touch(irp: PIRP) {
    peek(irp.cast::<u8>());
}

fn irp_touched_after_free(bench: &Bench) {
    around_free(bench, touch);
}

fn irp_touched_beyond_its_end(bench: &Bench) {
    let irp = allocate();
    // One stack location is 0x48 bytes, an IRP 0xD0.
    let last = irp.cast::<u8>().wrapping_add(0xD0 + 0x48 - 1);
    poke(last.wrapping_add(bench.either(0x0F, 0_usize)), 0);
    free_irp(irp);
}

fn irp_touched_while_below(bench: &Bench) {
    around_pending(bench, |request| {
        touch(request.irp);
        free_irp(request.irp);
    });
}

fn irp_touched_after_completion(bench: &Bench) {
    asks(bench, below::TOUCH_AFTERWARDS, below::COMPLETE);
}

fn irp_sent_again_while_hidden(bench: &Bench) {
    around_pending(bench, |request| {
        if bench.guilty() {
            request.call();
        }
        free_irp(request.irp);
    });
}

/// A write that pends; its buffer is changed meanwhile, or afterwards.
fn changes_buffer(bench: &Bench, major: u32, minor: u8) {
    const BYTES: u32 = 64;
    let below = Below::open();
    let request = below.request(2);
    let buffer = pool(BYTES as usize);
    let mdl = nt!(IoAllocateMdl(buffer, BYTES, 0, 0, ptr::null_mut()));
    nt!(MmBuildMdlForNonPagedPool(mdl));
    request.prepare(minor);
    #[expect(clippy::cast_possible_truncation, reason = "it is below 28")]
    request.set_major(major as u8);
    // The length of a TDI_SEND is in the same place.
    let stack = next(request.irp);
    stack.Parameters.Write.Length = BYTES;
    // SAFETY: Ours.
    unsafe { (*request.irp).MdlAddress = mdl };
    request.call();
    bench.if_guilty(|| poke(buffer.cast::<u8>(), 1));
    below.ask(below::RELEASE);
    request.wait();
    poke(buffer.cast::<u8>(), 2);
    // SAFETY: Ours again.
    unsafe { (*request.irp).MdlAddress = ptr::null_mut() };
    nt!(IoFreeMdl(mdl));
    free(buffer);
    request.free();
}

fn irp_buffer_changed(bench: &Bench) {
    changes_buffer(bench, IRP_MJ_WRITE, below::PEND);
}

fn irp_send_buffer_changed(bench: &Bench) {
    changes_buffer(bench, IRP_MJ_INTERNAL_DEVICE_CONTROL, below::SEND);
}

fn irp_cancelled_for_ever(bench: &Bench) {
    let below = Below::open();
    let request = below.request(2);
    request.prepare(below::PEND);
    request.call();
    nt!(IoCancelIrp(request.irp));
    if !bench.guilty() {
        below.ask(below::RELEASE);
    }
    request.wait();
    request.free();
}

/// A request that completes in its thread.
fn thread_request(
    below: &Below,
    code: u32,
    done: *mut wdk_sys::KEVENT,
    block: *mut IO_STATUS_BLOCK,
) -> PIRP {
    nt!(IoBuildDeviceIoControlRequest(
        code,
        below.device,
        ptr::null_mut(),
        0,
        ptr::null_mut(),
        0,
        1,
        done,
        block
    ))
}

fn irp_of_a_thread_freed(_: &Bench) {
    let below = Below::open();
    with(|block| free_irp(thread_request(&below, 0, event(), block)));
}

/// METHOD_IN_DIRECT.
const DIRECT: u32 = 1;

fn irp_of_a_direct_method(_: &Bench) {
    let below = Below::open();
    with(|block| {
        thread_request(&below, DIRECT, event(), block);
    });
}

fn irp_of_a_thread_at_apc_level(bench: &Bench) {
    let below = Below::open();
    let done = event();
    with(|block| {
        let irp = thread_request(&below, 0, done, block);
        at(bench.either(APC, 0), || {
            nt!(IofCallDriver(below.device, irp));
            wait(done);
        });
    });
    free(done);
}

/// Sends a request before or after it is freed.
fn irp_sent_after_free(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    request.prepare(below::COMPLETE);
    if bench.guilty() {
        free_irp(request.irp);
    }
    request.call();
    request.wait();
    request.free();
}

fn irp_sent_to_no_device(_: &Bench) {
    let request = Below::open().request(1);
    request.prepare(below::COMPLETE);
    request.call_to(pool(0x150).cast());
}

fn irp_sent_to_null(_: &Bench) {
    let request = Below::open().request(1);
    request.prepare(below::COMPLETE);
    request.call_to(ptr::null_mut());
}

/// Runs something with a request while the device below has it, or when it is back.
fn around_pending(bench: &Bench, run: impl Fn(&Request)) {
    let below = Below::open();
    let request = below.request(2);
    request.prepare(below::PEND);
    request.call();
    bench.if_guilty(|| run(&request));
    below.ask(below::RELEASE);
    request.wait();
    if !bench.guilty() {
        run(&request);
    }
    request.forget_irp();
}

fn irp_freed_while_below(bench: &Bench) {
    around_pending(bench, |request| free_irp(request.irp));
}

fn irp_reused_while_below(bench: &Bench) {
    around_pending(bench, |request| {
        reuse(request.irp);
        free_irp(request.irp);
    });
}

fn irp_sent_while_below(bench: &Bench) {
    around_pending(bench, |request| {
        request.prepare(below::COMPLETE);
        request.call();
        free_irp(request.irp);
    });
}

unsafe extern "C" fn free_and_go_on(_: *mut DEVICE_OBJECT, irp: PIRP, done: PVOID) -> NTSTATUS {
    free_irp(irp);
    set(done.cast());
    STATUS_SUCCESS
}

unsafe extern "C" fn free_and_stop(_: *mut DEVICE_OBJECT, irp: PIRP, done: PVOID) -> NTSTATUS {
    free_irp(irp);
    set(done.cast());
    STATUS_MORE_PROCESSING_REQUIRED
}

fn irp_freed_by_its_completion_routine(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    let routine: Completion = bench.either(free_and_go_on, free_and_stop);
    request.prepare_with(below::COMPLETE, Some(routine));
    request.call();
    request.wait();
    request.forget_irp();
}

type Completion = unsafe extern "C" fn(*mut DEVICE_OBJECT, PIRP, PVOID) -> NTSTATUS;

fn irp_initialised_again(_: &Bench) {
    let irp = allocate();
    nt!(IoInitializeIrp(irp, 0x118, 1));
}

fn irp_without_a_location(bench: &Bench) {
    let below = Below::open();
    let request = below.request(bench.either(1, 2));
    // As a driver does that keeps a location for itself.
    request.set_next();
    request.prepare(below::COMPLETE);
    request.call();
    request.wait();
    request.free();
}

fn irp_of_no_locations(bench: &Bench) {
    free_irp(nt!(IoAllocateIrp(bench.either(0, 1), 0)));
}

fn irp_sent_with_a_cancel_routine(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    request.prepare(below::COMPLETE);
    set_cancel_routine(request.irp, Some(below::cancel));
    if !bench.guilty() {
        set_cancel_routine(request.irp, None);
    }
    request.call();
    request.wait();
    request.free();
}

/// What the device below does: something wrong, or something right.
fn asks(bench: &Bench, wrong: u8, right: u8) {
    let below = Below::open();
    let request = below.request(1);
    request.send(bench.either(wrong, right));
    request.free();
}

fn irp_completed_with_a_cancel_routine(bench: &Bench) {
    asks(bench, below::WITH_CANCEL_ROUTINE, below::COMPLETE);
}

fn irp_completed_before_its_cancel_routine(bench: &Bench) {
    // The driver that breaks the rule is the one that has the request: this one.
    let below = Below::open_named(unicode!(breaker_ioctl::DEVICE_NAME));
    let request = below.request(1);
    request.prepare(bench.either(below::END_ANYWAY, below::END_IF_NOT_CANCELLED));
    request.call();
    nt!(IoCancelIrp(request.irp));
    request.wait();
    request.free();
    // The other thread ends as well.
    settle();
}

fn irp_with_a_user_buffer(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    request.prepare(below::COMPLETE);
    if bench.guilty() {
        // SAFETY: Ours.
        let irp = unsafe { &mut *request.irp };
        irp.UserBuffer = ptr::without_provenance_mut(0x1_0000);
    }
    request.call();
    request.wait();
    request.free();
}

/// Sends a request of this thread which pends, far down on the stack, and returns: what was there is gone.
#[inline(never)]
fn send_and_leave(below: &Below, done: *mut KEVENT, block: *mut IO_STATUS_BLOCK) {
    let mut room = [0_u8; 8192];
    core::hint::black_box(&mut room);
    send_with_own(below, done, block);
    core::hint::black_box(&mut room);
}

/// Sends the request with an event and a status block of this frame, where there are none.
#[inline(never)]
fn send_with_own(below: &Below, done: *mut KEVENT, block: *mut IO_STATUS_BLOCK) {
    let mut own = (KEVENT::default(), IO_STATUS_BLOCK::default());
    nt!(KeInitializeEvent(&raw mut own.0, 0, 0));
    let done = if done.is_null() { &raw mut own.0 } else { done };
    let block = if block.is_null() {
        &raw mut own.1
    } else {
        block
    };
    let irp = thread_request(below, 0, done, block);
    set_minor(irp, below::PEND);
    nt!(IofCallDriver(below.device, irp));
}

fn irp_with_a_status_block_gone(bench: &Bench) {
    let (below, done) = (Below::open(), event());
    with(|block| {
        send_and_leave(&below, done, bench.either(ptr::null_mut(), block));
        below.ask(below::RELEASE);
        wait(done);
    });
    free(done);
}

fn irp_with_an_event_gone(bench: &Bench) {
    let (below, done) = (Below::open(), event());
    with(|block| {
        send_and_leave(&below, bench.either(ptr::null_mut(), done), block);
        below.ask(below::RELEASE);
        wait(done);
    });
    free(done);
}

/// The device below passes the request on, rightly or wrongly.
fn passes_on(bench: &Bench, wrong: u8, right: u8) {
    let below = Below::open();
    let request = below.request(2);
    request.send(bench.either(wrong, right));
    request.free();
}

fn irp_copied_with_control_bits(bench: &Bench) {
    passes_on(bench, below::PASS_ON_CONTROL, below::PASS_ON);
}

fn irp_copied_with_a_routine(bench: &Bench) {
    passes_on(bench, below::PASS_ON_ROUTINE, below::PASS_ON);
}

fn irp_pending_not_propagated(bench: &Bench) {
    passes_on(
        bench,
        below::PASS_ON_UNPROPAGATED,
        below::PASS_ON_PROPAGATED,
    );
}

fn irp_read_at_dispatch(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    request.prepare(below::COMPLETE);
    if bench.guilty() {
        #[expect(clippy::cast_possible_truncation, reason = "it is 3")]
        request.set_major(IRP_MJ_READ as u8);
    }
    at(DISPATCH, || request.call());
    request.wait();
    request.free();
}

#[unsafe(link_section = "PAGE")]
unsafe extern "C" fn pageable(_: *mut DEVICE_OBJECT, _: PIRP, done: PVOID) -> NTSTATUS {
    set(done.cast());
    STATUS_MORE_PROCESSING_REQUIRED
}

unsafe extern "C" fn resident(_: *mut DEVICE_OBJECT, _: PIRP, done: PVOID) -> NTSTATUS {
    set(done.cast());
    STATUS_MORE_PROCESSING_REQUIRED
}

fn irp_completion_routine_pageable(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    let routine: Completion = bench.either(pageable, resident);
    request.prepare_with(below::COMPLETE, Some(routine));
    request.call();
    request.wait();
    request.free();
}

unsafe extern "C" fn let_go(_: *mut DEVICE_OBJECT, _: PIRP, _: PVOID) -> NTSTATUS {
    STATUS_SUCCESS
}

fn irp_nobody_keeps(bench: &Bench) {
    let below = Below::open();
    let request = below.request(1);
    let routine: Completion = bench.either(let_go, resident);
    request.prepare_with(below::COMPLETE, Some(routine));
    request.call();
    request.wait();
    request.free();
}

fn irp_completed_as_pending(bench: &Bench) {
    asks(bench, below::COMPLETE_AS_PENDING, below::PEND_AND_COMPLETE);
}

fn irp_completed_twice(bench: &Bench) {
    asks(bench, below::TWICE, below::COMPLETE);
}

fn irp_completed_by_its_owner(bench: &Bench) {
    let irp = allocate();
    bench.if_guilty(|| {
        complete(irp, STATUS_SUCCESS);
    });
    free_irp(irp);
}

fn irp_pending_unmarked(bench: &Bench) {
    asks(bench, below::PENDING_UNMARKED, below::PEND_AND_COMPLETE);
}

fn irp_marked_not_pending(bench: &Bench) {
    asks(bench, below::MARKED_NOT_PENDING, below::PEND_AND_COMPLETE);
}

fn irp_another_status(bench: &Bench) {
    asks(bench, below::ANOTHER_STATUS, below::COMPLETE);
}

fn irp_minus_one(bench: &Bench) {
    asks(bench, below::MINUS_ONE, below::COMPLETE);
}

fn irp_forgotten(bench: &Bench) {
    asks(bench, below::FORGET, below::COMPLETE);
}

fn dispatch_default_above_dispatch(bench: &Bench) {
    asks(bench, below::DEFAULT_ABOVE_DISPATCH, below::DEFAULT);
}

fn dispatch_changes_irql(bench: &Bench) {
    asks(bench, below::RAISE, below::AT_DISPATCH);
}

fn dispatch_changes_apcs(bench: &Bench) {
    asks(bench, below::ENTER_REGION, below::COMPLETE);
}

fn entry_at_raised_irql(bench: &Bench) {
    super::unload::at_unload_do(bench, |driver| {
        crate::driver::delete_devices(driver);
        nt!(KfRaiseIrql(DISPATCH));
    });
}

/// Sends a request that is completed at once, with one completion routine or another.
fn completes_with(bench: &Bench, guilty: Completion, innocent: Completion) {
    let below = Below::open();
    let request = below.request(1);
    request.prepare_with(below::COMPLETE, Some(bench.either(guilty, innocent)));
    request.call();
    request.wait();
    request.free();
}

unsafe extern "C" fn raises(_: *mut DEVICE_OBJECT, _: PIRP, done: PVOID) -> NTSTATUS {
    nt!(KfRaiseIrql(DISPATCH));
    set(done.cast());
    STATUS_MORE_PROCESSING_REQUIRED
}

unsafe extern "C" fn raises_and_lowers(_: *mut DEVICE_OBJECT, _: PIRP, done: PVOID) -> NTSTATUS {
    at(DISPATCH, || set(done.cast()));
    STATUS_MORE_PROCESSING_REQUIRED
}

fn completion_routine_changes_irql(bench: &Bench) {
    completes_with(bench, raises, raises_and_lowers);
}

unsafe extern "C" fn enters(_: *mut DEVICE_OBJECT, _: PIRP, done: PVOID) -> NTSTATUS {
    nt!(KeEnterCriticalRegion());
    set(done.cast());
    STATUS_MORE_PROCESSING_REQUIRED
}

unsafe extern "C" fn enters_and_leaves(_: *mut DEVICE_OBJECT, _: PIRP, done: PVOID) -> NTSTATUS {
    nt!(KeEnterCriticalRegion());
    nt!(KeLeaveCriticalRegion());
    set(done.cast());
    STATUS_MORE_PROCESSING_REQUIRED
}

fn completion_routine_changes_apcs(bench: &Bench) {
    completes_with(bench, enters, enters_and_leaves);
}
