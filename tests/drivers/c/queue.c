/* A driver that keeps requests in a queue: creates are pended, can be cancelled, and are completed by the DPC of a timer.
 *
 * It shares no code with the rest of the project. It exists so that `cargo xtask verify` is tried on a driver of other habits:
 * a cancel-safe queue, a timer, a DPC, a symbolic link.
 */
#include <ddk/wdm.h>

#define TAG 'euQC'
#define DELAY_MS 20

typedef struct QUEUE {
    KSPIN_LOCK Lock;
    LIST_ENTRY Requests;
    KTIMER Timer;
    KDPC Dpc;
    ULONG Served;
    ULONG Cancelled;
} QUEUE;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
static DRIVER_DISPATCH Create;
static DRIVER_DISPATCH Close;
static DRIVER_CANCEL Cancel;
static KDEFERRED_ROUTINE Serve;

static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\CQueue");
static UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\??\\CQueue");

static NTSTATUS Finish(IRP *Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

/* Takes the first request whose cancel routine has not been taken yet. */
static IRP *Take(QUEUE *Queue)
{
    KIRQL Irql;
    IRP *Taken = NULL;

    KeAcquireSpinLock(&Queue->Lock, &Irql);
    while (Taken == NULL && !IsListEmpty(&Queue->Requests)) {
        LIST_ENTRY *Entry = RemoveHeadList(&Queue->Requests);
        IRP *Irp = CONTAINING_RECORD(Entry, IRP, Tail.Overlay.ListEntry);

        InitializeListHead(Entry);
        if (IoSetCancelRoutine(Irp, NULL) != NULL)
            Taken = Irp;
        /* Otherwise its cancel routine waits for this lock, and completes it. */
    }
    KeReleaseSpinLock(&Queue->Lock, Irql);
    return Taken;
}

static VOID NTAPI Serve(PKDPC Dpc, PVOID Context, PVOID First, PVOID Second)
{
    QUEUE *Queue = Context;
    IRP *Irp;

    UNREFERENCED_PARAMETER(Dpc);
    UNREFERENCED_PARAMETER(First);
    UNREFERENCED_PARAMETER(Second);
    while ((Irp = Take(Queue)) != NULL) {
        InterlockedIncrement((volatile LONG *)&Queue->Served);
        Finish(Irp, STATUS_SUCCESS);
    }
}

static VOID NTAPI Cancel(PDEVICE_OBJECT Device, PIRP Irp)
{
    QUEUE *Queue = Device->DeviceExtension;
    KIRQL Irql;

    IoReleaseCancelSpinLock(Irp->CancelIrql);
    KeAcquireSpinLock(&Queue->Lock, &Irql);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Queue->Lock, Irql);
    InterlockedIncrement((volatile LONG *)&Queue->Cancelled);
    Finish(Irp, STATUS_CANCELLED);
}

static NTSTATUS NTAPI Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    QUEUE *Queue = Device->DeviceExtension;
    LARGE_INTEGER Due;
    KIRQL Irql;

    KeAcquireSpinLock(&Queue->Lock, &Irql);
    IoSetCancelRoutine(Irp, Cancel);
    if (Irp->Cancel && IoSetCancelRoutine(Irp, NULL) != NULL) {
        KeReleaseSpinLock(&Queue->Lock, Irql);
        return Finish(Irp, STATUS_CANCELLED);
    }
    IoMarkIrpPending(Irp);
    InsertTailList(&Queue->Requests, &Irp->Tail.Overlay.ListEntry);
    KeReleaseSpinLock(&Queue->Lock, Irql);
    Due.QuadPart = -10000LL * DELAY_MS;
    KeSetTimer(&Queue->Timer, Due, &Queue->Dpc);
    return STATUS_PENDING;
}

static NTSTATUS NTAPI Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return Finish(Irp, STATUS_SUCCESS);
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    QUEUE *Queue = Driver->DeviceObject->DeviceExtension;

    KeCancelTimer(&Queue->Timer);
    KeFlushQueuedDpcs();
    DbgPrint("served %u, cancelled %u\n", Queue->Served, Queue->Cancelled);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    DEVICE_OBJECT *Device;
    QUEUE *Queue;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(Path);
    Status = IoCreateDevice(Driver, sizeof(QUEUE), &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Queue = Device->DeviceExtension;
    KeInitializeSpinLock(&Queue->Lock);
    InitializeListHead(&Queue->Requests);
    KeInitializeTimer(&Queue->Timer);
    KeInitializeDpc(&Queue->Dpc, Serve, Queue);
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Close;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
