//! What a fault means: which stop it is, who did it, and what was at the address.

use crate::arena::{self, Kind};
use crate::image::unwind::{self, Position, Registers};
use crate::io::surrogate;
use crate::stop;
use crate::thread::{Frame, Thread};
use crate::{image, pageable, pool};

/// `ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY`.
const NO_EXECUTE: u32 = 0xFC;

/// A fault as the handler found it.
pub(super) struct Fault {
    pub(super) signal: i32,
    pub(super) address: usize,
    pub(super) general_protection: bool,
    pub(super) error: u64,
    pub(super) registers: Registers,
}

impl Fault {
    pub(super) fn rip(&self) -> usize {
        usize::try_from(self.registers.rip).unwrap_or(0)
    }

    fn rsp(&self) -> usize {
        let [_, _, _, _, rsp, ..] = self.registers.general;
        usize::try_from(rsp).unwrap_or(0)
    }

    fn is_write(&self) -> bool {
        self.error & 2 != 0
    }

    fn is_execution(&self) -> bool {
        self.error & 0x10 != 0 || self.rip() == self.address
    }

    /// Stops the machine for it.
    pub(super) fn report(&self, thread: &Thread) -> ! {
        let frames = thread.try_frames().unwrap_or_default();
        let (low, high) = thread.stack_limits();
        let on_driver_stack = self.rsp() + arena::PAGE >= low && self.rsp() <= high;
        let by_driver = on_driver_stack || image::find(self.rip()).is_some();
        let stack = self.stack(&frames, by_driver);
        let who = self.who(&frames, by_driver);
        let (code, reason) = match self.pageable() {
            // IRQL_NOT_LESS_OR_EQUAL, and the same for a driver's own instruction.
            Some(what) => (if by_driver { 0xD1 } else { 0x0A }, what),
            None => self.explain(thread),
        };
        let access = match () {
            () if self.is_execution() => "execute",
            () if self.is_write() => "write",
            () => "read",
        };
        let text = match self.signal {
            libc::SIGSEGV | libc::SIGBUS if !self.general_protection || code == 0x139 => {
                format!("{who} tried to {access} 0x{:X}: {reason}", self.address)
            }
            _ => format!("{who}: {reason}"),
        };
        let parameters = match code {
            0x1E => [
                self.exception(),
                self.registers.rip,
                u64::from(self.is_write()),
                self.address as u64,
            ],
            0x7F => [8, self.address as u64, 0, self.registers.rip],
            _ => [
                self.address as u64,
                u64::from(thread.irql()),
                u64::from(self.is_write()),
                self.registers.rip,
            ],
        };
        stop::report(code, parameters, &text, &stack)
    }

    /// The driver, or the routine that worked on a driver's pointer.
    fn who(&self, frames: &[Frame], by_driver: bool) -> String {
        if by_driver {
            return stop::describe(self.driver_address());
        }
        match frames.last() {
            Some(Frame::Call { entry, caller, .. }) => {
                format!(
                    "{} called {} with a bad pointer, and it",
                    stop::describe(*caller),
                    crate::gate::entry(*entry).name()
                )
            }
            _ => format!("ntsim itself (at 0x{:X})", self.rip()),
        }
    }

    /// Where the driver was: for a wild jump, where it came from.
    fn driver_address(&self) -> usize {
        if image::find(self.rip()).is_some_and(image::Image::is_loaded) {
            return self.rip();
        }
        let mut bytes = [0; 8];
        if arena::read_checked(self.rsp(), &mut bytes) {
            let caller = usize::from_le_bytes(bytes);
            if image::find(caller).is_some() {
                return caller;
            }
        }
        self.rip()
    }

    /// The driver's call stack.
    pub(super) fn stack(&self, frames: &[Frame], by_driver: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if by_driver {
            let mut registers = self.registers;
            let mut position = Position::AtInstruction;
            let start = self.driver_address();
            if start != self.rip() {
                registers.rip = start as u64;
                let [_, _, _, _, rsp, ..] = &mut registers.general;
                *rsp += 8;
                position = Position::AfterCall;
            }
            lines.extend(
                unwind::walk(registers, position)
                    .into_iter()
                    .map(|at| format!("  {}", stop::describe(at))),
            );
        }
        for frame in frames.iter().rev() {
            lines.extend(stop::frame_lines(frame));
        }
        lines
    }

    const fn exception(&self) -> u64 {
        match self.signal {
            libc::SIGILL => 0xC000_001D,
            libc::SIGFPE => 0xC000_0094,
            libc::SIGTRAP => 0x8000_0003,
            _ => 0xC000_0005,
        }
    }

