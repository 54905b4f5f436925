//! Which schedule comes next: the strategies, without a machine.
//!
//! All are stateless: a schedule is run from the start, and what was decided is remembered, not the machine.
//!
//! - [`Plan::Exhaustive`]: depth first through all decisions, with at most so many preemptions. A switch counts as one only
//!   where the thread that runs could have gone on (Musuvathi and Qadeer, "Iterative Context Bounding", PLDI 2007).
//! - [`Plan::Random`]: a coin at each decision.
//! - [`Plan::Pct`]: random priorities that change at a few random decisions (Burckhardt and others, "A Randomized Scheduler
//!   with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010).
//! - [`Plan::Replay`]: one schedule, once.

use super::choice::{Choice, Schedule};

/// How schedules are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// All schedules with at most `bound` preemptions, from `first` on in the order of the search.
    ///
    /// If `first` steps, threads are also preempted between two instructions.
    Exhaustive {
        /// Most preemptions of one schedule.
        bound: usize,
        /// Where to go on: the default order for a search from the start.
        first: Schedule,
    },
    /// Random switches.
    Random {
        /// The seed of schedule `n` is `seed + n`.
        seed: u64,
        /// Whether threads are also preempted between two instructions.
        stepping: bool,
    },
    /// Random priorities.
    Pct {
        /// The seed of schedule `n` is `seed + n`.
        seed: u64,
        /// How many changes of priority one schedule has.
        changes: usize,
    },
    /// One schedule.
    Replay(Schedule),
}

impl Plan {
    /// Whether threads are also preempted between two instructions.
    pub(super) const fn steps(&self) -> bool {
        match self {
            Self::Exhaustive { first, .. } => first.stepping,
            Self::Random { stepping, .. } => *stepping,
            Self::Pct { .. } => false,
            Self::Replay(schedule) => schedule.stepping,
        }
    }
}

/// What is to be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Threads that may go on, by the numbers they have in this schedule.
    pub(super) ready: Vec<usize>,
    /// Whether the first of them runs now: any other answer preempts it.
    pub(super) running: bool,
    /// Whether that thread goes on in driver code, so that it can be stepped.
    pub(super) steppable: bool,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) option: usize,
    pub(super) steps: usize,
}

/// One decision on the path of the search.
#[derive(Clone, Debug)]
struct Node {
    /// None for a decision that a resumed search has not met yet.
    decision: Option<Decision>,
    answer: Answer,
    /// How many steps lead to the next decision, once that is known.
    length: Option<usize>,
}

/// A search in progress.
#[derive(Debug)]
pub(super) struct Search {
    plan: Plan,
    /// The path: of the exhaustive search with its open alternatives, of the others as far as this schedule went.
    path: Vec<Node>,
    /// How many decisions this schedule had.
    met: usize,
    longest: usize,
    schedules: u64,
    /// The rest of this schedule repeats one that was run.
    redundant: bool,
    exhausted: bool,
    /// Schedules in which a decision was another one than when its prefix was run before.
    diverged: u64,
    random: Random,
    priorities: Vec<u64>,
    changes: Vec<usize>,
}

