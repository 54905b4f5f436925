//! What becomes of each command here.

/// A command of the documentation.
pub(super) struct Row {
    /// As the pages have it, in one line.
    pub(super) command: &'static str,
    /// What becomes of it.
    pub(super) how: How,
}

/// What becomes of a command.
pub(super) enum How {
    /// It is executed as it stands, with the names of this host's server and folders.
    Executed,
    /// This script is executed in its place, `{}` being the command; and why. A script that ends with 77 says what this host lacks.
    Instead(&'static str, &'static str),
    /// The test command is this very command, or has just done what it does; how.
    Done(&'static str),
    /// It cannot be executed here; why.
    Never(&'static str),
}

const fn run(command: &'static str) -> Row {
    let how = How::Executed;
    Row { command, how }
}

const fn instead(command: &'static str, script: &'static str, why: &'static str) -> Row {
    let how = How::Instead(script, why);
    Row { command, how }
}

const fn done(command: &'static str, why: &'static str) -> Row {
    let how = How::Done(why);
    Row { command, how }
}

const fn never(command: &'static str, why: &'static str) -> Row {
    let how = How::Never(why);
    Row { command, how }
}

/// The server of [`super::world`].
pub(super) const SERVER: &str = "diod -f -n -N -c /dev/null -l 0.0.0.0:5640 -e /srv/tree";

/// Why PowerShell is not run. `tests/windows` reads the guide: it parses each line, and knows each command and parameter in it.
const POWERSHELL: &str = "needs Windows; tests/windows checks it";
const WDK: &str = "needs Windows with the Driver Kit";
/// Parts of `cargo test`, which the test command has just run as a whole. Here, cargo finds the suite, and the suite its test.
const SUITE: &str = "`cargo test` has just run it";
const ENDLESS: &str = "goes on for minutes, or for ever";
const SECOND: &str = "ran before, in `cargo xtask test` itself";

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    // Set-up, builds.
    run("cargo xtask setup"),
    run("cargo xtask build"),
    done("cargo xtask build --all", SECOND),
    run("cargo xtask build --package c-skeleton"),
    done("cargo xtask build --legacy", "`cargo xtask build --all` has done it"),
    instead("cargo xtask mutants", "{} TimeoutSign", "with one defect: all of them take a while, and the suite `mutants` has just looked for each"),
    never("cargo build --package rxce --package conform --features rxce/legacy,conform/legacy --release --target x86_64-pc-windows-msvc", WDK),
    never("cargo build --package conform --features conform/original --release --target x86_64-pc-windows-msvc", WDK),
    done("cargo xtask check-image", SECOND),
    done("cargo xtask reproduce", SECOND),
    done("cargo xtask test", "this is a part of it"),
    done("cargo xtask check-docs", "this is it"),
    done("cargo build", "named as what not to type on Windows; `cargo xtask test` builds the host programs"),

    // The drivers at work.
    run("cargo xtask demo"),
    instead(
        "cargo xtask demo --timeline life.svg",
        "{} --server 127.0.0.1:564 --export /srv/tree --path /some/file",
        "with a small file",
    ),
    instead(
        "cargo xtask demo -- --story full",
        "cargo xtask demo --server 127.0.0.1:564 --export /srv/tree --path /some/file -- --story full",
        "with a small file",
    ),
    run("cargo xtask demo --server 127.0.0.1:564 --export /srv/tree --path /some/file"),
    instead(
        "cargo xtask mount /mnt/tree --server 127.0.0.1:564 --export /srv/tree",
        "test -w /dev/fuse || { echo no access to /dev/fuse; exit 77; }
        {} & mount=$!
        tries=0
        until cmp -s /mnt/tree/some/file /srv/tree/some/file; do
            kill -0 $mount && test $((tries += 1)) -lt 3000 || exit 1
            sleep 0.1
        done
        umount /mnt/tree || fusermount3 -u /mnt/tree
        wait $mount",
        "stays until it is unmounted",
    ),
    instead("cargo xtask mount", "{} --help", "stands for the command"),
    instead("cargo xtask conformance", "{} --only P2 --only I1", "the suite `conform` runs all vectors"),
    instead("cargo xtask rxcectl", "{} --help", "stands for its commands"),
    instead("cargo xtask rxcectl conformance", "{} --only P2", "the suite `conform` runs all vectors"),
    instead("cargo xtask rxcectl COMMAND", "cargo xtask rxcectl counters", "stands for every command"),
    done("diod -f -n -N -c /dev/null -l 0.0.0.0:5640 -e /srv/tree", "runs while the others do, on the loopback interface"),

    // Any driver.
    instead("cargo xtask verify", "{} --help", "stands for the command"),
    run("cargo xtask verify some.sys"),
    run("cargo xtask verify path/to/some.sys"),
    run("cargo xtask verify --standard some.sys"),
    run("cargo xtask verify --flags 0x20B3B some.sys"),
    run("cargo xtask verify --rc 1 2 4 5 some.sys"),
    instead(
        "cargo xtask verify --faults 1000 some.sys",
        "out=$({}); code=$?; echo \"$out\"; test $code -eq 0 || echo \"$out\" | grep -q DriverEntry",
        "the driver may refuse to start where calls fail by chance",
    ),
    run("cargo xtask verify --rc 19 36 some.sys"),
    run("cargo xtask verify --verify-start some.sys"),
    run("cargo xtask verify target/drivers/c/queue.sys"),
    run("cargo xtask verify target/drivers/c/client/client.sys --with target/drivers/c/library.sys"),
    instead(
        "cargo xtask verify --flags 0x800 target/drivers/c/careless-overlap.sys",
        "out=$({} 2>&1) && exit 1; echo \"$out\"; echo \"$out\" | grep -q '0x000000C4 (0xF0,'",
        "ends with a broken rule, as the page says",
    ),
    run("cargo run -p ntsim --example first_steps -- target/drivers/debug/x86_64/rxce.sys"),

    // What goes on for long. Each has a seed: a fresh one could find something, and this command must not fail by chance.
    instead("cargo xtask soak", "{} --seconds 1 --seed 0x1234", ENDLESS),
    instead("cargo xtask fuzz", "cargo xtask fuzz pointers --seconds 1 --seed 0x1234", ENDLESS),
    instead("cargo xtask fuzz properties", "{} --seconds 1 --seed 0x1234", ENDLESS),
    instead("cargo xtask fuzz images", "{} --seconds 1 --seed 0x1234", ENDLESS),
    instead("cargo xtask fuzz data --seconds 60", "cargo xtask fuzz data --seconds 1 --seed 0x1234", ENDLESS),
    instead("cargo xtask fuzz --forever --seed 0x1234", "cargo xtask fuzz data --seconds 1 --seed 0x1234", ENDLESS),
    instead("cargo xtask explore", "{} --bound 0", ENDLESS),
    instead("cargo xtask explore send/tear-down --bound 2", "{} --seconds 1", ENDLESS),
    instead(
        "cargo xtask explore send/tear-down --bound 3 --seed 1 --seconds 60",
        "cargo xtask explore send/tear-down --bound 3 --seed 1 --seconds 1",
        ENDLESS,
    ),
    instead("cargo xtask explore send/tear-down --stepping --bound 1", "{} --seconds 1", ENDLESS),
    instead(
        "cargo xtask explore send/tear-down --stepping --seed 1 --seconds 60",
        "cargo xtask explore send/tear-down --stepping --seed 1 --seconds 1",
        ENDLESS,
    ),
    run("cargo xtask explore send/tear-down --debug --replay 12:1"),
    instead("cargo xtask bench", "{} --help", "takes minutes; the suite `bench` runs its quick form"),
    instead("cargo xtask bench --rounds 7", "{} --help", "takes minutes"),
    instead("cargo xtask bench --only cycle", "{} --quick", "takes longer"),

    // Figures and tables of the pages.
    instead("cargo xtask evidence", "test -s target/evidence/answered.jsonl || { echo nothing was recorded: no test run was here; exit 77; }\n        {}", "needs a whole run"),
    instead("cargo xtask evidence --document", "cargo xtask evidence --help", "writes the page"),
    instead(
        "CONFORM_UPDATE=1 cargo test -p suites --test conform -- docs",
        "cargo test -p suites --test conform -- docs",
        "writes the page",
    ),

    // Single suites.
    done("cargo test -p suites --test wine", SUITE),
    done("cargo test -p suites --test peers", SUITE),
    done("cargo test -p suites --test demo", SUITE),
    done("cargo test -p ntsim --test executive", SUITE),
    run("cargo test -p suites --test peers debugger"),
    run("cargo test -p suites --test rules pool_double_free"),
    run("cargo test -p suites --test rdbss read_completed_twice"),

    // The driver package.
    run("cargo xtask package --system32"),
    run("cargo xtask package --v1"),
    run("cargo xtask package --vm --v1"),
    run("cargo xtask package --vm --system32"),
    run("cargo xtask package --vm"),
    // The last one: what it makes is left.
    run("cargo xtask package"),

    // Another project's build by `xwdk`.
    never("rustup target add x86_64-pc-windows-msvc", "installs; `cargo xtask setup` does it where it is needed"),
    done(
        "RUSTC_BOOTSTRAP=1 cargo --config xwdk/cargo-config.toml --config 'target.x86_64-pc-windows-msvc.linker=\"rust-lld\"' \
        build --target x86_64-pc-windows-msvc -p your-driver",
        "`cargo xtask build` makes this line (xtask/src/toolchain.rs)",
    ),
    done(
        "PATH=/usr/bin:/bin RUSTC_BOOTSTRAP=1 cargo --config xwdk/cargo-config.toml --config xwdk/build-std.toml \
        build --target x86_64-pc-windows-msvc -p your-driver",
        "`cargo xtask build` makes this line (xtask/src/toolchain.rs)",
    ),

    // Windows.
    never("cargo make default --package rxce", WDK),
    never("cargo wdk build --profile release --target-platform windows", WDK),
    never("cargo build --package rxce --target x86_64-pc-windows-msvc", WDK),
    never("cargo build --package rxcectl-windows", WDK),
    never("Set-ExecutionPolicy -ExecutionPolicy Bypass -Scope Process", POWERSHELL),
    never(r"Set-Location -Path C:\rxce", POWERSHELL),
    never("Restart-Computer", POWERSHELL),
    never(r"Get-Content -Path C:\Windows\INF\setupapi.dev.log -Tail 200", POWERSHELL),
    never("sc.exe query rxce", POWERSHELL),
    never("sc.exe stop p9probe", POWERSHELL),
    never("sc.exe stop conform", POWERSHELL),
    never("sc.exe stop rxce", POWERSHELL),
    never("verifier.exe /querysettings", POWERSHELL),
    never(r".\scripts\Initialize-Vm.ps1", POWERSHELL),
    never(r".\scripts\Install-Rxce.ps1", POWERSHELL),
    never(r".\scripts\Test-Rxce.ps1", POWERSHELL),
    never(r".\scripts\Test-Rxce.ps1 -Repeat 10 -Results C:\rxce-results-standard", POWERSHELL),
    never(r".\scripts\Set-RxceVerifier.ps1 -Pass Standard", POWERSHELL),
    never(r".\scripts\Set-RxceVerifier.ps1 -Pass Off", POWERSHELL),
    never(r".\scripts\Save-RxceResults.ps1", POWERSHELL),
    never(r".\scripts\Uninstall-Rxce.ps1 -RemoveCertificate", POWERSHELL),
    never(
        r"logman.exe create trace rxce -p '{29bf4ee9-95d8-560d-2601-9a7b760043b8}' 0x3 0x5 -o C:\rxce-results\rxce.etl -ets",
        POWERSHELL,
    ),
    never("logman.exe stop rxce -ets", POWERSHELL),
    never(r"tracerpt.exe C:\rxce-results\rxce.etl -o C:\rxce-results\rxce.xml -of XML -y", POWERSHELL),
    never(r".\clients\rxcectl.exe conformance", POWERSHELL),
    instead(r".\clients\rxcectl.exe conformance --only P2", "cargo xtask rxcectl conformance --only P2", POWERSHELL),
    instead(
        r".\clients\rxcectl.exe list --server 192.0.2.1:5640 --export /srv/tree --path /",
        "cargo xtask rxcectl list --server 192.0.2.1:5640 --export /srv/tree --path /",
        POWERSHELL,
    ),
    instead(
        r".\clients\rxcectl.exe read --server 192.0.2.1:5640 --export /srv/tree --path /some/file",
        "cargo xtask rxcectl read --server 192.0.2.1:5640 --export /srv/tree --path /some/file",
        POWERSHELL,
    ),
    instead(
        r".\clients\rxcectl.exe cycles --server 192.0.2.1:5640 --export /srv/tree --count 100",
        "cargo xtask rxcectl cycles --server 192.0.2.1:5640 --export /srv/tree --count 100",
        POWERSHELL,
    ),
    instead(r".\clients\rxcectl.exe counters", "cargo xtask rxcectl counters", POWERSHELL),
];
