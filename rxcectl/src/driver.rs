//! The drivers that are driven.

use alloc::format;

use crate::{NtStatus, Problem, System};

/// A driver with a control device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The acceptance vectors.
    Conform,
    /// The kernel client that speaks 9P.
    P9Probe,
}

impl Driver {
    /// Name of its service, and of its file without `.sys`.
    #[must_use]
    pub const fn service(self) -> &'static str {
        match self {
            Self::Conform => "conform",
            Self::P9Probe => "p9probe",
        }
    }

    /// Its control device.
    #[must_use]
    pub const fn device(self) -> &'static str {
        match self {
            Self::Conform => conform_ioctl::DEVICE_NAME,
            Self::P9Probe => p9probe_ioctl::DEVICE_NAME,
        }
    }

    /// Opens its device.
    ///
    /// # Errors
    ///
    /// What to do about it.
    pub(crate) fn open<S: System>(self, system: &mut S) -> Result<S::Device, Problem> {
        system
            .open(self.device())
            .map_err(|status| self.unusable(status))
    }

    /// Why the device cannot be opened, and what to do about it.
    pub(crate) fn unusable(self, status: NtStatus) -> Problem {
        let service = self.service();
        Problem::unusable(match status {
            NtStatus::OBJECT_NAME_NOT_FOUND => format!(
                "{service}.sys is not started; start its service with `sc start {service}` (it needs rxce.sys: {service}.sys \
                 imports from it)"
            ),
            NtStatus::ACCESS_DENIED => format!(
                "access to {service}.sys is denied: its device is for administrators; run rxcectl as one (from an elevated \
                 prompt)"
            ),
            NtStatus::SHARING_VIOLATION => format!(
                "{service}.sys is in use by another program; wait for that run to end, or end it"
            ),
            other => format!("cannot open {}: {other}", self.device()),
        })
    }

    /// The versions of driver and program differ.
    pub(crate) fn wrong_version(self, theirs: u32, ours: u32) -> Problem {
        let service = self.service();
        Problem::unusable(format!(
            "{service}.sys speaks version {theirs} of its control interface, this rxcectl version {ours}; take both from one \
             build"
        ))
    }
}
