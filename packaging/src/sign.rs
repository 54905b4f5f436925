//! Signing with a test key, by `openssl` and `osslsigncode`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// What the certificate says of itself, in the form `openssl req` reads. Windows wants the key usages.
const REQUEST: &str = "\
[req]
distinguished_name=dn
x509_extensions=v3
prompt=no
string_mask=utf8only
[dn]
CN=rxce test signing
O=The rxce authors
[v3]
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,codeSigning
subjectKeyIdentifier=hash
";

const KEY: &str = "rxce-test.key";
const CERTIFICATE: &str = "rxce-test.pem";

/// A test key and its certificate, in a directory of their own.
pub struct Signer {
    directory: PathBuf,
}

impl Signer {
    /// Opens the key in `directory`; makes one if there is none.
    ///
    /// # Errors
    ///
    /// `openssl` is missing or fails; the certificate has expired.
    pub fn open(directory: &Path) -> Result<Self> {
        if !directory.join(KEY).is_file() {
            generate(directory)?;
        }
        let signer = Self {
            directory: directory.to_path_buf(),
        };
        let mut check = Command::new("openssl");
        check
            .args(["x509", "-checkend", "0", "-noout", "-in"])
            .arg(signer.certificate());
        run(&mut check).with_context(|| {
            format!(
                "the test certificate has expired or is damaged: remove {} and a new one is made",
                directory.display()
            )
        })?;
        Ok(signer)
    }

    fn certificate(&self) -> PathBuf {
        self.directory.join(CERTIFICATE)
    }

    /// The certificate as Windows imports it.
    ///
    /// # Errors
    ///
    /// `openssl` fails.
    pub fn export(&self, to: &Path) -> Result<()> {
        run(Command::new("openssl")
            .args(["x509", "-outform", "DER", "-in"])
            .arg(self.certificate())
            .arg("-out")
            .arg(to))
    }

    /// Signs an image or a catalogue in its place.
    ///
    /// # Errors
    ///
    /// `osslsigncode` is missing or fails.
    pub fn sign(&self, file: &Path, time: u64) -> Result<()> {
        let signed = file.with_extension("signed");
        run(Command::new("osslsigncode")
            .args(["sign", "-h", "sha256", "-n", "rxce", "-time"])
            .arg(time.to_string())
            .arg("-certs")
            .arg(self.certificate())
            .arg("-key")
            .arg(self.directory.join(KEY))
            .arg("-in")
            .arg(file)
            .arg("-out")
            .arg(&signed))?;
        fs::rename(&signed, file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Verifies the signature in an image or a catalogue.
    ///
    /// # Errors
    ///
    /// It is not this certificate's, or the file was changed.
    pub fn verify(&self, file: &Path) -> Result<()> {
        run(self.verification().arg("-in").arg(file))
    }

    /// Verifies that a signed catalogue lists an image.
    ///
    /// # Errors
    ///
    /// It does not, or is not signed with this certificate.
    pub fn verify_listed(&self, image: &Path, catalogue: &Path) -> Result<()> {
        run(self
            .verification()
            .arg("-catalog")
            .arg(catalogue)
            .arg("-in")
            .arg(image))
    }

    fn verification(&self) -> Command {
        let mut command = Command::new("osslsigncode");
        command.args(["verify", "-CAfile"]).arg(self.certificate());
        command
    }
}

/// Makes a key and a certificate for ten years: without a time stamp a signature ends with its certificate.
fn generate(directory: &Path) -> Result<()> {
    let failed = || format!("cannot make a test key in {}", directory.display());
    let part = directory.with_extension(format!("part{}", std::process::id()));
    fs::create_dir_all(&part).with_context(failed)?;
    let made = generate_in(&part).and_then(|()| {
        if directory.is_dir() {
            bail!("{} is there, but holds no key", directory.display());
        }
        fs::rename(&part, directory).with_context(failed)
    });
    if made.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&part);
    }
    made
}

fn generate_in(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    let request = directory.join("request.cnf");
    fs::write(&request, REQUEST)?;
    run(Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:3072", "-sha256", "-nodes", "-days", "3650", "-config",
        ])
        .arg(&request)
        .arg("-keyout")
        .arg(directory.join(KEY))
        .arg("-out")
        .arg(directory.join(CERTIFICATE)))
}

/// Runs a program; what it wrote is told only if it fails.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
