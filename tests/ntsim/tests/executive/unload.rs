//! A driver image stays until the I/O manager's calls into it have returned.

use iced_x86::code_asm::{eax, ecx, edx, ptr, r8, r8d, rcx, rdx, rsp};
use ntsim::Driver;

use super::driver::Builder;
use super::nt::{at, get, nt, pool, put, put8, seconds, system, wait};
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("unload_waits_for_a_work_item_that_runs", End::Fine, || {
        unload_during(1)
    }),
    (
        "unload_waits_for_work_items_that_are_queued",
        End::Fine,
        || unload_during(5),
    ),
    (
        "unload_waits_for_a_completion_routine_of_the_ex_kind",
        End::Fine,
        completion,
    ),
    (
        "a_work_item_of_no_device_does_not_keep_the_image",
        End::Stop("0x000000CE"),
        plain,
    ),
];

/// What the routines of the driver work on: an event, the work item, and how long to sleep.
const ITEM: u64 = 24;
const LIMIT: u64 = 32;

/// Says that it runs, sleeps, and returns. Its block is in the frame at 0x30.
fn sleep_and_return(driver: &mut Builder) {
    driver.asm.mov(rcx, ptr(rsp + 0x30)).unwrap();
    driver.asm.xor(edx, edx).unwrap();
    driver.asm.xor(r8d, r8d).unwrap();
    driver.call_import("ntoskrnl.exe", "KeSetEvent");
    driver.asm.xor(ecx, ecx).unwrap();
    driver.asm.xor(edx, edx).unwrap();
    driver.asm.mov(r8, ptr(rsp + 0x30)).unwrap();
    driver.asm.add(r8, 32).unwrap();
    driver.call_import("ntoskrnl.exe", "KeDelayExecutionThread");
}

/// A driver whose exports `do_…` call these routines.
fn load(routines: &[&str]) -> Driver {
    let mut driver = Builder::new();
    driver.function("DriverEntry", 0x28, |driver| {
        driver.asm.xor(eax, eax).unwrap();
    });
    driver.function("DriverUnload", 0x28, |driver| {
        // DRIVER_OBJECT.DeviceObject
        driver.asm.mov(rcx, ptr(rcx + 8)).unwrap();
        driver.call_import("ntoskrnl.exe", "IoDeleteDevice");
    });
    driver.function("work", 0x38, |driver| {
        driver.asm.mov(ptr(rsp + 0x30), rdx).unwrap();
        driver.asm.mov(rcx, ptr(rdx + 24)).unwrap();
        driver.call_import("ntoskrnl.exe", "IoFreeWorkItem");
        sleep_and_return(driver);
    });
    driver.function("plain", 0x38, |driver| {
        driver.asm.mov(ptr(rsp + 0x30), rcx).unwrap();
        sleep_and_return(driver);
    });
    // Frees the IRP and sleeps; at PASSIVE_LEVEL, where the host device of the scenario completes.
    driver.function("done", 0x38, |driver| {
        driver.asm.mov(ptr(rsp + 0x30), r8).unwrap();
        driver.asm.mov(rcx, rdx).unwrap();
        driver.call_import("ntoskrnl.exe", "IoFreeIrp");
        sleep_and_return(driver);
        driver.asm.mov(eax, 0xc000_0016_u32).unwrap();
    });
    for routine in [&["IoCreateDevice"], routines].concat() {
        driver.forward(routine);
    }
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = driver.write(folder.path(), "test.sys");
    let driver = Driver::load(&path).expect("loaded");
    assert_eq!(driver.start(), 0);
    let unload = export(&driver, "DriverUnload");
    // DRIVER_OBJECT.DriverUnload
    put(driver.object() as u64 + 0x68, unload);
    driver
}

fn export(driver: &Driver, name: &str) -> u64 {
    driver.image().export(name).expect("the export is there") as u64
}

