//! What this image does itself; everything else is Wine's. Read by the build script too, which makes the exports of it.

/// Routines. Each is `shim_NAME` here.
pub(crate) const ROUTINES: [&str; 50] = [
    // Absent in Wine 8, or a stub that ends the process when it is called.
    "EtwRegister",
    "EtwUnregister",
    "EtwWriteTransfer",
    "ExAcquireRundownProtection",
    "ExAcquireRundownProtectionCacheAware",
    "ExAllocateCacheAwareRundownProtection",
    "ExAllocatePool2",
    "ExFreeCacheAwareRundownProtection",
    "ExInitializeRundownProtection",
    "ExQueueWorkItem",
    "ExReleaseRundownProtection",
    "ExReleaseRundownProtectionCacheAware",
    "ExWaitForRundownProtectionRelease",
    "ExWaitForRundownProtectionReleaseCacheAware",
    "IoBuildPartialMdl",
    "KeGetCurrentIrql",
    "KeQueryInterruptTimePrecise",
    "SeCaptureSubjectContext",
    "SeReleaseSubjectContext",
    "SeTokenIsAdmin",
    // There, without an effect: levels, guarded regions, mappings.
    "IoAcquireCancelSpinLock",
    "IoCancelIrp",
    "IoGetRelatedDeviceObject",
    "IoReleaseCancelSpinLock",
    "KeAcquireSpinLockAtDpcLevel",
    "KeAcquireSpinLockRaiseToDpc",
    "KeAreAllApcsDisabled",
    "KeEnterGuardedRegion",
    "KeLeaveGuardedRegion",
    "KeLowerIrql",
    "KeReleaseSpinLock",
    "KeReleaseSpinLockFromDpcLevel",
    "KfRaiseIrql",
    "MmBuildMdlForNonPagedPool",
    "MmMapLockedPagesSpecifyCache",
    "MmProbeAndLockPages",
    "MmUnlockPages",
    "MmUnmapLockedPages",
    // There, but it frees the MDLs of a packet too, which are their owner's.
    "IoFreeIrp",
    // There, but the clocks do not agree with each other, and are slow: see `clock`.
    "KeDelayExecutionThread",
    "KeQueryInterruptTime",
    "KeWaitForSingleObject",
    // There, but knows nothing of this image.
    "MmGetSystemRoutineAddress",
    // There for files and objects of Wine's own: a driver that opens a driver's device comes here, the rest goes on to Wine.
    "IoCreateDevice",
    "IoDeleteDevice",
    "ObReferenceObjectByHandle",
    "ObfDereferenceObject",
    "ObfReferenceObject",
    "ZwClose",
    "ZwCreateFile",
];

/// Variables. Each is `shim_NAME` here.
pub(crate) const VARIABLES: [&str; 1] = ["MmSystemRangeStart"];
