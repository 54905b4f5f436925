//! Making what was found small: fewer programs, fewer steps, smaller numbers, as long as the same is found.

use anyhow::Result;

use crate::{
    listing::Program,
    machine::{self, Failure},
};

/// Most machines that one finding is worth.
const MOST_RUNS: u32 = 400;

/// A finding: programs for one machine, the last of which finds it.
pub(crate) struct Finding {
    pub(crate) programs: Vec<Program>,
    pub(crate) failure: Failure,
    /// Whether it was found again.
    pub(crate) stable: bool,
}

/// Makes the programs of a failure small. `programs` are all those of the machine.
pub(crate) fn shrink(profile: &str, programs: &[Program], failure: Failure) -> Result<Finding> {
    let mut search = Search {
        profile,
        kind: failure.kind.clone(),
        runs: 0,
        last: failure,
    };
    let ran = programs
        .get(..=search.last.program)
        .unwrap_or(programs)
        .to_vec();
    let alone = ran
        .last()
        .cloned()
        .map(|last| vec![last])
        .unwrap_or_default();
    let found = if search.finds(&alone)? {
        Some(alone)
    } else if search.finds(&ran)? {
        Some(ran.clone())
    } else {
        None
    };
    let Some(mut found) = found else {
        return Ok(Finding {
            programs: ran,
            failure: search.last,
            stable: false,
        });
    };
    remove(&mut found, |programs| search.finds(programs))?;
    for place in 0..found.len() {
        let mut program = found[place].clone();
        remove(&mut program, |program| {
            let mut changed = found.clone();
            changed[place] = program.to_vec();
            search.finds(&changed)
        })?;
        found[place] = program;
    }
    simplify(&mut found, &mut search)?;
    Ok(Finding {
        programs: found,
        failure: search.last,
        stable: true,
    })
}

struct Search<'a> {
    profile: &'a str,
    kind: String,
    runs: u32,
    last: Failure,
}

impl Search<'_> {
    /// Whether the same is found.
    fn finds(&mut self, programs: &[Program]) -> Result<bool> {
        if self.runs >= MOST_RUNS {
            return Ok(false);
        }
        self.runs += 1;
        match machine::run(self.profile, programs)? {
            Err(failure) if failure.kind == self.kind => {
                self.last = failure;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Removes runs of elements, long ones first.
fn remove<T: Clone>(list: &mut Vec<T>, mut finds: impl FnMut(&[T]) -> Result<bool>) -> Result<()> {
    let mut length = list.len().div_ceil(2);
    while length > 0 {
        let mut start = 0;
        while start < list.len() && list.len() > 1 {
            let mut less = list.clone();
            less.drain(start..(start + length).min(list.len()));
            if !less.is_empty() && finds(&less)? {
                *list = less;
            } else {
                start += length;
            }
        }
        length /= 2;
    }
    Ok(())
}

/// Sets numbers to zero.
fn simplify(programs: &mut Vec<Program>, search: &mut Search<'_>) -> Result<()> {
    for program in 0..programs.len() {
        for step in 0..programs[program].len() {
            for member in 0..6 {
                let mut simpler = programs.clone();
                let step = &mut simpler[program][step];
                match member {
                    0 => step.on = 0,
                    1 => step.with = 0,
                    2 => step.also = 0,
                    3 => step.a = 0,
                    4 => step.b = 0,
                    _ => step.c = 0,
                }
                if simpler != *programs && search.finds(&simpler)? {
                    *programs = simpler;
                }
            }
        }
    }
    Ok(())
}
