/*
 * The engine's callbacks: they note what happened in the record of the session, their context, and return. All run at
 * IRQL <= DISPATCH_LEVEL in an arbitrary thread.
 */
#include "skeleton.h"

static NTSTATUS NTAPI AddressError(PVOID Context, NTSTATUS Status)
{
    RecordNote(Context, KindAddressError, (ULONG)Status, 0);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI ConnectionError(PVOID Context, PRXCE_VC Vc, NTSTATUS Status)
{
    UNREFERENCED_PARAMETER(Vc);
    RecordNote(Context, KindConnectionError, (ULONG)Status, 0);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Disconnected(
    PVOID Context, PRXCE_VC Vc, int DataLength, PVOID Data, int InformationLength, PVOID Information, ULONG Flags)
{
    UNREFERENCED_PARAMETER(Vc);
    UNREFERENCED_PARAMETER(DataLength);
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(InformationLength);
    UNREFERENCED_PARAMETER(Information);
    RecordNote(Context, KindDisconnected, Flags, 0);
    return STATUS_SUCCESS;
}

static NTSTATUS Indicated(
    RECORD *Record, KIND Kind, ULONG BytesIndicated, ULONG BytesAvailable, ULONG *BytesTaken, PVOID Tsdu,
    PMDL *Buffer, PULONG BufferSize)
{
    INDICATED Result = RecordIndicated(Record, Kind, Tsdu, Tsdu == NULL ? 0 : BytesIndicated, BytesAvailable);

    *BytesTaken = Result.Taken;
    if (Result.Status == STATUS_MORE_PROCESSING_REQUIRED) {
        *Buffer = Result.Mdl;
        *BufferSize = Result.MdlLength;
    }
    return Result.Status;
}

static NTSTATUS NTAPI Receive(
    PVOID Context, PRXCE_VC Vc, ULONG Flags, ULONG BytesIndicated, ULONG BytesAvailable, ULONG *BytesTaken, PVOID Tsdu,
    PMDL *Buffer, PULONG BufferSize)
{
    UNREFERENCED_PARAMETER(Vc);
    UNREFERENCED_PARAMETER(Flags);
    return Indicated(
        Context, KindReceived, BytesIndicated, BytesAvailable, BytesTaken, Tsdu, Buffer, BufferSize);
}

static NTSTATUS NTAPI ReceiveDatagram(
    PVOID Context, int SourceLength, PVOID Source, int OptionsLength, PVOID Options, ULONG Flags, ULONG BytesIndicated,
    ULONG BytesAvailable, ULONG *BytesTaken, PVOID Tsdu, PMDL *Buffer, PULONG BufferSize)
{
    UNREFERENCED_PARAMETER(SourceLength);
    UNREFERENCED_PARAMETER(Source);
    UNREFERENCED_PARAMETER(OptionsLength);
    UNREFERENCED_PARAMETER(Options);
    UNREFERENCED_PARAMETER(Flags);
    return Indicated(
        Context, KindDatagram, BytesIndicated, BytesAvailable, BytesTaken, Tsdu, Buffer, BufferSize);
}

static NTSTATUS NTAPI DataReady(PVOID Context, PMDL Mdl, ULONG Copied, NTSTATUS Status)
{
    UNREFERENCED_PARAMETER(Mdl);
    RecordReady(Context, Copied, Status);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI DatagramSent(PVOID Context, PVOID CompletionContext, NTSTATUS Status)
{
    SEND *Send = CompletionContext;
    ULONG Length = Send->Length;

    /* The memory goes first: who waits for the event may count it. */
    SendFree(Send);
    RecordNote(Context, KindSent, (ULONG)Status, Length);
    return STATUS_SUCCESS;
}

static NTSTATUS NTAPI Sent(PVOID Context, PRXCE_VC Vc, PVOID CompletionContext, NTSTATUS Status)
{
    UNREFERENCED_PARAMETER(Vc);
    return DatagramSent(Context, CompletionContext, Status);
}

RXCE_ADDRESS_EVENT_HANDLER AddressHandlers = {
    .RxCeErrorEventHandler = AddressError,
    .RxCeReceiveDatagramEventHandler = ReceiveDatagram,
    .RxCeDataReadyEventHandler = DataReady,
    .RxCeSendCompleteEventHandler = DatagramSent,
};

/* With RXCEX_SMALL_EVENT_TABLE the table of older headers: it ends with the member before RxCeSendSubmittedEventHandler. */
RXCE_CONNECTION_EVENT_HANDLER ConnectionHandlers = {
    .RxCeDisconnectEventHandler = Disconnected,
    .RxCeErrorEventHandler = ConnectionError,
    .RxCeReceiveEventHandler = Receive,
    .RxCeDataReadyEventHandler = DataReady,
    .RxCeSendCompleteEventHandler = Sent,
};
