//! TRANSPORT_ADDRESS structures (spec tdi.md §2.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// TDI_ADDRESS_TYPE_IP.
const TYPE_IP: u16 = 2;
/// TDI_ADDRESS_TYPE_IP6.
const TYPE_IP6: u16 = 23;

/// Reads the first IP address of a TRANSPORT_ADDRESS.
pub fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let count = i32::from_le_bytes(*bytes.first_chunk::<4>()?);
    let mut rest = bytes.get(4..)?;
    for _ in 0..count {
        let length = usize::from(u16::from_le_bytes(*rest.first_chunk::<2>()?));
        let kind = u16::from_le_bytes(*rest.get(2..4)?.first_chunk::<2>()?);
        let data = rest.get(4..4 + length)?;
        match kind {
            TYPE_IP if length >= 14 => {
                let port = u16::from_be_bytes(*data.first_chunk::<2>()?);
                let ip = Ipv4Addr::from(*data.get(2..6)?.first_chunk::<4>()?);
                return Some(SocketAddr::from((ip, port)));
            }
            TYPE_IP6 if length >= 26 => {
                let port = u16::from_be_bytes(*data.first_chunk::<2>()?);
                let ip = Ipv6Addr::from(*data.get(6..22)?.first_chunk::<16>()?);
                let scope = u32::from_le_bytes(*data.get(22..26)?.first_chunk::<4>()?);
                return Some(SocketAddrV6::new(ip, port, 0, scope).into());
            }
            _ => rest = rest.get(4 + length..)?,
        }
    }
    None
}

/// Writes a TRANSPORT_ADDRESS with one address.
pub fn encode(address: &SocketAddr) -> Vec<u8> {
    let mut bytes = 1_i32.to_le_bytes().to_vec();
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend([14, 0, 2, 0]);
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend([26, 0, 23, 0]);
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend(v6.flowinfo().to_le_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_le_bytes());
        }
    }
    bytes
}

/// Whether traffic to this address stays on the machine: the only kind that the bench allows.
pub fn is_loopback(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["127.0.0.1:564", "[::1]:9999", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().expect("a literal address");
            assert_eq!(parse(&encode(&address)), Some(address));
        }
        assert_eq!(
            encode(&"1.2.3.4:5".parse().expect("a literal address")).len(),
            22
        );
        assert_eq!(
            encode(&"[::1]:5".parse().expect("a literal address")).len(),
            34
        );
    }

    #[test]
    fn truncated_and_lying_addresses_are_refused() {
        let good = encode(&"127.0.0.1:564".parse().expect("a literal address"));
        for length in 0..good.len() {
            assert_eq!(
                parse(good.get(..length).unwrap_or_default()),
                None,
                "{length} bytes"
            );
        }
        let mut lying = good;
        lying.splice(4..6, [0xff, 0xff]);
        assert_eq!(parse(&lying), None);
    }
}
