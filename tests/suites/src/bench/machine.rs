//! A machine with both drivers, and the commands to `bench.sys`.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use bench_ioctl::{Command, DEVICE_NAME, IOCTL_BENCH, Operation, Pick};
use ntsim::{Driver, File, TraceMode};

/// A running machine.
pub struct Machine {
    rxce: Driver,
    bench: Driver,
    device: File,
    began: (Instant, u64),
}

impl Machine {
    /// Boots without checks and loads the drivers.
    ///
    /// # Errors
    ///
    /// Missing images, and entries that fail.
    pub fn boot(images: &Path) -> Result<Self> {
        ntsim::boot(ntsim::Options {
            trace: TraceMode::Off,
            special_pool: false,
            force_irql: false,
            deadlock_detection: false,
            ..ntsim::Options::default()
        });
        let load = |name: &str| -> Result<Driver> {
            let path: PathBuf = images.join(name);
            let driver = Driver::load(&path).with_context(|| {
                format!(
                    "cannot load {} (made by `cargo xtask build --all`)",
                    path.display()
                )
            })?;
            let status = driver.start();
            ensure!(status >= 0, "DriverEntry of {name} returned {status:#010X}");
            Ok(driver)
        };
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

    /// Builds or tears down circuits until so many are alive.
    ///
    /// # Errors
    ///
    /// The first failure of a routine.
    pub fn resize(&self, circuits: u32) -> Result<()> {
        self.command(Command::Resize(circuits)).map(drop)
    }

    /// Ticks of one operation in each batch, for each column.
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
    ) -> Result<Vec<Vec<f64>>> {
        let answer = self.command(Command::Measure {
            operation,
            pick,
            batches,
            each,
        })?;
        let numbers: Vec<u64> = answer
            .chunks_exact(8)
            .filter_map(|chunk| chunk.first_chunk().copied())
            .map(u64::from_le_bytes)
            .collect();
        let columns = operation.columns();
        ensure!(
            numbers.len() == columns * batches as usize,
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
