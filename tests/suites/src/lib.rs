//! Suites that drive the built drivers in ntsim.

pub mod bench;
