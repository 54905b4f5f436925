//! A machine with both drivers, and the commands to `bench.sys`.

use std::{hint::black_box, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bench_ioctl::{
    Command, Contest, DEVICE_NAME, IOCTL_BENCH, Operation, Pick, Provider, Rival, Side, Step,
};
use ntsim::{Driver, File, Rules, TraceMode, count::Count};

/// The transport over the host's sockets.
const TRANSPORT: &str = r"\Device\Tcp";

/// A running machine.
pub struct Machine {
    rxce: Driver,
    bench: Driver,
    device: File,
    began: (Instant, u64),
}

/// Ticks of one operation: for each column, for each batch.
pub type Columns = Vec<Vec<f64>>;

impl Machine {
    /// Boots without checks and loads the drivers.
    ///
    /// # Errors
    ///
    /// The host's, missing images, and entries that fail.
    pub fn boot(images: &Path) -> Result<Self> {
        ntsim::thread::let_wakers_run_on().context("cannot choose the policy of the scheduler")?;
        ntsim::boot(ntsim::Options {
            trace: TraceMode::Off,
            rules: Rules::empty(),
            ..ntsim::Options::default()
        });
        ntsim::tcp::install(TRANSPORT);
        let load = |name: &str| crate::machine::start(&images.join(name));
        Ok(Self {
            rxce: load("rxce.sys")?,
            bench: load("bench.sys")?,
            device: File::open(DEVICE_NAME).context("cannot open the control device")?,
            began: (Instant::now(), ticks()),
        })
    }

    fn command(&self, command: Command) -> Result<Vec<u8>> {
        let answer = self
            .device
            .ioctl(IOCTL_BENCH, &command.to_bytes(), command.answer_len());
        answer.with_context(|| format!("{command:?}"))
    }

    /// Runs a command whose answer has columns; each figure is divided by `each`.
    fn columns(&self, command: Command, each: u32) -> Result<Columns> {
        let answer = self.command(command)?;
        let numbers: Vec<u64> = answer
            .chunks_exact(8)
            .filter_map(|chunk| chunk.first_chunk().copied())
            .map(u64::from_le_bytes)
            .collect();
        let columns = command.columns();
        ensure!(
            numbers.len() == columns * command.batches() as usize,
            "a short answer"
        );
        Ok((0..columns)
            .map(|column| {
                let batches = numbers.iter().skip(column).step_by(columns);
                batches
                    .map(|&ticks| ticks as f64 / f64::from(each))
                    .collect()
            })
            .collect())
    }

    /// Builds or tears down circuits until so many are alive.
    ///
    /// # Errors
    ///
    /// The first failure of a routine.
    pub fn resize(&self, circuits: u32) -> Result<()> {
        self.command(Command::Resize(circuits)).map(drop)
    }

    /// Ticks of one operation.
    ///
    /// # Errors
    ///
    /// The first failure of a routine.
    pub fn measure(
        &self,
        operation: Operation,
        pick: Pick,
        batches: u32,
        each: u32,
    ) -> Result<Columns> {
        let command = Command::Measure {
            operation,
            pick,
            batches,
            each,
        };
        self.columns(command, each)
    }

    /// Opens circuits with both clients.
    ///
    /// # Errors
    ///
    /// The first failure of a client.
    pub fn pair(&self, provider: Provider, circuits: u32) -> Result<()> {
        self.command(Command::Pair { provider, circuits }).map(drop)
    }

    /// Closes what [`Self::pair`] has opened.
    ///
    /// # Errors
    ///
    /// A failure of the driver.
    pub fn part(&self) -> Result<()> {
        self.pair(Provider::Null, 0)
    }

    /// Ticks of one operation of the engine and the hand-written client.
    ///
    /// # Errors
    ///
    /// The first failure of a client.
    pub fn contest(&self, contest: Contest, batches: u32, each: u32) -> Result<Columns> {
        self.contest_with(Rival::ByHand, contest, batches, each)
    }

    /// Ticks of one operation of the engine and a rival.
    ///
    /// # Errors
    ///
    /// The first failure of a client.
    pub fn contest_with(
        &self,
        rival: Rival,
        contest: Contest,
        batches: u32,
        each: u32,
    ) -> Result<Columns> {
        let command = Command::Contest {
            rival,
            contest,
            batches,
            each,
        };
        self.columns(command, each)
    }

    /// Ticks of a stream of sends, by the engine and by a rival, in each turn.
    ///
    /// # Errors
    ///
    /// The first failure of a client.
    pub fn stream(
        &self,
        rival: Rival,
        [bytes, circuits, sends, turns]: [u32; 4],
    ) -> Result<Columns> {
        let command = Command::Stream {
            rival,
            bytes,
            circuits,
            sends,
            turns,
        };
        self.columns(command, 1)
    }

    /// Ticks of what no client is in.
    ///
    /// # Errors
    ///
    /// A failure of the driver.
    pub fn without_clients(&self, batches: u32, each: u32) -> Result<Columns> {
        self.columns(Command::Floor { batches, each }, each)
    }

    /// Ticks of a call of an export of `rxce.sys` that does nothing, made by the host program.
    ///
    /// # Errors
    ///
    /// There is no such export.
    pub fn empty_calls(&self, batches: u32, each: u32) -> Result<Vec<f64>> {
        // Documented to answer STATUS_NOT_IMPLEMENTED, whatever it is given.
        let export = self.rxce.image().export("RxCeCancelConnectRequest");
        let export = export.context("no RxCeCancelConnectRequest")?;
        Ok((0..batches)
            .map(|_| {
                let began = ticks();
                for _ in 0..each {
                    black_box(ntsim::gate::call(export, &[0, 0, 0]));
                }
                ticks().wrapping_sub(began) as f64 / f64::from(each)
            })
            .collect())
    }

    /// What `rxce.sys` and `bench.sys` do in one step of a pair's first circuit.
    ///
    /// # Errors
    ///
    /// The first failure of the client.
    pub fn count(&self, side: Side, step: Step) -> Result<[Count; 2]> {
        drop(ntsim::count::take());
        self.command(Command::Count { side, step })?;
        let mut counts = ntsim::count::take();
        Ok(["rxce.sys", "bench.sys"].map(|image| counts.remove(image).unwrap_or_default()))
    }

    /// Nanoseconds of one tick, by the time since the machine was booted.
    pub fn nanoseconds_per_tick(&self) -> f64 {
        let (began, first) = self.began;
        let elapsed = ticks().wrapping_sub(first);
        began.elapsed().as_nanos() as f64 / elapsed.max(1) as f64
    }

    /// Unloads the drivers; whatever is left over is an error.
    ///
    /// # Errors
    ///
    /// A leak.
    pub fn shut_down(self) -> Result<()> {
        self.resize(0)?;
        self.part()?;
        drop(self.device);
        self.bench.unload().context("bench.sys")?;
        self.rxce.unload().context("rxce.sys")
    }
}

/// The processor's time-stamp counter, as the driver reads it.
fn ticks() -> u64 {
    // SAFETY: Every x86-64 processor has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
