/*
 * The engine's objects of a session: built, used, torn down.
 *
 * The engine checks every pointer and every state itself, so a request that comes too early or too late is simply passed
 * on: its answer is what a program wants to know. Only building and tearing down keep each other out. All routines run at
 * IRQL <= APC_LEVEL in a system worker thread.
 */
#include "skeleton.h"

/* A session with nothing built. NULL without memory. */
SESSION *SessionAllocate(VOID)
{
    /* The pool is zeroed, and a structure of zeroes is "not built". */
    SESSION *Session = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(SESSION), TAG_SESSION);

    if (Session != NULL) {
        RecordInitialise(&Session->Record);
        KeInitializeEvent(&Session->Turn, SynchronizationEvent, TRUE);
        KeInitializeSpinLock(&Session->Lock);
    }
    return Session;
}

/* Tears down what is left. What the engine refuses to take down stays allocated: it still knows it. */
NTSTATUS SessionFree(SESSION *Session)
{
    CLOSED Closed;
    NTSTATUS Status = SessionClose(Session, &Closed);

    if (NT_SUCCESS(Status)) {
        RecordEnd(&Session->Record);
        ExFreePoolWithTag(Session, TAG_SESSION);
    }
    return Status;
}

static VOID Reached(SESSION *Session, BUILT Built)
{
    KIRQL Irql;

    KeAcquireSpinLock(&Session->Lock, &Irql);
    Session->Built = Built;
    KeReleaseSpinLock(&Session->Lock, Irql);
}

/* Port and address are big endian there; the address is already. */
static VOID SetEndpoint(IP_ENDPOINT *Endpoint, const UCHAR *Ip, USHORT Port)
{
    RtlZeroMemory(Endpoint, sizeof(*Endpoint));
    Endpoint->TAAddressCount = 1;
    Endpoint->Address[0].AddressLength = TDI_ADDRESS_LENGTH_IP;
    Endpoint->Address[0].AddressType = TDI_ADDRESS_TYPE_IP;
    Endpoint->Address[0].Address[0].sin_port = (USHORT)(Port << 8 | Port >> 8);
    if (Ip != NULL) {
        RtlCopyMemory(&Endpoint->Address[0].Address[0].in_addr, Ip, 4);
    }
}

/* Connection information with this remote address and nothing else; it points to it. */
static RXCE_CONNECTION_INFORMATION Information(IP_ENDPOINT *Remote)
{
    RXCE_CONNECTION_INFORMATION Information;

    RtlZeroMemory(&Information, sizeof(Information));
    Information.RemoteAddressLength = sizeof(*Remote);
    Information.RemoteAddress = Remote;
    return Information;
}

static NTSTATUS Build(SESSION *Session)
{
    RXCE_CONNECTION_INFORMATION Remote = Information(&Session->Remote);
    IP_ENDPOINT WildCard;
    UNICODE_STRING Name;
    NTSTATUS Status;

    RtlInitUnicodeString(&Name, Session->Protocol == ProtocolTcp ? L"\\Device\\Tcp" : L"\\Device\\Udp");
    Status = RxCeBuildTransport(&Session->Transport, &Name, 0);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Reached(Session, BuiltTransport);

    SetEndpoint(&WildCard, NULL, 0);
    Status = RxCeBuildAddress(
        &Session->Address, &Session->Transport, (PTRANSPORT_ADDRESS)&WildCard, &AddressHandlers, &Session->Record);
    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    Reached(Session, BuiltAddress);
    if (Session->Protocol == ProtocolUdp) {
        return STATUS_SUCCESS;
    }

    Status = RxCeBuildConnection(
        &Session->Address, &Remote, &ConnectionHandlers, &Session->Record, &Session->Connection, &Session->Vc);
    if (NT_SUCCESS(Status)) {
        Reached(Session, BuiltCircuit);
        Status = STATUS_SUCCESS;
    }
    return Status;
}

