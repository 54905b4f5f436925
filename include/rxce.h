/*
 * rxce.h - the RDBSS connection engine, as exported by rxce.sys.
 *
 * Stands on ntifs.h (or ntddk.h) and tdikrnl.h, and includes what is not there yet. Link with rxce.lib.
 *
 * Every RXCE_* structure is allocated by the caller, in nonpaged memory, and stays allocated until its tear-down
 * routine has returned. All routines are called at IRQL <= APC_LEVEL; all callbacks are called at
 * IRQL <= DISPATCH_LEVEL in an arbitrary thread, with no lock of the engine held.
 *
 * What this engine has beyond the documented routines is in the section "Extensions" and begins with RxCex or RXCEX_.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef RXCE_H
#define RXCE_H

#ifndef APC_LEVEL
#include <ntifs.h>
#endif
#ifndef TDI_SEND
#include <tdikrnl.h>
#endif

#ifdef _MSC_VER
#pragma warning(push)
#pragma warning(disable : 4201) /* Structures and unions without a name, as in the kit's own headers. */
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* SAL, for compilers that have none. */
#ifndef _In_
#define _In_
#endif
#ifndef _In_opt_
#define _In_opt_
#endif
#ifndef _Inout_
#define _Inout_
#endif
#ifndef _Out_
#define _Out_
#endif
#ifndef _IRQL_requires_max_
#define _IRQL_requires_max_(irql)
#endif
#ifndef _Must_inspect_result_
#define _Must_inspect_result_
#endif

/*
 * Older headers lack the last member of RXCE_CONNECTION_EVENT_HANDLER. Define RXCEX_SMALL_EVENT_TABLE before this header
 * to get the 64-byte table: the two routines that take it become those which copy 64 bytes. The engine cannot tell the
 * tables apart at run time.
 */
#ifdef RXCEX_SMALL_EVENT_TABLE
#define RxCeBuildConnection RxCexBuildConnectionSmallTable
#define RxCeBuildConnectionOverMultipleTransports RxCexBuildConnectionOverMultipleTransportsSmallTable
#endif

/* ---- Signatures ------------------------------------------------------------------------------------------------ */

#define RDBSS_NTC_RXCE_TRANSPORT  ((USHORT)0xEB71)
#define RDBSS_NTC_RXCE_ADDRESS    ((USHORT)0xEB72)
#define RDBSS_NTC_RXCE_CONNECTION ((USHORT)0xEB73)
#define RDBSS_NTC_RXCE_VC         ((USHORT)0xEB74)

/* Every structure begins with its node type code and its size, together one ULONG. */
#define RXCE_SIGNATURE_MEMBERS \
    union {                    \
        struct {               \
            USHORT Type;       \
            CSHORT Size;       \
        };                     \
        ULONG Signature;       \
    }

typedef struct _RXCE_SIGNATURE {
    RXCE_SIGNATURE_MEMBERS;
} RXCE_SIGNATURE, *PRXCE_SIGNATURE;

#define RXCE_MAKE_SIGNATURE(type, ntc) ((((ULONG)sizeof(type)) << 16) | (ULONG)(ntc))
#define RXCE_TRANSPORT_SIGNATURE  RXCE_MAKE_SIGNATURE(RXCE_TRANSPORT, RDBSS_NTC_RXCE_TRANSPORT)
#define RXCE_ADDRESS_SIGNATURE    RXCE_MAKE_SIGNATURE(RXCE_ADDRESS, RDBSS_NTC_RXCE_ADDRESS)
#define RXCE_CONNECTION_SIGNATURE RXCE_MAKE_SIGNATURE(RXCE_CONNECTION, RDBSS_NTC_RXCE_CONNECTION)
#define RXCE_VC_SIGNATURE         RXCE_MAKE_SIGNATURE(RXCE_VC, RDBSS_NTC_RXCE_VC)

#define RxCeIsTransportValid(p)  ((p)->Signature == RXCE_TRANSPORT_SIGNATURE)
#define RxCeIsAddressValid(p)    ((p)->Signature == RXCE_ADDRESS_SIGNATURE)
#define RxCeIsConnectionValid(p) ((p)->Signature == RXCE_CONNECTION_SIGNATURE)
#define RxCeIsVcValid(p)         ((p)->Signature == RXCE_VC_SIGNATURE)

/* ---- Structures ------------------------------------------------------------------------------------------------ */

