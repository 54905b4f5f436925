/* A driver that leaves its work to others: creates are answered by a work item, a system thread keeps a log in paged pool below
 * a fast mutex, and a value of its service key says how long the log is. What is noted shares a resource, which a close has to
 * itself; what is to be answered comes from a look-aside list, and keeps a remove lock until it is.
 *
 * It shares no code with the rest of the project; `cargo xtask verify` is tried on it.
 */
#include <ddk/wdm.h>

#define TAG 'kroW'
#ifndef POOL_NX_ALLOCATION
#define POOL_NX_ALLOCATION 512
#endif
#define DEFAULT_LINES 8
#define MOST_LINES 64

NTSYSAPI NTSTATUS NTAPI ZwWaitForSingleObject(HANDLE, BOOLEAN, PLARGE_INTEGER);

typedef struct WORKER {
    FAST_MUTEX Mutex;
    ULONG *Log;
    ULONG Lines;
    ULONG Written;
    KEVENT Wake;
    ERESOURCE Notes;
    ULONG Closed;
    NPAGED_LOOKASIDE_LIST Tasks;
    IO_REMOVE_LOCK Remove;
    BOOLEAN Stop;
    PETHREAD Thread;
} WORKER;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
static DRIVER_DISPATCH Create;
static DRIVER_DISPATCH Close;
static IO_WORKITEM_ROUTINE Answer;
static KSTART_ROUTINE Keep;
static ULONG ReadLines(PUNICODE_STRING Path) __attribute__((section("INIT"), noinline));
static VOID Note(WORKER *Worker, ULONG What) __attribute__((section("PAGE"), noinline));

typedef struct TASK {
    PIO_WORKITEM Item;
    IRP *Irp;
} TASK;

static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\CWorker");

static NTSTATUS Finish(IRP *Irp, NTSTATUS Status)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static VOID Note(WORKER *Worker, ULONG What)
{
    KeEnterCriticalRegion();
    ExAcquireResourceSharedLite(&Worker->Notes, TRUE);
    ExAcquireFastMutex(&Worker->Mutex);
    Worker->Log[Worker->Written % Worker->Lines] = What;
    Worker->Written++;
    ExReleaseFastMutex(&Worker->Mutex);
    ExReleaseResourceLite(&Worker->Notes);
    KeLeaveCriticalRegion();
}

static VOID NTAPI Answer(PDEVICE_OBJECT Device, PVOID Context)
{
    WORKER *Worker = Device->DeviceExtension;
    TASK *Task = Context;
    IRP *Irp = Task->Irp;

    Note(Worker, IRP_MJ_CREATE);
    IoFreeWorkItem(Task->Item);
    ExFreeToNPagedLookasideList(&Worker->Tasks, Task);
    Finish(Irp, STATUS_SUCCESS);
    KeSetEvent(&Worker->Wake, IO_NO_INCREMENT, FALSE);
    IoReleaseRemoveLock(&Worker->Remove, Irp);
}

static NTSTATUS NTAPI Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    WORKER *Worker = Device->DeviceExtension;
    NTSTATUS Status = IoAcquireRemoveLock(&Worker->Remove, Irp);
    TASK *Task;

    if (!NT_SUCCESS(Status))
        return Finish(Irp, Status);
    Task = ExAllocateFromNPagedLookasideList(&Worker->Tasks);
    if (Task == NULL)
        goto NoTask;
    Task->Irp = Irp;
    Task->Item = IoAllocateWorkItem(Device);
    if (Task->Item == NULL)
        goto NoItem;
    IoMarkIrpPending(Irp);
    IoQueueWorkItem(Task->Item, Answer, DelayedWorkQueue, Task);
    return STATUS_PENDING;

NoItem:
    ExFreeToNPagedLookasideList(&Worker->Tasks, Task);
NoTask:
    IoReleaseRemoveLock(&Worker->Remove, Irp);
    return Finish(Irp, STATUS_INSUFFICIENT_RESOURCES);
}

static NTSTATUS NTAPI Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    WORKER *Worker = Device->DeviceExtension;

    Note(Worker, IRP_MJ_CLOSE);
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Worker->Notes, TRUE);
    Worker->Closed++;
    ExReleaseResourceLite(&Worker->Notes);
    KeLeaveCriticalRegion();
    return Finish(Irp, STATUS_SUCCESS);
}