impl Search {
    pub(super) fn new(plan: Plan) -> Self {
        let path = match &plan {
            Plan::Exhaustive { first, .. } => path_to(first),
            Plan::Random { .. } | Plan::Pct { .. } | Plan::Replay(_) => Vec::new(),
        };
        Self {
            plan,
            path,
            met: 0,
            longest: 0,
            schedules: 0,
            redundant: false,
            exhausted: false,
            diverged: 0,
            random: Random(0),
            priorities: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Begins the next schedule; false if there is none.
    pub(super) fn begin(&mut self) -> bool {
        if self.exhausted {
            return false;
        }
        self.met = 0;
        self.redundant = false;
        match self.plan {
            Plan::Exhaustive { .. } => {}
            Plan::Random { seed, .. } => self.restart(seed),
            Plan::Pct { seed, changes } => {
                self.restart(seed);
                let among = self.longest.max(16) as u64;
                self.changes = (0..changes).map(|_| self.random.below(among)).collect();
            }
            Plan::Replay(_) => self.path.clear(),
        }
        true
    }

    fn restart(&mut self, seed: u64) {
        self.path.clear();
        self.priorities.clear();
        self.random = Random(seed.wrapping_add(self.schedules));
    }

    /// Decides.
    pub(super) fn decide(&mut self, decision: Decision) -> Answer {
        let at = self.met;
        self.met += 1;
        if self.redundant {
            return Answer::default();
        }
        if let Plan::Exhaustive { .. } = self.plan
            && let Some(node) = self.path.get_mut(at)
        {
            if node
                .decision
                .as_ref()
                .is_none_or(|known| *known == decision)
                && node.answer.option < decision.ready.len()
            {
                node.decision = Some(decision);
                return node.answer;
            }
            self.diverged += 1;
            self.path.truncate(at);
        }
        let answer = match &self.plan {
            Plan::Exhaustive { .. } => Answer::default(),
            Plan::Replay(schedule) => match schedule.at(at) {
                Some(choice) if choice.option < decision.ready.len() => Answer {
                    option: choice.option,
                    steps: choice.steps,
                },
                Some(_) => {
                    self.diverged += 1;
                    Answer::default()
                }
                None => Answer::default(),
            },
            Plan::Random { stepping, .. } => self.random.answer(&decision, *stepping),
            Plan::Pct { .. } => self.by_priority(&decision, at),
        };
        self.path.push(Node {
            decision: Some(decision),
            answer,
            length: None,
        });
        answer
    }

    fn by_priority(&mut self, decision: &Decision, at: usize) -> Answer {
        for &thread in &decision.ready {
            while self.priorities.len() <= thread {
                // Changed priorities are lower than all first ones.
                let priority = 1000 + self.random.below(1 << 40) as u64;
                self.priorities.push(priority);
            }
        }
        let best = |priorities: &[u64]| {
            (0..decision.ready.len())
                .max_by_key(|&option| {
                    decision
                        .ready
                        .get(option)
                        .and_then(|&thread| priorities.get(thread))
                })
                .unwrap_or(0)
        };
        let mut option = best(&self.priorities);
        if let Some(change) = self.changes.iter().position(|&change| change == at) {
            let thread = decision.ready.get(option).copied().unwrap_or(0);
            if let Some(priority) = self.priorities.get_mut(thread) {
                *priority = change as u64;
            }
            option = best(&self.priorities);
        }
        Answer { option, steps: 0 }
    }

    /// The thread that was to make `steps` steps came to its next decision before.
    pub(super) fn too_short(&mut self) {
        let last = self.met.checked_sub(1);
        if let Some(node) = last.and_then(|last| self.path.get_mut(last)) {
            node.length = Some(node.answer.steps.saturating_sub(1));
            if let Plan::Exhaustive { .. } = self.plan {
                // It went on without being preempted: that was run before.
                self.redundant = true;
            } else {
                node.answer = Answer::default();
            }
        }
    }

    /// Ends a schedule.
    pub(super) fn end(&mut self) {
        self.longest = self.longest.max(self.met);
        if !self.redundant {
            self.schedules += 1;
        }
        match self.plan {
            Plan::Exhaustive { bound, .. } => self.advance(bound, self.plan.steps()),
            Plan::Replay(_) => self.exhausted = true,
            Plan::Random { .. } | Plan::Pct { .. } => {}
        }
    }

    /// Moves the path to the next schedule: the last decision with an alternative takes it.
    fn advance(&mut self, bound: usize, stepping: bool) {
        // Decisions of an earlier, longer schedule that this one did not come to (it diverged).
        self.path.truncate(self.met.max(1));
        while let Some(mut node) = self.path.pop() {
            let before = self.path.iter().filter(|node| node.preempts()).count();
            if let Some(next) = node.next(before < bound, stepping) {
                node.answer = next;
                self.path.push(node);
                return;
            }
        }
        self.exhausted = true;
    }

    /// The schedule that runs, or ran last; between two schedules of an exhaustive search, the next one.
    pub(super) fn schedule(&self) -> Schedule {
        let choices = self.path.iter().enumerate().filter_map(|(at, node)| {
            let Answer { option, steps } = node.answer;
            (node.answer != Answer::default()).then_some(Choice { at, option, steps })
        });
        Schedule {
            stepping: self.plan.steps(),
            choices: choices.collect(),
        }
    }

    pub(super) const fn schedules(&self) -> u64 {
        self.schedules
    }

    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    pub(super) const fn exhausted(&self) -> bool {
        self.exhausted
    }

    pub(super) const fn diverged(&self) -> u64 {
        self.diverged
    }
}

impl Node {
    fn preempts(&self) -> bool {
        self.answer.option != 0
            && self
                .decision
                .as_ref()
                .is_some_and(|decision| decision.running)
    }

    /// The answer after this one, if there is one.
    fn next(&self, may_preempt: bool, stepping: bool) -> Option<Answer> {
        let decision = self.decision.as_ref()?;
        if decision.running && !may_preempt {
            return None;
        }
        let Answer { option, steps } = self.answer;
        let stepped = stepping && decision.running && decision.steppable && option != 0;
        if stepped && self.length.is_none_or(|length| steps < length) {
            return Some(Answer {
                option,
                steps: steps + 1,
            });
        }
        let option = option + 1;
        (option < decision.ready.len()).then_some(Answer { option, steps: 0 })
    }
}

/// The path to a schedule of which only the departures are known.
fn path_to(schedule: &Schedule) -> Vec<Node> {
    let depth = schedule.choices.last().map_or(0, |last| last.at + 1);
    let node = |at| {
        let choice = schedule.at(at);
        Node {
            decision: None,
            answer: choice.map_or(Answer::default(), |choice| Answer {
                option: choice.option,
                steps: choice.steps,
            }),
            length: None,
        }
    };
    (0..depth).map(node).collect()
}

/// SplitMix64 (Steele and others, OOPSLA 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.next() % limit.max(1)).unwrap_or(0)
    }

