//! The scenarios.

use crate::driver::Builder;
use crate::{Scenario, loader, memory};
use core::sync::atomic::{AtomicU64, Ordering};
use iced_x86::code_asm::{
    al, byte_ptr, eax, ecx, ptr, qword_ptr, r11, rax, rcx, rdi, rdx, rsi, rsp, xmm6, xmm15,
};
use ntsim::{Driver, Options, TraceMode};
use std::sync::Arc;
use tempfile::TempDir;

macro_rules! scenarios {
    ($($name:path => $code:literal [$($says:literal),*],)*) => {
        pub(crate) const ALL: &[Scenario] =
            &[$(Scenario { name: stringify!($name), run: $name, code: $code, says: &[$($says),*] },)*];
    };
}

scenarios! {
    starts_and_unloads => 0 ["checksum 0x0 in the header"],
    prints_like_c => 0 ["[test.sys] -7 +7 0x1f 00ff \u{e9} 123456789abcdef0 %\n", "[test.sys] [  ab] [ab  ] [a] wide wide -1\n"],
    preserves_registers => 0 [],
    passes_many_arguments => 0 [],
    probes_large_frames => 0 [],
    probes_frames_that_are_too_large => 99 [
        "the driver stack of this thread overflowed", "(frame+0x"
    ],
    nests_calls => 99 [
        "nt!KeBugCheckEx\n  lib.sys+", "(Crash+0x11)\n  lib!Crash\n  test.sys+", "(do_Crash+0x3F)\n  (kernel called do_Crash = "
    ],
    leaves_a_thread_from_the_middle => 0 [],
    stops_at_a_break_point => 0 [],
    binds_drivers_to_each_other => 0 ["[lib.sys] initialize", "[lib.sys] unload"],
    names_unknown_import_called => 99 ["ntoskrnl.exe!NoSuchRoutine", "test.sys+0x"],
    names_unknown_import_read => 99 ["ntoskrnl.exe!NoSuchVariable", "to read"],
    loader::refuses_bad_files => 0 [],
    loader::refuses_more_images_than_fit => 0 [],
    loader::refuses_more_imports_from_drivers_than_fit => 0 [],
    loader::refuses_an_address_table_outside_before_it_is_bound => 0 [],
    reports_null_write => 99 ["STOP 0x0000001E (0xC0000005", "to write 0x0: a NULL pointer", "driver call stack:\n  test.sys+0x", "(kernel called poke"],
    reports_stack_overflow => 99 ["STOP 0x0000007F (0x8", "the driver stack of this thread overflowed (24576 bytes)"],
    reports_execution_of_data => 99 ["to execute", "section .data of test.sys does not allow this"],
    reports_discarded_init => 99 ["section INIT of test.sys was discarded"],
    reports_call_of_unloaded_driver => 99 ["STOP 0x000000CE", "test.sys was unloaded"],
    reports_bad_pointer_given_to_kernel => 99 ["called RtlInitUnicodeString with a bad pointer", "nt!RtlInitUnicodeString\n  test.sys+0x"],
    walks_the_stack_through_frames => 99 ["(outer+0x", "(inner+0x", "nt!KeBugCheckEx"],
    reads_irql_from_cr8 => 0 [],
    memory::pool_is_zeroed_aligned_and_accounted => 0 [],
    memory::pool_leak_at_unload => 99 ["STOP 0x000000C4 (0x62", "left 1 things behind", "24 bytes, tag 'Test', allocated by test.sys+0x"],
    memory::pool_fast_mode => 0 [],
    memory::pool_many_blocks => 0 [],
    memory::mdl_leak_at_unload => 99 ["STOP 0x000000C4 (0x62", "Mdl 0x"],
    memory::mdl_life => 0 [],
    entry_at_raised_irql => 99 ["DriverEntry of test.sys", "returned at IRQL 2"],
    fails_the_nth_call => 0 [],
    fails_all_allocations => 0 [],
    counts_calls_and_answers_accounts => 0 [],
    timeline_shows_calls_between_drivers => 0 [],
    timeline_names_functions_of_unloaded_drivers => 0 [],
}

