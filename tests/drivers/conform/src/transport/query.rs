//! Answers to TDI_QUERY_INFORMATION: the provider's own information always, anything else as the vector prescribes.

use rxce_client::TDI_PROVIDER_INFO;
use wdk_sys::{NTSTATUS, PIRP};

use super::state::{ANSWER, QueryAnswer, Record, TRANSPORT};
use crate::nt::{mdl, status};

/// TDI_QUERY_PROVIDER_INFO (tdi.md §6).
pub(super) const PROVIDER_INFO: i32 = 2;

/// What a provider says of itself, true or not.
#[derive(Clone, Copy)]
pub(crate) struct Provider {
    pub(crate) services: u32,
    pub(crate) longest_datagram: u32,
    pub(crate) status: NTSTATUS,
    /// How many bytes it says it wrote.
    pub(crate) information: u64,
}

/// Answers every query other than that of the provider's information with `bytes` and `status`.
pub(crate) fn answer_queries(bytes: &[u8], status: NTSTATUS) {
    let mut answer = QueryAnswer {
        bytes: [0; ANSWER],
        length: bytes.len().min(ANSWER),
        status,
    };
    for (to, from) in answer.bytes.iter_mut().zip(bytes) {
        *to = *from;
    }
    TRANSPORT.update(|state| state.answer = Some(answer));
}

/// Fills the client's buffer; the status and the bytes written.
///
/// # Safety
///
/// The transport owns `irp`.
pub(super) unsafe fn answer(irp: PIRP, record: &Record) -> (NTSTATUS, u64) {
    // SAFETY: Ours; the chain of a request is valid while it is under way.
    let chain = unsafe { (*irp).MdlAddress };
    if record.code != PROVIDER_INFO {
        let Some(answer) = TRANSPORT.read(|state| state.answer) else {
            return (status::INVALID_DEVICE_REQUEST, 0);
        };
        let bytes = answer.bytes.get(..answer.length).unwrap_or_default();
        // SAFETY: As above.
        let copied = unsafe { mdl::fill(chain, bytes) };
        let result = if copied < bytes.len() {
            status::BUFFER_OVERFLOW
        } else {
            answer.status
        };
        return (result, copied as u64);
    }
    let provider = TRANSPORT.read(|state| {
        let personality = state.personality(record.file)?;
        Some(state.provider.unwrap_or(Provider {
            services: personality.service_flags() | state.more_services,
            longest_datagram: state.longest_datagram,
            status: status::SUCCESS,
            information: size_of::<TDI_PROVIDER_INFO>() as u64,
        }))
    });
    let Some(provider) = provider else {
        return (status::INVALID_PARAMETER, 0);
    };
    let info = TDI_PROVIDER_INFO {
        Version: 0x0200,
        MaxSendSize: 0x10000,
        MaxDatagramSize: provider.longest_datagram,
        ServiceFlags: provider.services,
        MinimumLookaheadData: 1,
        MaximumLookaheadData: 0x10000,
        ..Default::default()
    };
    let start = (&raw const info).cast::<u8>();
    // SAFETY: The whole of a local, which has no padding (its members fill its 40 bytes).
    let bytes = unsafe { core::slice::from_raw_parts(start, size_of::<TDI_PROVIDER_INFO>()) };
    // SAFETY: As above.
    let copied = unsafe { mdl::fill(chain, bytes) };
    if copied < bytes.len() {
        (status::BUFFER_OVERFLOW, copied as u64)
    } else {
        (provider.status, provider.information)
    }
}