/* Builds everything; the engine's first failure ends it, and is *Answered. */
NTSTATUS SessionOpen(SESSION *Session, const OPEN_INPUT *Open, NTSTATUS *Answered)
{
    NTSTATUS Status = RecordBegin(&Session->Record, Open->Room, &Open->Answer);
    KIRQL Irql;

    if (!NT_SUCCESS(Status)) {
        return Status;
    }
    KeWaitForSingleObject(&Session->Turn, Executive, KernelMode, FALSE, NULL);
    KeAcquireSpinLock(&Session->Lock, &Irql);
    Session->Protocol = (PROTOCOL)Open->Protocol;
    SetEndpoint(&Session->Remote, Open->Ip, (USHORT)Open->Port);
    Session->Built = BuiltNothing;
    Session->Opened = TRUE;
    KeReleaseSpinLock(&Session->Lock, Irql);
    *Answered = Build(Session);
    KeSetEvent(&Session->Turn, IO_NO_INCREMENT, FALSE);
    return STATUS_SUCCESS;
}

/* Sends bytes, or a datagram; *Answered is the engine's answer. */
NTSTATUS SessionSend(SESSION *Session, BOOLEAN Synchronous, const UCHAR *Bytes, ULONG Length, NTSTATUS *Answered)
{
    IP_ENDPOINT Remote;
    PROTOCOL Protocol;
    BOOLEAN Opened;
    SEND *Send;
    KIRQL Irql;

    KeAcquireSpinLock(&Session->Lock, &Irql);
    Opened = Session->Opened;
    Protocol = Session->Protocol;
    Remote = Session->Remote;
    KeReleaseSpinLock(&Session->Lock, Irql);
    if (!Opened) {
        return STATUS_CONNECTION_INVALID;
    }
    Send = SendAllocate(Bytes, Length);
    if (Send == NULL) {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    if (Protocol == ProtocolTcp && Synchronous) {
        *Answered = RxCeSend(&Session->Vc, RXCE_SEND_SYNCHRONOUS, Send->Mdl, Length, NULL);
        SendFree(Send);
        return STATUS_SUCCESS;
    }
    if (Protocol == ProtocolTcp) {
        *Answered = RxCeSend(&Session->Vc, 0, Send->Mdl, Length, Send);
    } else {
        RXCE_CONNECTION_INFORMATION Peer = Information(&Remote);

        *Answered = RxCeSendDatagram(&Session->Address, &Peer, 0, Send->Mdl, Length, Send);
    }
    if (!NT_SUCCESS(*Answered)) {
        /* Refused: there is no callback. */
        SendFree(Send);
    }
    return STATUS_SUCCESS;
}

/* Begins to disconnect; the engine's answer. */
NTSTATUS SessionDisconnect(SESSION *Session)
{
    return RxCeInitiateVCDisconnect(&Session->Vc);
}

static NTSTATUS TearDown(SESSION *Session, CLOSED *Closed)
{
    if (Session->Built >= BuiltCircuit) {
        /* It is unbuilt afterwards, whatever the status. */
        Closed->Circuit = RxCeTearDownVC(&Session->Vc);
        Closed->Connection = RxCeTearDownConnection(&Session->Connection);
        if (!NT_SUCCESS(Closed->Connection)) {
            return Closed->Connection;
        }
        Reached(Session, BuiltAddress);
    }
    if (Session->Built >= BuiltAddress) {
        Closed->Address = RxCeTearDownAddress(&Session->Address);
        if (!NT_SUCCESS(Closed->Address)) {
            return Closed->Address;
        }
        Reached(Session, BuiltTransport);
    }
    if (Session->Built >= BuiltTransport) {
        Closed->Transport = RxCeTearDownTransport(&Session->Transport);
        if (!NT_SUCCESS(Closed->Transport)) {
            return Closed->Transport;
        }
        Reached(Session, BuiltNothing);
    }
    return STATUS_SUCCESS;
}

/* Tears down what was built, in the reverse order. Fails where the engine refuses to take a parent down. */
NTSTATUS SessionClose(SESSION *Session, CLOSED *Closed)
{
    NTSTATUS Status;

    Closed->Circuit = Closed->Connection = Closed->Address = Closed->Transport = NOT_BUILT;
    KeWaitForSingleObject(&Session->Turn, Executive, KernelMode, FALSE, NULL);
    Status = TearDown(Session, Closed);
    KeSetEvent(&Session->Turn, IO_NO_INCREMENT, FALSE);
    return Status;
}