pub(crate) const TAG: u64 = 0x7473_6554; // 'Test'
pub(crate) const NON_PAGED: u64 = 0x40;

/// A driver with the parts that most scenarios want; `more` adds others.
pub(crate) fn builder(more: impl FnOnce(&mut Builder)) -> Builder {
    let mut driver = Builder::new();
    driver.function("DriverUnload", 0x28, |_| {});
    driver.function("DriverEntry", 0x28, |driver| {
        driver.asm.xor(eax, eax).unwrap();
    });
    driver.function("peek", 0x28, |driver| {
        driver.asm.mov(rax, ptr(rcx)).unwrap()
    });
    driver.function("poke", 0x28, |driver| {
        driver.asm.mov(byte_ptr(rcx), 1).unwrap()
    });
    more(&mut driver);
    driver
}

pub(crate) struct Bench {
    pub(crate) driver: Driver,
    _folder: TempDir,
}

pub(crate) fn boot(options: Options) {
    ntsim::boot(options);
}

impl Bench {
    pub(crate) fn new(more: impl FnOnce(&mut Builder)) -> Self {
        boot(Options {
            trace: TraceMode::Whole,
            ..Options::default()
        });
        Self::load(more)
    }

    pub(crate) fn load(more: impl FnOnce(&mut Builder)) -> Self {
        let folder = TempDir::new().unwrap();
        let path = builder(more).write(folder.path(), "test.sys");
        let driver = Driver::load(&path).unwrap();
        assert_eq!(driver.start(), 0);
        // DRIVER_OBJECT.DriverUnload at 0x68.
        let unload = driver.image().export("DriverUnload").unwrap();
        // SAFETY: The driver object is alive and nobody uses it now.
        unsafe { ((driver.object() + 0x68) as *mut usize).write(unload) };
        Self {
            driver,
            _folder: folder,
        }
    }

    pub(crate) fn call(&self, name: &'static str, args: &[u64]) -> u64 {
        self.driver
            .call_export(name, args)
            .unwrap_or_else(|| panic!("no export {name}"))
    }

    pub(crate) fn allocate(&self, bytes: u64) -> u64 {
        self.call("do_ExAllocatePool2", &[NON_PAGED, bytes, TAG])
    }

    pub(crate) fn unload(self) {
        self.driver.unload().unwrap();
        assert_eq!(ntsim::account().total, ntsim::account::Counts::default());
    }
}

pub(crate) fn pool(driver: &mut Builder) {
    driver.forward("ExAllocatePool2");
    driver.forward("ExFreePool");
    driver.forward("ExFreePoolWithTag");
}

fn starts_and_unloads() {
    Bench::new(|_| {}).unload();
}

fn prints_like_c() {
    let bench = Bench::new(|driver| driver.forward("DbgPrint"));
    let print = |format: &[u8], args: &[u64]| {
        let args: Vec<u64> = core::iter::once(forever(format))
            .chain(args.iter().copied())
            .collect();
        bench.call("do_DbgPrint", &args);
    };
    print(
        b"%d %+d %#x %04x %c %llx %%\0",
        &[u64::MAX - 6, 7, 0x1F, 0xFF, 0xE9, 0x1234_5678_9ABC_DEF0],
    );
    let wide: Vec<u8> = "wide\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (ab, wide) = (forever(b"ab\0"), forever(&wide));
    print(
        b"[%4s] [%-4s] [%.1s] %ws %S %I64d\0",
        &[ab, ab, ab, wide, wide, u64::MAX],
    );
}

/// Bytes that live as long as the process, as an address.
fn forever(bytes: &[u8]) -> u64 {
    Box::leak(bytes.to_vec().into_boxed_slice()).as_ptr() as u64
}

