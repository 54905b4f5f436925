/*
 * Entry, unload, and one session for each handle. Each request is carried out in a system worker thread, because it waits
 * for the network and the engine's routines want such a thread.
 */
#include "skeleton.h"

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD Unload;
DRIVER_DISPATCH Create;
DRIVER_DISPATCH Cleanup;
DRIVER_DISPATCH Close;
DRIVER_DISPATCH DeviceControl;
IO_WORKITEM_ROUTINE Work;

static NTSTATUS Complete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name, Link;
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    RtlInitUnicodeString(&Name, EXCHANGE_DEVICE_NAME);
    RtlInitUnicodeString(&Link, EXCHANGE_LINK_NAME);
    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_CREATE] = Create;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = Cleanup;
    Driver->MajorFunction[IRP_MJ_CLOSE] = Close;
    Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = DeviceControl;
    Driver->DriverUnload = Unload;
    return STATUS_SUCCESS;
}

/* The system calls it when no handle is open any more: there is no session then. */
VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link;

    RtlInitUnicodeString(&Link, EXCHANGE_LINK_NAME);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

static BOOLEAN CallerIsAdministrator(VOID)
{
    SECURITY_SUBJECT_CONTEXT Context;
    BOOLEAN Administrator;

    SeCaptureSubjectContext(&Context);
    Administrator = SeTokenIsAdmin(Context.ClientToken != NULL ? Context.ClientToken : Context.PrimaryToken);
    SeReleaseSubjectContext(&Context);
    return Administrator;
}