typedef TDI_PROVIDER_INFO RXCE_TRANSPORT_PROVIDER_INFO, *PRXCE_TRANSPORT_PROVIDER_INFO;
typedef TDI_CONNECTION_INFORMATION RXCE_CONNECTION_INFORMATION, *PRXCE_CONNECTION_INFORMATION;
typedef TDI_CONNECTION_INFO RXCE_CONNECTION_INFO, *PRXCE_CONNECTION_INFO;

/* What RxCeQueryTransportInformation tells. */
typedef struct _RXCE_TRANSPORT_INFORMATION {
    RXCE_TRANSPORT_PROVIDER_INFO ProviderInfo;
    ULONG ConnectionCount;
    ULONG QualityOfService;
} RXCE_TRANSPORT_INFORMATION, *PRXCE_TRANSPORT_INFORMATION;

/* What RxCeQueryInformation is asked for. */
typedef enum _RXCE_CONNECTION_INFORMATION_CLASS {
    RxCeTransportProviderInformation = 1,
    RxCeConnectionInformation = 2,
    RxCeConnectionEndpointInformation = 3,
    RxCeRemoteAddressInformation = 4
} RXCE_CONNECTION_INFORMATION_CLASS;

struct _ADAPTER_STATUS;
struct _RDBSS_DEVICE_OBJECT;

/* One bound TDI provider. */
typedef struct _RXCE_TRANSPORT {
    RXCE_SIGNATURE_MEMBERS;
    UNICODE_STRING Name;
    PDEVICE_OBJECT pDeviceObject;
    HANDLE ControlChannel;
    PFILE_OBJECT pControlChannelFileObject;
    PRXCE_TRANSPORT_PROVIDER_INFO pProviderInfo;
    LONG ConnectionCount;
    LONG VirtualCircuitCount;
    ULONG QualityOfService;
} RXCE_TRANSPORT, *PRXCE_TRANSPORT;

struct _RXCE_ADDRESS_EVENT_HANDLER;
struct _RXCE_CONNECTION_EVENT_HANDLER;

/* One local transport address. */
typedef struct _RXCE_ADDRESS {
    RXCE_SIGNATURE_MEMBERS;
    PRXCE_TRANSPORT pTransport;
    PTRANSPORT_ADDRESS pTransportAddress;
    PVOID pContext;
    struct _RXCE_ADDRESS_EVENT_HANDLER *pHandler;
    PMDL pReceiveMdl;
    HANDLE hAddress;
    PFILE_OBJECT pFileObject;
    LONG ConnectionCount;
    LONG VirtualCircuitCount;
} RXCE_ADDRESS, *PRXCE_ADDRESS;

/* A remote peer and the client's callbacks. */
typedef struct _RXCE_CONNECTION {
    RXCE_SIGNATURE_MEMBERS;
    PRXCE_ADDRESS pAddress;
    ULONG VirtualCircuitCount;
    PVOID pContext;
    struct _RXCE_CONNECTION_EVENT_HANDLER *pHandler;
    PRXCE_CONNECTION_INFORMATION pConnectionInformation;
} RXCE_CONNECTION, *PRXCE_CONNECTION;

/* States of a virtual circuit; 0 is "not built". */
#define RXCE_VC_ACTIVE       ((LONG)0xAA)
#define RXCE_VC_DISCONNECTED ((LONG)0xDD)
#define RXCE_VC_TEARDOWN     ((LONG)0xBB)

/* How RxCeBuildConnectionOverMultipleTransports chooses among the addresses, of which the first is preferred. */
typedef enum _RXCE_CONNECTION_CREATE_OPTIONS {
    RxCeSelectFirstSuccessfulTransport = 0,
    RxCeSelectBestSuccessfulTransport = 1,
    RxCeSelectAllSuccessfulTransports = 2
} RXCE_CONNECTION_CREATE_OPTIONS;

/* One virtual circuit. */
typedef struct _RXCE_VC {
    RXCE_SIGNATURE_MEMBERS;
    PRXCE_CONNECTION pConnection;
    HANDLE hEndpoint;
    PFILE_OBJECT pEndpointFileObject;
    volatile LONG State;
    CONNECTION_CONTEXT ConnectionId;
    PMDL pReceiveMdl;
    PKEVENT pCleanUpEvent;
} RXCE_VC, *PRXCE_VC;

#ifndef RX_WORK_QUEUE_ITEM_DEFINED
#define RX_WORK_QUEUE_ITEM_DEFINED
/* As rxworkq.h declares it; define RX_WORK_QUEUE_ITEM_DEFINED where that header is included too. */
typedef struct _RX_WORK_QUEUE_ITEM_ {
    WORK_QUEUE_ITEM WorkQueueItem;
    struct _RDBSS_DEVICE_OBJECT *pDeviceObject;
} RX_WORK_QUEUE_ITEM, *PRX_WORK_QUEUE_ITEM;
#endif

