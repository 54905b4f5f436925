//! Structures of the I/O manager: IRP, stack location, device, driver and file objects.
//!
//! x64, from the public headers; spec tdi.md §1 gives the offsets that a TDI client writes by hand or through inline functions.

use crate::mem::layout;

layout! {
    /// IRP; stack locations follow it.
    IrpLayout as Irp, size 0xd0 {
        /// 6.
        0x00 kind: i16,
        /// Size with its stack locations.
        0x02 size: u16,
        /// Padding.
        0x04 pad: u32,
        /// The MDL chain.
        0x08 mdl: usize,
        /// IRP_ flags.
        0x10 flags: u32,
        /// Padding.
        0x14 pad1: u32,
        /// System buffer, master IRP or IRP count.
        0x18 system_buffer: usize,
        /// Entry in the thread's list.
        0x20 thread_list: [usize; 2],
        /// IoStatus.Status.
        0x30 status: i32,
        /// Padding.
        0x34 pad2: u32,
        /// IoStatus.Information.
        0x38 information: usize,
        /// KernelMode 0 or UserMode 1.
        0x40 requestor_mode: u8,
        /// The level below marked the IRP pending.
        0x41 pending_returned: u8,
        /// Number of stack locations.
        0x42 stack_count: i8,
        /// Current location, 1-based from the lowest driver.
        0x43 current_location: i8,
        /// Cancellation was asked for.
        0x44 cancel: u8,
        /// IRQL at which the cancel lock was taken.
        0x45 cancel_irql: u8,
        /// APC environment.
        0x46 apc_environment: i8,
        /// How it was allocated.
        0x47 allocation_flags: u8,
        /// The issuer's IO_STATUS_BLOCK.
        0x48 user_iosb: usize,
        /// The issuer's event.
        0x50 user_event: usize,
        /// Overlay.
        0x58 overlay: [usize; 2],
        /// Routine called by IoCancelIrp.
        0x68 cancel_routine: usize,
        /// The issuer's buffer.
        0x70 user_buffer: usize,
        /// Tail.Overlay.DriverContext.
        0x78 driver_context: [usize; 4],
        /// Tail.Overlay.Thread.
        0x98 thread: usize,
        /// Tail.Overlay.AuxiliaryBuffer.
        0xa0 auxiliary: usize,
        /// Tail.Overlay.ListEntry.
        0xa8 list: [usize; 2],
        /// Tail.Overlay.CurrentStackLocation.
        0xb8 current_stack: usize,
        /// Tail.Overlay.OriginalFileObject.
        0xc0 original_file: usize,
        /// Reserved.
        0xc8 reserved: usize,
    }
}

/// Type of an IRP.
pub const IO_TYPE_IRP: i16 = 6;
/// Type of a device object.
pub const IO_TYPE_DEVICE: i16 = 3;
/// Type of a driver object.
pub const IO_TYPE_DRIVER: i16 = 4;
/// Type of a file object.
pub const IO_TYPE_FILE: i16 = 5;

impl Irp {
    /// The stack location with a 1-based number.
    pub fn location(self, number: i8) -> Stack {
        Stack(self.0 + Self::SIZE + usize::from(number.unsigned_abs() - 1) * Stack::SIZE)
    }

    /// The location of the driver that owns the IRP now.
    pub fn current(self) -> Stack {
        Stack(self.current_stack().get())
    }
}

layout! {
    /// IO_STACK_LOCATION.
    StackLayout as Stack, size 0x48 {
        /// Major function.
        0x00 major: u8,
        /// Minor function.
        0x01 minor: u8,
        /// Flags of the request.
        0x02 flags: u8,
        /// SL_ control bits.
        0x03 control: u8,
        /// Padding.
        0x04 pad: u32,
        /// Parameters by major function.
        0x08 parameters: [u64; 4],
        /// The device it was sent to.
        0x28 device: usize,
        /// The file object.
        0x30 file: usize,
        /// Completion routine of the driver above.
        0x38 completion: usize,
        /// Its context.
        0x40 context: usize,
    }
}

impl Stack {
    /// A parameter by byte offset from `Parameters`.
    pub fn parameter<T: crate::mem::Plain>(self, offset: usize) -> crate::mem::Place<T> {
        crate::mem::Place::at(self.0 + 8 + offset)
    }
}