/// Sets non-volatile registers, calls the kernel (whose Rust code uses them all), and returns 1 if they are unchanged.
fn preserves_registers() {
    let bench = Bench::new(|driver| {
        driver.function("check", 0x48, |driver| {
            let slot = driver.import("ntoskrnl.exe", "DbgPrint");
            let text = driver.data(b"one %d\0");
            let asm = &mut driver.asm;
            asm.mov(ptr(rsp + 0x20), rsi).unwrap();
            asm.mov(ptr(rsp + 0x28), rdi).unwrap();
            asm.mov(rsi, 0x1111_u64).unwrap();
            asm.mov(rdi, 0x2222_u64).unwrap();
            asm.movq(xmm6, rsi).unwrap();
            asm.movq(xmm15, rdi).unwrap();
            driver.address(rcx, text);
            driver.address(r11, slot);
            driver.asm.call(qword_ptr(r11)).unwrap();
            let asm = &mut driver.asm;
            let mut bad = asm.create_label();
            asm.movq(rax, xmm6).unwrap();
            asm.cmp(rax, rsi).unwrap();
            asm.jne(bad).unwrap();
            asm.movq(rax, xmm15).unwrap();
            asm.cmp(rax, rdi).unwrap();
            asm.jne(bad).unwrap();
            asm.cmp(rdi, 0x2222).unwrap();
            asm.jne(bad).unwrap();
            asm.cmp(rsi, 0x1111).unwrap();
            asm.set_label(&mut bad).unwrap();
            asm.sete(al).unwrap();
            asm.movzx(eax, al).unwrap();
            asm.mov(rsi, ptr(rsp + 0x20)).unwrap();
            asm.mov(rdi, ptr(rsp + 0x28)).unwrap();
        });
    });
    assert_eq!(bench.call("check", &[]), 1);
    bench.unload();
}

fn passes_many_arguments() {
    let bench = Bench::new(|driver| {
        driver.function("sixth", 0x28, |driver| {
            driver.asm.mov(rax, ptr(rsp + 0x28 + 8 + 5 * 8)).unwrap()
        });
    });
    assert_eq!(bench.call("sixth", &[1, 2, 3, 4, 5, 6, 7, 8]), 6);
    bench.unload();
}

pub(crate) fn library(driver: &mut Builder) {
    for (name, text) in [
        ("DllInitialize", b"initialize\0".as_slice()),
        ("DllUnload", b"unload\0"),
    ] {
        driver.function(name, 0x28, |driver| {
            let text = driver.data(text);
            driver.address(rcx, text);
            driver.call_import("ntoskrnl.exe", "DbgPrint");
            driver.asm.xor(eax, eax).unwrap();
        });
    }
    driver.function("Crash", 0x28, |driver| {
        driver.call_import("ntoskrnl.exe", "KeBugCheckEx")
    });
    driver.function("Add", 0x28, |driver| {
        driver.asm.lea(rax, ptr(rcx + rdx)).unwrap();
        driver.asm.add(rax, ptr(rsp + 0x28 + 8 + 7 * 8)).unwrap();
    });
}

/// A function with a frame of `size` bytes, as a compiler makes it.
fn large_frame(driver: &mut Builder) {
    driver.function("frame", 0x28, |driver| {
        driver.asm.mov(eax, ecx).unwrap();
        driver.call_import("ntoskrnl.exe", "__chkstk");
        driver.asm.mov(ecx, eax).unwrap();
        driver.asm.sub(rsp, rcx).unwrap();
        driver.asm.mov(ptr(rsp), rcx).unwrap();
        driver.asm.add(rsp, rcx).unwrap();
    });
}

fn probes_large_frames() {
    let bench = Bench::new(large_frame);
    assert_eq!(bench.call("frame", &[0x4010]), 0x4010);
    bench.unload();
}

fn probes_frames_that_are_too_large() {
    Bench::new(large_frame).call("frame", &[0x10_0000]);
}

