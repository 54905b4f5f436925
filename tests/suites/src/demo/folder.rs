//! A folder of real files. It goes with its owner.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
};

use anyhow::{Context as _, Result};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use super::interrupt;

/// Name of the big file.
pub(crate) const BIG_FILE: &str = "big.bin";
const MIB: usize = 1 << 20;

/// Makes the folder: a big file of pseudo-random bytes, some small ones, a subdirectory.
pub(crate) fn make_folder(size_mib: u64, seed: u64) -> Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("rxce-demo-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    let fill = || -> Result<()> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut big = BufWriter::new(File::create(folder.path().join(BIG_FILE))?);
        let mut block = vec![0; MIB];
        for _ in 0..size_mib {
            interrupt::check()?;
            random.fill_bytes(&mut block);
            big.write_all(&block)?;
        }
        // Not a multiple of any block size.
        big.write_all(&block[..4321])?;
        big.flush()?;
        fs::write(
            folder.path().join("hello.txt"),
            "Hello from a real 9P server.\n",
        )?;
        fs::write(folder.path().join("empty"), "")?;
        fs::write(folder.path().join("näme with spaces.txt"), "UTF-8\n")?;
        let sub = folder.path().join("subdirectory");
        fs::create_dir(&sub)?;
        fs::write(sub.join("inside.txt"), "inside\n")?;
        Ok(())
    };
    fill().with_context(|| format!("cannot fill {}", folder.path().display()))?;
    Ok(folder)
}
