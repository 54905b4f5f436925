//! What the routines are given besides structures: names, addresses, connection informations, chains. Each comes with what
//! the rules of the interface say of it, worked out here once more and in another way than the engine does.

use alloc::{vec, vec::Vec};
use core::{ffi::c_void, ptr};

use rxce_client::RXCE_CONNECTION_INFORMATION;
use wdk_sys::{PMDL, UNICODE_STRING};

use super::ledger::UNWRITTEN;
use crate::{engine, fixture::PEER, nt::mdl::Buffer, transport::Personality};

/// An address at which nothing is: it must not be looked at.
pub(super) const NOWHERE: *mut c_void = ptr::without_provenance_mut(0xFFFF_8000_0000_2000);

/// Longest that an extended attribute can carry.
const MOST: usize = 0xFFFF;

/// A provider's name.
pub(super) struct Name {
    text: Vec<u16>,
    length: u16,
    maximum: u16,
    /// Where the buffer begins, if there is one.
    buffer: Option<usize>,
    pub(super) valid: bool,
}

/// A name: of a provider, of nothing, or none at all.
pub(super) fn name(shape: u8, provider: u32) -> Name {
    let personality = match provider % 5 {
        0 => Personality::Orderly,
        1 => Personality::Abortive,
        2 => Personality::Datagram,
        3 => Personality::Buffering,
        _ => Personality::NoZeroLength,
    };
    let text = alloc::format!(r"\Device\ConformTdi{personality:?}");
    let mut text: Vec<u16> = text.encode_utf16().collect();
    match shape {
        0xF6 => text = vec![u16::from(b'\\'); 0x7FFF],
        0xF7 => text = vec![0; 3],
        0xF8 => text.extend(r"\more".encode_utf16()),
        0xF9 => text.truncate(provider as usize % 20),
        _ => {}
    }
    let length = u16::try_from(text.len().saturating_mul(2)).unwrap_or(0xFFFE);
    let mut name = Name {
        text,
        length,
        maximum: length,
        buffer: Some(0),
        valid: length > 0,
    };
    match shape {
        0xFA => name.length = length.saturating_sub(1),
        0xFB => name.maximum = length.saturating_sub(1),
        0xFC => name.buffer = None,
        0xFD => name.buffer = Some(1),
        0xFE => name.length = 0,
        _ => return name,
    }
    name.valid = false;
    name
}

impl Name {
    /// The structure; it borrows the text.
    pub(super) fn raw(&self) -> UNICODE_STRING {
        let start = self.text.as_ptr().cast_mut();
        UNICODE_STRING {
            Length: self.length,
            MaximumLength: self.maximum,
            Buffer: self
                .buffer
                .map_or(ptr::null_mut(), |offset| start.wrapping_byte_add(offset)),
        }
    }
}

/// The members that an address of each known type has at least, in bytes (tdi.h): IPv4, IPv6, and three of NetBIOS.
const fn least(address_type: u16) -> usize {
    match address_type {
        2 => 14,
        17 => 18,
        22 => 34,
        23 => 26,
        24 => 74,
        _ => 0,
    }
}

/// Whether bytes are a TRANSPORT_ADDRESS whose addresses are whole; more may follow it.
fn is_address(bytes: &[u8]) -> bool {
    let Some((count, mut rest)) = bytes.split_first_chunk() else {
        return false;
    };
    let count = i32::from_le_bytes(*count);
    for _ in 0..count {
        let Some(([low, high, kind, more], members)) = rest.split_first_chunk() else {
            return false;
        };
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let Some(next) = members.get(length..) else {
            return false;
        };
        if length < least(u16::from_le_bytes([*kind, *more])) {
            return false;
        }
        rest = next;
    }
    count > 0
}

/// A TRANSPORT_ADDRESS, as long as its members say, as far as anybody could read it.
pub(super) struct Local {
    bytes: Vec<u8>,
    pub(super) valid: bool,
}

impl Local {
    pub(super) fn start(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }
}

/// A local address: `many` chooses how many addresses it has, `lengths` how long they are.
pub(super) fn local(many: u32, lengths: u32) -> Local {
    let count = match many & 15 {
        0..=6 => 1,
        7 => 2,
        8 => 0,
        9 => -1,
        10 => i32::MIN,
        11 => i32::MAX,
        12 => 100,
        13 => 4000,
        14 => 16_384,
        _ => many.cast_signed(),
    };
    let length_of = |index: usize| -> usize {
        let chosen = (lengths >> 16) as usize;
        match (lengths & 7, index & 1) {
            (4, _) | (5, 1) => chosen,
            (6, _) => 0,
            (7, _) => MOST,
            _ => 14,
        }
    };
    let kind: u16 = match (lengths >> 3) & 7 {
        1 => 17,
        2 => 22,
        3 => 23,
        4 => 24,
        5 => 0x77,
        _ => 2,
    };
    let [kind_low, kind_high] = kind.to_le_bytes();
    let mut whole = true;
    let mut bytes = count.to_le_bytes().to_vec();
    let mut total = bytes.len();
    for index in 0..usize::try_from(count).unwrap_or_default() {
        let length = length_of(index);
        let [low, high] = u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
        bytes.extend([low, high, kind_low, kind_high]);
        whole &= length >= least(kind);
        bytes.resize(bytes.len().saturating_add(length), 0x42);
        total = total.saturating_add(4).saturating_add(length);
        if total > MOST {
            break;
        }
    }
    bytes.shrink_to_fit();
    Local {
        bytes,
        valid: count >= 1 && total <= MOST && whole,
    }
}

