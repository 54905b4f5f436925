//! The NTSTATUS values that the I/O manager and the transports use.

#![expect(missing_docs, reason = "the names are those of ntstatus.h")]

macro_rules! statuses {
    ($($name:ident = $value:literal,)*) => {
        $(pub const $name: i32 = ($value as u32).cast_signed();)*

        /// The name of a status, or its number.
        pub fn name(status: i32) -> String {
            match status {
                $($name => concat!("STATUS_", stringify!($name)).to_owned(),)*
                other => format!("{other:#010x}"),
            }
        }
    };
}

statuses! {
    SUCCESS = 0x0000_0000,
    PENDING = 0x0000_0103,
    BUFFER_OVERFLOW = 0x8000_0005,
    NO_MORE_FILES = 0x8000_0006,
    REDIRECTOR_HAS_OPEN_HANDLES = 0x8000_0023,
    NOT_IMPLEMENTED = 0xc000_0002,
    INFO_LENGTH_MISMATCH = 0xc000_0004,
    INVALID_HANDLE = 0xc000_0008,
    INVALID_PARAMETER = 0xc000_000d,
    NO_SUCH_DEVICE = 0xc000_000e,
    NO_SUCH_FILE = 0xc000_000f,
    INVALID_DEVICE_REQUEST = 0xc000_0010,
    END_OF_FILE = 0xc000_0011,
    MORE_PROCESSING_REQUIRED = 0xc000_0016,
    ACCESS_DENIED = 0xc000_0022,
    BUFFER_TOO_SMALL = 0xc000_0023,
    OBJECT_TYPE_MISMATCH = 0xc000_0024,
    OBJECT_NAME_INVALID = 0xc000_0033,
    OBJECT_NAME_NOT_FOUND = 0xc000_0034,
    OBJECT_NAME_COLLISION = 0xc000_0035,
    OBJECT_PATH_NOT_FOUND = 0xc000_003a,
    INVALID_EA_NAME = 0x8000_0013,
    EA_LIST_INCONSISTENT = 0x8000_0014,
    SHARING_VIOLATION = 0xc000_0043,
    INVALID_SECURITY_DESCR = 0xc000_0079,
    INSUFFICIENT_RESOURCES = 0xc000_009a,
    MEDIA_WRITE_PROTECTED = 0xc000_00a2,
    DEVICE_NOT_READY = 0xc000_00a3,
    IO_TIMEOUT = 0xc000_00b5,
    FILE_IS_A_DIRECTORY = 0xc000_00ba,
    NOT_SUPPORTED = 0xc000_00bb,
    BAD_NETWORK_PATH = 0xc000_00be,
    BAD_NETWORK_NAME = 0xc000_00cc,
    REDIRECTOR_NOT_STARTED = 0xc000_00fb,
    REDIRECTOR_STARTED = 0xc000_00fc,
    NOT_A_DIRECTORY = 0xc000_0103,
    CANCELLED = 0xc000_0120,
    CONNECTION_INVALID = 0xc000_023a,
    INVALID_CONNECTION = 0xc000_0140,
    INVALID_ADDRESS = 0xc000_0141,
    INVALID_DEVICE_STATE = 0xc000_0184,
    INVALID_BUFFER_SIZE = 0xc000_0206,
    INVALID_ADDRESS_COMPONENT = 0xc000_0207,
    TOO_MANY_ADDRESSES = 0xc000_0209,
    ADDRESS_ALREADY_EXISTS = 0xc000_020a,
    ADDRESS_CLOSED = 0xc000_020b,
    CONNECTION_DISCONNECTED = 0xc000_020c,
    CONNECTION_RESET = 0xc000_020d,
    DATA_NOT_ACCEPTED = 0xc000_021b,
    CONNECTION_REFUSED = 0xc000_0236,
    GRACEFUL_DISCONNECT = 0xc000_0237,
    ADDRESS_ALREADY_ASSOCIATED = 0xc000_0238,
    ADDRESS_NOT_ASSOCIATED = 0xc000_0239,
    CONNECTION_ACTIVE = 0xc000_023b,
    NETWORK_UNREACHABLE = 0xc000_023c,
    HOST_UNREACHABLE = 0xc000_023d,
    PROTOCOL_UNREACHABLE = 0xc000_023e,
    PORT_UNREACHABLE = 0xc000_023f,
    REQUEST_ABORTED = 0xc000_0240,
    CONNECTION_ABORTED = 0xc000_0241,
}

/// Whether a status is a success in the sense of NT_SUCCESS.
pub const fn is_success(status: i32) -> bool {
    status >= 0
}
