//! Start of the simulated machine.

use crate::gate::{Datum, Routine};
use crate::rules::Rules;
use crate::{arena, argument, burn, executive, explore, gate, signal, trace};
use core::time::Duration;
use std::sync::OnceLock;

/// How the machine is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is recorded of the drivers' calls.
    pub trace: TraceMode,
    /// The classes of Driver Verifier's rules that are on.
    pub rules: Rules,
    /// On which side of a pool block the inaccessible page is.
    pub pool_guard: PoolGuard,
    /// With [`Rules::LOW_RESOURCES`]: of 10,000 calls that may fail, how many do, by the seed.
    pub low_resources: u32,
    /// How long (processor time) a driver may run without a call of a kernel routine.
    pub burn_limit: Duration,
    /// One thread at a time, and decisions who goes on: see [`crate::explore`].
    pub explore: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Bytes of a driver stack.
    pub driver_stack_bytes: usize,
    /// How many recorded calls a stop report shows.
    pub stop_records: usize,
    /// How long (real time) a lock may be spun for, or a processor be held, before that counts as a hang.
    pub spin_limit: Duration,
    /// Prints `DbgPrint` output to standard error as it comes.
    pub echo_debug_output: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trace: TraceMode::Ring(100_000),
            rules: Rules::USUAL,
            pool_guard: PoolGuard::End,
            // Verifier's default.
            low_resources: 600,
            burn_limit: Duration::from_secs(20),
            explore: false,
            seed: 1,
            driver_stack_bytes: crate::thread::DRIVER_STACK_BYTES,
            stop_records: 40,
            spin_limit: Duration::from_secs(20),
            echo_debug_output: true,
        }
    }
}

/// Which mistakes with pool blocks fault at once; others are found at the free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolGuard {
    /// A touch beyond the end (Verifier's default).
    End,
    /// A touch in front of the start.
    Start,
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceMode {
    /// Nothing.
    Off,
    /// The last so many records.
    Ring(usize),
    /// Everything.
    Whole,
}

static OPTIONS: OnceLock<Options> = OnceLock::new();

/// The options of this machine; the defaults before [`boot`].
pub(crate) fn options() -> &'static Options {
    OPTIONS.get_or_init(Options::default)
}

/// The routine tables of all modules, in the order of the modules.
fn routines() -> Vec<&'static [Routine]> {
    let own = [
        crate::pool::ROUTINES,
        crate::mm::ROUTINES,
        crate::rtl::ROUTINES,
        crate::rtl::CRT_ROUTINES,
        crate::stop::ROUTINES,
        crate::services::ROUTINES,
        crate::explore::ROUTINES,
        crate::count::ROUTINES,
        crate::driver::ROUTINES,
    ];
    own.into_iter().chain(executive::routines()).collect()
}

/// The exported variables of all modules.
fn data() -> Vec<&'static [Datum]> {
    core::iter::once(crate::mm::DATA)
        .chain(executive::data())
        .collect()
}

/// Starts the machine. Once per process, before anything else.
///
/// # Panics
///
/// When the process has booted before.
pub fn boot(options: Options) {
    assert!(
        OPTIONS.set(options).is_ok(),
        "one kernel per process: boot only once"
    );
    arena::initialise();
    signal::install();
    argument::install();
    trace::start();
    explore::prepare();
    crate::delay::prepare();
    crate::dispatcher::apc::prepare();
    executive::prepare();
    gate::install(&routines(), &crate::rdbss::LIBRARIES, &data());
    executive::start();
    burn::start();
}