/*
 * The result of RxCeBuildConnectionOverMultipleTransports. pConnection and pVc point to the caller's structures for the
 * winner; the work item is the engine's until the completion routine is called.
 */
typedef struct _RXCE_CONNECTION_COMPLETION_CONTEXT {
    NTSTATUS Status;
    ULONG AddressIndex;
    PRXCE_CONNECTION pConnection;
    PRXCE_VC pVc;
    RX_WORK_QUEUE_ITEM WorkQueueItem;
    PRXCE_CONNECTION_INFORMATION pConnectionInformation;
} RXCE_CONNECTION_COMPLETION_CONTEXT, *PRXCE_CONNECTION_COMPLETION_CONTEXT;

typedef NTSTATUS (NTAPI *PRXCE_CONNECTION_COMPLETION_ROUTINE)(
    PRXCE_CONNECTION_COMPLETION_CONTEXT pCompletionContext);

/* ---- Send options ---------------------------------------------------------------------------------------------- */

#define RXCE_SEND_EXPEDITED            0x00000020
#define RXCE_SEND_NO_RESPONSE_EXPECTED 0x00000080
#define RXCE_SEND_NON_BLOCKING         0x00000100
#define RXCE_FLAGS_MASK                0xFF000000
#define RXCE_SEND_SYNCHRONOUS          0x10000000
#define RXCE_SEND_PARTIAL              0x20000000

/* ---- Callbacks ------------------------------------------------------------------------------------------------- */

typedef NTSTATUS (NTAPI *PRXCE_IND_DISCONNECT)(
    PVOID pEventContext, PRXCE_VC pVc, int DisconnectDataLength, PVOID DisconnectData,
    int DisconnectInformationLength, PVOID DisconnectInformation, ULONG DisconnectFlags);

typedef NTSTATUS (NTAPI *PRXCE_IND_ENDPOINT_ERROR)(PVOID pEventContext, NTSTATUS Status);

typedef NTSTATUS (NTAPI *PRXCE_IND_CONNECTION_ERROR)(PVOID pEventContext, PRXCE_VC pVc, NTSTATUS Status);

/*
 * STATUS_SUCCESS: *BytesTaken bytes of Tsdu were consumed; the rest is indicated again.
 * STATUS_MORE_PROCESSING_REQUIRED: *pDataBufferSize further bytes go to the chain *pDataBufferPointer, then
 * RxCeDataReadyEventHandler is called once. STATUS_DATA_NOT_ACCEPTED: nothing was consumed.
 * RxCeDataReadyEventHandler comes before the next receive callback of the same stream.
 */
typedef NTSTATUS (NTAPI *PRXCE_IND_RECEIVE)(
    PVOID pEventContext, PRXCE_VC pVc, ULONG ReceiveFlags, ULONG BytesIndicated, ULONG BytesAvailable,
    ULONG *BytesTaken, PVOID Tsdu, PMDL *pDataBufferPointer, PULONG pDataBufferSize);

typedef PRXCE_IND_RECEIVE PRXCE_IND_RECEIVE_EXPEDITED;

typedef NTSTATUS (NTAPI *PRXCE_IND_RECEIVE_DATAGRAM)(
    PVOID pEventContext, int SourceAddressLength, PVOID SourceAddress, int OptionsLength, PVOID Options,
    ULONG ReceiveDatagramFlags, ULONG BytesIndicated, ULONG BytesAvailable, ULONG *BytesTaken, PVOID Tsdu,
    PMDL *pDataBufferPointer, PULONG pDataBufferSize);

typedef NTSTATUS (NTAPI *PRXCE_IND_SEND_POSSIBLE)(PVOID pEventContext, PRXCE_VC pVc, ULONG BytesAvailable);

typedef NTSTATUS (NTAPI *PRXCE_IND_DATA_READY)(
    PVOID pEventContext, PMDL pBuffer, ULONG CopiedDataSize, NTSTATUS CopyDataStatus);

typedef NTSTATUS (NTAPI *PRXCE_IND_SEND_COMPLETE)(PVOID pEventContext, PVOID pCompletionContext, NTSTATUS Status);

/*
 * Called exactly once for each asynchronous RxCeSend that returned STATUS_SUCCESS, possibly before RxCeSend returns.
 * A client that sends again from here over a transport that completes inline recurses.
 */
