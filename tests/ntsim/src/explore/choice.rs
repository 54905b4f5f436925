//! Schedules as text: what a run did otherwise than the default order.
//!
//! Decisions are counted from 0. At each, option 0 is the default: the thread that runs goes on, or, where it cannot, the one
//! that has been ready for longest. `17:1,45:2+9` means: option 1 at decision 17; at decision 45 the thread runs until it
//! is about to touch shared memory for the ninth time, then option 2. `-` is the default order. An `s` in front says that threads
//! are stepped: then there are more decisions to count.

use std::fmt;
use std::str::FromStr;

/// One departure from the default order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Number of the decision.
    pub at: usize,
    /// Which of the threads that are ready goes on.
    pub option: usize,
    /// How many accesses to memory the thread that runs still comes to; 0: it stops at the decision.
    pub steps: usize,
}

/// A schedule: its departures from the default order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Whether decisions are counted as for threads that are stepped.
    pub stepping: bool,
    /// The departures, by ascending decision.
    pub choices: Vec<Choice>,
}

impl Schedule {
    /// The departure at a decision.
    pub(super) fn at(&self, decision: usize) -> Option<Choice> {
        let index = self
            .choices
            .binary_search_by_key(&decision, |choice| choice.at)
            .ok()?;
        self.choices.get(index).copied()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.stepping {
            out.write_str("s")?;
        }
        if self.choices.is_empty() {
            return out.write_str("-");
        }
        for (index, choice) in self.choices.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{}:{}", choice.at, choice.option)?;
            if choice.steps != 0 {
                write!(out, "+{}", choice.steps)?;
            }
        }
        Ok(())
    }
}

/// A text that is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSchedule;

impl fmt::Display for NoSchedule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a schedule looks like 17:1,45:2, s17:1+9, or -")
    }
}

impl std::error::Error for NoSchedule {}

impl FromStr for Schedule {
    type Err = NoSchedule;

    fn from_str(text: &str) -> Result<Self, NoSchedule> {
        let (stepping, text) = match text.strip_prefix('s') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if text == "-" {
            return Ok(Self {
                stepping,
                choices: Vec::new(),
            });
        }
        let choices: Vec<Choice> = text
            .split(',')
            .map(|part| parse(part).ok_or(NoSchedule))
            .collect::<Result<_, _>>()?;
        let ascending = choices.is_sorted_by(|one, next| one.at < next.at);
        ascending
            .then_some(Self { stepping, choices })
            .ok_or(NoSchedule)
    }
}

fn parse(text: &str) -> Option<Choice> {
    let (at, rest) = text.split_once(':')?;
    let (option, steps) = rest.split_once('+').unwrap_or((rest, "0"));
    Some(Choice {
        at: at.parse().ok()?,
        option: option.parse().ok()?,
        steps: steps.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_a_round_trip_and_others_are_refused() {
        for text in ["-", "0:1", "17:1,45:2+9", "s-", "s3:1+2"] {
            assert_eq!(
                text.parse().map(|schedule: Schedule| schedule.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "", "s", "1", "1:", "5:1,5:1", "5:1,4:1", "1:1,", "1:x", "-1:1",
        ] {
            assert_eq!(text.parse::<Schedule>(), Err(NoSchedule), "{text}");
        }
    }
}
