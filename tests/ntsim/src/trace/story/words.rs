//! Numbers and texts of records as people write them.

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time in milliseconds with three decimals.
pub(super) fn milliseconds(time_100ns: u64) -> String {
    format!(
        "{}.{:03}",
        grouped(time_100ns / 10_000),
        time_100ns % 10_000 / 10
    )
}

/// A text of a record for the story: byte counts grouped, flags that say nothing left out.
pub(super) fn tidy(text: &str) -> String {
    let mut text = text.replace(", flags 0x0", "");
    if text.starts_with("TDI_RECEIVE ") {
        // TDI_RECEIVE_NORMAL.
        text = text.replace(", flags 0x20", "");
    }
    let mut out = String::with_capacity(text.len());
    let mut words = text.split_inclusive(' ').peekable();
    while let Some(word) = words.next() {
        let counts = words
            .peek()
            .is_some_and(|next| next.starts_with("bytes") || next.starts_with("taken"));
        match word.trim_end().parse() {
            Ok(number) if counts => {
                out.push_str(&grouped(number));
                out.push(' ');
            }
            _ => out.push_str(word),
        }
    }
    out
}

/// The name of a function with `…` for each list of generic arguments.
pub(super) fn without_generics(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut depth = 0_usize;
    for c in name.chars() {
        match c {
            '<' => {
                if depth == 0 {
                    out.push_str("<…>");
                }
                depth += 1;
            }
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// What a request is and what came of it: `TDI_SEND 21 bytes` and `STATUS_SUCCESS, 21 bytes`. The byte count of the
/// outcome is left out where it says nothing new.
pub(super) fn outcome_of(request: &str, result: &str) -> String {
    let result = tidy(result);
    match result.split_once(", ") {
        Some((status, bytes))
            if bytes == "0 bytes" || tidy(request).contains(&format!(" {bytes}")) =>
        {
            status.to_owned()
        }
        _ => result,
    }
}

/// Pieces of a text: numbers, which may differ in lines that are alike, and all else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A decimal number: how it was written, and its smallest and largest value.
    Number(String, u64, u64),
    /// Text.
    Text(String),
}

/// Cuts a text into pieces. Hexadecimal numbers and those inside words stay text.
pub(super) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_,.".contains(c);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c: char| is_word(c) != is_word(first))
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        let number = word.trim_end_matches([',', '.']);
        match number.replace(',', "").parse() {
            Ok(value) => {
                pieces.push(Piece::Number(number.to_owned(), value, value));
                add_text(&mut pieces, word.get(number.len()..).unwrap_or_default());
            }
            Err(_) => add_text(&mut pieces, word),
        }
    }
    pieces
}

fn add_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Pieces as text: a range where numbers differ.
pub(super) fn joined(pieces: &[Piece]) -> String {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Number(text, low, high) if low == high => text.clone(),
            Piece::Number(_, low, high) => format!("{} to {}", grouped(*low), grouped(*high)),
        })
        .collect()
}

/// A text with a mark for each number: equal for lines that are alike.
pub(super) fn shape(text: &str) -> String {
    pieces(text)
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Number(..) => "\u{0}",
        })
        .collect()
}
