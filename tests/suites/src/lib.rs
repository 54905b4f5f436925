//! Suites that drive the built drivers in ntsim.

pub mod bench;
pub mod conform;
pub mod diod;
pub mod machine;
pub mod mount;
pub mod page;
pub mod system;
pub mod watchdog;
