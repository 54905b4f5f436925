//! Rundown, work items, threads, handles.

use super::nt::{at, event, get, nt, pool, put, seconds, start, system, wait};
use super::{End, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("rundown_waits_for_the_last_reference", End::Fine, rundown),
    (
        "cache_aware_rundown_waits_for_the_last_reference",
        End::Fine,
        cache_aware_rundown,
    ),
    (
        "cache_aware_rundown_waits_without_rules",
        End::Fine,
        cache_aware_rundown,
    ),
    (
        "cache_aware_rundown_is_released_too_often",
        End::Stop("is released more often than acquired"),
        || cache_aware_too_often(Seen::AtTheRelease),
    ),
    (
        "cache_aware_rundown_is_released_too_often_without_rules",
        End::Stop("is released more often than acquired"),
        || cache_aware_too_often(Seen::ByTheWait),
    ),
    ("work_items_run_at_passive_in_system", End::Fine, work_items),
    (
        "a_thread_can_be_waited_for_by_handle",
        End::Fine,
        thread_handle,
    ),
];

fn rundown() {
    extern "win64" fn releaser(
        block: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        let pause = seconds(3);
        nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
        put(block + 16, 1);
        nt("ExReleaseRundownProtection", &[block])
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let block = pool(64);
        nt("ExInitializeRundownProtection", &[block]);
        assert_eq!(nt("ExAcquireRundownProtection", &[block]), 1);
        start(releaser, block);
        nt("ExWaitForRundownProtectionRelease", &[block]);
        assert_eq!(get(block + 16), 1);
        assert_eq!(nt("ExAcquireRundownProtection", &[block]), 0);
        nt("ExReInitializeRundownProtection", &[block]);
        assert_eq!(nt("ExAcquireRundownProtection", &[block]), 1);
        0
    }
    system(code, 0);
}

/// Moves the thread to a processor.
fn run_on(processor: u64) {
    nt("KeSetSystemAffinityThreadEx", &[1 << processor]);
}

/// References taken on one processor and given back on others, before the run-down and in it.
fn cache_aware_rundown() {
    extern "win64" fn releaser(
        block: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        let pause = seconds(3);
        let reference = get(block);
        run_on(3);
        nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
        nt("ExReleaseRundownProtectionCacheAware", &[reference]);
        nt("KeDelayExecutionThread", &[0, 0, at(&pause)]);
        put(block + 8, 1);
        nt("ExReleaseRundownProtectionCacheAware", &[reference])
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let reference = nt(
            "ExAllocateCacheAwareRundownProtection",
            &[0x200, 0x7473_6574],
        );
        for _ in 0..2 {
            for processor in 0..3 {
                run_on(processor);
                let taken = nt("ExAcquireRundownProtectionCacheAware", &[reference]);
                assert_eq!(taken, 1);
            }
            run_on(3);
            nt("ExReleaseRundownProtectionCacheAware", &[reference]);
            let block = pool(16);
            put(block, reference);
            start(releaser, block);
            nt("ExWaitForRundownProtectionReleaseCacheAware", &[reference]);
            assert_eq!(get(block + 8), 1);
            for processor in 0..4 {
                run_on(processor);
                let taken = nt("ExAcquireRundownProtectionCacheAware", &[reference]);
                assert_eq!(taken, 0);
            }
            nt("ExReInitializeRundownProtectionCacheAware", &[reference]);
        }
        nt("ExFreeCacheAwareRundownProtection", &[reference])
    }
    system(code, 0);
}

/// When a release too many shows.
#[derive(Clone, Copy)]
enum Seen {
    AtTheRelease,
    ByTheWait,
}

fn cache_aware_too_often(seen: Seen) {
    extern "win64" fn code(
        waits: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        let reference = nt(
            "ExAllocateCacheAwareRundownProtection",
            &[0x200, 0x7473_6574],
        );
        run_on(0);
        nt("ExAcquireRundownProtectionCacheAware", &[reference]);
        run_on(1);
        nt("ExReleaseRundownProtectionCacheAware", &[reference]);
        nt("ExReleaseRundownProtectionCacheAware", &[reference]);
        if waits != 0 {
            nt("ExWaitForRundownProtectionReleaseCacheAware", &[reference]);
        }
        0
    }
    system(code, u64::from(matches!(seen, Seen::ByTheWait)));
}

extern "win64" fn worker(
    block: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
) -> u64 {
    assert_eq!(nt("KeGetCurrentIrql", &[]), 0);
    assert_eq!(nt("PsIsSystemThread", &[nt("PsGetCurrentThread", &[])]), 1);
    nt("KeSetEvent", &[block, 0, 0])
}

fn work_items() {
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let block = pool(128);
        nt("KeInitializeEvent", &[block, 1, 0]);
        put(block + 64 + 16, worker as *const () as u64);
        put(block + 64 + 24, block);
        for _ in 0..3 {
            nt("ExQueueWorkItem", &[block + 64, 1]);
            wait(block);
        }
        0
    }
    system(code, 0);
}

fn thread_handle() {
    extern "win64" fn body(
        event: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
    ) -> u64 {
        wait(event);
        nt("PsTerminateSystemThread", &[0])
    }
    extern "win64" fn code(_: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
        let event = event(0);
        let attributes = [0x30_u64, 0, 0, 0x200, 0, 0];
        let (mut handle, mut thread) = (0_u64, 0_u64);
        let (handle_place, thread_place) = (&raw mut handle as u64, &raw mut thread as u64);
        let arguments = [
            handle_place,
            0x1f_ffff,
            at(&attributes),
            0,
            0,
            body as *const () as u64,
            event,
        ];
        assert_eq!(nt("PsCreateSystemThread", &arguments), 0);
        let (handle, limit) = (get(handle_place), seconds(1));
        assert_eq!(
            nt(
                "ObReferenceObjectByHandle",
                &[handle, 0, 0, 0, thread_place, 0]
            ),
            0
        );
        let thread = get(thread_place);
        assert_eq!(
            nt("KeWaitForSingleObject", &[thread, 0, 0, 0, at(&limit)]),
            0x102
        );
        nt("KeSetEvent", &[event, 0, 0]);
        assert_eq!(wait(thread), 0);
        nt("ObfDereferenceObject", &[thread]);
        nt("ZwClose", &[handle])
    }
    system(code, 0);
}