typedef NTSTATUS (NTAPI *PRXCE_IND_CONNECTION_SEND_COMPLETE)(
    PVOID pEventContext, PRXCE_VC pVc, PVOID pCompletionContext, NTSTATUS Status);

typedef NTSTATUS (NTAPI *PRXCE_IND_CONNECTION_SEND_SUBMITTED)(
    PVOID pEventContext, PRXCE_VC pVc, PVOID pCompletionContext, NTSTATUS Status);

/* Any member may be NULL. */
typedef struct _RXCE_ADDRESS_EVENT_HANDLER {
    PRXCE_IND_ENDPOINT_ERROR RxCeErrorEventHandler;
    PRXCE_IND_RECEIVE_DATAGRAM RxCeReceiveDatagramEventHandler;
    PRXCE_IND_DATA_READY RxCeDataReadyEventHandler;
    PRXCE_IND_SEND_POSSIBLE RxCeSendPossibleEventHandler;
    PRXCE_IND_SEND_COMPLETE RxCeSendCompleteEventHandler;
} RXCE_ADDRESS_EVENT_HANDLER, *PRXCE_ADDRESS_EVENT_HANDLER;

/* Any member may be NULL. */
typedef struct _RXCE_CONNECTION_EVENT_HANDLER {
    PRXCE_IND_DISCONNECT RxCeDisconnectEventHandler;
    PRXCE_IND_CONNECTION_ERROR RxCeErrorEventHandler;
    PRXCE_IND_RECEIVE RxCeReceiveEventHandler;
    PRXCE_IND_RECEIVE_DATAGRAM RxCeReceiveDatagramEventHandler;
    PRXCE_IND_RECEIVE_EXPEDITED RxCeReceiveExpeditedEventHandler;
    PRXCE_IND_SEND_POSSIBLE RxCeSendPossibleEventHandler;
    PRXCE_IND_DATA_READY RxCeDataReadyEventHandler;
    PRXCE_IND_CONNECTION_SEND_COMPLETE RxCeSendCompleteEventHandler;
#ifndef RXCEX_SMALL_EVENT_TABLE
    PRXCE_IND_CONNECTION_SEND_SUBMITTED RxCeSendSubmittedEventHandler;
#endif
} RXCE_CONNECTION_EVENT_HANDLER, *PRXCE_CONNECTION_EVENT_HANDLER;

/* ---- Routines -------------------------------------------------------------------------------------------------- */

/* Binds a TDI provider by its device name. The name is copied. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeBuildTransport(
    _Out_ PRXCE_TRANSPORT pRxCeTransport, _In_ PUNICODE_STRING pTransportName, _In_ ULONG QualityOfService);

/* Unbinds a provider; refused while an address, connection or circuit uses it. */
_IRQL_requires_max_(APC_LEVEL)
extern NTSTATUS NTAPI RxCeTearDownTransport(_Inout_ PRXCE_TRANSPORT pTransport);

/* Opens a local address and registers the engine's event handlers on it. Address and table are copied. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeBuildAddress(
    _Out_ PRXCE_ADDRESS pAddress, _In_ PRXCE_TRANSPORT pTransport, _In_ PTRANSPORT_ADDRESS pTransportAddress,
    _In_ PRXCE_ADDRESS_EVENT_HANDLER pHandler, _In_opt_ PVOID pEventContext);

/* Closes a local address; refused while connections or circuits use it. */
_IRQL_requires_max_(APC_LEVEL)
extern NTSTATUS NTAPI RxCeTearDownAddress(_Inout_ PRXCE_ADDRESS pAddress);

/* Builds a connection with its first virtual circuit; waits for the transport's connect. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeBuildConnection(
    _In_ PRXCE_ADDRESS pLocalAddress, _In_ PRXCE_CONNECTION_INFORMATION pConnectionInformation,
    _In_ PRXCE_CONNECTION_EVENT_HANDLER pHandler, _In_opt_ PVOID pEventContext,
    _Out_ PRXCE_CONNECTION pConnection, _Out_ PRXCE_VC pVc);

/*
 * Connects to one peer from several local addresses at once; to be called in a system worker thread. The winner is shown
 * in the context's structures. With STATUS_PENDING the completion routine is called exactly once, in a system worker
 * thread; otherwise it is not called. Losers are closed in the background: the winner's pCleanUpEvent, if not NULL, is
 * signalled when they are gone. STATUS_INVALID_HANDLE: no address is of use.
 */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeBuildConnectionOverMultipleTransports(
    _In_opt_ struct _RDBSS_DEVICE_OBJECT *pMiniRedirectorDeviceObject, _In_ RXCE_CONNECTION_CREATE_OPTIONS CreateOption,
    _In_ ULONG NumberOfAddresses, _In_ PRXCE_ADDRESS *pLocalAddressPointers, _In_opt_ PUNICODE_STRING pServerName,
    _In_ PRXCE_CONNECTION_INFORMATION pConnectionInformation, _In_ PRXCE_CONNECTION_EVENT_HANDLER pHandler,
    _In_opt_ PVOID pEventContext, _In_ PRXCE_CONNECTION_COMPLETION_ROUTINE pCompletionRoutine,
    _Inout_ PRXCE_CONNECTION_COMPLETION_CONTEXT pCompletionContext);