/// SL_PENDING_RETURNED.
pub const SL_PENDING_RETURNED: u8 = 0x01;
/// SL_INVOKE_ON_CANCEL.
pub const SL_INVOKE_ON_CANCEL: u8 = 0x20;
/// SL_INVOKE_ON_SUCCESS.
pub const SL_INVOKE_ON_SUCCESS: u8 = 0x40;
/// SL_INVOKE_ON_ERROR.
pub const SL_INVOKE_ON_ERROR: u8 = 0x80;

/// IRP_MJ_CREATE.
pub const MJ_CREATE: u8 = 0x00;
/// IRP_MJ_CLOSE.
pub const MJ_CLOSE: u8 = 0x02;
/// IRP_MJ_READ.
pub const MJ_READ: u8 = 0x03;
/// IRP_MJ_WRITE.
pub const MJ_WRITE: u8 = 0x04;
/// IRP_MJ_QUERY_INFORMATION.
pub const MJ_QUERY_INFORMATION: u8 = 0x05;
/// IRP_MJ_SET_INFORMATION.
pub const MJ_SET_INFORMATION: u8 = 0x06;
/// IRP_MJ_QUERY_EA.
pub const MJ_QUERY_EA: u8 = 0x07;
/// IRP_MJ_SET_EA.
pub const MJ_SET_EA: u8 = 0x08;
/// IRP_MJ_FLUSH_BUFFERS.
pub const MJ_FLUSH: u8 = 0x09;
/// IRP_MJ_QUERY_VOLUME_INFORMATION.
pub const MJ_QUERY_VOLUME: u8 = 0x0a;
/// IRP_MJ_SET_VOLUME_INFORMATION.
pub const MJ_SET_VOLUME: u8 = 0x0b;
/// IRP_MJ_DIRECTORY_CONTROL.
pub const MJ_DIRECTORY_CONTROL: u8 = 0x0c;
/// IRP_MJ_QUERY_SECURITY.
pub const MJ_QUERY_SECURITY: u8 = 0x14;
/// IRP_MJ_SET_SECURITY.
pub const MJ_SET_SECURITY: u8 = 0x15;
/// IRP_MJ_FILE_SYSTEM_CONTROL.
pub const MJ_FILE_SYSTEM_CONTROL: u8 = 0x0d;
/// IRP_MJ_DEVICE_CONTROL.
pub const MJ_DEVICE_CONTROL: u8 = 0x0e;
/// IRP_MJ_INTERNAL_DEVICE_CONTROL.
pub const MJ_INTERNAL_DEVICE_CONTROL: u8 = 0x0f;
/// IRP_MJ_CLEANUP.
pub const MJ_CLEANUP: u8 = 0x12;

layout! {
    /// DEVICE_OBJECT; the device extension follows it.
    DeviceLayout as Device, size 0x150 {
        /// 3.
        0x00 kind: i16,
        /// Size with the extension.
        0x02 size: u16,
        /// Open file objects.
        0x04 reference_count: i32,
        /// The driver.
        0x08 driver: usize,
        /// Next device of the driver.
        0x10 next: usize,
        /// Device attached on top of this one.
        0x18 attached: usize,
        /// Current IRP of StartIo.
        0x20 current_irp: usize,
        /// IO_TIMER.
        0x28 timer: usize,
        /// DO_ flags.
        0x30 flags: u32,
        /// FILE_ characteristics.
        0x34 characteristics: u32,
        /// Volume parameter block.
        0x38 vpb: usize,
        /// The driver's extension.
        0x40 extension: usize,
        /// FILE_DEVICE_ type.
        0x48 device_type: u32,
        /// Stack locations that an IRP for it needs.
        0x4c stack_size: i8,
        /// Padding.
        0x4d pad: [u8; 3],
        /// Wait context block.
        0x50 queue: [u64; 9],
        /// Buffer alignment.
        0x98 alignment: u32,
        /// Padding.
        0x9c pad2: u32,
        /// Device queue.
        0xa0 device_queue: [u64; 5],
        /// DPC of the device.
        0xc8 dpc: [u64; 8],
        /// Active threads.
        0x108 active_threads: u32,
        /// Padding.
        0x10c pad3: u32,
        /// Security descriptor.
        0x110 security: usize,
        /// Lock.
        0x118 lock: [u64; 3],
        /// Sector size.
        0x130 sector_size: u16,
        /// Spare.
        0x132 spare: u16,
        /// Padding.
        0x134 pad4: u32,
        /// DEVOBJ_EXTENSION.
        0x138 object_extension: usize,
        /// Reserved.
        0x140 reserved: [usize; 2],
    }
}