    /// Mostly goes on: schedules with few switches find most defects, and get somewhere.
    fn answer(&mut self, decision: &Decision, stepping: bool) -> Answer {
        let count = decision.ready.len() as u64;
        if !decision.running {
            return Answer {
                option: self.below(count),
                steps: 0,
            };
        }
        if self.below(6) != 0 {
            return Answer::default();
        }
        let option = 1 + self.below(count - 1);
        let steps = if stepping && decision.steppable {
            self.below(40)
        } else {
            0
        };
        Answer { option, steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a toy machine: threads that make so many steps each, with a decision before each step but the forced ones.
    /// Returns the order in which the threads stepped.
    fn toy(search: &mut Search, steps: &[usize]) -> Vec<usize> {
        let mut left = steps.to_vec();
        let mut order = Vec::new();
        let mut running: Option<usize> = None;
        loop {
            let mut ready: Vec<usize> = running.into_iter().collect();
            ready.extend(
                (0..left.len()).filter(|&thread| left[thread] > 0 && running != Some(thread)),
            );
            let thread = match ready.len() {
                0 => return order,
                1 => ready[0],
                _ => {
                    let answer = search.decide(Decision {
                        ready: ready.clone(),
                        running: running.is_some(),
                        steppable: false,
                    });
                    ready[answer.option]
                }
            };
            left[thread] -= 1;
            order.push(thread);
            running = (left[thread] > 0).then_some(thread);
        }
    }

    fn all(plan: Plan, steps: &[usize]) -> Vec<Vec<usize>> {
        let mut search = Search::new(plan);
        let mut seen = Vec::new();
        while search.begin() {
            seen.push(toy(&mut search, steps));
            search.end();
        }
        assert_eq!(search.diverged(), 0);
        assert_eq!(search.schedules(), seen.len() as u64);
        seen
    }

    fn exhaustive(bound: usize) -> Plan {
        Plan::Exhaustive {
            bound,
            first: Schedule::default(),
        }
    }

    #[test]
    fn without_a_bound_every_order_is_run_once() {
        let mut seen = all(exhaustive(99), &[3, 3]);
        let count = seen.len();
        seen.sort();
        seen.dedup();
        // 6 over 3.
        assert_eq!((count, seen.len()), (20, 20));
    }

    #[test]
    fn the_bound_counts_preemptions_only() {
        let switches = |order: &[usize]| order.windows(2).filter(|two| two[0] != two[1]).count();
        assert_eq!(all(exhaustive(0), &[2, 2]).len(), 2);
        let one = all(exhaustive(1), &[2, 2]);
        assert_eq!(one.len(), 4);
        // A preemption, and the switch when the second thread has ended.
        assert!(one.iter().all(|order| switches(order) <= 2));
        assert_eq!(all(exhaustive(2), &[2, 2]).len(), 6);
    }

    #[test]
    fn a_search_goes_on_where_another_one_stopped() {
        let whole = all(exhaustive(2), &[3, 2, 2]);
        let mut search = Search::new(exhaustive(2));
        let mut seen = Vec::new();
        while search.begin() {
            seen.push(toy(&mut search, &[3, 2, 2]));
            search.end();
            if search.exhausted() {
                break;
            }
            search = Search::new(Plan::Exhaustive {
                bound: 2,
                first: search.schedule(),
            });
        }
        assert_eq!(seen, whole);
    }

    #[test]
    fn every_schedule_replays_from_its_text() {
        let plans = [
            exhaustive(2),
            Plan::Random {
                seed: 7,
                stepping: false,
            },
            Plan::Pct {
                seed: 7,
                changes: 2,
            },
        ];
        for plan in plans {
            let mut search = Search::new(plan);
            for _ in 0..30 {
                assert!(search.begin());
                let order = toy(&mut search, &[4, 3, 2]);
                let text = search.schedule().to_string();
                search.end();
                let replay = text.parse().map(Plan::Replay).expect("a schedule");
                assert_eq!(all(replay, &[4, 3, 2]), [order], "{text}");
            }
        }
    }

    #[test]
    fn random_orders_differ_and_come_again_with_the_seed() {
        let orders = |seed| {
            let mut search = Search::new(Plan::Pct { seed, changes: 3 });
            let run = |_| {
                search.begin();
                let order = toy(&mut search, &[5, 5, 5]);
                search.end();
                order
            };
            (0..20).map(run).collect::<Vec<_>>()
        };
        assert_eq!(orders(1), orders(1));
        assert_ne!(orders(1), orders(2));
        let mut distinct = orders(1);
        distinct.sort();
        distinct.dedup();
        assert!(distinct.len() > 8, "{}", distinct.len());
    }

    #[test]
    fn steps_are_swept_until_the_next_decision() {
        // One thread that can be stepped three times before its next decision, and one other.
        let mut search = Search::new(Plan::Exhaustive {
            bound: 1,
            first: Schedule {
                stepping: true,
                choices: Vec::new(),
            },
        });
        let mut answers = Vec::new();
        while search.begin() {
            let answer = search.decide(Decision {
                ready: vec![0, 1],
                running: true,
                steppable: true,
            });
            if answer.steps > 3 {
                search.too_short();
            } else {
                answers.push((answer.option, answer.steps));
            }
            search.end();
        }
        assert_eq!(answers, [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3)]);
        assert_eq!(search.schedules(), 5);
    }
}