/* Tears a connection down; refused while it has circuits. */
_IRQL_requires_max_(APC_LEVEL)
extern NTSTATUS NTAPI RxCeTearDownConnection(_Inout_ PRXCE_CONNECTION pConnection);

/* Adds a virtual circuit to a connection; waits for the transport's connect. Callbacks may come before it returns. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeBuildVC(_Out_ PRXCE_VC pVc, _In_ PRXCE_CONNECTION pConnection);

/* Starts to disconnect a circuit and does not wait for the peer. To be called in a system worker thread. */
_IRQL_requires_max_(APC_LEVEL)
extern NTSTATUS NTAPI RxCeInitiateVCDisconnect(_Inout_ PRXCE_VC pVc);

/*
 * Disconnects if need be, waits for everything that is under way, closes the endpoint and zeroes the structure, also
 * where it returns the transport's error. No callback for this circuit runs after it returned. Not to be called from
 * a callback of the same circuit.
 */
_IRQL_requires_max_(APC_LEVEL)
extern NTSTATUS NTAPI RxCeTearDownVC(_Inout_ PRXCE_VC pVc);

/* Sends an MDL chain of nonpaged or locked memory. With RXCE_SEND_SYNCHRONOUS waits and returns the final status. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeSend(
    _In_ PRXCE_VC pVc, _In_ ULONG SendOptions, _In_opt_ PMDL pMdl, _In_ ULONG SendLength,
    _In_opt_ PVOID pCompletionContext);

/*
 * Sends a datagram; always asynchronous: once STATUS_SUCCESS was returned, the address's RxCeSendCompleteEventHandler
 * is called exactly once, possibly before. The connection information is copied.
 */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeSendDatagram(
    _In_ PRXCE_ADDRESS hAddress, _In_ PRXCE_CONNECTION_INFORMATION pConnectionInformation, _In_ ULONG SendOptions,
    _In_opt_ PMDL pMdl, _In_ ULONG SendLength, _In_opt_ PVOID pCompletionContext);

/* Asks about a circuit. Pointers in class 2 lead into the engine's copy, good until RxCeTearDownConnection. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCeQueryInformation(
    _In_ PRXCE_VC pVc, _In_ RXCE_CONNECTION_INFORMATION_CLASS InformationClass, _Out_ PVOID pInformation,
    _In_ ULONG Length);

/* Asks a provider about its adapter: the fixed 60 bytes of ADAPTER_STATUS (nb30.h). */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS RxCeQueryAdapterStatus(_In_ PRXCE_TRANSPORT pTransport, _Out_ struct _ADAPTER_STATUS *pAdapterStatus);

/* Tells what is known of a transport. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS RxCeQueryTransportInformation(
    _In_ PRXCE_TRANSPORT pTransport, _Out_ PRXCE_TRANSPORT_INFORMATION pTransportInformation);

/* Documented to answer STATUS_NOT_IMPLEMENTED. */
extern NTSTATUS NTAPI RxCeCancelConnectRequest(
    _In_ PRXCE_ADDRESS pLocalAddress, _In_ PUNICODE_STRING pServerName,
    _In_ PRXCE_CONNECTION_INFORMATION pConnectionInformation);

/* Allocates a packet that carries an MDL, and lists it so that a debugger can find it. NULL without memory. */
extern PIRP RxCeAllocateIrpWithMDL(_In_ CCHAR StackSize, _In_ BOOLEAN ChargeQuota, _In_opt_ PMDL Buffer);

/* Frees such a packet, also from its completion routine; the MDL stays the caller's. */
extern VOID RxCeFreeIrp(_In_opt_ PIRP pIrp);

/* ==== Extensions ================================================================================================ */

/* ---- The small event table ------------------------------------------------------------------------------------- */

