//! Tests of the story, on made-up recordings.

use super::super::{ARGUMENTS, End, EventKind, Record, What};
use super::{Chapter, Line, Parameter, Part, Signature, Story, diagram, fold, layout, tell, words};

/// A recording in the making: one record per 100 µs.
#[derive(Default)]
struct Recording(Vec<Record>);

impl Recording {
    fn add(&mut self, thread: u32, what: What, args: &[u64], text: &str) -> u64 {
        let number = self.0.len() as u64 + 1;
        let mut kept = [0; ARGUMENTS];
        kept.iter_mut()
            .zip(args)
            .for_each(|(slot, arg)| *slot = *arg);
        self.0.push(Record {
            number,
            time_100ns: number * 1000,
            real_ns: 0,
            thread,
            irql: 0,
            depth: 0,
            what,
            caller: 0,
            args: kept,
            arg_count: 0,
            result: None,
            end: None,
            handle: None,
            text: (!text.is_empty()).then(|| text.into()),
        });
        number
    }

    fn export(&mut self, thread: u32, routine: &'static str, args: &[u64]) -> u64 {
        let what = What::Call {
            routine,
            export: true,
        };
        self.add(thread, what, args, "")
    }

    fn kernel(&mut self, thread: u32, routine: &'static str, args: &[u64], result: u64) {
        let what = What::Call {
            routine,
            export: false,
        };
        let number = self.add(thread, what, args, "");
        self.end(number, result);
    }

    fn event(&mut self, thread: u32, kind: EventKind, text: &str) {
        self.add(thread, What::Event(kind), &[], text);
    }

    /// Ends a call after everything recorded so far.
    fn end(&mut self, number: u64, result: u64) {
        let after = self.0.len() as u64;
        if let Some(record) = self.0.iter_mut().find(|record| record.number == number) {
            record.result = Some(result);
            record.end = Some(End {
                time_100ns: after * 1000 + 500,
                after,
            });
        }
    }

    /// The life of one request on an IRP that is used again and again.
    fn request(&mut self, irp: u64, what: &str) {
        self.kernel(1, "IoAllocateIrp", &[1], irp);
        self.event(
            1,
            EventKind::IrpSend,
            &format!(r"IRP {irp:#x} → \Device\T: {what}"),
        );
        let done = format!(r"IRP {irp:#x} ← \Device\T: {what}: STATUS_SUCCESS, 0 bytes");
        self.event(2, EventKind::IrpComplete, &done);
        self.kernel(2, "IoFreeIrp", &[irp], 0);
    }

    fn lines(&self, story: &Story<'_>) -> Vec<Line> {
        tell::lines(&self.0, story)
    }
}

/// What the lines say, indented.
fn said(lines: &[Line]) -> Vec<String> {
    let text = layout::columns(lines, &[]);
    let column = text.lines().next().and_then(|head| head.find("what"));
    text.lines()
        .skip(1)
        .map(|line| line.chars().skip(column.unwrap_or(0)).collect())
        .collect()
}

#[test]
fn what_happens_inside_a_call_stands_between_its_begin_and_its_end() {
    let mut recording = Recording::default();
    let outer = recording.export(1, "lib!Outer", &[0x1000, 0x2000]);
    let inner = recording.export(1, "lib!Inner", &[0x2000, 0xFFFF_0000_0000_1234]);
    recording.export(2, "lib!Elsewhere", &[1, 2, 3]);
    recording.end(inner, 0);
    recording.end(outer, 0xC000_000D);
    let story = Story {
        signatures: &[
            Signature {
                export: "lib!Outer",
                parameters: &[Parameter::Object("file"), Parameter::Object("reader")],
            },
            Signature {
                export: "lib!Inner",
                parameters: &[Parameter::Object("reader"), Parameter::Bytes],
            },
        ],
        ..Story::default()
    };
    let expected = [
        "lib!Outer(file #1, reader #1)",
        "  lib!Inner(reader #1, 4,660 bytes) -> STATUS_SUCCESS (0.150 ms)",
        "lib!Elsewhere(1, 2, 3, 0) -> does not return",
        "lib!Outer returns STATUS_INVALID_PARAMETER (0.250 ms)",
    ];
    assert_eq!(said(&recording.lines(&story)), expected);
}

