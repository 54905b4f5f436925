//! The life of the circuit, from ntsim's recording.
//!
//! The full form is ntsim's own. The short one keeps what tells the story (calls of the engine, TDI requests, events,
//! the objects that are opened and closed) and folds what repeats itself: a file of 64 MiB is a thousand times the same.

use std::collections::{HashMap, HashSet};

use super::args::Timeline;

/// How often lines of one shape are shown before they are folded; the last one is always shown.
const SHOWN: usize = 2;
/// Columns of ntsim's timeline: time, thread, IRQL, who, what.
const WHO: usize = 41;
const WHAT: usize = 76;

/// Prints the recording.
pub(crate) fn print(how: Timeline) {
    let timeline = ntsim::trace::timeline();
    match how {
        Timeline::Full => print!("{timeline}"),
        Timeline::Short => shorten(&timeline)
            .iter()
            .for_each(|line| println!("{line}")),
    }
}

/// The short form.
fn shorten(timeline: &str) -> Vec<String> {
    let disconnects: HashSet<&str> = timeline
        .lines()
        .filter(|line| line.contains("TDI_DISCONNECT "))
        .filter_map(irp)
        .collect();
    let story = timeline
        .lines()
        .enumerate()
        .filter(|(number, line)| *number == 0 || is_told(line, &disconnects));
    fold(&story.map(|(_, line)| tidy(line)).collect::<Vec<_>>())
}

/// Whether a line belongs into the short form.
fn is_told(line: &str, disconnects: &HashSet<&str>) -> bool {
    let what = column(line, WHAT, usize::MAX);
    let starts = [
        "rxce!",
        "ZwCreateFile",
        "ZwClose",
        "RECEIVE event",
        "DISCONNECT event",
        "ERROR event",
    ];
    starts.iter().any(|start| what.starts_with(start))
        || (what.starts_with("IRP ") && what.contains("TDI_") && !what.contains("TDI_SET_EVENT_HANDLER"))
        || (what.starts_with("kernel calls ") && (what.contains("DriverEntry =") || what.contains("DriverUnload =")))
        // The whole life of the disconnect request, allocation and release included.
        || ((what.starts_with("IoAllocateIrp") || what.starts_with("IoFreeIrp"))
            && irp(line).is_some_and(|irp| disconnects.contains(irp)))
}

/// The address of the request that a line is about.
fn irp(line: &str) -> Option<&str> {
    let after = line.split_once("IRP ")?.1;
    let address = after.strip_prefix("0x").unwrap_or(after);
    let end = address
        .find(|c: char| !c.is_ascii_hexdigit())
        .unwrap_or(address.len());
    address.get(..end)
}

/// Characters of a line, from one column up to another.
fn column(line: &str, from: usize, to: usize) -> String {
    line.chars()
        .skip(from)
        .take(to.saturating_sub(from))
        .collect()
}

/// The recording is told after the drivers are gone: "(unloaded)" says nothing here.
fn tidy(line: &str) -> String {
    let who = column(line, WHO, WHAT).replace(" (unloaded)", "");
    let what = column(line, WHAT, usize::MAX).replace(" (unloaded)", "");
    let who = who.split(" (").next().unwrap_or_default().trim_end();
    format!("{}{who:<22} {what}", column(line, 0, WHO))
}

/// Leaves out lines whose shape was seen [`SHOWN`] times already and comes again later.
fn fold(lines: &[String]) -> Vec<String> {
    let lines: Vec<(&String, String)> = lines.iter().map(|line| (line, shape(line))).collect();
    let mut left: HashMap<&str, usize> = HashMap::new();
    for (_, shape) in &lines {
        *left.entry(shape).or_default() += 1;
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut folded = Vec::new();
    let mut hidden = 0_usize;
    for (line, shape) in &lines {
        let seen = seen.entry(shape).or_default();
        let left = left.entry(shape).or_default();
        *seen += 1;
        *left -= 1;
        if *seen > SHOWN && *left > 0 {
            hidden += 1;
            continue;
        }
        if hidden > 0 {
            folded.push(format!("{:>11}  ({hidden} more like those before)", "…"));
            hidden = 0;
        }
        folded.push((*line).clone());
    }
    folded
}

/// What a line says, without its time and thread and with every number replaced.
fn shape(line: &str) -> String {
    let rest = column(line, WHO, usize::MAX);
    let mut shape = String::with_capacity(rest.len());
    for word in rest.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let number = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let hexadecimal = number.strip_prefix("0x").unwrap_or(number);
        if !hexadecimal.is_empty() && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            shape.push('#');
            shape.push_str(&word[number.len()..]);
        } else {
            shape.push_str(word);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::{fold, shorten, tidy};

    fn line(time: usize, what: &str) -> String {
        format!(
            "{time:>11}  {:<22} {:<4} {:<34} {what}",
            "7 worker", "PASS", "a.sys (unloaded)+0x12 (Entry+0x4)"
        )
    }

    #[test]
    fn repetitions_are_folded_and_the_last_one_is_shown() {
        let mut lines = vec![line(0, "connect -> SUCCESS")];
        for n in 0..10 {
            lines.push(line(n, &format!("send {} bytes -> IRP ff0{n}a0", n * 100)));
            lines.push(line(n, &format!("sent 0x{n:x}")));
        }
        lines.push(line(11, "disconnect -> SUCCESS"));
        let folded = fold(&lines);
        let mut expected = lines[..5].to_vec();
        expected.push(format!("{:>11}  (14 more like those before)", "…"));
        expected.extend_from_slice(&lines[19..]);
        assert_eq!(folded, expected);
    }

    #[test]
    fn the_disconnect_request_is_told_from_its_allocation_to_its_end() {
        let told = [
            "rxce!RxCeInitiateVCDisconnect(0) -> STATUS_SUCCESS",
            "IoAllocateIrp(1 locations) -> IRP 600ee0",
            r"IRP 0x600ee0 → \Device\Tcp: TDI_DISCONNECT RELEASE, timeout 8.000 s",
            r"IRP 0x600ee0 ← \Device\Tcp: TDI_DISCONNECT RELEASE, timeout 8.000 s: STATUS_SUCCESS, 0 bytes",
            "IoFreeIrp(IRP 600ee0)",
        ];
        let mut lines = vec![
            "head".to_owned(),
            line(1, "IoAllocateIrp(1 locations) -> IRP 500ee0"),
        ];
        lines.extend(told.iter().map(|what| line(2, what)));
        lines.push(line(3, "IoFreeIrp(IRP 500ee0)"));
        let expected: Vec<_> = lines[2..7].iter().map(|line| tidy(line)).collect();
        assert_eq!(shorten(&lines.join("\n"))[1..], expected);
        assert!(expected[0].contains("a.sys+0x12"), "{}", expected[0]);
        assert!(!expected[0].contains("unloaded"), "{}", expected[0]);
    }
}