#ifdef RXCEX_SMALL_EVENT_TABLE
struct _RXCEX_FULL_EVENT_HANDLER;
typedef struct _RXCEX_FULL_EVENT_HANDLER *PRXCEX_FULL_EVENT_HANDLER;
typedef PRXCE_CONNECTION_EVENT_HANDLER PRXCEX_SMALL_EVENT_HANDLER;
#else
typedef PRXCE_CONNECTION_EVENT_HANDLER PRXCEX_FULL_EVENT_HANDLER;

/* RXCE_CONNECTION_EVENT_HANDLER of older headers. */
typedef struct _RXCEX_SMALL_EVENT_HANDLER {
    PRXCE_IND_DISCONNECT RxCeDisconnectEventHandler;
    PRXCE_IND_CONNECTION_ERROR RxCeErrorEventHandler;
    PRXCE_IND_RECEIVE RxCeReceiveEventHandler;
    PRXCE_IND_RECEIVE_DATAGRAM RxCeReceiveDatagramEventHandler;
    PRXCE_IND_RECEIVE_EXPEDITED RxCeReceiveExpeditedEventHandler;
    PRXCE_IND_SEND_POSSIBLE RxCeSendPossibleEventHandler;
    PRXCE_IND_DATA_READY RxCeDataReadyEventHandler;
    PRXCE_IND_CONNECTION_SEND_COMPLETE RxCeSendCompleteEventHandler;
} RXCEX_SMALL_EVENT_HANDLER, *PRXCEX_SMALL_EVENT_HANDLER;

/* RxCeBuildConnection with a table of 64 bytes; Send Submitted is never called. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCexBuildConnectionSmallTable(
    _In_ PRXCE_ADDRESS pLocalAddress, _In_ PRXCE_CONNECTION_INFORMATION pConnectionInformation,
    _In_ PRXCEX_SMALL_EVENT_HANDLER pHandler, _In_opt_ PVOID pEventContext, _Out_ PRXCE_CONNECTION pConnection,
    _Out_ PRXCE_VC pVc);

/* RxCeBuildConnectionOverMultipleTransports with such a table. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCexBuildConnectionOverMultipleTransportsSmallTable(
    _In_opt_ struct _RDBSS_DEVICE_OBJECT *pMiniRedirectorDeviceObject, _In_ RXCE_CONNECTION_CREATE_OPTIONS CreateOption,
    _In_ ULONG NumberOfAddresses, _In_ PRXCE_ADDRESS *pLocalAddressPointers, _In_opt_ PUNICODE_STRING pServerName,
    _In_ PRXCE_CONNECTION_INFORMATION pConnectionInformation, _In_ PRXCEX_SMALL_EVENT_HANDLER pHandler,
    _In_opt_ PVOID pEventContext, _In_ PRXCE_CONNECTION_COMPLETION_ROUTINE pCompletionRoutine,
    _Inout_ PRXCE_CONNECTION_COMPLETION_CONTEXT pCompletionContext);
#endif

/* ---- Cancelling a connect -------------------------------------------------------------------------------------- */

/*
 * Cancels the RxCeBuildVC, RxCeBuildConnection or RxCeBuildConnectionOverMultipleTransports that is filling the structure
 * and waits in another thread, or is pending. Does not wait: the build returns (or its completion routine reports)
 * STATUS_CANCELLED soon, and STATUS_SUCCESS here means that it will. STATUS_CONNECTION_ACTIVE: the build has succeeded.
 * STATUS_INVALID_PARAMETER: nothing is being built there (any more). Needs no memory.
 */
_IRQL_requires_max_(DISPATCH_LEVEL)
extern NTSTATUS NTAPI RxCexCancelConnect(_In_ PRXCE_VC pVc);

/* ---- Counters -------------------------------------------------------------------------------------------------- */

#define RXCEX_VERSION 2

/*
 * What was counted since the structure was built. Numbers are read one by one while others go on counting. A later version
 * appends members.
 */
typedef struct _RXCEX_COUNTERS {
    ULONG Size;
    ULONG Version;
    ULONG64 Sends;
    ULONG64 BytesSent;
    ULONG64 SendFailures;
    ULONG64 Receives;
    ULONG64 BytesReceived;
    ULONG64 ReceivesRefused;
    ULONG64 ReceivesRefetched;
    ULONG64 DatagramsSent;
    ULONG64 DatagramBytesSent;
    ULONG64 DatagramSendFailures;
    ULONG64 DatagramsReceived;
    ULONG64 DatagramBytesReceived;
    ULONG64 DatagramsRefused;
    ULONG64 Connects;
    ULONG64 ConnectFailures;
    ULONG64 LocalDisconnects;
    ULONG64 RemoteDisconnects;
    ULONG64 AddressErrors;
} RXCEX_COUNTERS, *PRXCEX_COUNTERS;

