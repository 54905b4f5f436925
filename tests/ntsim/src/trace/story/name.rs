//! Numbers for requests, handles and objects, given when they are first told of.

use super::{Parameter, Signature, words};
use std::collections::HashMap;

/// The names given so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    irps: HashMap<usize, usize>,
    handles: HashMap<u64, String>,
    handle_count: usize,
    objects: HashMap<(String, u64), usize>,
    object_counts: HashMap<String, usize>,
}

impl Names {
    /// `IRP #3` for a life.
    pub(super) fn irp(&mut self, life: usize) -> String {
        let next = self.irps.len() + 1;
        format!("IRP #{}", self.irps.entry(life).or_insert(next))
    }

    /// `handle #2`, for a handle that was just made on this.
    pub(super) fn new_handle(&mut self, handle: u64, on: &str) -> String {
        self.handle_count += 1;
        let name = format!("handle #{}", self.handle_count);
        self.handles.insert(handle, format!("{name} ({on})"));
        name
    }

    /// A handle with what it is on.
    pub(super) fn closed_handle(&mut self, handle: u64) -> String {
        self.handles
            .remove(&handle)
            .unwrap_or_else(|| format!("handle 0x{handle:X}"))
    }

    /// `session #1` for the structure of this kind at this address.
    fn object(&mut self, kind: &str, address: u64) -> String {
        if address == 0 {
            return "NULL".to_owned();
        }
        let count = self.object_counts.entry(kind.to_owned()).or_default();
        let number = self
            .objects
            .entry((kind.to_owned(), address))
            .or_insert_with(|| {
                *count += 1;
                *count
            });
        format!("{kind} #{number}")
    }

    /// The arguments of an export; without a signature the first four as numbers.
    pub(super) fn arguments(
        &mut self,
        signature: Option<&Signature<'_>>,
        arguments: &[u64],
    ) -> String {
        let Some(signature) = signature else {
            let numbers = arguments.iter().take(4).map(|arg| match arg {
                0..=9 => arg.to_string(),
                _ => format!("0x{arg:X}"),
            });
            return numbers.collect::<Vec<_>>().join(", ");
        };
        let mut shown = Vec::new();
        for (parameter, &argument) in signature.parameters.iter().zip(arguments) {
            match parameter {
                Parameter::Skip => {}
                Parameter::Object(kind) => shown.push(self.object(kind, argument)),
                Parameter::Bytes => shown.push(format!("{} bytes", words::grouped(low(argument)))),
                Parameter::Flags(known) => shown.extend(flags(low(argument), known)),
            }
        }
        shown.join(", ")
    }
}

/// The lower half: the upper one of an argument of 32 bits is undefined.
const fn low(argument: u64) -> u64 {
    argument & 0xFFFF_FFFF
}

/// Names of the known flags, and the rest as a number; nothing for none.
fn flags(value: u64, known: &[(u32, &str)]) -> Option<String> {
    let mut rest = value;
    let mut names = Vec::new();
    for (flag, name) in known {
        let flag = u64::from(*flag);
        if flag != 0 && value & flag == flag {
            names.push((*name).to_owned());
            rest &= !flag;
        }
    }
    if rest != 0 {
        names.push(format!("0x{rest:X}"));
    }
    (!names.is_empty()).then(|| names.join(" | "))
}