/// A connection information with what it points to.
pub(super) struct Information {
    raw: RXCE_CONNECTION_INFORMATION,
    _pieces: [Vec<u8>; 3],
    pub(super) valid: bool,
}

impl Information {
    pub(super) const fn raw(&mut self) -> *mut RXCE_CONNECTION_INFORMATION {
        &raw mut self.raw
    }
}

struct Piece {
    length: i32,
    bytes: Vec<u8>,
    start: *mut c_void,
    valid: bool,
}

/// `ordinary`, cut or followed by more so that it has `length` bytes.
fn padded(ordinary: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = ordinary.to_vec();
    bytes.resize(length, 0x33);
    bytes
}

fn piece(kind: u32, chosen: u32, ordinary: &[u8]) -> Piece {
    let of = |bytes: Vec<u8>| {
        let length = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        let mut piece = Piece {
            length,
            bytes,
            start: ptr::null_mut(),
            valid: true,
        };
        if length > 0 {
            piece.start = piece.bytes.as_mut_ptr().cast();
        }
        piece
    };
    let bad = |length, start| Piece {
        length,
        bytes: Vec::new(),
        start,
        valid: length == 0,
    };
    match kind & 15 {
        // More than the address, or something else.
        8 => of(padded(ordinary, (chosen & 0xFFFF) as usize)),
        9 => of(padded(ordinary, MOST)),
        10 => bad(0x1_0000, NOWHERE),
        11 => bad(-1, NOWHERE),
        12 => bad(i32::MIN, NOWHERE),
        13 => bad(i32::MAX, NOWHERE),
        14 => bad(22, ptr::null_mut()),
        15 => bad(0, NOWHERE),
        _ => of(ordinary.to_vec()),
    }
}

/// A connection information of a shape.
pub(super) fn information(shape: u32) -> Information {
    let chosen = shape >> 16;
    let remote = piece(shape, chosen, &PEER);
    let data = piece(shape >> 4, chosen, &[]);
    let options = piece(shape >> 8, chosen >> 1, &[]);
    let valid = remote.valid && is_address(&remote.bytes) && data.valid && options.valid;
    Information {
        raw: RXCE_CONNECTION_INFORMATION {
            UserDataLength: data.length,
            UserData: data.start,
            OptionsLength: options.length,
            Options: options.start,
            RemoteAddressLength: remote.length,
            RemoteAddress: remote.start,
        },
        _pieces: [remote.bytes, data.bytes, options.bytes],
        valid,
    }
}

/// An MDL chain with the memory that it describes.
pub(super) struct Chain {
    pub(super) elements: Vec<Buffer>,
    /// Bytes of all elements.
    pub(super) total: u32,
    /// Elements of no bytes.
    pub(super) empty: usize,
    /// It runs in a circle, of no bytes.
    circular: bool,
}

impl Chain {
    pub(super) fn mdl(&self) -> PMDL {
        self.elements.first().map_or(ptr::null_mut(), Buffer::mdl)
    }

    /// Whether a send of `length` may be accepted; a provider may still refuse one of no bytes.
    pub(super) fn fits(&self, options: u32, length: u32) -> bool {
        if options & engine::SEND_PARTIAL != 0 {
            length > 0 && length <= self.total
        } else {
            length == self.total && !self.circular
        }
    }
}

/// A chain of a shape; `sizes` chooses the lengths of its elements.
pub(super) fn chain(shape: u8, sizes: u32) -> Option<Chain> {
    let [low, high, more, _] = sizes.to_le_bytes().map(usize::from);
    let one = low.saturating_add(1);
    let lengths: Vec<usize> = match shape & 15 {
        0 => Vec::new(),
        1 | 9 => vec![one],
        2 => vec![one.saturating_add(high << 8)],
        3 => vec![one, high.saturating_add(1)],
        4 => vec![1, one, more.saturating_add(1)],
        5 => vec![1; 60],
        6 => vec![one, 0],
        7 => vec![0, one, 0],
        8 => vec![0, 0],
        10 => vec![0],
        _ => vec![10, 1, 300],
    };
    let mut elements: Vec<Buffer> = Vec::new();
    let mut total = 0_u32;
    for &length in &lengths {
        let element = Buffer::new(&vec![UNWRITTEN; length.max(1)])?;
        if length == 0 {
            // SAFETY: The MDL is the element's, and nobody uses it yet.
            unsafe { (*element.mdl()).ByteCount = 0 };
        }
        total = total.saturating_add(u32::try_from(length).unwrap_or_default());
        if let Some(last) = elements.last() {
            last.chain(element.mdl());
        }
        elements.push(element);
    }
    let circular = shape & 15 == 8;
    if let (true, Some(first), Some(last)) = (circular, elements.first(), elements.last()) {
        last.chain(first.mdl());
    }
    Some(Chain {
        elements,
        total,
        empty: lengths.iter().filter(|&&length| length == 0).count(),
        circular,
    })
}

/// A length that has to do with a chain's.
pub(super) const fn length(rule: u32, total: u32) -> u32 {
    match rule & 7 {
        4 => total.wrapping_sub(1),
        5 => total.wrapping_add(1),
        6 => 0,
        7 => rule,
        _ => total,
    }
}