/// Host to one driver to host to another driver to host: each on its part of the same driver stack.
fn nests_calls() {
    two_drivers().call("do_Crash", &[0x27]);
}

fn leaves_a_thread_from_the_middle() {
    let bench = Bench::new(|driver| {
        driver.function("leave", 0x28, |driver| {
            driver.asm.xor(ecx, ecx).unwrap();
            driver.call_import("ntoskrnl.exe", "PsTerminateSystemThread");
            driver.asm.ud2().unwrap();
        });
    });
    let leave = bench.driver.image().export("leave").unwrap();
    let returned = Arc::new(AtomicU64::new(1));
    let result = Arc::clone(&returned);
    // As a thread that a driver created: only such a thread may be left.
    let body = move || {
        ntsim::thread::current()
            .start_routine
            .store(leave, Ordering::SeqCst);
        result.store(ntsim::gate::call(leave, &[]), Ordering::SeqCst);
    };
    let thread = ntsim::thread::spawn("leaving", true, Box::new(body));
    ntsim::dispatcher::wait_one(thread.object, ntsim::dispatcher::Sleep::Wanted);
    assert_eq!(returned.load(Ordering::SeqCst), 0);
    bench.unload();
}

fn stops_at_a_break_point() {
    let bench = Bench::new(|driver| {
        pool(driver);
        for name in [
            "NtsimBreakAt",
            "KeInitializeEvent",
            "KeSetEvent",
            "KeWaitForSingleObject",
        ] {
            driver.forward(name);
        }
    });
    let image = bench.driver.image();
    let (reached, go_on) = (bench.allocate(24), bench.allocate(24));
    for event in [reached, go_on] {
        bench.call("do_KeInitializeEvent", &[event, 0, 0]);
    }
    bench.call(
        "do_NtsimBreakAt",
        &[
            image.base as u64,
            forever(b"ExAllocatePool2\0"),
            reached,
            go_on,
        ],
    );
    let block = Arc::new(AtomicU64::new(0));
    let result = Arc::clone(&block);
    let allocate = image.export("do_ExAllocatePool2").unwrap();
    let allocating = move || {
        result.store(
            ntsim::gate::call(allocate, &[NON_PAGED, 8, TAG]),
            Ordering::SeqCst,
        )
    };
    let thread = ntsim::thread::spawn("allocating", true, Box::new(allocating));
    bench.call("do_KeWaitForSingleObject", &[reached, 0, 0, 0, 0]);
    assert_eq!(block.load(Ordering::SeqCst), 0);
    bench.call("do_KeSetEvent", &[go_on, 0, 0]);
    bench.call(
        "do_KeWaitForSingleObject",
        &[thread.object as u64, 0, 0, 0, 0],
    );
    let block = block.load(Ordering::SeqCst);
    assert_ne!(block, 0);
    for block in [block, reached, go_on] {
        bench.call("do_ExFreePool", &[block]);
    }
    bench.unload();
}

fn two_drivers() -> Bench {
    boot(Options {
        trace: TraceMode::Whole,
        ..Options::default()
    });
    let folder = TempDir::new().unwrap();
    let mut lib = Builder::new();
    library(&mut lib);
    lib.write(folder.path(), "lib.sys");
    let client = builder(|driver| {
        driver.forward_to("LIB.sys", "Add");
        driver.forward_to("LIB.sys", "Crash");
    });
    let driver = Driver::load(&client.write(folder.path(), "test.sys")).unwrap();
    assert_eq!(driver.start(), 0);
    let unload = driver.image().export("DriverUnload").unwrap();
    // SAFETY: As in `Bench::load`.
    unsafe { ((driver.object() + 0x68) as *mut usize).write(unload) };
    Bench {
        driver,
        _folder: folder,
    }
}

