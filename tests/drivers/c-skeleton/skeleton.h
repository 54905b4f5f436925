/*
 * A client of rxce.sys in C, to begin a mini-redirector with.
 *
 *   driver.c    entry, unload, one session for each handle, requests carried out in a system worker thread
 *   session.c   the engine's objects: built, used, torn down
 *   callback.c  the engine's callbacks
 *   record.c    what the callbacks note: received bytes, events
 *   send.c      the memory of a send
 *
 * It speaks the control interface of exchange.sys, which is written in Rust, so that the same scenarios run over both. A
 * mini-redirector has its own requests (RxCe's caller is then its MRxCreateSrvCall or the like) in place of driver.c.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef SKELETON_H
#define SKELETON_H

#include <ntifs.h>
#include <tdikrnl.h>
#include <rxce.h>

#include "exchange_ioctl.h"

#ifndef POOL_FLAG_NON_PAGED
/* The headers of mingw-w64 lack it; xwdk declares ExAllocatePool2, but leaves the flag to wdk-sys, which has it for Rust. */
#define POOL_FLAG_NON_PAGED 0x0000000000000040ULL
#endif

/* Pool tags, as a debugger shows them. */
#define TAG(a, b, c, d) ((ULONG)(a) | (ULONG)(b) << 8 | (ULONG)(c) << 16 | (ULONG)(d) << 24)
#define TAG_SESSION     TAG('C', 's', 'k', 'S')
#define TAG_ROOM        TAG('C', 's', 'k', 'R')
#define TAG_EVENTS      TAG('C', 's', 'k', 'E')
#define TAG_SEND        TAG('C', 's', 'k', 'B')
#define TAG_INPUT       TAG('C', 's', 'k', 'I')

/* ---- record.c -------------------------------------------------------------------------------------------------- */

/* What a session was told. In nonpaged memory; Lock guards everything but Progress. */
typedef struct _RECORD {
    KSPIN_LOCK Lock;
    KEVENT Progress;
    ANSWER Answer;
    /* Room for received bytes: a part is used, a part may be lent to the engine, the rest is free. */
    PUCHAR Room;
    PMDL RoomMdl;
    ULONG RoomSize;
    ULONG RoomUsed;
    PMDL Lent;
    EVENT *Events;
    ULONG Listed;
    /* Whether the last event of the list may grow. */
    BOOLEAN HasLast;
    /* What a wait compares with. */
    ULONG64 Totals[KindCount];
} RECORD;

/* What becomes of an indication. */
typedef struct _INDICATED {
    NTSTATUS Status;
    ULONG Taken;
    PMDL Mdl;
    ULONG MdlLength;
} INDICATED;

VOID RecordInitialise(RECORD *Record);
NTSTATUS RecordBegin(RECORD *Record, ULONG Room, const ANSWER *Answer);
VOID RecordEnd(RECORD *Record);
VOID RecordSetAnswer(RECORD *Record, const ANSWER *Answer);
NTSTATUS RecordWait(RECORD *Record, const WAIT_INPUT *Wait);
ULONG RecordCopyEvents(RECORD *Record, PVOID Output, ULONG Length);
ULONG RecordCopyBytes(RECORD *Record, ULONG Offset, PVOID Output, ULONG Length);
VOID RecordNote(RECORD *Record, KIND Kind, ULONG First, ULONG64 Second);
VOID RecordReady(RECORD *Record, ULONG Count, NTSTATUS Status);
INDICATED RecordIndicated(RECORD *Record, KIND Kind, const UCHAR *Bytes, ULONG Length, ULONG Available);

/* ---- send.c ---------------------------------------------------------------------------------------------------- */

/* Bytes to send and their MDL (none for no bytes), from the request until the engine has sent them. */
typedef struct _SEND {
    PMDL Mdl;
    ULONG Length;
    UCHAR Bytes[ANYSIZE_ARRAY];
} SEND;

SEND *SendAllocate(const UCHAR *Bytes, ULONG Length);
VOID SendFree(SEND *Send);

/* ---- callback.c ------------------------------------------------------------------------------------------------ */

extern RXCE_ADDRESS_EVENT_HANDLER AddressHandlers;
extern RXCE_CONNECTION_EVENT_HANDLER ConnectionHandlers;

/* ---- session.c ------------------------------------------------------------------------------------------------- */

/* TRANSPORT_ADDRESS with one TDI_ADDRESS_IP. */
typedef TA_IP_ADDRESS IP_ENDPOINT;

typedef enum _BUILT { BuiltNothing, BuiltTransport, BuiltAddress, BuiltCircuit } BUILT;

/* The objects of one handle, in nonpaged memory. Its record is the context of all callbacks. */
typedef struct _SESSION {
    RXCE_TRANSPORT Transport;
    RXCE_ADDRESS Address;
    RXCE_CONNECTION Connection;
    RXCE_VC Vc;
    RECORD Record;
    /* Signalled while nobody builds or tears down. */
    KEVENT Turn;
    /* Guards what was opened last, and how far the building went. */
    KSPIN_LOCK Lock;
    BOOLEAN Opened;
    PROTOCOL Protocol;
    IP_ENDPOINT Remote;
    BUILT Built;
} SESSION;

SESSION *SessionAllocate(VOID);
NTSTATUS SessionFree(SESSION *Session);
NTSTATUS SessionOpen(SESSION *Session, const OPEN_INPUT *Open, NTSTATUS *Answered);
NTSTATUS SessionSend(SESSION *Session, BOOLEAN Synchronous, const UCHAR *Bytes, ULONG Length, NTSTATUS *Answered);
NTSTATUS SessionDisconnect(SESSION *Session);
NTSTATUS SessionClose(SESSION *Session, CLOSED *Closed);

#endif
