//! The addresses of hosts.

use alloc::format;
use core::ptr;

use rxcectl::Problem;
use windows_sys::Win32::Networking::WinSock::{
    ADDRINFOW, AF_INET, FreeAddrInfoW, GetAddrInfoW, SOCKADDR_IN, WSACleanup, WSADATA, WSAStartup,
};

use crate::text::wide;

/// Version 2.2 of Windows Sockets.
const VERSION: u16 = 0x0202;

/// The first IPv4 address of a host.
pub(crate) fn resolve(host: &str) -> Result<[u8; 4], Problem> {
    // What is an address needs no resolver.
    if let Ok(address) = host.parse::<core::net::Ipv4Addr>() {
        return Ok(address.octets());
    }
    let unknown = |error| {
        Problem::failed(format!(
            "cannot find the host {host} (Windows error {error})"
        ))
    };
    let mut data = WSADATA::default();
    // SAFETY: The structure is ours.
    let started = unsafe { WSAStartup(VERSION, &raw mut data) };
    if started != 0 {
        return Err(unknown(started));
    }
    let found = look_up(host).map_err(unknown);
    // SAFETY: Started above; nothing of it is used any more.
    unsafe { WSACleanup() };
    found
}

fn look_up(host: &str) -> Result<[u8; 4], i32> {
    let hints = ADDRINFOW {
        ai_family: AF_INET.into(),
        ..ADDRINFOW::default()
    };
    let mut list = ptr::null_mut();
    // SAFETY: The name ends with a zero; hints and list are ours.
    let result = unsafe {
        GetAddrInfoW(
            wide(host).as_ptr(),
            ptr::null(),
            &raw const hints,
            &raw mut list,
        )
    };
    if result != 0 {
        return Err(result);
    }
    // SAFETY: A success is a list with an entry at least.
    let entry = unsafe { &*list };
    let address = entry.ai_addr.cast::<SOCKADDR_IN>();
    // SAFETY: An entry of the family asked for.
    let address = unsafe { &*address };
    // SAFETY: Every form of the union is the same four bytes.
    let address = unsafe { address.sin_addr.S_un.S_addr };
    // SAFETY: Returned above, freed once.
    unsafe { FreeAddrInfoW(list) };
    // Network order in memory.
    Ok(address.to_ne_bytes())
}
