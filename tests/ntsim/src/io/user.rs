//! The door for user programs: open a device, send IOCTLs, close.

use std::fmt;

use super::create::{self, Open};
use super::{device, file, status};
use crate::arena;
use crate::dispatcher::host;
use crate::layout::io::{Device, FileObject, MJ_DEVICE_CONTROL, MJ_FILE_SYSTEM_CONTROL};
use crate::layout::mm::Mdl;
use crate::mem;
use crate::mm::mdl;
use crate::ob::{self, handle};
use crate::se::dacl;

/// A failing NTSTATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NtStatus(pub i32);

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&status::name(self.0))
    }
}

impl std::error::Error for NtStatus {}

/// A device opened by a user program. Dropping it closes the handle.
#[derive(Debug)]
pub struct File {
    handle: u64,
    pub(super) object: usize,
    /// What it was opened for: the specific rights.
    access: u32,
}

/// FILE_READ_DATA and FILE_WRITE_DATA, where a control code has them.
const ACCESS_SHIFT: u32 = 14;
const ACCESS_BITS: u32 = 3;

impl File {
    /// Opens a device by its name.
    pub fn open(path: &str) -> Result<Self, NtStatus> {
        Self::open_with(path, &[])
    }

    /// Opens a device with an EA list.
    pub fn open_with(path: &str, ea: &[u8]) -> Result<Self, NtStatus> {
        Self::open_as(&Open {
            ea: ea.to_vec(),
            mode: 1,
            ..Open::kernel(path)
        })
    }

    pub(super) fn open_as(request: &Open) -> Result<Self, NtStatus> {
        host::attach();
        let object = create::open(request).map_err(NtStatus)?;
        let handle = handle::open(object, false, 0);
        ob::dereference(object, 0);
        let access = dacl::mapped(request.access);
        Ok(Self {
            handle,
            object,
            access,
        })
    }

    /// The address of the file object, for tests.
    pub fn object(&self) -> usize {
        self.object
    }

    /// Sends an IOCTL and waits for it; returns the output that the driver reported in Information.
    pub fn ioctl(&self, code: u32, input: &[u8], output_bytes: usize) -> Result<Vec<u8>, NtStatus> {
        self.control(MJ_DEVICE_CONTROL, code, input, output_bytes)
    }

    /// The same for a file system control code.
    pub fn fsctl(&self, code: u32, input: &[u8], output_bytes: usize) -> Result<Vec<u8>, NtStatus> {
        self.control(MJ_FILE_SYSTEM_CONTROL, code, input, output_bytes)
    }

    fn control(
        &self,
        major: u8,
        code: u32,
        input: &[u8],
        output_bytes: usize,
    ) -> Result<Vec<u8>, NtStatus> {
        host::attach();
        // "Defining I/O Control Codes": the I/O manager compares RequiredAccess with what the handle was opened for.
        let wanted = code >> ACCESS_SHIFT & ACCESS_BITS;
        if wanted & !self.access != 0 {
            return Err(NtStatus(status::ACCESS_DENIED));
        }
        let target = device::top(Device(FileObject(self.object).device().get()));
        let buffers = Buffers::new(code, input, output_bytes);
        let outcome = file::request(target, 1, |irp, stack| {
            stack.major().set(major);
            stack.file().set(self.object);
            stack
                .parameter::<u32>(0)
                .set(u32::try_from(output_bytes).unwrap_or(u32::MAX));
            stack
                .parameter::<u32>(8)
                .set(u32::try_from(input.len()).unwrap_or(u32::MAX));
            stack.parameter::<u32>(16).set(code);
            stack.parameter::<usize>(24).set(buffers.type3_input);
            irp.system_buffer().set(buffers.system);
            irp.user_buffer().set(buffers.user_output);
            irp.mdl().set(buffers.mdl);
        });
        let output = buffers.output(outcome.information.min(output_bytes));
        drop(buffers);
        // A warning (0x8…, such as STATUS_BUFFER_OVERFLOW) carries output too, but callers want to know of it.
        if status::is_success(outcome.status) {
            Ok(output)
        } else {
            Err(NtStatus(outcome.status))
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        host::attach();
        handle::close(self.handle);
    }
}

/// The buffers of one IOCTL as its transfer method wants them.
struct Buffers {
    system: usize,
    system_bytes: usize,
    mdl: usize,
    user_output: usize,
    user_bytes: usize,
    type3_input: usize,
    input_bytes: usize,
}

impl Buffers {
    fn new(code: u32, input: &[u8], output_bytes: usize) -> Self {
        let method = code & 3;
        let mut buffers = Self {
            system: 0,
            system_bytes: 0,
            mdl: 0,
            user_output: 0,
            user_bytes: 0,
            type3_input: 0,
            input_bytes: input.len(),
        };
        if method != 3 {
            buffers.system_bytes = if method == 0 {
                input.len().max(output_bytes)
            } else {
                input.len()
            };
            if buffers.system_bytes != 0 {
                buffers.system = arena::alloc(buffers.system_bytes, arena::Kind::Pool);
                mem::write_bytes(buffers.system, input);
            }
        } else if !input.is_empty() {
            buffers.type3_input = arena::map_user(input.len());
            mem::write_bytes(buffers.type3_input, input);
        }
        if method != 0 && output_bytes != 0 {
            buffers.user_output = arena::map_user(output_bytes);
            buffers.user_bytes = output_bytes;
            if method != 3 {
                let bytes = u32::try_from(output_bytes).unwrap_or(u32::MAX);
                let list = mdl::allocate(buffers.user_output, bytes, 0);
                // SAFETY: The list was just made and nobody else knows of it.
                mdl::lock(unsafe { &mut *list });
                buffers.mdl = list as usize;
            }
        }
        buffers
    }

    fn output(&self, length: usize) -> Vec<u8> {
        let from = if self.user_output != 0 {
            self.user_output
        } else {
            self.system
        };
        if from == 0 || length == 0 {
            Vec::new()
        } else {
            mem::read_bytes(from, length)
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.mdl != 0 {
            // SAFETY: The request is over, so the driver does not use the list any more.
            mdl::unlock(unsafe { &mut *(self.mdl as *mut Mdl) });
            mdl::free(self.mdl, 0);
        }
        if self.system != 0 {
            arena::free(self.system);
        }
        for (buffer, bytes) in [
            (self.user_output, self.user_bytes),
            (self.type3_input, self.input_bytes),
        ] {
            if buffer != 0 {
                arena::unmap(buffer, bytes);
            }
        }
    }
}
