//! 9P2000.L messages, encoded and decoded without I/O.
//!
//! The client half of the protocol: requests are written into a caller's buffer, replies are read in place from a
//! received message, and [`Assembler`] finds the reply in a byte stream that arrives in arbitrary pieces. Nothing
//! allocates, blocks or panics, whatever the server sends, so that a kernel driver can use it at any IRQL.
//!
//! Source: the protocol descriptions published with diod (`protocol.md`) and the Plan 9 manual, section 5.
//!
//! ```
//! use p9::{NOTAG, Reply, Request, VERSION};
//!
//! let mut buffer = [0; 64];
//! let message = Request::Version { msize: 8192, version: VERSION }.encode(NOTAG, &mut buffer)?;
//! assert_eq!(message.len(), 21);
//!
//! let mut answer = [0; 64];
//! let answer = Reply::Version { msize: 4096, version: VERSION }.encode(NOTAG, &mut answer)?;
//! let (tag, reply) = Reply::decode(answer)?;
//! assert_eq!((tag, reply), (NOTAG, Reply::Version { msize: 4096, version: VERSION }));
//! # Ok::<(), p9::Error>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod assemble;
mod dir;
mod error;
mod fids;
mod header;
mod path;
mod reply;
mod request;
mod splitter;
mod types;
pub mod wire;

pub use assemble::{Assembler, Next, Step};
pub use dir::{DirEntry, Entries};
pub use error::Error;
pub use fids::FidPool;
pub use header::{HEADER_LEN, Header, Kind, READ_OVERHEAD};
pub use path::{MAX_WALK, Path, Steps};
pub use reply::{Qids, Reply};
pub use request::Request;
pub use splitter::{Split, Splitter};
pub use types::{
    Attr, FileKind, NOFID, NONUNAME, NOTAG, Qid, Statfs, Time, VERSION, errno, getattr, open,
};