fn binds_drivers_to_each_other() {
    let bench = two_drivers();
    assert!(ntsim::image::by_name("lib.sys").is_some());
    assert_eq!(bench.call("do_Add", &[40, 1, 0, 0, 0, 0, 0, 1]), 42);
    bench.unload();
    assert!(ntsim::image::by_name("lib.sys").is_none());
}

fn timeline_shows_calls_between_drivers() {
    let bench = two_drivers();
    bench.call("do_Add", &[40, 1, 0, 0, 0, 0, 0, 1]);
    let timeline = ntsim::trace::timeline();
    assert!(
        timeline.contains("lib!Add(0x28, 1, 0, 0) -> 0x2A"),
        "{timeline}"
    );
    assert!(timeline.contains("\"initialize\""), "{timeline}");
}

fn timeline_names_functions_of_unloaded_drivers() {
    let bench = two_drivers();
    bench.call("do_Add", &[40, 1, 0, 0, 0, 0, 0, 1]);
    bench.unload();
    let timeline = ntsim::trace::timeline();
    assert!(timeline.contains("test.sys unloaded"), "{timeline}");
    assert!(timeline.contains("[test!do_Add+0x"), "{timeline}");
    assert!(timeline.contains("[lib!DllUnload+0x"), "{timeline}");
    assert!(!timeline.contains("(unloaded)"), "{timeline}");
}

/// The example of docs/ntsim.md, on a driver that unloads.
pub(crate) fn example() -> Result<(), libtest_mimic::Failed> {
    let folder = TempDir::new()?;
    let mut driver = Builder::new();
    let unload = driver.function("DriverUnload", 0x28, |_| {});
    driver.function("DriverEntry", 0x28, |driver| {
        driver.asm.lea(rax, ptr(unload)).unwrap();
        // DRIVER_OBJECT.DriverUnload.
        driver.asm.mov(ptr(rcx + 0x68), rax).unwrap();
        driver.asm.xor(eax, eax).unwrap();
    });
    let path = driver.write(folder.path(), "example.sys");
    let program = std::env::current_exe()?;
    let examples = program.ancestors().nth(2).ok_or("no folder")?;
    let output = std::process::Command::new(examples.join("examples/first_steps"))
        .arg(path)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let wanted = [
        "DriverEntry: 0x00000000",
        "DriverUnload of example",
        "[example!DriverUnload]",
        "total: pool 0 bytes in 0 blocks",
    ];
    match wanted.iter().find(|text| !said.contains(**text)) {
        None if output.status.success() => Ok(()),
        missing => Err(format!("{}, missing {missing:?}:\n{said}", output.status).into()),
    }
}

fn names_unknown_import_called() {
    Bench::new(|driver| driver.forward("NoSuchRoutine")).call("do_NoSuchRoutine", &[1]);
}

fn names_unknown_import_read() {
    let bench = Bench::new(|driver| {
        driver.function("read", 0x28, |driver| {
            let slot = driver.import("ntoskrnl.exe", "NoSuchVariable");
            driver.address(r11, slot);
            driver.asm.mov(rax, ptr(r11)).unwrap();
            driver.asm.mov(rax, ptr(rax)).unwrap();
        });
    });
    bench.call("read", &[]);
}

fn reports_null_write() {
    Bench::new(|_| {}).call("poke", &[0]);
}

fn reports_stack_overflow() {
    let bench = Bench::new(|driver| {
        driver.function("deep", 0x28, |driver| {
            let mut again = driver.asm.create_label();
            driver.asm.set_label(&mut again).unwrap();
            driver.asm.sub(rsp, 0x28).unwrap();
            driver.asm.call(again).unwrap();
        });
    });
    bench.call("deep", &[]);
}

fn reports_execution_of_data() {
    let bench = Bench::new(|driver| {
        driver.function("jump", 0x28, |driver| driver.asm.call(rcx).unwrap());
    });
    let data = bench.driver.image().base + 0x4000;
    bench.call("jump", &[data as u64]);
}

