//! What the command line asks for: the driver, and which rules apply.

use crate::args::Words;
use crate::classes::{self, Class, Here};
use anyhow::{Context as _, Result, bail, ensure};
use ntsim::{PoolGuard, Rules};
use std::path::PathBuf;
use std::time::Duration;

/// Verifier's default of low resources, of 10,000.
const DEFAULT_FAULTS: u32 = 600;

/// A checked command line.
pub(crate) struct Plan {
    pub(crate) file: PathBuf,
    pub(crate) companions: Vec<PathBuf>,
    pub(crate) rules: Rules,
    /// Of 10,000 calls that may fail, how many do.
    pub(crate) faults: u32,
    pub(crate) guard: PoolGuard,
    pub(crate) systematic: bool,
    /// Titles of the chosen classes that do something here, or that are always there.
    pub(crate) chosen: Vec<String>,
    /// What was chosen and does nothing here, and why.
    pub(crate) idle: Vec<String>,
    pub(crate) seed: u64,
    pub(crate) limit: Duration,
    /// The call that the inner process has to let fail.
    pub(crate) nth: u32,
}

impl Plan {
    pub(crate) fn of(words: &Words) -> Result<Self> {
        let mut words = words.clone();
        let file = words.take_file()?;
        let mut plan = Self {
            file,
            companions: words.companions.clone(),
            rules: Rules::empty(),
            faults: DEFAULT_FAULTS,
            guard: if words.verify_start {
                PoolGuard::Start
            } else {
                PoolGuard::End
            },
            systematic: false,
            chosen: Vec::new(),
            idle: Vec::new(),
            seed: words.seed,
            limit: Duration::from_secs(words.limit),
            nth: words.nth,
        };
        let mut chosen = words.classes()?;
        if let Some(numbers) = &words.faults {
            plan.faults = probability(numbers)?;
            if !chosen.iter().any(|class| class.number == Some(3)) {
                chosen.extend(classes::of_number(3));
            }
        }
        for class in &chosen {
            let there = |number| chosen.iter().any(|class| class.number == Some(number));
            if let Some(needed) = class.needs.filter(|number| !there(*number)) {
                let needed = classes::of_number(needed).map_or_else(String::new, Class::title);
                bail!("{} needs {needed}", class.title());
            }
            plan.add(class);
        }
        ensure!(
            !plan.rules.is_empty() || plan.systematic,
            "none of the chosen rules does anything here: {}",
            plan.idle.join("; ")
        );
        let guarded = plan.rules.contains(Rules::SPECIAL_POOL);
        ensure!(
            plan.guard == PoolGuard::End || guarded,
            "--verify-start is a setting of special pool (class 1, flag 0x1), which is not chosen"
        );
        Ok(plan)
    }

    fn add(&mut self, class: &Class) {
        match class.here {
            Here::Rules(rules) => self.rules |= rules,
            Here::Systematic => self.systematic = true,
            Here::Always(why) => {
                self.idle.push(format!("{}: {why}", class.title()));
                return;
            }
            Here::Nothing(why) => {
                self.idle
                    .push(format!("{} does not apply here: {why}", class.title()));
                return;
            }
        }
        self.chosen.push(class.title());
    }
}

impl Words {
    /// The driver: named alone, or the last word of a list of numbers.
    fn take_file(&mut self) -> Result<PathBuf> {
        if let Some(file) = self.driver.take().or_else(|| self.file.take()) {
            return Ok(file);
        }
        let lists = [Some(&mut self.rc), self.faults.as_mut()];
        for list in lists.into_iter().flatten() {
            if let Some(word) = list.pop_if(|word| word.parse::<u32>().is_err()) {
                return Ok(PathBuf::from(word));
            }
        }
        bail!("no driver is named");
    }

    /// The chosen classes.
    fn classes(&self) -> Result<Vec<&'static Class>> {
        if let Some(flags) = &self.flags {
            return of_flags(flags);
        }
        if !self.rc.is_empty() {
            return self.rc.iter().map(|word| of_word(word)).collect();
        }
        if self.standard || self.faults.is_none() {
            return Ok(with_flags(classes::STANDARD));
        }
        Ok(Vec::new())
    }
}

fn of_word(word: &str) -> Result<&'static Class> {
    let number = word
        .parse()
        .with_context(|| format!("{word} is no number of a rule class"))?;
    classes::of_number(number).with_context(|| {
        let known: Vec<String> = classes::ALL
            .iter()
            .filter_map(|class| class.number)
            .map(|number| number.to_string())
            .collect();
        format!(
            "there is no rule class {number}; there are {}",
            known.join(" ")
        )
    })
}

fn of_flags(text: &str) -> Result<Vec<&'static Class>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let flags = match digits {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let flags = flags.with_context(|| format!("{text} is no set of flags, such as 0x209BB"))?;
    ensure!(flags != 0, "flags 0 choose no rule");
    let known = classes::ALL.iter().fold(0, |all, class| all | class.flag);
    ensure!(
        flags & !known == 0,
        "flags 0x{:X} are no rule classes; all that are: 0x{known:X}",
        flags & !known
    );
    Ok(with_flags(flags))
}

fn with_flags(flags: u32) -> Vec<&'static Class> {
    // Flags are older than DIF mode: systematic low resources do not need it there.
    let dif = |class: &Class| class.number == Some(36) && flags & 0x4_0000 != 0;
    classes::ALL
        .iter()
        .filter(|class| class.flag & flags != 0 || dif(class))
        .collect()
}

/// The parameter of `--faults`.
fn probability(words: &[String]) -> Result<u32> {
    match words {
        [] => Ok(DEFAULT_FAULTS),
        [word] => {
            let number: u32 = word
                .parse()
                .with_context(|| format!("--faults {word}: no number of faults of 10,000 calls"))?;
            ensure!(
                (1..=10_000).contains(&number),
                "--faults {number}: 1 to 10000 calls of 10,000 can fail"
            );
            Ok(number)
        }
        _ => bail!(
            "--faults takes one number here: pool tags, applications and a delay after the start of the system do not apply"
        ),
    }
}
