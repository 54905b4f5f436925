//! The folder for a Windows VM: a package, test clients signed with its key, programs and scripts (docs/windows-vm.md).

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    folder::{read, replace, verify, write},
    sign::Signer,
};

/// What goes to the VM.
pub struct Vm {
    /// A package that was made with the same key.
    pub package: PathBuf,
    /// Drivers that import from the product; the kernel wants them signed.
    pub clients: Vec<PathBuf>,
    /// Programs, which are copied as they are.
    pub programs: Vec<PathBuf>,
    /// The folder of the scripts.
    pub scripts: PathBuf,
    /// The date of the signatures, in seconds since 1970.
    pub time: u64,
}

/// Makes the folder, in place of what is there. On failure `folder` is as it was.
///
/// # Errors
///
/// Something of it is missing, signing or verifying fails, the disk is full.
pub fn make(vm: &Vm, folder: &Path, signer: &Signer) -> Result<()> {
    verify(&vm.package, signer)?;
    replace(folder, |part| {
        copy_all(&vm.package, &part.join("package"))?;
        copy_all(&vm.scripts, &part.join("scripts"))?;
        let clients = part.join("clients");
        create(&clients)?;
        for file in &vm.clients {
            let copy = copy_into(file, &clients)?;
            signer.sign(&copy, vm.time)?;
            signer
                .verify(&copy)
                .with_context(|| format!("the signature of {} does not hold", file.display()))?;
        }
        for file in &vm.programs {
            copy_into(file, &clients)?;
        }
        Ok(())
    })
}

/// Copies the files of a folder, which holds nothing but files.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    create(to)?;
    let mut count = 0;
    let entries = fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    for entry in entries {
        copy_into(&entry?.path(), to)?;
        count += 1;
    }
    ensure!(count > 0, "{} is empty", from.display());
    Ok(())
}

fn copy_into(file: &Path, folder: &Path) -> Result<PathBuf> {
    let name = file
        .file_name()
        .with_context(|| format!("{} is no file", file.display()))?;
    let copy = folder.join(name);
    write(&copy, &read(file)?)?;
    Ok(copy)
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))
}
