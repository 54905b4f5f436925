//! Waits, virtual time, IRQL and locks.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ntsim::dispatcher::apc;
use ntsim::irql;

use super::nt::{at, event, get, nt, pool, put, seconds, start, system, wait};
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("a_long_timeout_takes_no_real_time", End::Fine, long_timeout),
    ("an_event_wakes_one_waiter_or_all", End::Fine, events),
    ("a_timer_runs_its_dpc_at_dispatch", End::Fine, timer),
    ("waiting_for_all_objects", End::Fine, wait_all),
    (
        "a_wait_nobody_ends_is_reported",
        End::Hang("notification event"),
        hang,
    ),
    ("a_region_disables_apcs", End::Fine, region),
    (
        "an_apc_waits_for_the_irql_to_fall",
        End::Fine,
        apc_when_irql_falls,
    ),
    ("a_lock_excludes", End::Fine, lock_excludes),
    ("affinity_waits_for_the_processor", End::Fine, affinity),
];

fn long_timeout() {
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let (event, limit) = (event(0), seconds(30));
        let before = nt("KeQueryInterruptTime", &[]);
        let status = nt("KeWaitForSingleObject", &[event, 0, 0, 0, at(&limit)]);
        assert_eq!(status, 0x102);
        nt("KeQueryInterruptTime", &[]) - before
    }
    let real = Instant::now();
    let waited = system(code, 0);
    assert!(waited >= 300_000_000, "{waited}");
    // The host may be busy; the wait itself would have taken 30 s.
    assert!(real.elapsed().as_secs() < 25);
}

fn events() {
    extern "win64" fn waiter(
        block: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        wait(block);
        nt("KeReleaseSemaphore", &[block + 64, 0, 1, 0])
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        for (kind, woken) in [(0, 3), (1, 1)] {
            let block = pool(128);
            nt("KeInitializeEvent", &[block, kind, 0]);
            nt("KeInitializeSemaphore", &[block + 64, 0, 100]);
            for _ in 0..3 {
                start(waiter, block);
            }
            let pause = seconds(1);
            nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
            assert_eq!(nt("KeSetEvent", &[block, 0, 0]), 0);
            nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
            assert_eq!(nt("KeReadStateSemaphore", &[block + 64]), woken);
            assert_eq!(nt("KeReadStateEvent", &[block]), u64::from(kind == 0));
        }
        0
    }
    system(code, 0);
}

fn timer() {
    extern "win64" fn dpc(
        _: u64,
        context: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        put(context, nt("KeGetCurrentIrql", &[]));
        0
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let (timer, object, seen) = (pool(64), pool(64), pool(8));
        nt("KeInitializeTimer", &[timer]);
        nt("KeInitializeDpc", &[object, dpc as *const () as u64, seen]);
        nt("KeSetTimer", &[timer, seconds(5).cast_unsigned(), object]);
        assert_eq!(wait(timer), 0);
        let pause = seconds(1);
        nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
        assert_eq!(get(seen), 2);
        nt("KeSetTimer", &[timer, seconds(5).cast_unsigned(), 0]);
        assert_eq!(nt("KeCancelTimer", &[timer]), 1);
        assert_eq!(nt("KeCancelTimer", &[timer]), 0);
        0
    }
    system(code, 0);
}

fn wait_all() {
    extern "win64" fn setter(
        object: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        nt("KeSetEvent", &[object, 0, 0])
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let objects = [event(1), event(1)];
        start(setter, objects[0]);
        let limit = seconds(1);
        let arguments = [2, at(&objects), 0, 0, 0, 0, at(&limit), 0];
        assert_eq!(nt("KeWaitForMultipleObjects", &arguments), 0x102);
        // The wait for all took nothing.
        assert_eq!(nt("KeReadStateEvent", &[objects[0]]), 1);
        start(setter, objects[1]);
        assert_eq!(
            nt(
                "KeWaitForMultipleObjects",
                &[2, at(&objects), 0, 0, 0, 0, 0, 0]
            ),
            0
        );
        start(setter, objects[1]);
        assert_eq!(
            nt(
                "KeWaitForMultipleObjects",
                &[2, at(&objects), 1, 0, 0, 0, 0, 0]
            ),
            1
        );
        0
    }
    system(code, 0);
}

