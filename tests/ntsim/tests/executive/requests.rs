//! IRPs against a device of the host.

use std::sync::Arc;
use std::time::Duration;

use ntsim::io::call::mark_pending;
use ntsim::io::complete::{complete_at_dispatch, complete_with};
use ntsim::io::{HostDriver, device, status};
use ntsim::layout::io::{Device, Irp};

use super::nt::{event, get, get8, nt, pool, put, put8, system, wait};
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_request_completed_inline", End::Fine, || request(0)),
    ("a_request_completed_later_at_dispatch", End::Fine, || {
        request(1)
    }),
    ("a_request_is_reused", End::Fine, reuse),
    (
        "a_wait_at_apc_level_for_a_thread_irp_hangs",
        End::Hang("synchronisation event"),
        || thread_irp(1),
    ),
    ("a_thread_irp_at_passive_works", End::Fine, || thread_irp(0)),
    ("a_user_ioctl_on_a_host_device", End::Fine, user_ioctl),
];

/// Completes inline, or later on another thread, by the minor function.
struct Echo;

impl HostDriver for Echo {
    fn dispatch(&self, _: Device, irp: Irp) -> i32 {
        let stack = irp.current();
        match (stack.major().get(), stack.minor().get()) {
            (0x0f, 1) => {
                mark_pending(irp);
                ntsim::ex::work::queue_host(move || {
                    let hold = ntsim::dispatcher::host::hold();
                    std::thread::sleep(Duration::from_millis(5));
                    complete_at_dispatch(irp, status::SUCCESS, 42);
                    drop(hold);
                });
                status::PENDING
            }
            _ => {
                complete_with(irp, status::SUCCESS, 42);
                status::SUCCESS
            }
        }
    }
}

fn install() -> u64 {
    device::create_host(r"\Device\Echo", 0x22, 1, Arc::new(Echo)).0 as u64
}

extern "win64" fn keep(
    _: u64,
    irp: u64,
    event: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    put(event + 32, nt("KeGetCurrentIrql", &[]));
    put(event + 40, get(irp + 0x38));
    nt("KeSetEvent", &[event, 0, 0]);
    0xc000_0016
}

/// Prepares the next stack location of an IRP.
fn prepare(irp: u64, minor: u8, routine: u64, context: u64) {
    let stack = get(irp + 0xb8) - 0x48;
    put8(stack, 0x0f);
    put8(stack + 1, minor);
    put8(stack + 3, 0xe0);
    put(stack + 0x38, routine);
    put(stack + 0x40, context);
}

fn block() -> u64 {
    let block = pool(64);
    nt("KeInitializeEvent", &[block, 1, 0]);
    block
}

fn keep_address() -> u64 {
    keep as *const () as u64
}

fn request(minor: u64) {
    extern "win64" fn code(
        argument: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        let (device, minor) = (get(argument), get(argument + 8));
        let (block, irp) = (block(), nt("IoAllocateIrp", &[1, 0]));
        prepare(irp, u8::try_from(minor).unwrap_or(0), keep_address(), block);
        let result = nt("IofCallDriver", &[device, irp]);
        assert_eq!(result & 0xffff_ffff, if minor == 0 { 0 } else { 0x103 });
        wait(block);
        assert_eq!(get(block + 40), 42);
        assert_eq!(get(block + 32), if minor == 0 { 0 } else { 2 });
        assert_eq!(get8(irp + 0x41), u8::from(minor != 0));
        nt("IoFreeIrp", &[irp])
    }
    let arguments = [install(), minor];
    system(code, super::nt::at(&arguments));
}

fn reuse() {
    extern "win64" fn code(
        device: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        let (block, irp) = (block(), nt("IoAllocateIrp", &[1, 0]));
        for round in 0..10_u8 {
            prepare(irp, round % 2, keep_address(), block);
            nt("IofCallDriver", &[device, irp]);
            wait(block);
            nt("IoReuseIrp", &[irp, 0]);
        }
        nt("IoFreeIrp", &[irp])
    }
    system(code, install());
    assert_eq!(ntsim::account().total.irps, 0);
}

fn thread_irp(irql: u64) {
    extern "win64" fn code(
        argument: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        let (event, iosb) = (event(1), pool(16));
        let irp = nt(
            "IoBuildDeviceIoControlRequest",
            &[3, get(argument), 0, 0, 0, 0, 1, event, iosb],
        );
        let stack = get(irp + 0xb8) - 0x48;
        put8(stack + 1, 1);
        nt("IofCallDriver", &[get(argument), irp]);
        nt("KfRaiseIrql", &[get(argument + 8)]);
        wait(event);
        assert_eq!(get(iosb + 8), 42);
        nt("KeLowerIrql", &[0])
    }
    let arguments = [install(), irql];
    system(code, super::nt::at(&arguments));
}

fn user_ioctl() {
    install();
    let file = ntsim::File::open(r"\Device\Echo").expect("the device opens");
    assert_eq!(
        file.ioctl(0x22_0000, b"hello", 100)
            .expect("the request succeeds")
            .len(),
        42
    );
    drop(file);
    assert_eq!(
        ntsim::File::open(r"\Device\Nothing").err(),
        Some(ntsim::NtStatus(status::OBJECT_NAME_NOT_FOUND))
    );
    assert_eq!(ntsim::ob::all(ntsim::ob::ObjectKind::File).len(), 0);
}
