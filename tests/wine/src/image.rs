//! Copies of driver images that import from the shim instead of Wine's kernel.

use anyhow::{Result, ensure};

/// What drivers import from, and what stands for it here. The names are equally long.
const KERNEL: &[u8; 13] = b"ntoskrnl.exe\0";
const SHIM: &[u8; 13] = b"ntosshim.sys\0";

/// The file name of the shim.
pub const SHIM_NAME: &str = "ntosshim.sys";

/// A copy of an image that differs in one name: that of the kernel it imports from. The original stays as it is; a signature does not
/// fit the copy, which Wine does not mind.
///
/// # Errors
///
/// The image does not name the kernel exactly once.
pub fn onto_shim(image: &[u8]) -> Result<Vec<u8>> {
    let places: Vec<usize> = image
        .windows(KERNEL.len())
        .enumerate()
        .filter(|(_, window)| window == KERNEL)
        .map(|(at, _)| at)
        .collect();
    ensure!(
        places.len() == 1,
        "the image names the kernel it imports from {} times, not once",
        places.len()
    );
    let mut copy = image.to_vec();
    for at in places {
        if let Some(name) = copy.get_mut(at..at + SHIM.len()) {
            name.copy_from_slice(SHIM);
        }
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_changes_and_nothing_else() -> Result<()> {
        assert_eq!(
            onto_shim(b"MZ ntoskrnl.exe\0 rest")?,
            b"MZ ntosshim.sys\0 rest"
        );
        Ok(())
    }

    #[test]
    fn an_image_without_the_name_or_with_two_is_refused() {
        assert!(onto_shim(b"MZ hal.dll\0").is_err());
        assert!(onto_shim(b"ntoskrnl.exe\0ntoskrnl.exe\0").is_err());
    }
}
