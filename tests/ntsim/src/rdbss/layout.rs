//! Structures that RDBSS and a mini-redirector share, by the offsets of the public headers (Vista generation).
//!
//! Only members that are read or written here have a name. Nothing is said of `MRX_FCB`: no published page gives its
//! offsets, and its head has grown from release to release.

use crate::mem::Place;

/// Declares a view of a structure: `offset name: type`.
macro_rules! view {
    ($(#[$meta:meta])* $name:ident, size $size:literal {
        $($(#[$field_meta:meta])* $offset:literal $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) struct $name(pub(super) usize);

        impl $name {
            pub(super) const SIZE: usize = $size;

            $($(#[$field_meta])*
            pub(super) const fn $field(self) -> Place<$type> {
                const { assert!($offset + size_of::<$type>() <= $size) };
                Place::at(self.0 + $offset)
            })*
        }
    };
}

/// Node type codes.
pub(super) mod node {
    pub(in crate::rdbss) const FOBX: u16 = 0xEB07;
    pub(in crate::rdbss) const RX_CONTEXT: u16 = 0xEB08;
    pub(in crate::rdbss) const SRV_CALL: u16 = 0xEB10;
    pub(in crate::rdbss) const NET_ROOT: u16 = 0xEB11;
    pub(in crate::rdbss) const V_NET_ROOT: u16 = 0xEB12;
    pub(in crate::rdbss) const SRV_OPEN: u16 = 0xEB1C;
    pub(in crate::rdbss) const STORAGE_UNKNOWN: u16 = 0xEC00;
    pub(in crate::rdbss) const STORAGE_DIRECTORY: u16 = 0xEC02;
    pub(in crate::rdbss) const DEVICE_FCB: u16 = 0xEB9A;
    pub(in crate::rdbss) const MINIRDR_DISPATCH: u16 = 0xEBFF;
}

view! {
    /// MINIRDR_DISPATCH; the callbacks are read by [`super::calldown::Slot`].
    Dispatch, size 0x218 {
        0x000 node_type: u16,
        0x002 node_size: i16,
        0x004 flags: u32,
        0x008 srv_call_size: u32,
        0x00C net_root_size: u32,
        0x010 v_net_root_size: u32,
        0x018 srv_open_size: u32,
        0x01C fobx_size: u32,
        0x210 scavenger_timeout: u32,
    }
}

/// MRxFlags: RDBSS allocates the extension with the object.
pub(super) mod manage {
    pub(in crate::rdbss) const SRV_CALL: u32 = 0x1;
    pub(in crate::rdbss) const NET_ROOT: u32 = 0x2;
    pub(in crate::rdbss) const V_NET_ROOT: u32 = 0x4;
    pub(in crate::rdbss) const FCB: u32 = 0x8;
    pub(in crate::rdbss) const SRV_OPEN: u32 = 0x10;
    pub(in crate::rdbss) const FOBX: u32 = 0x20;
}

view! {
    /// RDBSS_DEVICE_OBJECT: a DEVICE_OBJECT, then this. What follows 0x2A0 is RDBSS's own.
    RdbssDevice, size 0x400 {
        0x150 controls: u32,
        0x168 dispatch: usize,
        0x170 name: [u64; 2],
        0x180 provider_priority: u32,
        0x188 mup_handle: usize,
        0x190 provides_unc: u8,
        0x191 provides_mailslots: u8,
        0x1A8 active_fcbs: u32,
        0x1AC active_contexts: u32,
        0x270 asynchronous_requests: i32,
        0x280 state: u32,
        0x284 version: u32,
        0x288 stop_context: usize,
    }
}

view! {
    /// RX_CONTEXT.
    RxContext, size 0x278 {
        0x004 references: u32,
        0x018 major: u8,
        0x019 minor: u8,
        0x01B post_request: u8,
        0x020 real_device: usize,
        0x028 irp: usize,
        0x030 stack: usize,
        0x038 fcb: usize,
        0x040 fobx: usize,
        0x048 srv_open: usize,
        0x058 device: usize,
        0x060 original_thread: usize,
        0x068 last_thread: usize,
        0x0A0 serial_number: u32,
        0x0A8 flags: u32,
        0x0B0 status: i32,
        0x0B8 information: usize,
        0x0E8 cancel_routine: usize,
        // Info.
        0x170 class: u32,
        0x178 buffer: usize,
        0x180 length_remaining: i32,
        // Create.
        0x190 desired_access: u32,
        0x198 allocation_size: i64,
        0x1A0 file_attributes: u32,
        0x1A4 share_access: u32,
        0x1A8 disposition: u32,
        0x1AC create_options: u32,
        0x1B0 security_context: usize,
        0x1D0 create_information: u32,
        0x1E8 create_srv_call: usize,
        0x1F0 create_net_root: usize,
        0x1F8 create_v_net_root: usize,
        0x200 ea_buffer: usize,
        0x208 ea_length: u32,
        0x223 tree_connect: u8,
        // QueryDirectory, in the same place.
        0x190 file_index: u32,
        0x194 restart_scan: u8,
        0x195 single_entry: u8,
        0x196 index_specified: u8,
        0x197 initial_query: u8,
        // LowIoContext, in the same place.
        0x198 low_io_operation: u16,
        0x1A0 low_io_completion: usize,
        0x1B8 io_flags: u32,
        0x1C0 io_mdl: usize,
        0x1C8 io_offset: i64,
        0x1D0 io_count: u32,
        0x1D4 io_key: u32,
        0x1BC control_code: u32,
        0x1C0 input_length: u32,
        0x1C8 input: usize,
        0x1D0 output_length: u32,
        0x1D8 output: usize,
        0x1E0 control_minor: u8,
    }
}

view! {
    /// MRX_SRV_CALL.
    SrvCall, size 0x48 {
        0x08 context: usize,
        0x18 device: usize,
        0x20 name: usize,
        0x38 flags: u32,
        0x3C close_delayed: i32,
        0x40 status: i32,
    }
}

view! {
    /// MRX_NET_ROOT.
    MrxNetRoot, size 0x78 {
        0x08 srv_call: usize,
        0x10 context: usize,
        0x2D kind: u8,
        0x30 device_type: u32,
        0x38 name: usize,
    }
}

view! {
    /// MRX_V_NET_ROOT.
    MrxVNetRoot, size 0x60 {
        0x08 net_root: usize,
        0x10 context: usize,
        0x2C logon_id: [u32; 2],
        0x54 construction_status: i32,
    }
}

view! {
    /// MRX_SRV_OPEN.
    MrxSrvOpen, size 0x70 {
        0x08 fcb: usize,
        0x10 v_net_root: usize,
        0x18 context: usize,
        0x30 name: usize,
        0x38 unclean_fobxs: i32,
        0x3C opens: i32,
        0x48 desired_access: u32,
        0x4C share_access: u32,
        0x50 create_options: u32,
    }
}

view! {
    /// MRX_FOBX.
    MrxFobx, size 0x48 {
        0x08 srv_open: usize,
        0x10 file: usize,
        0x18 context: usize,
        0x30 template: [u64; 2],
    }
}

view! {
    /// MRX_SRVCALLDOWN_STRUCTURE with its one MRX_SRVCALL_CALLBACK_CONTEXT.
    SrvCalldown, size 0x80 {
        0x00 finish_event: [u64; 3],
        0x28 context: usize,
        0x30 srv_call: usize,
        0x38 call_back: usize,
        0x44 remaining: u32,
        0x48 to_wait: u32,
        0x58 callback_structure: usize,
        0x68 callback_device: usize,
        0x70 callback_status: i32,
        0x78 callback_recommunicate: usize,
    }
}

impl SrvCalldown {
    /// Where its callback context is.
    pub(super) const CONTEXT: usize = 0x58;
}

view! {
    /// MRX_CREATENETROOT_CONTEXT.
    CreateNetRoot, size 0x60 {
        0x00 context: usize,
        0x08 v_net_root: usize,
        0x10 finish_event: [u64; 3],
        0x28 v_net_root_status: i32,
        0x2C net_root_status: i32,
        0x58 call_back: usize,
    }
}

/// RX_CONTEXT_FLAG_ bits.
pub(super) mod flag {
    pub(in crate::rdbss) const WAIT: u32 = 0x2;
    pub(in crate::rdbss) const IN_FSP: u32 = 0x200;
    pub(in crate::rdbss) const ASYNC_OPERATION: u32 = 0x1000;
}

/// A node begins with its type and its size in bytes.
pub(super) fn write_header(at: usize, node_type: u16, bytes: usize) {
    Place::at(at).set(node_type);
    Place::at(at + 2).set(i16::try_from(bytes).unwrap_or(0));
}