#[test]
fn a_request_is_one_line_and_the_chosen_ones_are_told_in_steps() {
    let mut recording = Recording::default();
    recording.request(0x7000, "TDI_CONNECT");
    recording.request(0x7000, "TDI_DISCONNECT RELEASE");
    recording.request(0x7000, "TDI_ACTION");
    recording.request(0x7000, "TDI_SEND 70000 bytes, flags 0x0");
    let story = Story {
        in_steps: &["TDI_DISCONNECT"],
        left_out: &["TDI_ACTION"],
        ..Story::default()
    };
    let expected = [
        "IRP #1 TDI_CONNECT -> STATUS_SUCCESS (0.100 ms)",
        "IRP #2 allocated, 1 stack location",
        r"IRP #2 sent to \Device\T: TDI_DISCONNECT RELEASE",
        "IRP #2 completed: TDI_DISCONNECT RELEASE -> STATUS_SUCCESS (0.100 ms)",
        "IRP #2 freed",
        "IRP #3 TDI_SEND 70,000 bytes -> STATUS_SUCCESS (0.100 ms)",
    ];
    assert_eq!(said(&recording.lines(&story)), expected);
}

#[test]
fn an_event_handler_and_what_was_indicated_are_one_line() {
    let mut recording = Recording::default();
    let callback = |name| What::Callback { name, target: 0 };
    let call = recording.add(1, callback("ClientEventReceive"), &[], "");
    recording.end(call, 0);
    let text = "RECEIVE event, 65523 bytes: STATUS_SUCCESS, 1100 taken";
    recording.event(1, EventKind::Indication, text);
    recording.event(1, EventKind::Indication, "DISCONNECT event, ABORT");
    let call = recording.add(1, callback("ClientEventDisconnect"), &[], "");
    recording.end(call, 0);
    let expected = [
        "RECEIVE event, 65,523 bytes -> STATUS_SUCCESS, 1,100 taken (0.050 ms)",
        "DISCONNECT event, ABORT (0.050 ms)",
    ];
    assert_eq!(said(&recording.lines(&Story::default())), expected);
}

#[test]
fn a_request_that_is_never_completed_says_so() {
    let mut recording = Recording::default();
    recording.event(
        1,
        EventKind::IrpSend,
        r"IRP 0x10 → \Device\T: TDI_SEND 1 bytes",
    );
    let said = said(&recording.lines(&Story::default()));
    assert_eq!(said, ["IRP #1 TDI_SEND 1 bytes -> not completed"]);
}

#[test]
fn repetitions_are_counted_with_the_range_of_their_numbers() {
    let mut recording = Recording::default();
    recording.request(0x7000, "TDI_CONNECT");
    for size in 1..=1000 {
        let call = recording.export(1, "lib!Send", &[size]);
        recording.request(0x9000, &format!("TDI_SEND {} bytes, flags 0x0", size * 10));
        recording.end(call, 0);
    }
    recording.request(0x7000, "TDI_DISCONNECT");
    let story = Story {
        signatures: &[Signature {
            export: "lib!Send",
            parameters: &[Parameter::Bytes],
        }],
        ..Story::default()
    };
    let said = said(&fold::fold(recording.lines(&story)));
    assert_eq!(said.len(), 1 + 2 * 3 + 2 + 1, "{said:#?}");
    assert_eq!(
        said[7..],
        [
            "998 × lib!Send(3 to 1,000 bytes) -> all STATUS_SUCCESS",
            "998 × TDI_SEND 30 to 10,000 bytes -> all STATUS_SUCCESS",
            "IRP #1002 TDI_DISCONNECT -> STATUS_SUCCESS (0.100 ms)",
        ]
    );
}

#[test]
fn another_outcome_is_not_counted_with_the_others() {
    let mut recording = Recording::default();
    for n in 0..30 {
        let call = recording.export(1, "lib!Send", &[]);
        recording.end(call, if n == 20 { 0xC000_020D } else { 0 });
    }
    let said = said(&fold::fold(recording.lines(&Story::default())));
    let failed = said
        .iter()
        .filter(|line| line.contains("-> STATUS_CONNECTION_RESET"));
    assert_eq!(failed.count(), 1, "{said:#?}");
}

#[test]
fn rows_are_broken_between_words_and_before_the_outcome() {
    let line = |what: String| Line {
        who: "driver".to_owned(),
        depth: 20,
        what,
        outcome: Some("STATUS_SUCCESS".to_owned()),
        ..Line::default()
    };
    let lines: Vec<Line> = (0..60).map(|n| line("words ".repeat(n) + "end")).collect();
    let text = layout::columns(&lines, &[]);
    for row in text.lines() {
        assert!(row.chars().count() <= 120, "{row}");
        for word in row.split_whitespace() {
            let known = [
                "words",
                "end",
                "->",
                "STATUS_SUCCESS",
                "driver",
                "PASSIVE",
                "0.000",
                "-",
            ];
            let head = ["ms", "thread", "IRQL", "who", "what", "result"];
            assert!(known.contains(&word) || head.contains(&word), "{row}");
        }
    }
}