/*
 * Reads the counters of an RXCE_TRANSPORT, RXCE_ADDRESS, RXCE_CONNECTION or RXCE_VC. Size is, on the way in, how many bytes
 * the caller has room for, and on the way out how many were written. STATUS_BUFFER_OVERFLOW, and nothing written, if it is
 * less than that of the first version.
 */
_IRQL_requires_max_(DISPATCH_LEVEL)
extern NTSTATUS NTAPI RxCexQueryCounters(_In_ PVOID pStructure, _Inout_ PRXCEX_COUNTERS pCounters);

/* ---- Chained receives ------------------------------------------------------------------------------------------ */

/*
 * A whole packet of ReceiveLength bytes, which begin StartingOffset bytes into the chain. The chain is read-only.
 * STATUS_SUCCESS: the client has read all of it. STATUS_PENDING: the client keeps the chain and gives it back itself, with
 * TdiReturnChainedReceives(&TsduDescriptor, 1); the engine does not wait for that. STATUS_DATA_NOT_ACCEPTED: refused; the
 * transport keeps the bytes, as after a refused RxCeReceiveEventHandler.
 */
typedef NTSTATUS (NTAPI *PRXCEX_IND_CHAINED_RECEIVE)(
    PVOID pEventContext, PRXCE_VC pVc, ULONG ReceiveFlags, ULONG ReceiveLength, ULONG StartingOffset, PMDL Tsdu,
    PVOID TsduDescriptor);

/*
 * Asks the transport of an address, which has no connections yet, to offer normal data of circuits as chains of MDLs.
 * The callback gets the context of the circuit's connection; the connection's RxCeReceiveEventHandler must be there too:
 * what cannot be offered as a chain comes through it. Any other status than the engine's own is the transport's refusal;
 * with each failure the address stays as it was. STATUS_INVALID_PARAMETER also for a second call after a success.
 */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCexAcceptChainedReceives(
    _In_ PRXCE_ADDRESS pAddress, _In_ PRXCEX_IND_CHAINED_RECEIVE pCallback);

/* ---- The table of routines ------------------------------------------------------------------------------------- */

/*
 * Every routine, for clients that do not link with rxce.lib. Size is, on the way in, how many bytes the caller has room
 * for, and on the way out how many of them the engine has filled; members beyond that stay as they are. Later versions
 * append members.
 */
