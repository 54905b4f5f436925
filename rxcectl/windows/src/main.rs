//! `rxcectl.exe`: the Windows front end of [`rxcectl`].
//!
//! It has no C runtime, so that a Linux host without Microsoft's builds it as it builds the drivers. All that it asks of
//! Windows are exports of kernel32, shell32 and ntdll, declared by the `windows-sys` crate.
//!
//! ```text
//! runtime       what the compiler expects of a C runtime
//! heap          the allocator
//! command_line  the arguments
//! stream        output and error stream
//! device        devices, by the native calls: they return the driver's own status
//! file          files that are written
//! network       the addresses of hosts
//! text          UTF-16 with a zero behind it
//! machine       all of it as rxcectl wants it
//! ```
#![no_std]
#![no_main]

extern crate alloc;

mod command_line;
mod device;
mod file;
mod heap;
mod machine;
mod network;
mod runtime;
mod stream;
mod text;

use alloc::{string::String, vec::Vec};

use windows_sys::Win32::System::Threading::ExitProcess;

use crate::{heap::ProcessHeap, machine::Machine};

#[global_allocator]
static HEAP: ProcessHeap = ProcessHeap;

/// Entry point: the loader calls it in the process's first thread.
#[unsafe(no_mangle)]
extern "system" fn start() -> ! {
    let arguments = command_line::arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = rxcectl::run(&mut Machine::new(), &arguments);
    // SAFETY: No requirements.
    unsafe { ExitProcess(code as u32) }
}
