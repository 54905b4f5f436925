/* A driver with one defect, which DEFECT chooses: for each a rule of Driver Verifier that finds it, and that finds it only when
 * its class is chosen. It is built once for each defect; without one it breaks no rule.
 *
 * It shares no code with the rest of the project; `cargo xtask verify` is tried on it.
 */
#include <ddk/wdm.h>

#define NONE 0
#define OVERRUN 1        /* writes behind a pool block: special pool */
#define PAGED 2          /* touches a pageable section at DISPATCH_LEVEL: force IRQL checking */
#define UNCHECKED 3      /* believes that an allocation succeeds: low resources */
#define LEAK 4           /* leaves a block behind: pool tracking */
#define STATUS_LIE 5     /* returns another status than it completes with: I/O verification */
#define LOCK_ORDER 6     /* takes two locks in both orders: deadlock detection */
#define BAD_STRING 9     /* a malformed name in a Zw call: security checks */
#define IMPATIENT 10     /* takes a request for completed when IoCallDriver returns: force pending I/O */
#define OVERLAP 12       /* memcpy of overlapping blocks: miscellaneous checks */
#define WRONG_IRQL 18    /* enters a guarded region at DISPATCH_LEVEL: DDI compliance checking */
#define EXECUTABLE 26    /* executable pool: code integrity checks */

#ifndef DEFECT
#define DEFECT NONE
#endif
#define TAG 'eraC'

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
static DRIVER_DISPATCH Open;

static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\CCareless");

static NTSTATUS NTAPI Open(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return DEFECT == STATUS_LIE ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
}

static NTSTATUS Harm(DEVICE_OBJECT *Device, UNICODE_STRING *Path);

#if DEFECT == IMPATIENT
static IO_COMPLETION_ROUTINE Keep;

static NTSTATUS NTAPI Keep(PDEVICE_OBJECT Device, PIRP Irp, PVOID Context)
{
    UNREFERENCED_PARAMETER(Device);
    if (Irp->PendingReturned)
        IoMarkIrpPending(Irp);
    KeSetEvent(Context, IO_NO_INCREMENT, FALSE);
    return STATUS_MORE_PROCESSING_REQUIRED;
}
#endif

/* Does what DEFECT says. */
static NTSTATUS Harm(DEVICE_OBJECT *Device, UNICODE_STRING *Path)
{
#if DEFECT == OVERRUN
    volatile UCHAR *Block = ExAllocatePoolWithTag(NonPagedPoolNx, 32, TAG);

    if (Block != NULL) {
        Block[32] = 1;
        ExFreePoolWithTag((PVOID)Block, TAG);
    }
#elif DEFECT == PAGED
    static volatile ULONG Counter __attribute__((section("PAGEDATA"))) = 1;
    static KSPIN_LOCK Lock;
    KIRQL Irql;

    /* Not KeRaiseIrql: that is inline code, which nobody sees. */
    KeInitializeSpinLock(&Lock);
    KeAcquireSpinLock(&Lock, &Irql);
    Counter++;
    KeReleaseSpinLock(&Lock, Irql);
#elif DEFECT == UNCHECKED
    volatile UCHAR *Block = ExAllocatePoolWithTag(NonPagedPoolNx, 32, TAG);

    Block[0] = 1;
    ExFreePoolWithTag((PVOID)Block, TAG);
#elif DEFECT == LEAK
    if (ExAllocatePoolWithTag(NonPagedPoolNx, 32, TAG) == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
#elif DEFECT == LOCK_ORDER
    static KSPIN_LOCK First, Second;
    KIRQL Irql;

    KeInitializeSpinLock(&First);
    KeInitializeSpinLock(&Second);
    KeAcquireSpinLock(&First, &Irql);
    KeAcquireSpinLockAtDpcLevel(&Second);
    KeReleaseSpinLockFromDpcLevel(&Second);
    KeReleaseSpinLock(&First, Irql);
    KeAcquireSpinLock(&Second, &Irql);
    KeAcquireSpinLockAtDpcLevel(&First);
    KeReleaseSpinLockFromDpcLevel(&First);
    KeReleaseSpinLock(&Second, Irql);
#elif DEFECT == BAD_STRING
    UNICODE_STRING Longer = *Path;
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Key;

    Longer.Length = Longer.MaximumLength + 2;
    InitializeObjectAttributes(&Attributes, &Longer, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    if (NT_SUCCESS(ZwOpenKey(&Key, KEY_READ, &Attributes)))
        ZwClose(Key);
#elif DEFECT == IMPATIENT
    IRP *Irp = IoAllocateIrp(Device->StackSize, FALSE);
    KEVENT Done;

    if (Irp == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    KeInitializeEvent(&Done, NotificationEvent, FALSE);
    IoGetNextIrpStackLocation(Irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
    IoSetCompletionRoutine(Irp, Keep, &Done, TRUE, TRUE, TRUE);
    IoCallDriver(Device, Irp);
    if (!NT_SUCCESS(((volatile IRP *)Irp)->IoStatus.Status))
        DbgPrint("cannot flush\n");
    KeWaitForSingleObject(&Done, Executive, KernelMode, FALSE, NULL);
    IoFreeIrp(Irp);
#elif DEFECT == OVERLAP
    UCHAR *Block = ExAllocatePoolWithTag(NonPagedPoolNx, 256, TAG);

    if (Block != NULL) {
        RtlZeroMemory(Block, 256);
        RtlCopyMemory(Block + 8, Block, 200);
        ExFreePoolWithTag(Block, TAG);
    }
#elif DEFECT == WRONG_IRQL
    KIRQL Irql;

    KeRaiseIrql(DISPATCH_LEVEL, &Irql);
    KeEnterGuardedRegion();
    KeLeaveGuardedRegion();
    KeLowerIrql(Irql);
#elif DEFECT == EXECUTABLE
    PVOID Block = ExAllocatePoolWithTag(NonPagedPool, 32, TAG);

    if (Block != NULL)
        ExFreePoolWithTag(Block, TAG);
#endif
    UNREFERENCED_PARAMETER(Device);
    UNREFERENCED_PARAMETER(Path);
    return STATUS_SUCCESS;
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    DEVICE_OBJECT *Device;
    NTSTATUS Status;

    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Driver->MajorFunction[IRP_MJ_CREATE] = Open;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Open;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Open;
    Driver->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = Open;
    Driver->DriverUnload = Unload;
    Status = Harm(Device, Path);
    if (!NT_SUCCESS(Status))
        IoDeleteDevice(Device);
    return Status;
}