typedef struct _RXCEX_ROUTINES {
    ULONG Size;
    ULONG Version;
    PIRP (*AllocateIrpWithMDL)(CCHAR StackSize, BOOLEAN ChargeQuota, PMDL Buffer);
    NTSTATUS (NTAPI *BuildAddress)(
        PRXCE_ADDRESS pAddress, PRXCE_TRANSPORT pTransport, PTRANSPORT_ADDRESS pTransportAddress,
        PRXCE_ADDRESS_EVENT_HANDLER pHandler, PVOID pEventContext);
    NTSTATUS (NTAPI *BuildConnection)(
        PRXCE_ADDRESS pLocalAddress, PRXCE_CONNECTION_INFORMATION pConnectionInformation,
        PRXCEX_FULL_EVENT_HANDLER pHandler, PVOID pEventContext, PRXCE_CONNECTION pConnection, PRXCE_VC pVc);
    NTSTATUS (NTAPI *BuildConnectionOverMultipleTransports)(
        struct _RDBSS_DEVICE_OBJECT *pMiniRedirectorDeviceObject, RXCE_CONNECTION_CREATE_OPTIONS CreateOption,
        ULONG NumberOfAddresses, PRXCE_ADDRESS *pLocalAddressPointers, PUNICODE_STRING pServerName,
        PRXCE_CONNECTION_INFORMATION pConnectionInformation, PRXCEX_FULL_EVENT_HANDLER pHandler, PVOID pEventContext,
        PRXCE_CONNECTION_COMPLETION_ROUTINE pCompletionRoutine, PRXCE_CONNECTION_COMPLETION_CONTEXT pCompletionContext);
    NTSTATUS (NTAPI *BuildTransport)(
        PRXCE_TRANSPORT pRxCeTransport, PUNICODE_STRING pTransportName, ULONG QualityOfService);
    NTSTATUS (NTAPI *BuildVC)(PRXCE_VC pVc, PRXCE_CONNECTION pConnection);
    NTSTATUS (NTAPI *CancelConnectRequest)(
        PRXCE_ADDRESS pLocalAddress, PUNICODE_STRING pServerName, PRXCE_CONNECTION_INFORMATION pConnectionInformation);
    VOID (*FreeIrp)(PIRP pIrp);
    NTSTATUS (NTAPI *InitiateVCDisconnect)(PRXCE_VC pVc);
    NTSTATUS (*QueryAdapterStatus)(PRXCE_TRANSPORT pTransport, struct _ADAPTER_STATUS *pAdapterStatus);
    NTSTATUS (NTAPI *QueryInformation)(
        PRXCE_VC pVc, RXCE_CONNECTION_INFORMATION_CLASS InformationClass, PVOID pInformation, ULONG Length);
    NTSTATUS (*QueryTransportInformation)(
        PRXCE_TRANSPORT pTransport, PRXCE_TRANSPORT_INFORMATION pTransportInformation);
    NTSTATUS (NTAPI *Send)(PRXCE_VC pVc, ULONG SendOptions, PMDL pMdl, ULONG SendLength, PVOID pCompletionContext);
    NTSTATUS (NTAPI *SendDatagram)(
        PRXCE_ADDRESS hAddress, PRXCE_CONNECTION_INFORMATION pConnectionInformation, ULONG SendOptions, PMDL pMdl,
        ULONG SendLength, PVOID pCompletionContext);
    NTSTATUS (NTAPI *TearDownAddress)(PRXCE_ADDRESS pAddress);
    NTSTATUS (NTAPI *TearDownConnection)(PRXCE_CONNECTION pConnection);
    NTSTATUS (NTAPI *TearDownTransport)(PRXCE_TRANSPORT pTransport);
    NTSTATUS (NTAPI *TearDownVC)(PRXCE_VC pVc);
    NTSTATUS (NTAPI *BuildConnectionSmallTable)(
        PRXCE_ADDRESS pLocalAddress, PRXCE_CONNECTION_INFORMATION pConnectionInformation,
        PRXCEX_SMALL_EVENT_HANDLER pHandler, PVOID pEventContext, PRXCE_CONNECTION pConnection, PRXCE_VC pVc);
    NTSTATUS (NTAPI *BuildConnectionOverMultipleTransportsSmallTable)(
        struct _RDBSS_DEVICE_OBJECT *pMiniRedirectorDeviceObject, RXCE_CONNECTION_CREATE_OPTIONS CreateOption,
        ULONG NumberOfAddresses, PRXCE_ADDRESS *pLocalAddressPointers, PUNICODE_STRING pServerName,
        PRXCE_CONNECTION_INFORMATION pConnectionInformation, PRXCEX_SMALL_EVENT_HANDLER pHandler, PVOID pEventContext,
        PRXCE_CONNECTION_COMPLETION_ROUTINE pCompletionRoutine, PRXCE_CONNECTION_COMPLETION_CONTEXT pCompletionContext);
    NTSTATUS (NTAPI *CancelConnect)(PRXCE_VC pVc);
    NTSTATUS (NTAPI *QueryCounters)(PVOID pStructure, PRXCEX_COUNTERS pCounters);
    /* Since version 2. */
    NTSTATUS (NTAPI *AcceptChainedReceives)(PRXCE_ADDRESS pAddress, PRXCEX_IND_CHAINED_RECEIVE pCallback);
} RXCEX_ROUTINES, *PRXCEX_ROUTINES;

/* Fills the table. STATUS_BUFFER_OVERFLOW, and nothing written, if Size is less than that of the first version. */
_IRQL_requires_max_(APC_LEVEL) _Must_inspect_result_
extern NTSTATUS NTAPI RxCexGetRoutines(_Inout_ PRXCEX_ROUTINES pRoutines);

/*
 * The same without an import, while rxce.sys runs as a service: an IRP_MJ_INTERNAL_DEVICE_CONTROL to RXCEX_DEVICE_NAME
 * from kernel mode, with the table as Irp->UserBuffer. The file object that was used keeps rxce.sys loaded: keep it
 * referenced for as long as the table is used.
 */
#define RXCEX_DEVICE_NAME L"\\Device\\Rxce"
#define IOCTL_INTERNAL_RXCEX_GET_ROUTINES 0x00222403

#ifdef __cplusplus
}
#endif

#ifdef _MSC_VER
#pragma warning(pop)
#endif

#endif /* RXCE_H */
