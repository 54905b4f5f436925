//! Status codes by their names (tdi.md §8), and what to call one in a report.

use core::fmt;

use wdk_sys::NTSTATUS;

/// A status that prints as its name, or as a number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named(pub(crate) NTSTATUS);

macro_rules! statuses {
    ($($name:ident = $value:literal;)*) => {
        $(
            #[doc = concat!("STATUS_", stringify!($name), ".")]
            pub(crate) const $name: NTSTATUS = ($value as u32).cast_signed();
        )*

        impl fmt::Debug for Named {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($name => f.write_str(stringify!($name)),)*
                    other => write!(f, "{other:#010X}"),
                }
            }
        }
    };
}

statuses! {
    SUCCESS = 0x0000_0000;
    TIMEOUT = 0x0000_0102;
    PENDING = 0x0000_0103;
    BUFFER_OVERFLOW = 0x8000_0005;
    NOT_IMPLEMENTED = 0xC000_0002;
    INVALID_HANDLE = 0xC000_0008;
    INVALID_PARAMETER = 0xC000_000D;
    INVALID_DEVICE_REQUEST = 0xC000_0010;
    MORE_PROCESSING_REQUIRED = 0xC000_0016;
    ACCESS_DENIED = 0xC000_0022;
    BUFFER_TOO_SMALL = 0xC000_0023;
    OBJECT_NAME_NOT_FOUND = 0xC000_0034;
    SHARING_VIOLATION = 0xC000_0043;
    INSUFFICIENT_RESOURCES = 0xC000_009A;
    DEVICE_NOT_READY = 0xC000_00A3;
    IO_TIMEOUT = 0xC000_00B5;
    BAD_NETWORK_PATH = 0xC000_00BE;
    CANCELLED = 0xC000_0120;
    LINK_FAILED = 0xC000_013E;
    INVALID_CONNECTION = 0xC000_0140;
    INVALID_ADDRESS_COMPONENT = 0xC000_0207;
    ADDRESS_ALREADY_EXISTS = 0xC000_020A;
    CONNECTION_DISCONNECTED = 0xC000_020C;
    CONNECTION_RESET = 0xC000_020D;
    DATA_NOT_ACCEPTED = 0xC000_021B;
    CONNECTION_REFUSED = 0xC000_0236;
    ADDRESS_ALREADY_ASSOCIATED = 0xC000_0238;
    ADDRESS_NOT_ASSOCIATED = 0xC000_0239;
    CONNECTION_ACTIVE = 0xC000_023B;
    HOST_UNREACHABLE = 0xC000_023D;
    CONNECTION_ABORTED = 0xC000_0241;
}
