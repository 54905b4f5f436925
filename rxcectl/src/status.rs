//! What an NTSTATUS means to the reader.

use core::fmt;

/// A status that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtStatus(pub u32);

macro_rules! statuses {
    ($($name:ident = $value:literal $(, $meaning:literal)?;)+) => {
        impl NtStatus {
            $(
                #[doc = concat!("`STATUS_", stringify!($name), "`.")]
                pub const $name: Self = Self($value);
            )+

            /// Those that have a name here.
            pub const NAMED: &[Self] = &[$(Self::$name,)+];

            /// Its name, if the drivers of this project or their transports return it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(concat!("STATUS_", stringify!($name))),)+
                    _ => None,
                }
            }

            /// What it means here.
            const fn meaning(self) -> &'static str {
                match self {
                    $($(Self::$name => $meaning,)?)+
                    _ => "the request failed",
                }
            }
        }
    };
}

// The values are those of ntstatus.h; a test of the suites compares them.
statuses! {
    INVALID_HANDLE = 0xC000_0008, "the file is not open";
    INVALID_PARAMETER = 0xC000_000D, "the driver refused a parameter";
    INVALID_DEVICE_REQUEST = 0xC000_0010, "the driver does not know the request";
    ACCESS_DENIED = 0xC000_0022, "access denied; --export names the tree that the server exports";
    BUFFER_TOO_SMALL = 0xC000_0023, "the buffer is too small";
    OBJECT_NAME_NOT_FOUND = 0xC000_0034, "there is no such file on the server";
    SHARING_VIOLATION = 0xC000_0043, "it is in use";
    INSUFFICIENT_RESOURCES = 0xC000_009A, "the kernel ran out of memory";
    IO_TIMEOUT = 0xC000_00B5, "the server does not answer";
    FILE_IS_A_DIRECTORY = 0xC000_00BA, "it is a directory";
    REMOTE_NOT_LISTENING = 0xC000_00BC, "the server refuses connections";
    INVALID_NETWORK_RESPONSE = 0xC000_00C3, "the server does not speak 9P2000.L as it should";
    NOT_A_DIRECTORY = 0xC000_0103, "it is not a directory";
    CANCELLED = 0xC000_0120, "the request was cancelled";
    // In the middle of data: the receive ends with the reason, a disconnect.
    CONNECTION_DISCONNECTED = 0xC000_020C, "the server closed the connection";
    CONNECTION_RESET = 0xC000_020D, "the server broke the connection off";
    CONNECTION_REFUSED = 0xC000_0236, "the server refuses connections";
    GRACEFUL_DISCONNECT = 0xC000_0237, "the server closed the connection";
    CONNECTION_INVALID = 0xC000_023A, "there is no connection";
    CONNECTION_ACTIVE = 0xC000_023B, "there is a connection already";
    NETWORK_UNREACHABLE = 0xC000_023C, "the network cannot be reached";
    HOST_UNREACHABLE = 0xC000_023D, "the server cannot be reached";
    CONNECTION_ABORTED = 0xC000_0241, "the connection broke off";
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.meaning())?;
        if let Some(name) = self.name() {
            write!(f, "{name}, ")?;
        }
        write!(f, "{:#010X})", self.0)
    }
}
