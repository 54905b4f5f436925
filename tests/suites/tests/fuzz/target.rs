//! The targets: which steps their programs are made of, and how strange these are.

use conform_ioctl::{FuzzCount, Operation};

/// A way to write programs: each operation with its weight.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// What must happen at least once per program, on average.
    pub(crate) needs: &'static [FuzzCount],
    pub(crate) life: &'static [(Operation, u32)],
    pub(crate) weights: &'static [(Operation, u32)],
    /// In 100: how often a choice of a structure is a pointer to something else.
    pub(crate) strange: u8,
    /// Whether the client begins by wanting more data, and the transport by holding sends.
    pub(crate) eager: bool,
    /// Fewest steps after the set-up.
    pub(crate) least: usize,
    /// In 100: how often arguments are not the ordinary ones.
    pub(crate) odd: u8,
}

use Operation as O;

/// Structures that are built, torn down and used.
const LIFE: &[(O, u32)] = &[
    (O::BuildTransport, 3),
    (O::BuildAddress, 3),
    (O::BuildConnection, 4),
    (O::BuildVc, 6),
    (O::Initiate, 6),
    (O::TearDownVc, 6),
    (O::TearDownConnection, 3),
    (O::TearDownAddress, 3),
    (O::TearDownTransport, 3),
    (O::Send, 8),
    (O::SendDatagram, 4),
    (O::Query, 4),
    (O::Wait, 2),
];

/// The same for targets that need circuits which live for a while.
const LONG_LIFE: &[(O, u32)] = &[
    (O::BuildVc, 4),
    (O::Initiate, 1),
    (O::TearDownVc, 2),
    (O::Send, 8),
    (O::SendDatagram, 4),
    (O::Query, 2),
    (O::Wait, 2),
];

/// All targets.
pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "pointers",
        needs: &[FuzzCount::Admitted, FuzzCount::Refused],
        life: LIFE,
        weights: &[
            (O::Change, 12),
            (O::Repair, 6),
            (O::QueryTransport, 3),
            (O::QueryAdapter, 3),
            (O::BuildOverMultiple, 3),
            (O::Level, 4),
            (O::CancelConnect, 1),
            (O::Script, 2),
        ],
        strange: 30,
        eager: false,
        least: 4,
        odd: 3,
    },
    Target {
        name: "arguments",
        needs: &[FuzzCount::Admitted, FuzzCount::Refused],
        life: LIFE,
        weights: &[
            (O::BuildAddress, 10),
            (O::BuildConnection, 6),
            (O::BuildTransport, 4),
            (O::Send, 10),
            (O::SendDatagram, 10),
            (O::Query, 8),
            (O::QueryAdapter, 2),
            (O::Answer, 4),
            (O::BuildOverMultiple, 4),
            (O::AllocateIrp, 4),
            (O::FreeIrp, 4),
            (O::Level, 4),
        ],
        strange: 3,
        eager: false,
        least: 4,
        odd: 45,
    },
    Target {
        name: "transport",
        needs: &[FuzzCount::Callbacks, FuzzCount::Indications],
        life: LONG_LIFE,
        weights: &[
            (O::Script, 14),
            (O::Provider, 5),
            (O::Answer, 3),
            (O::Receive, 10),
            (O::Disconnect, 8),
            (O::Error, 3),
            (O::Datagram, 6),
            (O::SendPossible, 3),
            (O::Complete, 16),
            (O::QueryAdapter, 2),
            (O::BuildOverMultiple, 3),
            (O::Client, 3),
        ],
        strange: 2,
        eager: false,
        least: 16,
        odd: 15,
    },
    Target {
        name: "data",
        needs: &[
            FuzzCount::Callbacks,
            FuzzCount::Indications,
            FuzzCount::Completions,
            FuzzCount::Rooms,
        ],
        life: LONG_LIFE,
        weights: &[
            (O::Client, 20),
            (O::Receive, 30),
            (O::Datagram, 12),
            (O::Complete, 25),
            (O::Script, 5),
            (O::Disconnect, 3),
            (O::Fault, 4),
        ],
        strange: 1,
        eager: true,
        least: 16,
        odd: 10,
    },
    Target {
        name: "everything",
        needs: &[
            FuzzCount::Admitted,
            FuzzCount::Refused,
            FuzzCount::Callbacks,
            FuzzCount::Indications,
        ],
        life: LIFE,
        weights: &[
            (O::Script, 8),
            (O::Provider, 3),
            (O::Answer, 3),
            (O::Receive, 8),
            (O::Disconnect, 6),
            (O::Error, 3),
            (O::Datagram, 5),
            (O::SendPossible, 2),
            (O::Complete, 10),
            (O::QueryAdapter, 2),
            (O::QueryTransport, 1),
            (O::BuildOverMultiple, 5),
            (O::Client, 8),
            (O::Change, 4),
            (O::Repair, 4),
            (O::Level, 6),
            (O::Fault, 6),
            (O::AllocateIrp, 2),
            (O::FreeIrp, 2),
        ],
        strange: 8,
        eager: false,
        least: 16,
        odd: 20,
    },
];
