//! `cargo xtask test`: everything that can be known on this host, counted.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    command, drivers, image, peers,
    setup::{self, Purpose},
    tally::Tally,
    toolchain, wdk_crates, workspace,
};

/// How long a test program may be silent before it counts as hanging.
const SILENCE: Duration = Duration::from_secs(240);

/// Runs everything.
pub(crate) fn run() -> Result<ExitCode> {
    let started = Instant::now();
    let mut tally = Tally::default();
    title("set-up");
    setup::ensure(Purpose::All)?;
    peers::ensure()?;

    title("format, lints, documentation");
    style(&mut tally);

    title("drivers");
    match drivers::build_all() {
        Ok(()) => tally.pass("every driver builds: x64 debug and release, ARM64 release"),
        Err(error) => tally.fail("every driver builds", &format!("{error:#}")),
    }
    driver_style(&mut tally)?;

    title("images");
    if let Err(error) = image::check_all(&mut tally) {
        tally.fail("image checks", &format!("{error:#}"));
    }
    if let Err(error) = wdk_crates::check_all(&mut tally) {
        tally.fail("wdk crates", &format!("{error:#}"));
    }

    title("tests of the host packages, suites");
    // Compiling is silent where test results are read: it is done before the clock of `cargo_test` runs.
    tally.command(
        "host packages and their tests build",
        cargo().args(["test", "--no-run", "--quiet"]),
    );
    if let Err(error) = ::evidence::clear() {
        tally.fail("figures of an earlier run are gone", &error.to_string());
    }
    cargo_test(&mut tally, "host packages", cargo().arg("test"));
    title("tests of the wdk-build stand-in");
    let stand_in = |more: &[&str]| {
        let mut cargo = cargo();
        cargo
            .args([
                "test",
                "--manifest-path",
                "xwdk/wdk-build/Cargo.toml",
                "--target-dir",
            ])
            .arg(workspace::root().join("target/xwdk-host"))
            .args(more);
        cargo
    };
    tally.command(
        "the stand-in and its tests build",
        &mut stand_in(&["--no-run", "--quiet"]),
    );
    cargo_test(&mut tally, "wdk-build stand-in", &mut stand_in(&[]));

    title("evidence");
    if let Err(error) = crate::evidence::print_sums() {
        tally.fail("figures can be read", &format!("{error:#}"));
    }

    println!("\n{:.0} s", started.elapsed().as_secs_f32());
    Ok(tally.conclude())
}

/// Format, clippy and rustdoc of the host packages.
fn style(tally: &mut Tally) {
    tally.command("format", cargo().args(["fmt", "--all", "--check"]));
    tally.command(
        "format of the wdk-build stand-in",
        cargo().args([
            "fmt",
            "--manifest-path",
            "xwdk/wdk-build/Cargo.toml",
            "--check",
        ]),
    );
    tally.command(
        "clippy, host packages",
        cargo().args(["clippy", "--quiet", "--all-targets", "--", "-Dwarnings"]),
    );
    tally.command(
        "rustdoc, host packages",
        cargo()
            .args(["doc", "--quiet", "--no-deps"])
            .env("RUSTDOCFLAGS", "-Dwarnings"),
    );
}

/// Clippy and rustdoc of the driver packages, with the compiler that builds them.
fn driver_style(tally: &mut Tally) -> Result<()> {
    let way = toolchain::choose()?;
    let driver_cargo = |subcommand: &str| {
        let mut cargo = toolchain::cargo(way, subcommand);
        cargo.args(["--quiet", "--target", drivers::Architecture::X64.target()]);
        for package in drivers::PACKAGES
            .iter()
            .chain(&["client-nt", "rxce-client"])
        {
            cargo.args(["--package", package]);
        }
        cargo
    };
    if toolchain::has_clippy(way) {
        tally.command(
            "clippy, driver packages",
            driver_cargo("clippy").args(["--", "-Dwarnings"]),
        );
    } else {
        println!(
            "NOT RUN clippy, driver packages: the compiler that builds drivers comes without clippy"
        );
    }
    tally.command(
        "rustdoc, driver packages",
        driver_cargo("doc")
            .arg("--no-deps")
            .env("RUSTDOCFLAGS", "-Dwarnings"),
    );
    Ok(())
}

/// Runs `cargo test` and counts each test. Its output goes on as it comes.
fn cargo_test(tally: &mut Tally, what: &str, command: &mut Command) {
    let (mut passed, mut failed) = (0, 0);
    let status = command::lines(command.arg("--no-fail-fast"), SILENCE, |line| {
        println!("{line}");
        if let Some((more_passed, more_failed)) = test_result(line) {
            passed += more_passed;
            failed += more_failed;
        }
    });
    tally.passed += passed;
    tally.failed += failed;
    match status {
        Err(error) => tally.fail(what, &error.to_string()),
        Ok(_) if passed == 0 && failed == 0 => tally.fail(what, "no test was run"),
        Ok(status) if failed == 0 && !status.success() => {
            tally.fail(what, &format!("no test failed, but cargo did ({status})"));
        }
        Ok(_) => {}
    }
}

/// Reads a summary of libtest or of a harness that writes like it: `test result: ok. 5 passed; 0 failed; …`.
fn test_result(line: &str) -> Option<(usize, usize)> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<usize> {
        let before = counts.split(word).next()?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

/// The cargo that runs this program, in the workspace.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace::root());
    cargo
}

fn title(text: &str) {
    println!("\n== {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(test_result(line), Some((12, 3)));
        assert_eq!(test_result("test foo ... ok"), None);
    }

    #[test]
    fn a_failure_makes_the_exit_code_a_failure() {
        let mut tally = Tally::default();
        tally.pass_quietly();
        assert_eq!(tally.conclude(), ExitCode::SUCCESS);
        tally.fail("x", "y");
        assert_eq!(tally.conclude(), ExitCode::FAILURE);
    }
}