fn hang() {
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        wait(event(0))
    }
    system(code, 0);
}

/// Whoever queues it: it runs when the level falls, also if that is at the same moment.
fn apc_when_irql_falls() {
    static RUN: AtomicU32 = AtomicU32::new(0);
    static RAISED: AtomicU32 = AtomicU32::new(0);
    const ROUNDS: u32 = 20_000;
    // On a host with one free processor a round takes two switches of threads, so fewer have to do there.
    const LEAST: u32 = 1000;
    const ENOUGH: Duration = Duration::from_secs(10);
    static OVER: AtomicBool = AtomicBool::new(false);
    let me = ntsim::thread::current();
    let apc = || {
        RUN.fetch_add(1, Ordering::SeqCst);
    };
    let old = irql::raise_to(irql::APC_LEVEL);
    apc::queue(me, Box::new(apc));
    assert_eq!(RUN.load(Ordering::SeqCst), 0);
    irql::lower_to(old);
    assert_eq!(RUN.load(Ordering::SeqCst), 1);
    let other = std::thread::spawn(move || {
        for round in 0..ROUNDS {
            while RAISED.load(Ordering::SeqCst) <= round {
                if OVER.load(Ordering::SeqCst) {
                    return;
                }
                std::thread::yield_now();
            }
            apc::queue(me, Box::new(apc));
        }
    });
    let begun = Instant::now();
    for round in 0..ROUNDS {
        if round >= LEAST && begun.elapsed() > ENOUGH {
            break;
        }
        let old = irql::raise_to(irql::APC_LEVEL);
        RAISED.store(round + 1, Ordering::SeqCst);
        // As long as the other one takes to begin, more or less.
        for _ in 0..round % 256 {
            hint::spin_loop();
        }
        irql::lower_to(old);
        let since = Instant::now();
        while RUN.load(Ordering::SeqCst) < round + 2 {
            assert!(since.elapsed().as_secs() < 60, "APC {round} was forgotten");
            std::thread::yield_now();
        }
    }
    OVER.store(true, Ordering::SeqCst);
    other.join().unwrap();
}

fn lock_excludes() {
    extern "win64" fn adder(
        block: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        for _ in 0..2000 {
            let old = nt("KeAcquireSpinLockRaiseToDpc", &[block]);
            put(block + 8, get(block + 8) + 1);
            nt("KeReleaseSpinLock", &[block, old]);
        }
        nt("KeReleaseSemaphore", &[block + 64, 0, 1, 0])
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let block = pool(128);
        nt("KeInitializeSemaphore", &[block + 64, 0, 100]);
        for _ in 0..3 {
            start(adder, block);
        }
        for _ in 0..3 {
            wait(block + 64);
        }
        assert_eq!(get(block + 8), 6000);
        0
    }
    system(code, 0);
}

fn affinity() {
    extern "win64" fn busy(
        block: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        nt("KeSetSystemAffinityThreadEx", &[4]);
        let old = nt("KfRaiseIrql", &[2]);
        nt("KeSetEvent", &[block, 0, 0]);
        std::thread::sleep(std::time::Duration::from_millis(100));
        put(block + 64, 1);
        nt("KeLowerIrql", &[old])
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let block = pool(128);
        nt("KeInitializeEvent", &[block, 0, 0]);
        start(busy, block);
        wait(block);
        nt("KeSetSystemAffinityThreadEx", &[4]);
        get(block + 64)
    }
    assert_eq!(
        system(code, 0),
        1,
        "the move to a processor does not return while another thread is at DISPATCH there"
    );
}

fn region() {
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        nt("KeEnterCriticalRegion", &[]);
        assert_eq!(nt("KeAreApcsDisabled", &[]), 1);
        assert_eq!(nt("KeAreAllApcsDisabled", &[]), 0);
        nt("KeLeaveCriticalRegion", &[])
    }
    system(code, 0);
}