/// DO_BUFFERED_IO.
pub const DO_BUFFERED_IO: u32 = 0x4;
/// DO_EXCLUSIVE.
pub const DO_EXCLUSIVE: u32 = 0x8;
/// DO_DEVICE_INITIALIZING.
pub const DO_DEVICE_INITIALIZING: u32 = 0x80;
/// DO_DEVICE_HAS_NAME.
pub const DO_DEVICE_HAS_NAME: u32 = 0x40;

layout! {
    /// DRIVER_OBJECT.
    DriverLayout as DriverObject, size 0x150 {
        /// 4.
        0x00 kind: i16,
        /// 0x150.
        0x02 size: i16,
        /// Padding.
        0x04 pad: u32,
        /// First device of the driver.
        0x08 device: usize,
        /// DRVO_ flags.
        0x10 flags: u32,
        /// Padding.
        0x14 pad1: u32,
        /// Image base.
        0x18 start: usize,
        /// Image size.
        0x20 image_size: u32,
        /// Padding.
        0x24 pad2: u32,
        /// Loader entry.
        0x28 section: usize,
        /// DRIVER_EXTENSION.
        0x30 extension: usize,
        /// `\Driver\name`.
        0x38 name: [u64; 2],
        /// Registry path of the hardware.
        0x48 hardware: usize,
        /// FAST_IO_DISPATCH.
        0x50 fast_io: usize,
        /// DriverEntry.
        0x58 init: usize,
        /// StartIo.
        0x60 start_io: usize,
        /// DriverUnload.
        0x68 unload: usize,
        /// Dispatch routines by major function.
        0x70 major: [usize; 28],
    }
}

impl DriverObject {
    /// The dispatch routine of a major function.
    pub fn dispatch(self, major: u8) -> crate::mem::Place<usize> {
        crate::mem::Place::at(self.0 + 0x70 + 8 * usize::from(major))
    }
}

layout! {
    /// FILE_OBJECT.
    FileLayout as FileObject, size 0xd8 {
        /// 5.
        0x00 kind: i16,
        /// 0xd8.
        0x02 size: i16,
        /// Padding.
        0x04 pad: u32,
        /// The device that was opened.
        0x08 device: usize,
        /// Volume parameter block.
        0x10 vpb: usize,
        /// The driver's first context.
        0x18 context: usize,
        /// The driver's second context.
        0x20 context2: usize,
        /// Section pointers.
        0x28 sections: usize,
        /// Private cache map.
        0x30 cache: usize,
        /// Final status.
        0x38 final_status: i32,
        /// Padding.
        0x3c pad1: u32,
        /// Related file object.
        0x40 related: usize,
        /// LockOperation, DeletePending, ReadAccess, WriteAccess, DeleteAccess, SharedRead, SharedWrite, SharedDelete.
        0x48 booleans: [u8; 8],
        /// FO_ flags.
        0x50 flags: u32,
        /// Padding.
        0x54 pad2: u32,
        /// Name relative to the device.
        0x58 name: [u64; 2],
        /// Current byte offset.
        0x68 offset: u64,
        /// Waiters.
        0x70 waiters: u32,
        /// Busy.
        0x74 busy: u32,
        /// Last lock.
        0x78 last_lock: usize,
        /// Lock.
        0x80 lock: [u64; 3],
        /// Event.
        0x98 event: [u64; 3],
        /// Completion context.
        0xb0 completion: usize,
        /// Lock of the IRP list.
        0xb8 irp_lock: usize,
        /// IRP list.
        0xc0 irps: [usize; 2],
        /// Extension.
        0xd0 extension: usize,
    }
}

/// FO_SYNCHRONOUS_IO.
pub const FO_SYNCHRONOUS_IO: u32 = 0x2;
/// FO_CLEANUP_COMPLETE.
pub const FO_CLEANUP_COMPLETE: u32 = 0x4000;
/// FO_HANDLE_CREATED.
pub const FO_HANDLE_CREATED: u32 = 0x40000;
