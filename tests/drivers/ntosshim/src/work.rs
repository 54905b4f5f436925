//! Work items without a device, run by the thread pool that Wine's own work items use.

use core::{ffi::c_void, ptr};

use wdk_sys::{PWORK_QUEUE_ITEM, WORK_QUEUE_ITEM, WORK_QUEUE_TYPE};

type Callback = unsafe extern "C" fn(*mut c_void, *mut c_void);

#[link(name = "kernel32", kind = "raw-dylib")]
unsafe extern "C" {
    fn TrySubmitThreadpoolCallback(
        callback: Callback,
        context: *mut c_void,
        environment: *mut c_void,
    ) -> i32;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn shim_ExQueueWorkItem(item: PWORK_QUEUE_ITEM, _: WORK_QUEUE_TYPE) {
    // SAFETY: The item is the queue's until its routine is called.
    unsafe { TrySubmitThreadpoolCallback(run, item.cast(), ptr::null_mut()) };
}

unsafe extern "C" fn run(_instance: *mut c_void, item: *mut c_void) {
    // SAFETY: Queued above. The routine may free the item: what it takes is read before.
    let item = unsafe { item.cast::<WORK_QUEUE_ITEM>().read() };
    if let Some(routine) = item.WorkerRoutine {
        // SAFETY: The routine that its owner gave, with its own argument.
        unsafe { routine(item.Parameter) };
    }
}
