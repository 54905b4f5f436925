//! Deep copies of requests as they arrive, for the log.

use rxce_client::{
    TDI_CONNECTION_INFORMATION, TDI_REQUEST_KERNEL, TDI_REQUEST_KERNEL_QUERY_INFORMATION,
    TDI_REQUEST_KERNEL_RECEIVE, TDI_REQUEST_KERNEL_RECEIVEDG, TDI_REQUEST_KERNEL_SEND,
    TDI_REQUEST_KERNEL_SENDDG, TDI_REQUEST_KERNEL_SET_EVENT,
};
use wdk_sys::{IO_STACK_LOCATION, PIRP};

use super::{kinds::Kind, state::Record};
use crate::nt::mdl;

/// The overlay of a request's parameters.
///
/// # Safety
///
/// `stack` is a valid location whose parameters are a `T`.
pub(super) unsafe fn parameters<T: Copy>(stack: *mut IO_STACK_LOCATION) -> T {
    // SAFETY: By this function's contract.
    let at = unsafe { &raw const (*stack).Parameters };
    // SAFETY: 32 bytes, of which a `T` takes no more.
    unsafe { at.cast::<T>().read_unaligned() }
}

/// Makes the deep copy of a request.
///
/// # Safety
///
/// The transport owns `irp`, whose current location is `stack`.
pub(super) unsafe fn look(irp: PIRP, stack: *mut IO_STACK_LOCATION, file: usize) -> Record {
    // SAFETY: Ours.
    let minor = unsafe { (*stack).MinorFunction };
    // SAFETY: As above.
    let chain = unsafe { (*irp).MdlAddress };
    let mut record = Record::now(Kind::Other, file);
    record.mdl = chain.cast();
    match minor {
        0x01 => record.kind = Kind::Associate,
        0x03 | 0x06 => {
            // SAFETY: The parameters of these two requests.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL>(stack) };
            // SAFETY: As above. The flags come first; their type differs between headers (tdi.md §3), not their low half.
            record.flags = unsafe { parameters::<u32>(stack) };
            record.kind = match (minor, record.flags) {
                (0x03, _) => Kind::Connect,
                (_, 2) => Kind::Abort,
                (_, 4) => Kind::Release,
                _ => Kind::Other,
            };
            record.timeout = request.RequestSpecific.cast::<i64>().cast_const();
            if !record.timeout.is_null() {
                // SAFETY: A time-out is valid until the request completes (tdi.md §4).
                record.timeout_value = Some(unsafe { record.timeout.read_unaligned() });
            }
            if record.kind == Kind::Connect {
                // SAFETY: The connection information of a connect is valid until it completes (tdi.md §2.4).
                unsafe {
                    let information = request.RequestConnectionInformation.cast();
                    record.length = remote_address(&mut record.data, information);
                }
            }
        }
        0x07 => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_SEND>(stack) };
            record.kind = Kind::Send;
            record.length = request.SendLength;
            record.flags = request.SendFlags;
            // SAFETY: The chain of a request is valid while it is under way.
            unsafe { mdl::take(chain, &mut record.data) };
        }
        0x08 => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_RECEIVE>(stack) };
            record.kind = Kind::Receive;
            record.length = request.ReceiveLength;
            record.flags = request.ReceiveFlags;
        }
        0x09 => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_SENDDG>(stack) };
            record.kind = Kind::SendDatagram;
            record.length = request.SendLength;
            record.information = request.SendDatagramInformation.cast();
            // SAFETY: The connection information of a datagram is valid until it is sent (tdi.md §2.4).
            unsafe { remote_address(&mut record.remote, record.information.cast()) };
            // SAFETY: The chain of a request is valid while it is under way.
            unsafe { mdl::take(chain, &mut record.data) };
        }
        0x0A => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_RECEIVEDG>(stack) };
            record.kind = Kind::ReceiveDatagram;
            record.length = request.ReceiveLength;
            record.flags = request.ReceiveFlags;
        }
        0x0B => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_SET_EVENT>(stack) };
            record.kind = Kind::SetHandler;
            record.code = request.EventType;
        }
        0x0C => {
            // SAFETY: The parameters of this request.
            let request = unsafe { parameters::<TDI_REQUEST_KERNEL_QUERY_INFORMATION>(stack) };
            record.kind = Kind::Query;
            record.code = request.QueryType;
        }
        _ => {}
    }
    record
}

/// Copies the remote address to `out`, as much as fits; tells its length.
///
/// # Safety
///
/// `information` is null or valid, its remote address included.
pub(super) unsafe fn remote_address(
    out: &mut [u8],
    information: *const TDI_CONNECTION_INFORMATION,
) -> u32 {
    // SAFETY: By this function's contract.
    let Some(information) = (unsafe { information.as_ref() }) else {
        return 0;
    };
    let length = u32::try_from(information.RemoteAddressLength).unwrap_or_default();
    let bytes = information.RemoteAddress.cast::<u8>();
    for (offset, to) in out.iter_mut().enumerate().take(length as usize) {
        // SAFETY: Within the stated length.
        *to = unsafe { bytes.wrapping_add(offset).read() };
    }
    length
}
