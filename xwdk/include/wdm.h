/*
 * wdm.h, in front of mingw-w64's: adds what its DDK headers (version 10) lack, and declares as exports the routines they define
 * inline by reading CR8 or GS. The names and signatures are those of the public DDI reference pages.
 */

#pragma once

#define KeGetCurrentIrql      xwdk_inline_KeGetCurrentIrql
#define KeLowerIrql           xwdk_inline_KeLowerIrql
#define KfRaiseIrql           xwdk_inline_KfRaiseIrql
#define KeRaiseIrqlToDpcLevel xwdk_inline_KeRaiseIrqlToDpcLevel
#define PsGetCurrentThread    xwdk_inline_PsGetCurrentThread

/* wdm.h defines what its own intrin.h has defined already, which C++ refuses, and clang exports from every object. */
#include <intrin.h>
#define InterlockedBitTestAndReset xwdk_inline_InterlockedBitTestAndReset
#define InterlockedBitTestAndSet   xwdk_inline_InterlockedBitTestAndSet

#include_next <wdm.h>

#undef KeGetCurrentIrql
#undef KeLowerIrql
#undef KfRaiseIrql
#undef KeRaiseIrqlToDpcLevel
#undef PsGetCurrentThread
#undef KeQueryInterruptTime
#undef InterlockedBitTestAndReset
#undef InterlockedBitTestAndSet

#ifdef __cplusplus
extern "C" {
#endif

/* Inline in mingw-w64, exported by ntoskrnl.exe on x64 and ARM64. */

NTKERNELAPI KIRQL NTAPI KeGetCurrentIrql(VOID);
NTKERNELAPI VOID NTAPI KeLowerIrql(KIRQL NewIrql);
NTKERNELAPI KIRQL NTAPI KfRaiseIrql(KIRQL NewIrql);
NTKERNELAPI KIRQL NTAPI KeRaiseIrqlToDpcLevel(VOID);
NTKERNELAPI PETHREAD NTAPI PsGetCurrentThread(VOID);
NTKERNELAPI ULONGLONG NTAPI KeQueryInterruptTime(VOID);

/* Windows 8.1 and later. */

NTKERNELAPI ULONG64 NTAPI KeQueryInterruptTimePrecise(PULONG64 QpcTimeStamp);

/* Windows 10, version 2004, and later. */

typedef ULONGLONG POOL_FLAGS;

NTKERNELAPI PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);

#ifdef __cplusplus
}
#endif