/* Wakes up when something was answered, or ten times a second. */
static VOID NTAPI Keep(PVOID Context)
{
    WORKER *Worker = Context;
    LARGE_INTEGER Second;

    Second.QuadPart = -1000000;
    while (!Worker->Stop) {
        KeWaitForSingleObject(&Worker->Wake, Executive, KernelMode, FALSE, &Second);
        Note(Worker, 0xFF);
    }
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static ULONG ReadLines(PUNICODE_STRING Path)
{
    UNICODE_STRING Value = RTL_CONSTANT_STRING(L"LogLines");
    OBJECT_ATTRIBUTES Attributes;
    HANDLE Key;
    ULONG Length, Lines = DEFAULT_LINES;
    struct {
        KEY_VALUE_PARTIAL_INFORMATION Header;
        UCHAR More[16];
    } Data;

    InitializeObjectAttributes(&Attributes, Path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    if (!NT_SUCCESS(ZwOpenKey(&Key, KEY_READ, &Attributes)))
        return Lines;
    if (NT_SUCCESS(ZwQueryValueKey(Key, &Value, KeyValuePartialInformation, &Data, sizeof(Data), &Length)) &&
        Data.Header.Type == REG_DWORD && Data.Header.DataLength == sizeof(ULONG))
        Lines = *(ULONG UNALIGNED *)Data.Header.Data;
    ZwClose(Key);
    return Lines == 0 || Lines > MOST_LINES ? DEFAULT_LINES : Lines;
}

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    WORKER *Worker = Driver->DeviceObject->DeviceExtension;

    /* Nobody asks any more, so this cannot be refused. */
    if (NT_SUCCESS(IoAcquireRemoveLock(&Worker->Remove, Driver)))
        IoReleaseRemoveLockAndWait(&Worker->Remove, Driver);
    Worker->Stop = TRUE;
    KeSetEvent(&Worker->Wake, IO_NO_INCREMENT, FALSE);
    KeWaitForSingleObject(Worker->Thread, Executive, KernelMode, FALSE, NULL);
    ObDereferenceObject(Worker->Thread);
    DbgPrint("%u lines, %u written\n", Worker->Lines, Worker->Written);
    ExFreePoolWithTag(Worker->Log, TAG);
    ExDeleteNPagedLookasideList(&Worker->Tasks);
    ExDeleteResourceLite(&Worker->Notes);
    IoDeleteDevice(Driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    OBJECT_ATTRIBUTES Attributes;
    DEVICE_OBJECT *Device;
    WORKER *Worker;
    HANDLE Thread;
    NTSTATUS Status;

    Status = IoCreateDevice(Driver, sizeof(WORKER), &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Worker = Device->DeviceExtension;
    ExInitializeFastMutex(&Worker->Mutex);
    KeInitializeEvent(&Worker->Wake, SynchronizationEvent, FALSE);
    IoInitializeRemoveLock(&Worker->Remove, TAG, 0, 0);
    Status = ExInitializeResourceLite(&Worker->Notes);
    if (!NT_SUCCESS(Status))
        goto NoNotes;
    ExInitializeNPagedLookasideList(&Worker->Tasks, NULL, NULL, POOL_NX_ALLOCATION, sizeof(TASK), TAG, 0);
    Worker->Lines = ReadLines(Path);
    Worker->Log = ExAllocatePoolWithTag(PagedPool, Worker->Lines * sizeof(ULONG), TAG);
    if (Worker->Log == NULL) {
        Status = STATUS_INSUFFICIENT_RESOURCES;
        goto NoLog;
    }
    InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    Status = PsCreateSystemThread(&Thread, THREAD_ALL_ACCESS, &Attributes, NULL, NULL, Keep, Worker);
    if (!NT_SUCCESS(Status))
        goto NoThread;
    Status = ObReferenceObjectByHandle(Thread, THREAD_ALL_ACCESS, NULL, KernelMode, (PVOID *)&Worker->Thread, NULL);
    if (!NT_SUCCESS(Status)) {
        /* Without an object to wait for: the handle can be waited for, too. */
        Worker->Stop = TRUE;
        KeSetEvent(&Worker->Wake, IO_NO_INCREMENT, FALSE);
        ZwWaitForSingleObject(Thread, FALSE, NULL);
        ZwClose(Thread);
        goto NoThread;
    }
    ZwClose(Thread);
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Close;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;

NoThread:
    ExFreePoolWithTag(Worker->Log, TAG);
NoLog:
    ExDeleteNPagedLookasideList(&Worker->Tasks);
    ExDeleteResourceLite(&Worker->Notes);
NoNotes:
    IoDeleteDevice(Device);
    return Status;
}
