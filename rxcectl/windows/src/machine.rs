//! Windows, as rxcectl wants it.

use alloc::format;

use rxcectl::{NtStatus, Problem, System};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};

use crate::{device::Device, file::File, network, stream::Stream};

/// The machine that the program runs on.
pub(crate) struct Machine {
    output: Stream,
    error: Stream,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            output: Stream::output(),
            error: Stream::error(),
        }
    }
}

impl System for Machine {
    type Device = Device;
    type File = File;

    fn open(&mut self, name: &str) -> Result<Device, NtStatus> {
        Device::open(name)
    }

    fn create(&mut self, path: &str) -> Result<File, Problem> {
        File::create(path)
    }

    fn resolve(&mut self, host: &str) -> Result<[u8; 4], Problem> {
        network::resolve(host)
    }

    fn microseconds(&mut self) -> u64 {
        let (mut ticks, mut per_second) = (0, 0);
        // SAFETY: The number is ours. Neither call fails on a Windows of today.
        unsafe { QueryPerformanceCounter(&raw mut ticks) };
        // SAFETY: As above.
        unsafe { QueryPerformanceFrequency(&raw mut per_second) };
        let microseconds = i128::from(ticks)
            .saturating_mul(1_000_000)
            .checked_div(i128::from(per_second));
        u64::try_from(microseconds.unwrap_or_default()).unwrap_or_default()
    }

    fn print(&mut self, text: &str) -> Result<(), Problem> {
        self.output.write(text).map_err(|error| {
            Problem::failed(format!("cannot write the output (Windows error {error})"))
        })
    }

    fn complain(&mut self, text: &str) {
        // Nobody is left to tell.
        let _ = self.error.write(text);
    }
}
