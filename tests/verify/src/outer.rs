//! The outer process: what is known before anything runs, the machines, and what came of them.

use crate::classes;
use crate::machine::{FALLIBLE, NOT_STARTED};
use crate::plan::Plan;
use anyhow::{Context as _, Result, bail};
use ntsim::image::{self, Image};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Modules of which every Windows kernel has the exports, or that ntsim stands for.
const KERNEL_MODULES: [&str; 2] = ["ntoskrnl.exe", "hal.dll"];
/// Runs of systematic low resources after which something is odd.
const MOST_RUNS: u32 = 2000;

/// Says what will be done, does it, and says what came of it. Returns whether no rule was broken.
pub(crate) fn run(plan: &Plan) -> Result<bool> {
    println!(
        "{}: rules 0x{:X}: {}",
        plan.file.display(),
        plan.rules.bits(),
        plan.chosen.join(", ")
    );
    for text in &plan.idle {
        println!("note: {text}");
    }
    if let Err(error) = imports(plan) {
        println!("RESULT: not verified: {error:#}");
        return Ok(false);
    }
    if plan.systematic {
        return systematic(plan);
    }
    let run = Run::of(plan, 0, true)?;
    let (good, text) = run.judge();
    println!("RESULT: {text}");
    Ok(good)
}

/// Tells which imports nobody has, before anything runs.
fn imports(plan: &Plan) -> Result<()> {
    let imports = image::imports(&plan.file).with_context(|| plan.file.display().to_string())?;
    // Only to know what the kernel has: nothing is loaded in this process.
    ntsim::boot(ntsim::Options {
        trace: ntsim::TraceMode::Off,
        ..ntsim::Options::default()
    });
    let mut modules: BTreeMap<String, (usize, Vec<String>)> = BTreeMap::new();
    for (module, name) in imports {
        let there =
            Image::can_import(&module, &name) || exported_by_companion(plan, &module, &name);
        let (count, lacking) = modules.entry(module).or_default();
        *count += 1;
        if !there {
            lacking.push(name);
        }
    }
    for (module, (count, lacking)) in &modules {
        let kernel = KERNEL_MODULES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(module));
        let what = if lacking.is_empty() {
            "all are there".to_owned()
        } else if kernel {
            format!("ntsim lacks {}: {}", lacking.len(), lacking.join(", "))
        } else {
            format!("nobody has {}: {}", lacking.len(), lacking.join(", "))
        };
        println!("imports: {count} from {module}; {what}");
    }
    if modules.is_empty() {
        println!("imports: none");
    }
    Ok(())
}

/// Whether a companion, or a driver beside the driver, exports a name.
fn exported_by_companion(plan: &Plan, module: &str, name: &str) -> bool {
    let beside = plan.file.parent().map(|folder| folder.join(module));
    plan.companions
        .iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|file| file.to_string_lossy().eq_ignore_ascii_case(module))
        })
        .chain(beside.as_ref())
        .any(|path| image::exported(path).is_ok_and(|names| names.iter().any(|own| own == name)))
}

/// Lets each call that can fail do so, one a run.
fn systematic(plan: &Plan) -> Result<bool> {
    for nth in 1..=MOST_RUNS {
        // The first run is shown, later ones if something is found.
        let run = Run::of(plan, nth, nth == 1)?;
        let (good, text) = run.judge();
        // A call that fails may keep the driver from starting, as long as it leaves nothing behind.
        let excused = run.code == Some(1) && run.not_started();
        if !good && !excused {
            println!("{}", run.output);
            println!("RESULT: with failing call {nth}: {text}");
            return Ok(false);
        }
        if run.fallible < nth {
            if !good {
                println!("RESULT: {text}");
                return Ok(false);
            }
            println!(
                "RESULT: no rule was broken in {nth} runs, in each of which another call failed"
            );
            return Ok(true);
        }
    }
    bail!("more than {MOST_RUNS} calls can fail");
}

/// One run of the inner process.
struct Run {
    code: Option<i32>,
    late: bool,
    /// The line of the stop.
    stop: Option<(u32, u64, String)>,
    /// What the report says below it.
    why: String,
    last: String,
    fallible: u32,
    output: String,
}

