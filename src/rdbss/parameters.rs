//! The values of the service's `Parameters` key (docs/redirector.md).

use core::cell::UnsafeCell;

use rxce_engine::Error;
use wdk_sys::{PCUNICODE_STRING, UNICODE_STRING};

use crate::nt::{
    pool::{Bytes, Tag},
    registry::Key,
    unicode,
};

/// The most characters of a provider's name.
const MOST_NAME: usize = 128;
/// The user of a path that names none, as for Windows' NFS client: "nobody".
const ANONYMOUS: u32 = 65_534;
/// How long an answer may take, if the registry does not say.
const EXCHANGE_SECONDS: u32 = 30;
/// The longest time that the registry may ask for.
const MOST_SECONDS: u32 = 600;
/// 100 ns units of a second.
const SECOND: u64 = 10_000_000;

/// The driver's copy of the service key's path.
struct Path(UnsafeCell<Option<(Bytes, UNICODE_STRING)>>);

// SAFETY: It changes only in `DriverEntry` and the unload routine, when no request is under way.
unsafe impl Sync for Path {}

static PATH: Path = Path(UnsafeCell::new(None));

/// The copy of the path.
const PATH_TAG: Tag = Tag::new(*b"RxPa");

/// What a start goes by.
pub(super) struct Parameters {
    provider: [u16; MOST_NAME],
    provider_length: usize,
    /// The user of a path that names none.
    pub(super) anonymous: u32,
    /// How long the answer to one request may take.
    pub(super) exchange_100ns: u64,
}

impl Parameters {
    /// The TDI provider's device.
    pub(super) fn provider(&self) -> &[u16] {
        self.provider
            .get(..self.provider_length)
            .unwrap_or_default()
    }

    /// Reads the key; what is absent has its default.
    ///
    /// # IRQL
    ///
    /// `PASSIVE_LEVEL`
    pub(super) fn read() -> Self {
        let key = open();
        let number = |name: &[u16], default: u32| {
            key.as_ref()
                .and_then(|key| key.number(name))
                .unwrap_or(default)
        };
        let seconds =
            number(&unicode::ascii(b"ExchangeSeconds"), EXCHANGE_SECONDS).clamp(1, MOST_SECONDS);
        let mut provider = [0; MOST_NAME];
        let given = key
            .as_ref()
            .and_then(|key| key.string(&unicode::ascii(b"Transport"), &mut provider))
            .map(<[u16]>::len);
        let provider_length = given.unwrap_or_else(|| {
            let default = unicode::ascii(b"\\Device\\Tcp");
            for (to, from) in provider.iter_mut().zip(default) {
                *to = from;
            }
            default.len()
        });
        Self {
            provider,
            provider_length,
            anonymous: number(&unicode::ascii(b"AnonymousUid"), ANONYMOUS),
            exchange_100ns: u64::from(seconds).saturating_mul(SECOND),
        }
    }
}

/// Whether names are to be offered to MUP.
pub(super) fn provide_unc() -> bool {
    open().and_then(|key| key.number(&unicode::ascii(b"ProvideUnc"))) == Some(1)
}

fn open() -> Option<Key> {
    // SAFETY: The path changes only when no request is under way.
    let (_, path) = unsafe { &*PATH.0.get() }.as_ref()?;
    let service = Key::open(None, path).ok()?;
    let name = unicode::ascii(b"Parameters");
    Key::open(Some(&service), &unicode::borrowed(&name)?).ok()
}

/// Keeps a copy of the path of the service's key.
///
/// # Errors
///
/// [`Error::InsufficientResources`].
///
/// # Safety
///
/// `path` is NULL or points to a string; no request is under way.
pub(super) unsafe fn remember(path: PCUNICODE_STRING) -> Result<(), Error> {
    // SAFETY: Forwarded.
    let text = unsafe { unicode::text(path) };
    if text.is_empty() {
        return Ok(());
    }
    let mut copy = Bytes::new(size_of_val(text), PATH_TAG)?;
    for (to, from) in copy.chunks_exact_mut(2).zip(text) {
        to.copy_from_slice(&from.to_ne_bytes());
    }
    let length = u16::try_from(size_of_val(text)).map_err(|_| Error::InvalidParameter)?;
    let string = UNICODE_STRING {
        Length: length,
        MaximumLength: length,
        Buffer: copy.as_ptr().cast(),
    };
    // SAFETY: Forwarded.
    unsafe { *PATH.0.get() = Some((copy, string)) };
    Ok(())
}

/// Forgets it: `DriverEntry` has failed, or the driver is unloaded.
pub(super) fn forget() {
    // SAFETY: No request is under way.
    unsafe { *PATH.0.get() = None };
}
