//! Wine as a second kernel: it loads driver images, installs INFs and moves requests with code that is not this project's.
//!
//! A [`Session`] is a throw-away prefix with a server of its own; [`image::onto_shim`] makes the copy of a driver that imports from
//! `ntosshim.sys`, which does what Wine's kernel lacks. docs/wine.md says what such runs prove, and what not.
//!
//! ```text
//! wine      where Wine is installed
//! session   a prefix, its server, programs with a time limit
//! service   what the service manager of a session is told
//! image     copies of drivers that import from the shim
//! ```

pub mod image;
mod service;
mod session;
mod wine;

pub use service::State;
pub use session::{Finished, Session};
pub use wine::Wine;
