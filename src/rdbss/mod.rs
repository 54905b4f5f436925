//! The mini-redirector: registration with RDBSS, start and stop, and a read-only network file system (docs/redirector.md).
//!
//! It uses the engine as a client inside the image, through [`crate::connection`]. Engine objects are built and torn
//! down in system worker threads of RDBSS's process only.
//!
//! ```text
//! registration  DriverEntry's and the unload routine's part
//! table         the table of callbacks
//! control       start and stop by control code
//! service       start and stop
//! running       what sessions run on in between
//! server        SRV_CALL: which server, and the session with it
//! root          NET_ROOT: which tree
//! session       9P over one circuit: several requests at once, each with a time limit
//! open          create and close
//! directory     enumeration
//! query         attributes of files and volumes
//! read          file data
//! worker        work in RDBSS's process
//! ```

mod abi;
mod control;
mod directory;
mod imports;
mod open;
mod parameters;
mod query;
mod read;
mod refuse;
mod registration;
mod root;
mod running;
mod server;
mod service;
mod session;
mod table;
mod worker;

use rxce_engine::Error;
use wdk_sys::{DRIVER_OBJECT, PCUNICODE_STRING, PDRIVER_DISPATCH};

pub(crate) use self::registration::{pass_on, unregister};
use crate::status::of as status;

/// Registers the driver with its table of callbacks; `internal` takes the requests of other drivers, before RDBSS does.
///
/// # Errors
///
/// RDBSS's status; nothing is left of the attempt.
///
/// # IRQL
///
/// `PASSIVE_LEVEL`, in `DriverEntry`
pub(crate) fn register(
    driver: &mut DRIVER_OBJECT,
    registry_path: PCUNICODE_STRING,
    internal: PDRIVER_DISPATCH,
) -> Result<(), Error> {
    service::initialise();
    registration::register(driver, registry_path, table::TABLE.as_ptr(), internal)
}

// The pure part has no headers of the system: its values are compared here.
const _: () = {
    use rxce_netfs::status as pure;
    assert!(pure::BUFFER_OVERFLOW == wdk_sys::STATUS_BUFFER_OVERFLOW);
    assert!(pure::NO_MORE_FILES == wdk_sys::STATUS_NO_MORE_FILES);
    assert!(pure::INVALID_INFO_CLASS == wdk_sys::STATUS_INVALID_INFO_CLASS);
    assert!(pure::INFO_LENGTH_MISMATCH == wdk_sys::STATUS_INFO_LENGTH_MISMATCH);
    assert!(pure::INVALID_PARAMETER == wdk_sys::STATUS_INVALID_PARAMETER);
    assert!(pure::NO_SUCH_DEVICE == wdk_sys::STATUS_NO_SUCH_DEVICE);
    assert!(pure::NO_SUCH_FILE == wdk_sys::STATUS_NO_SUCH_FILE);
    assert!(pure::NO_MEMORY == wdk_sys::STATUS_NO_MEMORY);
    assert!(pure::ACCESS_DENIED == wdk_sys::STATUS_ACCESS_DENIED);
    assert!(pure::BUFFER_TOO_SMALL == wdk_sys::STATUS_BUFFER_TOO_SMALL);
    assert!(pure::OBJECT_NAME_INVALID == wdk_sys::STATUS_OBJECT_NAME_INVALID);
    assert!(pure::OBJECT_NAME_NOT_FOUND == wdk_sys::STATUS_OBJECT_NAME_NOT_FOUND);
    assert!(pure::OBJECT_NAME_COLLISION == wdk_sys::STATUS_OBJECT_NAME_COLLISION);
    assert!(pure::OBJECT_PATH_NOT_FOUND == wdk_sys::STATUS_OBJECT_PATH_NOT_FOUND);
    assert!(pure::SHARING_VIOLATION == wdk_sys::STATUS_SHARING_VIOLATION);
    assert!(pure::DISK_FULL == wdk_sys::STATUS_DISK_FULL);
    assert!(pure::MEDIA_WRITE_PROTECTED == wdk_sys::STATUS_MEDIA_WRITE_PROTECTED);
    assert!(pure::IO_TIMEOUT == wdk_sys::STATUS_IO_TIMEOUT);
    assert!(pure::FILE_IS_A_DIRECTORY == wdk_sys::STATUS_FILE_IS_A_DIRECTORY);
    assert!(pure::NOT_SUPPORTED == wdk_sys::STATUS_NOT_SUPPORTED);
    assert!(pure::BAD_NETWORK_PATH == wdk_sys::STATUS_BAD_NETWORK_PATH);
    assert!(pure::BAD_NETWORK_NAME == wdk_sys::STATUS_BAD_NETWORK_NAME);
    assert!(pure::UNEXPECTED_NETWORK_ERROR == wdk_sys::STATUS_UNEXPECTED_NETWORK_ERROR);
    assert!(pure::NOT_A_DIRECTORY == wdk_sys::STATUS_NOT_A_DIRECTORY);
    assert!(pure::NAME_TOO_LONG == wdk_sys::STATUS_NAME_TOO_LONG);
    assert!(pure::TOO_MANY_OPENED_FILES == wdk_sys::STATUS_TOO_MANY_OPENED_FILES);
    assert!(pure::IO_DEVICE_ERROR == wdk_sys::STATUS_IO_DEVICE_ERROR);
    assert!(pure::REPARSE_POINT_NOT_RESOLVED == wdk_sys::STATUS_REPARSE_POINT_NOT_RESOLVED);
    assert!(pure::IO_REPARSE_TAG_NOT_HANDLED == wdk_sys::STATUS_IO_REPARSE_TAG_NOT_HANDLED);
};
