//! The driver package, made on any host: [`inf`] reads, [`mod@stamp`] fills in and [`mod@lint`] checks the INF, [`catalogue`] lists the
//! hashes of the files, [`sign`] signs with a test key, [`folder`] puts it all in place, or nothing, [`vm`] adds what a
//! VM needs besides.

pub mod catalogue;
pub mod folder;
pub mod inf;
pub mod lint;
pub mod sign;
pub mod stamp;
pub mod vm;