    /// What pageable memory was touched where paging is impossible.
    fn pageable(&self) -> Option<String> {
        let access = pageable::Access {
            address: self.address,
            write: self.is_write(),
            execute: self.is_execution(),
        };
        let paging = self.signal == libc::SIGSEGV
            && !self.general_protection
            && pageable::is_page_fault(access);
        let what = pageable::describe(self.address)?;
        paging.then(|| format!("pageable memory, paged out at DISPATCH_LEVEL: {what}"))
    }

    /// Stop code and the reason for people.
    fn explain(&self, thread: &Thread) -> (u32, String) {
        match self.signal {
            libc::SIGILL => {
                return (
                    0x1E,
                    "illegal instruction (a panic or an abort of compiled code ends in one)"
                        .to_owned(),
                );
            }
            libc::SIGFPE => return (0x1E, "integer division by zero, or its overflow".to_owned()),
            libc::SIGTRAP => return (0x1E, "breakpoint instruction".to_owned()),
            _ => {}
        }
        let mut code = [0u8; 2];
        if arena::read_checked(self.rip(), &mut code) && code == [0xCD, 0x29] {
            let [_, rcx, ..] = self.registers.general;
            return (0x139, format!("fast fail with code {rcx}"));
        }
        if self.general_protection {
            return (0x1E, "general protection fault: an address that is not canonical, or a privileged instruction".to_owned());
        }
        self.explain_address(thread)
    }

    fn explain_address(&self, thread: &Thread) -> (u32, String) {
        let address = self.address;
        if let Some(block) = pool::owner_block(address)
            && (block.address..block.address + block.bytes).contains(&address)
            && self.is_execution()
        {
            return (
                NO_EXECUTE,
                format!("data is not executable: {}", block.describe()),
            );
        }
        if let Some(import) = image::poisoned(address) {
            return (
                0x7F,
                format!(
                    "it stands for the import {import}, which neither the kernel nor a loaded driver has"
                ),
            );
        }
        if let Some(block) = pool::owner_block(address) {
            let place = if address < block.address {
                format!("{} bytes in front of", block.address - address)
            } else {
                format!(
                    "{} bytes beyond the end of",
                    address - (block.address + block.bytes).min(address)
                )
            };
            return (0xD6, format!("{place} {}", block.describe()));
        }
        if let Some(block) = pool::freed_block(address) {
            return (0xD5, format!("freed memory: {}", block.describe()));
        }
        if let Some(image) = image::find(address) {
            return self.explain_image(image, address);
        }
        if address < 0x1_0000 {
            return (0x1E, "a NULL pointer".to_owned());
        }
        if arena::is_user(address) {
            return (0x1E, "an address of user space".to_owned());
        }
        let Some(known) = arena::explain(address).filter(|_| arena::is_system(address)) else {
            return (0x50, "nothing was ever mapped there".to_owned());
        };
        let inside = address >= known.base && address < known.base + known.bytes;
        match known.kind {
            Kind::Stack if !inside && address < known.base => {
                let whose = if (known.base, known.base + known.bytes) == thread.stack_limits() {
                    "the driver stack of this thread overflowed".to_owned()
                } else {
                    format!("below the driver stack of thread {}", known.owner)
                };
                (0x7F, format!("{whose} ({} bytes)", known.bytes))
            }
            Kind::Irp if inside && surrogate::is_hidden(address) => (
                0xD5,
                format!("the IRP 0x{:X}, which a driver below still has", known.base),
            ),
            Kind::Irp if !known.live => (
                0xD5,
                format!("freed IRP, in the page at 0x{:X}", known.base),
            ),
            Kind::Irp if !inside => (
                0xD6,
                format!(
                    "beyond the end of the IRP in the page at 0x{:X}",
                    known.base
                ),
            ),
            kind if !known.live => (
                0x50,
                format!(
                    "freed memory ({kind:?}) of {} bytes at 0x{:X}",
                    known.bytes, known.base
                ),
            ),
            kind if inside && self.is_execution() => (
                NO_EXECUTE,
                format!("memory of kind {kind:?} is not executable"),
            ),
            kind if inside => (0xBE, format!("memory of kind {kind:?} does not allow this")),
            kind => (
                0x50,
                format!(
                    "just beyond memory of kind {kind:?}, {} bytes at 0x{:X}",
                    known.bytes, known.base
                ),
            ),
        }
    }

    fn explain_image(&self, image: &image::Image, address: usize) -> (u32, String) {
        if !image.is_loaded() {
            return (0xCE, format!("{} was unloaded", image.name));
        }
        match image.section(address) {
            Some(section) if section.discardable => (
                0x50,
                format!(
                    "section {} of {} was discarded after initialisation",
                    section.name, image.name
                ),
            ),
            Some(section) => (
                if self.is_execution() {
                    NO_EXECUTE
                } else {
                    0xBE
                },
                format!(
                    "section {} of {} does not allow this",
                    section.name, image.name
                ),
            ),
            None => (0x50, format!("no section of {} is there", image.name)),
        }
    }
}
