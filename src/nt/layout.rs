//! Sizes and offsets on which the Linux-built and the Windows-built image must agree, whatever headers were used.

use core::mem::offset_of;

use wdk_sys::{
    DRIVER_OBJECT, EX_RUNDOWN_REF, FILE_OBJECT, IO_STACK_LOCATION, IO_STATUS_BLOCK, IRP, KDPC,
    KEVENT, KSEMAPHORE, KTIMER, LIST_ENTRY, MDL, OBJECT_ATTRIBUTES, UNICODE_STRING,
    WORK_QUEUE_ITEM,
};

const _: () = {
    assert!(size_of::<IRP>() == 0xD0);
    assert!(offset_of!(IRP, MdlAddress) == 0x08);
    assert!(offset_of!(IRP, IoStatus) == 0x30);
    assert!(offset_of!(IRP, StackCount) == 0x42);
    assert!(offset_of!(IRP, CurrentLocation) == 0x43);
    assert!(offset_of!(IRP, Cancel) == 0x44);
    assert!(offset_of!(IRP, CancelRoutine) == 0x68);
    assert!(offset_of!(IRP, Tail) == 0x78);
    assert!(size_of::<IO_STACK_LOCATION>() == 0x48);
    assert!(offset_of!(IO_STACK_LOCATION, Parameters) == 0x08);
    assert!(offset_of!(IO_STACK_LOCATION, DeviceObject) == 0x28);
    assert!(offset_of!(IO_STACK_LOCATION, FileObject) == 0x30);
    assert!(offset_of!(IO_STACK_LOCATION, CompletionRoutine) == 0x38);
    assert!(offset_of!(IO_STACK_LOCATION, Context) == 0x40);
    assert!(size_of::<MDL>() == 0x30);
    assert!(offset_of!(MDL, MappedSystemVa) == 0x18);
    assert!(offset_of!(MDL, StartVa) == 0x20);
    assert!(offset_of!(MDL, ByteCount) == 0x28);
    assert!(offset_of!(MDL, ByteOffset) == 0x2C);
    assert!(size_of::<DRIVER_OBJECT>() == 0x150);
    assert!(size_of::<FILE_OBJECT>() == 0xD8);
    assert!(size_of::<KEVENT>() == 0x18);
    assert!(size_of::<KSEMAPHORE>() == 0x20);
    assert!(size_of::<KDPC>() == 0x40);
    assert!(size_of::<KTIMER>() == 0x40);
    assert!(size_of::<EX_RUNDOWN_REF>() == 0x08);
    assert!(size_of::<LIST_ENTRY>() == 0x10);
    assert!(size_of::<UNICODE_STRING>() == 0x10);
    assert!(size_of::<IO_STATUS_BLOCK>() == 0x10);
    assert!(size_of::<OBJECT_ATTRIBUTES>() == 0x30);
    assert!(size_of::<WORK_QUEUE_ITEM>() == 0x20);
};