/* Administrators only. IoCreateDeviceSecure would say the same in a security descriptor; it lies in a static library. */
NTSTATUS NTAPI Create(PDEVICE_OBJECT Device, PIRP Irp)
{
    SESSION *Session;

    UNREFERENCED_PARAMETER(Device);
    if (Irp->RequestorMode != KernelMode && !CallerIsAdministrator()) {
        return Complete(Irp, STATUS_ACCESS_DENIED, 0);
    }
    Session = SessionAllocate();
    if (Session == NULL) {
        return Complete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    IoGetCurrentIrpStackLocation(Irp)->FileObject->FsContext = Session;
    return Complete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS NTAPI Cleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS NTAPI Close(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT File = IoGetCurrentIrpStackLocation(Irp)->FileObject;

    UNREFERENCED_PARAMETER(Device);
    if (File->FsContext != NULL) {
        SessionFree(File->FsContext);
        File->FsContext = NULL;
    }
    return Complete(Irp, STATUS_SUCCESS, 0);
}

/* Checks the lengths of a request before anything is done for it. */
static NTSTATUS CheckLengths(ULONG Code, ULONG Input, ULONG Output)
{
    ULONG Shortest = 0, Longest = 0, LeastOutput = 0;

    switch (Code) {
    case EXCHANGE_OPEN:
        Shortest = Longest = sizeof(OPEN_INPUT);
        LeastOutput = sizeof(NTSTATUS);
        break;
    case EXCHANGE_ANSWER:
        Shortest = Longest = sizeof(ANSWER);
        break;
    case EXCHANGE_SEND:
        Shortest = sizeof(ULONG);
        Longest = sizeof(ULONG) + MOST_SENT;
        LeastOutput = sizeof(NTSTATUS);
        break;
    case EXCHANGE_WAIT:
        Shortest = Longest = sizeof(WAIT_INPUT);
        break;
    case EXCHANGE_EVENTS:
        break;
    case EXCHANGE_BYTES:
        Shortest = Longest = sizeof(ULONG);
        break;
    case EXCHANGE_DISCONNECT:
        LeastOutput = sizeof(NTSTATUS);
        break;
    case EXCHANGE_CLOSE:
        LeastOutput = sizeof(CLOSED);
        break;
    default:
        return STATUS_INVALID_DEVICE_REQUEST;
    }
    if (Input < Shortest || Input > Longest) {
        return STATUS_INVALID_PARAMETER;
    }
    return Output < LeastOutput ? STATUS_BUFFER_TOO_SMALL : STATUS_SUCCESS;
}

NTSTATUS NTAPI DeviceControl(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    PIO_WORKITEM Item;
    NTSTATUS Status = CheckLengths(
        Stack->Parameters.DeviceIoControl.IoControlCode, Stack->Parameters.DeviceIoControl.InputBufferLength,
        Stack->Parameters.DeviceIoControl.OutputBufferLength);

    if (!NT_SUCCESS(Status)) {
        return Complete(Irp, Status, 0);
    }
    Item = IoAllocateWorkItem(Device);
    if (Item == NULL) {
        return Complete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Irp->Tail.Overlay.DriverContext[0] = Item;
    IoMarkIrpPending(Irp);
    IoQueueWorkItem(Item, Work, DelayedWorkQueue, Irp);
    return STATUS_PENDING;
}

static BOOLEAN IsAnswer(const ANSWER *Answer)
{
    switch (Answer->How) {
    case AnswerTake:
        return Answer->Length == 0;
    case AnswerRefuse:
        return Answer->Most == 0 && Answer->Length == 0;
    case AnswerFurther:
        return TRUE;
    default:
        return FALSE;
    }
}

static BOOLEAN IsOpen(const OPEN_INPUT *Open)
{
    return Open->Protocol <= ProtocolUdp && Open->Port <= 0xFFFF && Open->Room <= MOST_ROOM && IsAnswer(&Open->Answer);
}

/* Carries a request out, whose lengths were checked; *Length is that of the output. */
static NTSTATUS Execute(
    SESSION *Session, ULONG Code, const UCHAR *Input, ULONG InputLength, PVOID Output, ULONG OutputLength, ULONG *Length)
{
    NTSTATUS Status;

    switch (Code) {
    case EXCHANGE_OPEN:
        if (!IsOpen((const OPEN_INPUT *)Input)) {
            return STATUS_INVALID_PARAMETER;
        }
        *Length = sizeof(NTSTATUS);
        return SessionOpen(Session, (const OPEN_INPUT *)Input, Output);
    case EXCHANGE_ANSWER:
        if (!IsAnswer((const ANSWER *)Input)) {
            return STATUS_INVALID_PARAMETER;
        }
        RecordSetAnswer(&Session->Record, (const ANSWER *)Input);
        return STATUS_SUCCESS;
    case EXCHANGE_SEND:
        if (*(const ULONG *)Input > 1) {
            return STATUS_INVALID_PARAMETER;
        }
        *Length = sizeof(NTSTATUS);
        return SessionSend(
            Session, *(const ULONG *)Input == 0, Input + sizeof(ULONG), InputLength - sizeof(ULONG), Output);
    case EXCHANGE_WAIT:
        if (((const WAIT_INPUT *)Input)->Kind >= KindCount) {
            return STATUS_INVALID_PARAMETER;
        }
        return RecordWait(&Session->Record, (const WAIT_INPUT *)Input);
    case EXCHANGE_EVENTS:
        *Length = RecordCopyEvents(&Session->Record, Output, OutputLength);
        return STATUS_SUCCESS;
    case EXCHANGE_BYTES:
        *Length = RecordCopyBytes(&Session->Record, *(const ULONG *)Input, Output, OutputLength);
        return STATUS_SUCCESS;
    case EXCHANGE_DISCONNECT:
        Status = SessionDisconnect(Session);
        RtlCopyMemory(Output, &Status, sizeof(Status));
        *Length = sizeof(Status);
        return STATUS_SUCCESS;
    default:
        *Length = sizeof(CLOSED);
        return SessionClose(Session, Output);
    }
}

VOID NTAPI Work(PDEVICE_OBJECT Device, PVOID Context)
{
    PIRP Irp = Context;
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG InputLength = Stack->Parameters.DeviceIoControl.InputBufferLength;
    PUCHAR Input = ExAllocatePool2(POOL_FLAG_NON_PAGED, InputLength == 0 ? 1 : InputLength, TAG_INPUT);
    NTSTATUS Status = STATUS_INSUFFICIENT_RESOURCES;
    ULONG Length = 0;

    UNREFERENCED_PARAMETER(Device);
    /* It left the queue before this routine was called, and the system keeps the device until it returns. */
    IoFreeWorkItem(Irp->Tail.Overlay.DriverContext[0]);
    if (Input != NULL) {
        /* Input and output share the system buffer: the input is copied away first. */
        if (InputLength != 0) {
            RtlCopyMemory(Input, Irp->AssociatedIrp.SystemBuffer, InputLength);
        }
        Status = Execute(
            Stack->FileObject->FsContext, Stack->Parameters.DeviceIoControl.IoControlCode, Input, InputLength,
            Irp->AssociatedIrp.SystemBuffer, Stack->Parameters.DeviceIoControl.OutputBufferLength, &Length);
        ExFreePoolWithTag(Input, TAG_INPUT);
    }
    Complete(Irp, Status, NT_SUCCESS(Status) ? Length : 0);
}