impl Run {
    fn of(plan: &Plan, nth: u32, shown: bool) -> Result<Self> {
        let mut machine =
            Command::new(std::env::current_exe().context("cannot find this program")?);
        machine
            .args(std::env::args_os().skip(1))
            .arg("--inner")
            .arg(format!("--nth={nth}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = machine
            .spawn()
            .context("cannot start the machine's process")?;
        let mut run = Self {
            code: None,
            late: false,
            stop: None,
            why: String::new(),
            last: String::new(),
            fallible: 0,
            output: String::new(),
        };
        let reports = child.stderr.take().context("no standard error")?;
        let lines = child.stdout.take().context("no standard output")?;
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(reports).split(b'\n').map_while(Result::ok);
            lines
                .map(|line| {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    if shown {
                        eprintln!("{line}");
                    }
                    line
                })
                .collect::<Vec<String>>()
        });
        let late = watch(&child, plan);
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix(FALLIBLE) {
                run.fallible = number.parse().unwrap_or(0);
                continue;
            }
            if shown {
                println!("{line}");
            }
            run.output.push_str(&line);
            run.output.push('\n');
            run.last = line;
        }
        run.code = child.wait().context("cannot wait for the machine")?.code();
        run.late = late.swap(true, Ordering::SeqCst);
        run.read(&reader.join().unwrap_or_default());
        Ok(run)
    }

    /// Takes what matters from standard error.
    fn read(&mut self, report: &[String]) {
        for (place, line) in report.iter().enumerate() {
            self.output.push_str(line);
            self.output.push('\n');
            if self.stop.is_none()
                && let Some(stop) = stop_of(line)
            {
                self.stop = Some(stop);
                let next = report.get(place + 1).map_or("", String::as_str);
                next.trim_start_matches("*** ").clone_into(&mut self.why);
            }
        }
        if self.why.is_empty() {
            let said = report.iter().rfind(|line| !line.trim().is_empty());
            said.map_or("", String::as_str).clone_into(&mut self.why);
        }
    }

    fn not_started(&self) -> bool {
        self.last.starts_with(NOT_STARTED)
    }

    /// Whether all is well, and in which words.
    fn judge(&self) -> (bool, String) {
        if self.late {
            return (false, "it did not come to its end in time".to_owned());
        }
        match (self.code, &self.stop) {
            (Some(0), _) => (true, "no rule was broken".to_owned()),
            (Some(99), Some(_))
                if self
                    .why
                    .contains("which neither the kernel nor a loaded driver has") =>
            {
                (
                    false,
                    format!(
                        "not verified: it needs an import that is not there: {}",
                        self.why
                    ),
                )
            }
            (Some(99), Some((code, sub, stop))) => {
                let classes = classes::of_stop(*code, *sub);
                let class = if classes.is_empty() {
                    "a rule that holds whatever is chosen".to_owned()
                } else {
                    format!("a rule of {}", classes.join(", "))
                };
                (false, format!("{stop}, {class}: {}", self.why))
            }
            (Some(98), _) => (false, "it hangs: every thread waits".to_owned()),
            (Some(97), _) => (false, format!("ntsim itself failed: {}", self.why)),
            (Some(1), _) if self.not_started() => (false, format!("not verified: {}", self.last)),
            (Some(1), _) => (
                false,
                format!("not verified: {}", self.why.trim_start_matches("verify: ")),
            ),
            (code, _) => (
                false,
                format!(
                    "the machine's process died: {}",
                    code.map_or_else(
                        || "by a signal".to_owned(),
                        |code| format!("exit code {code}"),
                    )
                ),
            ),
        }
    }
}

/// Ends a machine that takes too long. The value is set by whoever is first: by the watch when it ended the machine.
fn watch(child: &Child, plan: &Plan) -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let (flag, id, limit) = (Arc::clone(&ended), child.id().to_string(), plan.limit);
    std::thread::spawn(move || {
        let started = Instant::now();
        while started.elapsed() < limit {
            std::thread::sleep(std::time::Duration::from_millis(50));
            if flag.load(Ordering::SeqCst) {
                return;
            }
        }
        if !flag.swap(true, Ordering::SeqCst) {
            eprintln!("verify: no end in {} s", limit.as_secs());
            // It may have ended on its own in the meantime: nothing is left to do then.
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    ended
}

/// Code, first parameter and name of a stop: `*** STOP 0x000000C4 (0x13, 0x0, 0x0, 0x0) NAME`.
fn stop_of(line: &str) -> Option<(u32, u64, String)> {
    let rest = line.strip_prefix("*** STOP 0x")?;
    let (code, rest) = rest.split_once(" (0x")?;
    let (first, _) = rest.split_once(',')?;
    let code = u32::from_str_radix(code, 16).ok()?;
    let first = u64::from_str_radix(first, 16).ok()?;
    let name = line.rsplit(' ').next()?;
    Some((code, first, format!("stop 0x{code:X}/0x{first:X} {name}")))
}
