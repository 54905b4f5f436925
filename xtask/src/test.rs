//! `cargo xtask test`: everything that can be known on this host, counted.

use std::{
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    artefacts, c_header,
    command::{self, cargo},
    documented, drivers, image, peers, properties, reproduce,
    setup::{self, Purpose},
    tally::Tally,
    toolchain, wdk_crates, workspace,
};

/// How long a test program may be silent before it counts as hanging: longer than any limit of its own, on a slow and busy host.
const SILENCE: Duration = Duration::from_secs(1200);

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

    if let Err(error) = reproduce::check_all(&mut tally) {
        tally.fail("the product can be built again", &format!("{error:#}"));
    }

    title("the C header");
    if let Err(error) = c_header::check_all(&mut tally) {
        tally.fail("the C header", &format!("{error:#}"));
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
    cargo_test(
        &mut tally,
        "host packages",
        properties::fix_seed(cargo().arg("test")),
    );
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

    title("commands of the documentation");
    if let Err(error) = documented::check_all(&mut tally) {
        tally.fail("commands of the documentation", &format!("{error:#}"));
    }

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
        cargo.args(["--quiet", "--target", artefacts::Architecture::X64.target()]);
        for package in artefacts::PACKAGES
            .iter()
            .chain(&["client-nt", artefacts::SHIM, "rxce-client"])
            .chain(artefacts::PROGRAMS.iter().map(|(package, _)| package))
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
    // What needs the WDK's `rdbsslib.lib` can be compiled here, but not linked.
    let mut fixed = toolchain::cargo(way, "check");
    fixed
        .args(["--quiet", "--package", artefacts::PRODUCT])
        .args(["--features", "rdbss-static"])
        .args(["--target", artefacts::Architecture::X64.target()]);
    tally.command("the form with rdbsslib.lib compiles", &mut fixed);
    let mut original = toolchain::cargo(way, "check");
    original
        .args(["--quiet", "--target", artefacts::Architecture::X64.target()])
        .args(["--package", "conform", "--features", "conform/original"]);
    tally.command(
        "conform.sys is sound Rust when it is built for the original engine",
        &mut original,
    );
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
    let mut sums = [0; 3];
    let mut failures = Failures::default();
    let status = command::lines(command.arg("--no-fail-fast"), SILENCE, |line| {
        println!("{line}");
        failures.read(line);
        if let Some(counts) = test_result(line) {
            sums.iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
        }
    });
    let [passed, failed, _] = sums;
    tally.suite(sums, failures.reports);
    match status {
        Err(error) => tally.fail(what, &error.to_string()),
        Ok(_) if passed == 0 && failed == 0 => tally.fail(what, "no test was run"),
        Ok(status) if failed == 0 && !status.success() => {
            tally.fail(what, &format!("no test failed, but cargo did ({status})"));
        }
        Ok(_) => {}
    }
}

/// What test programs write about the tests that failed: from the line `failures:` to their summary.
#[derive(Default)]
struct Failures {
    reports: Vec<String>,
    inside: bool,
}

impl Failures {
    /// Lines of one program that are kept, the last ones: a report can be a whole trace.
    const MOST: usize = 120;

    fn read(&mut self, line: &str) {
        if line == "failures:" && !self.inside {
            self.inside = true;
            self.reports.push(String::new());
        }
        if !self.inside {
            return;
        }
        if let Some(report) = self.reports.last_mut() {
            report.push_str(line);
            report.push('\n');
            if line.starts_with("test result: ") {
                self.inside = false;
                let lines: Vec<&str> = report.lines().collect();
                let cut = lines.len().saturating_sub(Self::MOST);
                *report = lines.get(cut..).unwrap_or_default().join("\n");
            }
        }
    }
}

/// Reads a summary of libtest or of a harness that writes like it: `test result: ok. 5 passed; 0 failed; 1 ignored; …`. Returns the
/// three numbers in this order.
fn test_result(line: &str) -> Option<[usize; 3]> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| -> Option<usize> {
        let before = counts.split(word).next()?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some([count(" passed")?, count(" failed")?, count(" ignored")?])
}

fn title(text: &str) {
    println!("\n== {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(test_result(line), Some([12, 3, 2]));
        assert_eq!(test_result("test foo ... ok"), None);
    }

    #[test]
    fn what_failed_is_kept_and_nothing_else() {
        let mut failures = Failures::default();
        let program = "test a ... FAILED\n\nfailures:\n\n---- a ----\nwhy\n\nfailures:\n    a\n\ntest result: FAILED. 0 passed;\nafter";
        program.lines().for_each(|line| failures.read(line));
        program.lines().for_each(|line| failures.read(line));
        let report =
            "failures:\n\n---- a ----\nwhy\n\nfailures:\n    a\n\ntest result: FAILED. 0 passed;";
        assert_eq!(failures.reports, [report, report]);
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
