/* The memory of a send. IRQL <= DISPATCH_LEVEL. */
#include "skeleton.h"

/* Copies the bytes to nonpaged pool. NULL without memory. */
SEND *SendAllocate(const UCHAR *Bytes, ULONG Length)
{
    SEND *Send = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(SEND) + Length, TAG_SEND);

    if (Send == NULL) {
        return NULL;
    }
    Send->Length = Length;
    Send->Mdl = NULL;
    if (Length != 0) {
        RtlCopyMemory(Send->Bytes, Bytes, Length);
        Send->Mdl = IoAllocateMdl(Send->Bytes, Length, FALSE, FALSE, NULL);
        if (Send->Mdl == NULL) {
            SendFree(Send);
            return NULL;
        }
        MmBuildMdlForNonPagedPool(Send->Mdl);
    }
    return Send;
}

VOID SendFree(SEND *Send)
{
    if (Send->Mdl != NULL) {
        IoFreeMdl(Send->Mdl);
    }
    ExFreePoolWithTag(Send, TAG_SEND);
}
