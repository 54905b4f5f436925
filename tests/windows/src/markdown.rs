//! Code blocks in a page.

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The word after the fence.
    pub language: String,
    /// The line of the fence, from 1.
    pub line: usize,
    /// Its lines.
    pub text: String,
}

/// The fenced blocks of a page, in order.
#[must_use]
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block {
                    language: language.trim().to_owned(),
                    line: index + 1,
                    text: String::new(),
                });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_their_language_and_place() {
        let found = blocks("a\n```powershell\nb\nc\n```\n\n```\nd\n```\n");
        assert_eq!(found.len(), 2);
        assert_eq!(
            (
                found[0].language.as_str(),
                found[0].line,
                found[0].text.as_str()
            ),
            ("powershell", 2, "b\nc\n")
        );
        assert_eq!(found[1].language, "");
    }
}
