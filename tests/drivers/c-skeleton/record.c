/* What the callbacks note. A program says before how indications are answered. */
#include "skeleton.h"

VOID RecordInitialise(RECORD *Record)
{
    KeInitializeSpinLock(&Record->Lock);
    KeInitializeEvent(&Record->Progress, SynchronizationEvent, FALSE);
    Record->Answer.How = AnswerRefuse;
}

static VOID Progress(RECORD *Record)
{
    KeSetEvent(&Record->Progress, IO_NO_INCREMENT, FALSE);
}

/* ---- The side of the program (IRQL <= APC_LEVEL) --------------------------------------------------------------- */

static VOID FreeRoom(PUCHAR Room, PMDL Mdl, EVENT *Events)
{
    if (Mdl != NULL) {
        IoFreeMdl(Mdl);
    }
    if (Room != NULL) {
        ExFreePoolWithTag(Room, TAG_ROOM);
    }
    if (Events != NULL) {
        ExFreePoolWithTag(Events, TAG_EVENTS);
    }
}

/* Takes the memory. It stays until the handle goes, also when the circuit has ended. */
NTSTATUS RecordBegin(RECORD *Record, ULONG Room, const ANSWER *Answer)
{
    ULONG Size = Room == 0 ? 1 : Room;
    PUCHAR Bytes = ExAllocatePool2(POOL_FLAG_NON_PAGED, Size, TAG_ROOM);
    EVENT *Events = ExAllocatePool2(POOL_FLAG_NON_PAGED, EVENTS * sizeof(EVENT), TAG_EVENTS);
    PMDL Mdl = Bytes == NULL ? NULL : IoAllocateMdl(Bytes, Size, FALSE, FALSE, NULL);
    BOOLEAN Begun;
    KIRQL Irql;

    if (Mdl == NULL || Events == NULL) {
        FreeRoom(Bytes, Mdl, Events);
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    MmBuildMdlForNonPagedPool(Mdl);

    KeAcquireSpinLock(&Record->Lock, &Irql);
    Begun = Record->Room == NULL;
    if (Begun) {
        Record->Answer = *Answer;
        Record->Room = Bytes;
        Record->RoomMdl = Mdl;
        Record->RoomSize = Size;
        Record->Events = Events;
    }
    KeReleaseSpinLock(&Record->Lock, Irql);
    if (!Begun) {
        FreeRoom(Bytes, Mdl, Events);
        return STATUS_CONNECTION_ACTIVE;
    }
    return STATUS_SUCCESS;
}

/* The handle goes: no callback comes any more. */
VOID RecordEnd(RECORD *Record)
{
    if (Record->Lent != NULL) {
        IoFreeMdl(Record->Lent);
    }
    FreeRoom(Record->Room, Record->RoomMdl, Record->Events);
}

VOID RecordSetAnswer(RECORD *Record, const ANSWER *Answer)
{
    KIRQL Irql;

    KeAcquireSpinLock(&Record->Lock, &Irql);
    Record->Answer = *Answer;
    KeReleaseSpinLock(&Record->Lock, Irql);
}

/* Waits until enough has happened; STATUS_IO_TIMEOUT if nothing more happens for so long. */
NTSTATUS RecordWait(RECORD *Record, const WAIT_INPUT *Wait)
{
    for (;;) {
        LARGE_INTEGER Timeout;
        BOOLEAN Reached;
        KIRQL Irql;

        KeAcquireSpinLock(&Record->Lock, &Irql);
        Reached = Record->Totals[Wait->Kind] >= Wait->AtLeast;
        KeReleaseSpinLock(&Record->Lock, Irql);
        if (Reached) {
            /* Another thread may wait for something else. */
            Progress(Record);
            return STATUS_SUCCESS;
        }
        /* Negative: relative, in units of 100 ns. */
        Timeout.QuadPart = -10000LL * Wait->Milliseconds;
        if (KeWaitForSingleObject(&Record->Progress, Executive, KernelMode, FALSE, &Timeout) != STATUS_SUCCESS) {
            return STATUS_IO_TIMEOUT;
        }
    }
}

ULONG RecordCopyEvents(RECORD *Record, PVOID Output, ULONG Length)
{
    ULONG Copied;
    KIRQL Irql;

    KeAcquireSpinLock(&Record->Lock, &Irql);
    Copied = min(Record->Listed * (ULONG)sizeof(EVENT), Length);
    if (Copied != 0) {
        RtlCopyMemory(Output, Record->Events, Copied);
    }
    KeReleaseSpinLock(&Record->Lock, Irql);
    return Copied;
}

ULONG RecordCopyBytes(RECORD *Record, ULONG Offset, PVOID Output, ULONG Length)
{
    ULONG Used, Copied;
    KIRQL Irql;

    KeAcquireSpinLock(&Record->Lock, &Irql);
    Used = Record->RoomUsed;
    KeReleaseSpinLock(&Record->Lock, Irql);
    if (Offset >= Used) {
        return 0;
    }
    /* The room stays as long as the handle, and its used part is not written any more. */
    Copied = min(Used - Offset, Length);
    RtlCopyMemory(Output, Record->Room + Offset, Copied);
    return Copied;
}

/* ---- The side of the callbacks (IRQL <= DISPATCH_LEVEL) -------------------------------------------------------- */

/* Adds an event to the list, or to the one before; the lock is held. */
static VOID Note(RECORD *Record, KIND Kind, ULONG First, ULONG64 Second, ULONG64 Amount)
{
    EVENT *Last = Record->HasLast ? &Record->Events[Record->Listed - 1] : NULL;

    Record->Totals[Kind] += Amount;
    if (Last != NULL && Last->Kind == (ULONG)Kind && (Kind == KindReceived || Kind == KindRefused)) {
        Last->First += First;
        Last->Second = Kind == KindReceived ? Last->Second + Second : Second;
        return;
    }
    /* The list may be full: the event is in the totals only then, and joins none. */
    Record->HasLast = Record->Events != NULL && Record->Listed < EVENTS;
    if (Record->HasLast) {
        EVENT *Event = &Record->Events[Record->Listed++];

        Event->Kind = Kind;
        Event->First = First;
        Event->Second = Second;
    }
}

/* Notes something that carries no bytes. */
VOID RecordNote(RECORD *Record, KIND Kind, ULONG First, ULONG64 Second)
{
    KIRQL Irql;

    KeAcquireSpinLock(&Record->Lock, &Irql);
    Note(Record, Kind, First, Second, 1);
    KeReleaseSpinLock(&Record->Lock, Irql);
    Progress(Record);
}

/* A lent buffer came back with so many bytes. */
VOID RecordReady(RECORD *Record, ULONG Count, NTSTATUS Status)
{
    PMDL Mdl;
    KIRQL Irql;

    KeAcquireSpinLock(&Record->Lock, &Irql);
    Mdl = Record->Lent;
    Record->Lent = NULL;
    Record->RoomUsed += min(Count, Record->RoomSize - Record->RoomUsed);
    Note(Record, KindReady, (ULONG)Status, Count, 1);
    Record->Totals[KindReceived] += Count;
    KeReleaseSpinLock(&Record->Lock, Irql);
    Progress(Record);
    if (Mdl != NULL) {
        IoFreeMdl(Mdl);
    }
}

/* Lends as much of the next Length bytes as there is, if there is any; the lock is held. */
static VOID Lend(RECORD *Record, ULONG Length, INDICATED *Result)
{
    ULONG Lent = min(Length, Record->RoomSize - Record->RoomUsed);
    PMDL Mdl;

    if (Lent == 0) {
        return;
    }
    Mdl = IoAllocateMdl(Record->Room, Record->RoomSize, FALSE, FALSE, NULL);
    if (Mdl == NULL) {
        return;
    }
    IoBuildPartialMdl(Record->RoomMdl, Mdl, Record->Room + Record->RoomUsed, Lent);
    Record->Lent = Mdl;
    Result->Status = STATUS_MORE_PROCESSING_REQUIRED;
    Result->Mdl = Mdl;
    Result->MdlLength = Lent;
}

/* Answers an indication of bytes, of Available in all. */
INDICATED RecordIndicated(RECORD *Record, KIND Kind, const UCHAR *Bytes, ULONG Length, ULONG Available)
{
    INDICATED Result = {STATUS_DATA_NOT_ACCEPTED, 0, NULL, 0};
    BOOLEAN Accepted;
    KIRQL Irql;

    KeAcquireSpinLock(&Record->Lock, &Irql);
    Accepted = Record->Room != NULL && Record->Lent == NULL && Record->Answer.How != AnswerRefuse
        && (Record->RoomUsed < Record->RoomSize || Length == 0);
    if (Accepted) {
        ULONG Shown = min(Length, Record->Answer.Most);

        Result.Status = STATUS_SUCCESS;
        Result.Taken = min(Shown, Record->RoomSize - Record->RoomUsed);
        if (Result.Taken != 0) {
            RtlCopyMemory(Record->Room + Record->RoomUsed, Bytes, Result.Taken);
            Record->RoomUsed += Result.Taken;
        }
        if (Record->Answer.How == AnswerFurther) {
            Lend(Record, Record->Answer.Length, &Result);
        }
        if (Kind == KindDatagram) {
            Note(Record, Kind, Available, Result.Taken, 1);
        } else {
            Note(Record, Kind, 1, Result.Taken, Result.Taken);
        }
    } else {
        Note(Record, KindRefused, 1, Available, 1);
    }
    KeReleaseSpinLock(&Record->Lock, Irql);
    Progress(Record);
    return Result;
}
