//! Stand-in for `wdk-build` where there is no Windows Driver Kit.
//!
//! `wdk-sys`, `wdk`, `wdk-alloc`, `wdk-panic` and a driver's `build.rs` call `wdk-build` to find headers and libraries. Upstream
//! `wdk-build` refuses to compile on a host other than Windows. This crate has its name, its major version and the part of its
//! interface those callers use; it takes headers from mingw-w64 and makes the import libraries itself. It is put in place by a
//! cargo config file, so a Windows checkout never sees it.
//!
//! Only WDM drivers are supported; a KMDF or UMDF configuration is an error that says so.
//!
//! One file per question:
//!
//! - [`Config`]: what is built, for whom (`config`)
//! - where headers come from (`headers`)
//! - how bindgen reads them (`bindgen`)
//! - import libraries (`library`)
//! - what goes wrong (`error`)

mod bindgen;
mod config;
mod error;
mod headers;
mod library;

pub use bindgen::BuilderExt;
pub use config::{
    ApiSubset, Config, CpuArchitecture, DriverConfig, KmdfConfig, UmdfConfig,
    configure_wdk_binary_build, configure_wdk_library_build, configure_wdk_library_build_and_then,
    find_top_level_cargo_manifest,
};
pub use error::{ConfigError, IoError, IoErrorMetadata};