fn call(driver: &Driver, name: &'static str, arguments: &[u64]) -> u64 {
    driver
        .call_export(name, arguments)
        .expect("the export is there")
}

fn device(driver: &Driver) -> u64 {
    let device = block();
    let arguments = [driver.object() as u64, 0, 0, 0x22, 0, 0, device];
    assert_eq!(call(driver, "do_IoCreateDevice", &arguments), 0);
    get(device)
}

/// A block for a routine of the driver, with an event that is not set.
fn block() -> u64 {
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let block = pool(64);
        nt("KeInitializeEvent", &[block, 1, 0]);
        put(block + LIMIT, seconds(2).cast_unsigned());
        block
    }
    system(code, 0)
}

/// Waits until the driver's routine runs.
fn reached(block: u64) {
    extern "win64" fn code(
        block: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        wait(block)
    }
    system(code, block);
}

/// Unloads, which must take as long as the routine of the driver sleeps.
fn unload(driver: Driver) {
    let begun = ntsim::clock::interrupt_time();
    driver.unload().expect("unloaded");
    let took = ntsim::clock::interrupt_time() - begun;
    assert!(took > 10_000_000, "{took} units of 100 ns");
}

fn unload_during(items: usize) {
    let driver = load(&["IoAllocateWorkItem", "IoQueueWorkItem"]);
    let device = device(&driver);
    let (work, mut first) = (export(&driver, "work"), 0);
    for _ in 0..items {
        let block = block();
        let item = call(&driver, "do_IoAllocateWorkItem", &[device]);
        put(block + ITEM, item);
        call(&driver, "do_IoQueueWorkItem", &[item, work, 1, block]);
        first = block;
    }
    if items == 1 {
        reached(first);
    }
    unload(driver);
    assert_eq!(ntsim::account().total.devices, 0);
}

/// Completes what it gets later, at PASSIVE_LEVEL on a system worker thread.
struct Later;

impl ntsim::io::HostDriver for Later {
    fn dispatch(&self, _device: ntsim::layout::io::Device, irp: ntsim::layout::io::Irp) -> i32 {
        ntsim::io::call::mark_pending(irp);
        ntsim::ex::work::queue_host(move || ntsim::io::complete::complete_with(irp, 0, 0));
        ntsim::io::status::PENDING
    }
}

fn completion() {
    let target =
        ntsim::io::device::create_host(r"\Device\Later", 0x22, 1, std::sync::Arc::new(Later));
    let driver = load(&["IoAllocateIrp", "IoSetCompletionRoutineEx", "IofCallDriver"]);
    let (own, block) = (device(&driver), block());
    let irp = call(&driver, "do_IoAllocateIrp", &[1, 0]);
    let arguments = [own, irp, export(&driver, "done"), block, 1, 1, 1];
    assert_eq!(call(&driver, "do_IoSetCompletionRoutineEx", &arguments), 0);
    let stack = get(irp + 0xb8) - 0x48;
    put8(stack, 0x0f);
    call(&driver, "do_IofCallDriver", &[target.0 as u64, irp]);
    reached(block);
    unload(driver);
    assert_eq!(ntsim::account().total.irps, 0);
}

/// ExQueueWorkItem knows no device: the driver itself would have to wait for the routine, and this one does not.
fn plain() {
    extern "win64" fn item(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        pool(64)
    }
    extern "win64" fn later(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let pause = seconds(5);
        nt("KeDelayExecutionThread", &[0, 0, at(&pause)])
    }
    let driver = load(&["ExQueueWorkItem"]);
    device(&driver);
    let (block, item) = (block(), system(item, 0));
    for (offset, value) in [(16, export(&driver, "plain")), (24, block)] {
        put(item + offset, value);
    }
    call(&driver, "do_ExQueueWorkItem", &[item, 1]);
    reached(block);
    driver.unload().expect("unloaded");
    // Meanwhile the routine returns into the image.
    system(later, 0);
}
