//! Where a debugger finds what the engine has built.
//!
//! `debugger/rxce.js` walks from here: it looks for the signature in the image's memory, so it needs no symbols, and knows no
//! offset itself. Nothing of the driver reads this. Another order of the members needs another signature.

use core::{hint, mem::offset_of};

use rxce_engine::{recent, spread};

use super::{address, circuit, counters, peer, registry, registry::pointers, transport};
use crate::abi;

/// Addresses and offsets, all in bytes. The script reads the members in this order, each as eight bytes.
#[repr(C)]
struct Map {
    signature: [u8; 16],
    shards: *const pointers::Shard,
    shard_count: u64,
    shard_bytes: u64,
    /// In a shard.
    first_heads: u64,
    more_heads: u64,
    segments: u64,
    buckets: u64,
    /// In the header of a block.
    kind: u64,
    key: u64,
    next: u64,
    usable: u64,
    /// From a block to the block that it pins.
    address_transport: u64,
    connection_address: u64,
    circuit_connection: u64,
    /// Where blocks count sends, bytes sent, receives and bytes received, in four numbers of eight bytes.
    transport_flow: u64,
    address_flow: u64,
    connection_flow: u64,
    circuit_flow: u64,
    /// A transport's further such numbers, one group for some of its circuits each.
    transport_stripes: u64,
    stripe_count: u64,
    stripe_bytes: u64,
    /// In a stripe, what is not in its numbers yet: sends and their bytes, receives and their bytes, each pair in eight bytes,
    /// of which the bytes take the lower bits.
    stripe_recent: u64,
    recent_byte_bits: u64,
    /// A transport's name: the address of its UTF-16 text, and its length in bytes in two bytes.
    name_text: u64,
    name_bytes: u64,
    /// In the client's `RXCE_VC`, whose address is the key of a circuit's block.
    public_state: u64,
}

// SAFETY: The table is constant; what it points to synchronises itself.
unsafe impl Sync for Map {}

static MAP: Map = Map {
    signature: *b"rxce debug map 2",
    shards: pointers::SHARDS.as_ptr(),
    shard_count: spread::SHARDS as u64,
    shard_bytes: size_of::<pointers::Shard>() as u64,
    first_heads: pointers::FIRST_HEADS as u64,
    more_heads: pointers::MORE_HEADS as u64,
    segments: spread::SEGMENTS as u64,
    buckets: pointers::BUCKETS as u64,
    kind: registry::Header::KIND as u64,
    key: registry::Header::KEY as u64,
    next: registry::Header::NEXT as u64,
    usable: registry::Header::USABLE as u64,
    address_transport: address::Address::TRANSPORT as u64,
    connection_address: peer::Connection::ADDRESS as u64,
    circuit_connection: circuit::Circuit::CONNECTION as u64,
    transport_flow: transport::Transport::FLOW as u64,
    address_flow: address::Address::FLOW as u64,
    connection_flow: peer::Connection::FLOW as u64,
    circuit_flow: circuit::Circuit::FLOW as u64,
    transport_stripes: transport::Transport::STRIPES as u64,
    stripe_count: counters::STRIPES as u64,
    stripe_bytes: counters::STRIPE_BYTES as u64,
    stripe_recent: counters::Stripe::RECENT as u64,
    recent_byte_bits: recent::BYTE_BITS as u64,
    name_text: transport::Transport::NAME_TEXT as u64,
    name_bytes: transport::Transport::NAME_BYTES as u64,
    public_state: offset_of!(abi::Vc, State) as u64,
};

/// Keeps the table in the image: the linker drops what nothing refers to.
pub(crate) fn keep() {
    hint::black_box(&raw const MAP);
}