#[test]
fn chapters_stand_before_the_first_line_of_theirs() {
    let line = |what: &str, part| Line {
        what: what.to_owned(),
        part,
        ..Line::default()
    };
    let chapter = |title, begins| Chapter { title, begins };
    let lines = [
        line("2 × close", Part::Folded),
        line("open", Part::Whole),
        line("close", Part::Whole),
        line("open", Part::Whole),
    ];
    let chapters = [
        chapter("CLOSE", "close"),
        chapter("NEVER", "nothing"),
        chapter("AGAIN", "open"),
    ];
    let text = layout::columns(&lines, &chapters);
    let last = |line: &str| line.split_whitespace().last().unwrap_or("").to_owned();
    let order: Vec<String> = text.lines().skip(1).map(last).collect();
    assert_eq!(
        order,
        ["close", "open", "", "CLOSE", "close", "", "AGAIN", "open"]
    );
}

#[test]
fn numbers_and_shapes() {
    assert_eq!(words::grouped(1_234_567), "1,234,567");
    assert_eq!(words::milliseconds(12_345_678), "1,234.567");
    assert_eq!(
        words::shape("a 1,024 bytes, 7"),
        words::shape("a 3 bytes, 65,512")
    );
    assert_ne!(words::shape("flags 0x20"), words::shape("flags 0x10"));
    assert_eq!(
        words::without_generics("a!b<c<d>,e>::f<g>+0x1"),
        "a!b<…>::f<…>+0x1"
    );
    assert_eq!(
        words::outcome_of("TDI_SEND 70000 bytes", "STATUS_SUCCESS, 70000 bytes"),
        "STATUS_SUCCESS"
    );
    assert_eq!(
        words::outcome_of("TDI_SEND 70000 bytes", "STATUS_SUCCESS, 7 bytes"),
        "STATUS_SUCCESS, 7 bytes"
    );
}

/// The arrows of a picture: whether thick, whether dashed, and whether they go to the right.
fn arrows(picture: &str) -> Vec<(bool, bool, bool)> {
    use svg::node::Value;
    use svg::parser::Event;
    let mut found = Vec::new();
    for event in svg::read(picture).expect("a picture that can be read") {
        let Event::Tag("line", _, attributes) = event else {
            continue;
        };
        let text = |name: &str| {
            attributes
                .get(name)
                .map(Value::to_string)
                .unwrap_or_default()
        };
        let number = |name: &str| text(name).parse::<f32>().unwrap_or_default();
        if attributes.contains_key("marker-end") {
            let dashed = text("stroke-dasharray") != "none";
            found.push((
                number("stroke-width") > 2.0,
                dashed,
                number("x1") < number("x2"),
            ));
        }
    }
    found
}

#[test]
fn a_request_is_an_arrow_down_and_a_dashed_one_back() {
    let mut recording = Recording::default();
    recording.request(0x4711, "TDI_DISCONNECT RELEASE");
    let story = Story {
        in_steps: &["TDI_DISCONNECT"],
        ..Story::default()
    };
    let mut lines = recording.lines(&story);
    // No image is loaded here: what a driver does is said by hand.
    for line in &mut lines {
        if line.thread == 1 {
            line.who = "driver".to_owned();
        }
        if let super::Reach::Completed { owner, .. } = &mut line.reach {
            *owner = "driver".to_owned();
        }
    }
    let picture = diagram::svg(&lines, &[]);
    assert_eq!(arrows(&picture), [(true, false, true), (true, true, false)]);
    for column in ["driver", r"\Device\T", "nt"] {
        let named = picture.lines().filter(|line| line.trim() == column).count();
        assert_eq!(named, 1, "{column}: {picture}");
    }
}

#[test]
fn a_call_of_another_driver_is_a_thin_arrow_and_its_return_a_dashed_one() {
    let mut recording = Recording::default();
    let outer = recording.export(1, "lib!Outer", &[]);
    let inner = recording.export(1, "base!Inner", &[]);
    recording.end(inner, 0);
    recording.end(outer, 0);
    let mut lines = recording.lines(&Story::default());
    for (line, who) in lines.iter_mut().zip(["client", "lib", "client"]) {
        line.who = who.to_owned();
    }
    let picture = diagram::svg(&lines, &[]);
    let expected = [
        (false, false, true),
        (false, false, true),
        (false, true, false),
    ];
    assert_eq!(arrows(&picture), expected);
}