fn reports_discarded_init() {
    let bench = Bench::new(|_| {});
    let init = bench.driver.image().base + 0x2000;
    bench.call("peek", &[init as u64]);
}

fn reports_call_of_unloaded_driver() {
    let bench = Bench::new(|_| {});
    let peek = bench.driver.image().export("peek").unwrap();
    bench.unload();
    ntsim::gate::call(peek, &[0]);
}

fn reports_bad_pointer_given_to_kernel() {
    let bench = Bench::new(|driver| driver.forward("RtlInitUnicodeString"));
    bench.call("do_RtlInitUnicodeString", &[0x10, 0]);
}

fn walks_the_stack_through_frames() {
    let bench = Bench::new(|driver| {
        let inner = driver.function("inner", 0x38, |driver| {
            driver.call_import("ntoskrnl.exe", "KeBugCheckEx")
        });
        driver.function("outer", 0x68, |driver| driver.asm.call(inner).unwrap());
    });
    bench.call("outer", &[0x27]);
}

fn reads_irql_from_cr8() {
    let bench = Bench::new(|driver| {
        driver.function("cr8", 0x28, |driver| {
            driver.asm.mov(rax, iced_x86::code_asm::cr8).unwrap()
        });
    });
    assert_eq!(bench.call("cr8", &[]), 0);
    bench.unload();
}

fn entry_at_raised_irql() {
    boot(Options::default());
    let folder = TempDir::new().unwrap();
    let mut driver = Builder::new();
    driver.function("DriverEntry", 0x28, |driver| {
        driver.asm.mov(ecx, 2).unwrap();
        driver.call_import("ntoskrnl.exe", "KfRaiseIrql");
        driver.asm.xor(eax, eax).unwrap();
    });
    Driver::load(&driver.write(folder.path(), "test.sys"))
        .unwrap()
        .start();
}

fn fails_the_nth_call() {
    let bench = Bench::new(|driver| {
        pool(driver);
        driver.forward("NtsimFailNth");
        driver.forward("NtsimFallibleCalls");
    });
    let image = bench.driver.image().base as u64;
    bench.call("do_NtsimFailNth", &[image, 2]);
    let blocks = [bench.allocate(8), bench.allocate(8), bench.allocate(8)];
    assert!(
        blocks[0] != 0 && blocks[1] == 0 && blocks[2] != 0,
        "{blocks:x?}"
    );
    assert_eq!(bench.call("do_NtsimFallibleCalls", &[]), 3);
    bench.call("do_ExFreePool", &[blocks[0]]);
    bench.call("do_ExFreePool", &[blocks[2]]);
    bench.unload();
}

fn fails_all_allocations() {
    let bench = Bench::new(|driver| {
        pool(driver);
        driver.forward("NtsimFailAll");
    });
    let image = bench.driver.image().base as u64;
    bench.call("do_NtsimFailAll", &[image, 1]);
    assert_eq!([bench.allocate(8), bench.allocate(8)], [0, 0]);
    bench.call("do_NtsimFailAll", &[image, 0]);
    let block = bench.allocate(8);
    assert_ne!(block, 0);
    bench.call("do_ExFreePool", &[block]);
    bench.unload();
}

fn counts_calls_and_answers_accounts() {
    let bench = Bench::new(|driver| {
        pool(driver);
        driver.forward("NtsimCallCount");
        driver.forward("NtsimAccount");
    });
    let image = bench.driver.image().base as u64;
    let name = forever(b"ExAllocatePool2\0");
    let block = bench.allocate(8);
    assert_eq!(bench.call("do_NtsimCallCount", &[image, name]), 1);
    let out = bench.allocate(7 * 8);
    bench.call("do_NtsimAccount", &[image, out]);
    assert_eq!(
        (bench.call("peek", &[out]), bench.call("peek", &[out + 8])),
        (2, 64)
    );
    bench.call("do_ExFreePool", &[block]);
    bench.call("do_ExFreePool", &[out]);
    bench.unload();
}
