/*
 * The control interface of exchange.sys (tests/drivers/exchange-ioctl), in C: numbers are little endian, without padding.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef EXCHANGE_IOCTL_H
#define EXCHANGE_IOCTL_H

#define EXCHANGE_DEVICE_NAME L"\\Device\\RxceExchange"
#define EXCHANGE_LINK_NAME   L"\\DosDevices\\RxceExchange"

#define EXCHANGE_CODE(function) \
    CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (function), METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA)

#define EXCHANGE_OPEN       EXCHANGE_CODE(0x20)
#define EXCHANGE_ANSWER     EXCHANGE_CODE(0x21)
#define EXCHANGE_SEND       EXCHANGE_CODE(0x22)
#define EXCHANGE_WAIT       EXCHANGE_CODE(0x23)
#define EXCHANGE_EVENTS     EXCHANGE_CODE(0x24)
#define EXCHANGE_BYTES      EXCHANGE_CODE(0x25)
#define EXCHANGE_DISCONNECT EXCHANGE_CODE(0x26)
#define EXCHANGE_CLOSE      EXCHANGE_CODE(0x27)

/* Most bytes that a session can receive, and most bytes of one send. */
#define MOST_ROOM (16UL << 20)
#define MOST_SENT (16UL << 20)
/* Most events that are listed. */
#define EVENTS 512
/* The status of a tear-down that was not made. */
#define NOT_BUILT ((NTSTATUS)0x7FFFFFFF)

typedef enum _PROTOCOL { ProtocolTcp, ProtocolUdp } PROTOCOL;

typedef enum _KIND {
    KindReceived,
    KindRefused,
    KindReady,
    KindSent,
    KindDisconnected,
    KindConnectionError,
    KindAddressError,
    KindDatagram,
    KindCount
} KIND;

typedef enum _ANSWER_HOW { AnswerTake, AnswerRefuse, AnswerFurther } ANSWER_HOW;

/* How an indication is answered: at most Most bytes are copied; for AnswerFurther, Length bytes of further buffer follow. */
typedef struct _ANSWER {
    ULONG How;
    ULONG Most;
    ULONG Length;
} ANSWER;

typedef struct _OPEN_INPUT {
    ULONG Protocol;
    UCHAR Ip[4];
    ULONG Port;
    ULONG Room;
    ANSWER Answer;
} OPEN_INPUT;

typedef struct _WAIT_INPUT {
    ULONG Kind;
    ULONG AtLeast;
    ULONG Milliseconds;
} WAIT_INPUT;

typedef struct _EVENT {
    ULONG Kind;
    ULONG First;
    ULONG64 Second;
} EVENT;

typedef struct _CLOSED {
    NTSTATUS Circuit;
    NTSTATUS Connection;
    NTSTATUS Address;
    NTSTATUS Transport;
} CLOSED;

C_ASSERT(sizeof(ANSWER) == 12 && sizeof(OPEN_INPUT) == 28 && sizeof(WAIT_INPUT) == 12);
C_ASSERT(sizeof(EVENT) == 16 && sizeof(CLOSED) == 16);

#endif
