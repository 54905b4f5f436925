//! Which server and which tree a path names (docs/redirector.md).

use crate::status::{BAD_NETWORK_NAME, BAD_NETWORK_PATH, Status};

/// The most bytes of a tree's name.
pub const MOST_ANAME: usize = 1024;

/// A server, and the user it is to be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// The user's number, if the name has one.
    pub uid: Option<u32>,
    /// IPv4 address.
    pub ip: [u8; 4],
    /// TCP port.
    pub port: u16,
}

/// Reads `[UID@]HOST@PORT`, perhaps with separators in front.
///
/// # Errors
///
/// `BAD_NETWORK_PATH`: the name is somebody else's.
pub fn server(name: &[u16]) -> Result<Server, Status> {
    parse(trimmed(name)).ok_or(BAD_NETWORK_PATH)
}

fn parse(name: &[u16]) -> Option<Server> {
    let mut parts = name.rsplitn(3, |unit| *unit == u16::from(b'@'));
    let port = u16::try_from(number(parts.next()?)?).ok()?;
    let ip = address(parts.next()?)?;
    let uid = match parts.next() {
        Some(uid) => Some(number(uid)?),
        None => None,
    };
    (port != 0).then_some(Server { uid, ip, port })
}

fn address(text: &[u16]) -> Option<[u8; 4]> {
    let mut parts = text.split(|unit| *unit == u16::from(b'.'));
    let mut ip = [0; 4];
    for byte in &mut ip {
        *byte = u8::try_from(number(parts.next()?)?).ok()?;
    }
    parts.next().is_none().then_some(ip)
}

/// A decimal number of at most ten digits, without leading zeroes: some programs take those for octal.
fn number(digits: &[u16]) -> Option<u32> {
    if digits.len() > 1 && digits.first() == Some(&u16::from(b'0')) {
        return None;
    }
    let mut value = None;
    for unit in digits {
        let digit = char::from_u32(u32::from(*unit))?.to_digit(10)?;
        value = Some(value.unwrap_or(0_u32).checked_mul(10)?.checked_add(digit)?);
    }
    value
}

/// Writes the name of the tree that `SHARE` stands for: `!` is `/`, `!!` is `!`, and a `/` in front goes without saying.
/// Returns its length.
///
/// # Errors
///
/// `BAD_NETWORK_NAME`.
pub fn tree(share: &[u16], output: &mut [u8; MOST_ANAME]) -> Result<usize, Status> {
    write_tree(trimmed(share), output).ok_or(BAD_NETWORK_NAME)
}

fn write_tree(share: &[u16], output: &mut [u8; MOST_ANAME]) -> Option<usize> {
    if share.is_empty() {
        return None;
    }
    let mut length = 0_usize;
    let mut push = |byte: u8| -> Option<()> {
        *output.get_mut(length)? = byte;
        length = length.checked_add(1)?;
        Some(())
    };
    push(b'/')?;
    let mut characters = char::decode_utf16(share.iter().copied()).peekable();
    let mut is_first = true;
    while let Some(character) = characters.next() {
        let character = character.ok()?;
        match character {
            '!' if characters.peek() == Some(&Ok('!')) => {
                characters.next();
                push(b'!')?;
            }
            // The root alone, or a separator in front that was written nevertheless.
            '!' if is_first => {}
            '!' => push(b'/')?,
            '\0' | '/' | '\\' => return None,
            other => {
                for byte in other.encode_utf8(&mut [0; 4]).bytes() {
                    push(byte)?;
                }
            }
        }
        is_first = false;
    }
    Some(length)
}

/// The name without separators in front.
fn trimmed(name: &[u16]) -> &[u16] {
    let start = name.iter().position(|unit| *unit != u16::from(b'\\'));
    start
        .and_then(|start| name.get(start..))
        .unwrap_or_default()
}

/// The last component of a net root's name, which is `\server\share`.
#[must_use]
pub fn share_of(net_root: &[u16]) -> &[u16] {
    net_root
        .rsplit(|unit| *unit == u16::from(b'\\'))
        .next()
        .unwrap_or_default()
}

/// Cuts the share off a path of which `server_length` characters are the server's: the place of `\share`, and of what follows.
#[must_use]
pub fn share_length(path: &[u16], server_length: usize) -> (usize, usize) {
    let separator = u16::from(b'\\');
    let start = server_length.min(path.len());
    let rest = path.get(start..).unwrap_or_default();
    let length = rest
        .iter()
        .skip(1)
        .position(|unit| *unit == separator)
        .map_or(rest.len(), |at| at.saturating_add(1));
    (start, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::{string::String, vec::Vec};

    fn wide(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn servers_are_addresses_with_a_port() {
        let ip = [127, 0, 0, 1];
        let read = |text: &str| server(&wide(text));
        assert_eq!(
            read("\\127.0.0.1@564"),
            Ok(Server {
                uid: None,
                ip,
                port: 564
            })
        );
        assert_eq!(
            read("1000@127.0.0.1@65535"),
            Ok(Server {
                uid: Some(1000),
                ip,
                port: 65_535
            })
        );
        for text in [
            "",
            "\\",
            "fileserver",
            "127.0.0.1",
            "127.0.0.1@",
            "127.0.0.1@0",
            "127.0.0.1@65536",
            "127.0.0@1",
            "127.0.0.1.5@564",
            "127.0.0.256@564",
            "127.0.0.01@564",
            "host@564",
            "@127.0.0.1@564",
            "a@127.0.0.1@564",
            "4294967296@127.0.0.1@564",
            "1@2@127.0.0.1@564",
            "127.0.0.1@５６４",
            "127.0.0.1@+564",
        ] {
            assert_eq!(read(text), Err(BAD_NETWORK_PATH), "{text}");
        }
    }

    #[test]
    fn shares_are_trees_with_other_separators() {
        let read = |text: &str| {
            let mut output = [0; MOST_ANAME];
            tree(&wide(text), &mut output)
                .map(|length| String::from_utf8_lossy(&output[..length]).into_owned())
        };
        for (share, aname) in [
            ("srv!tree", "/srv/tree"),
            ("\\srv", "/srv"),
            ("!", "/"),
            ("!srv", "/srv"),
            ("a!!b!c", "/a!b/c"),
            ("!!", "/!"),
            ("ä ö", "/ä ö"),
        ] {
            assert_eq!(read(share).as_deref(), Ok(aname), "{share}");
        }
        assert_eq!(read(""), Err(BAD_NETWORK_NAME));
        assert_eq!(read("a/b"), Err(BAD_NETWORK_NAME));
        assert_eq!(read(&"x".repeat(MOST_ANAME)), Err(BAD_NETWORK_NAME));
        let mut output = [0; MOST_ANAME];
        assert_eq!(tree(&[0xD800], &mut output), Err(BAD_NETWORK_NAME));
    }

    #[test]
    fn a_net_root_is_the_component_behind_the_server() {
        let path = wide("\\1.2.3.4@5\\share\\dir\\file");
        assert_eq!(share_length(&path, 10), (10, 6));
        assert_eq!(share_length(&path[..16], 10), (10, 6));
        assert_eq!(share_length(&path[..10], 10), (10, 0));
        assert_eq!(share_length(&[], 10), (0, 0));
        assert_eq!(share_of(&path[..16]), wide("share"));
        assert_eq!(share_of(&wide("share")), wide("share"));
    }
}
