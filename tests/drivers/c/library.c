/* Two drivers, of which one imports from the other. Without CLIENT: an export driver, loaded because another imports from it, which
 * counts calls. With it: a driver that calls the export.
 *
 * They share no code with the rest of the project; `cargo xtask verify --with` is tried on them.
 */
#include <ddk/wdm.h>

DRIVER_INITIALIZE DriverEntry;

#ifdef CLIENT

__declspec(dllimport) LONG LibraryCountOfCallsSoFar(VOID);

static DRIVER_UNLOAD Unload;

static VOID NTAPI Unload(PDRIVER_OBJECT Driver)
{
    UNREFERENCED_PARAMETER(Driver);
    DbgPrint("call %d\n", LibraryCountOfCallsSoFar());
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    UNREFERENCED_PARAMETER(Path);
    Driver->DriverUnload = Unload;
    return LibraryCountOfCallsSoFar() == 1 ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

#else

#define EXPORT __declspec(dllexport)
#define TAG 'rbiL'

static LONG *Calls;

EXPORT LONG LibraryCountOfCallsSoFar(VOID)
{
    return InterlockedIncrement(Calls);
}

EXPORT NTSTATUS NTAPI DllInitialize(PUNICODE_STRING Path)
{
    UNREFERENCED_PARAMETER(Path);
    Calls = ExAllocatePoolWithTag(NonPagedPoolNx, sizeof(LONG), TAG);
    if (Calls == NULL)
        return STATUS_INSUFFICIENT_RESOURCES;
    *Calls = 0;
    return STATUS_SUCCESS;
}

EXPORT NTSTATUS NTAPI DllUnload(VOID)
{
    ExFreePoolWithTag(Calls, TAG);
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING Path)
{
    UNREFERENCED_PARAMETER(Driver);
    UNREFERENCED_PARAMETER(Path);
    return STATUS_SUCCESS;
}

#endif
