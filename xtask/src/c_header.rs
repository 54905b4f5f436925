//! `include/rxce.h` for C and C++: every compiler takes it without a warning, and counts the same sizes, offsets and numbers as Rust.
//!
//! The numbers are read from the compile-time assertions and constants of the driver's sources, so each is true in Rust; they become
//! assertions in C. A type or constant is matched by its documentation, which begins with the C name.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    c_drivers::{Compiler, Language},
    command,
    tally::Tally,
    workspace,
};

/// Where structures, constants and what is asserted of them stand.
const SOURCES: [&str; 4] = [
    "src/abi.rs",
    "src/abi/extension.rs",
    "engine/src/send.rs",
    "engine/src/life.rs",
];
/// Fewer assertions than this, and they were not found rather than removed.
const LEAST: usize = 70;

/// A way to include the header.
struct Inclusion {
    what: &'static str,
    text: &'static str,
    small: bool,
}

const INCLUSIONS: [Inclusion; 3] = [
    Inclusion {
        what: "alone, and twice",
        text: "#include <rxce.h>\n#include <rxce.h>\n",
        small: false,
    },
    Inclusion {
        what: "after ntddk.h and tdikrnl.h",
        text: "#include <ntddk.h>\n#include <tdikrnl.h>\n#include <rxce.h>\n",
        small: false,
    },
    Inclusion {
        what: "with the event table of older headers",
        text: "#include <ntifs.h>\n#include <tdikrnl.h>\n#define RXCEX_SMALL_EVENT_TABLE\n#include <rxce.h>\n",
        small: true,
    },
];

/// Checks the header, and shows for each compiler that a number that is wrong is seen.
pub(crate) fn check_all(tally: &mut Tally) -> Result<()> {
    let mut sources = String::new();
    for path in SOURCES {
        let text = fs::read_to_string(workspace::root().join(path))
            .with_context(|| format!("cannot read {path}"))?;
        sources.push_str(&text);
    }
    let assertions = assertions(&sources)?;
    ensure!(
        assertions.len() >= LEAST,
        "only {} assertions found in {}",
        assertions.len(),
        SOURCES.join(", ")
    );
    println!("{} sizes, offsets and numbers", assertions.len());
    for compiler in Compiler::ALL {
        for language in [Language::C, Language::Cxx] {
            for inclusion in &INCLUSIONS {
                let what = format!("rxce.h {}: {compiler:?}, {language:?}", inclusion.what);
                let source = inclusion.text.to_owned() + &text(&assertions, inclusion.small);
                match compile(compiler, language, &source)? {
                    Ok(()) => tally.pass(&what),
                    Err(why) => tally.fail(&what, &why),
                }
            }
            let what = format!("proof: {compiler:?}, {language:?} sees a wrong number");
            let wrong = "#include <rxce.h>\nC_ASSERT(sizeof(RXCE_VC) == 0x41);\n";
            match compile(compiler, language, wrong)? {
                Ok(()) => tally.fail(&what, "it compiles"),
                Err(_) => tally.pass_quietly(),
            }
        }
    }
    Ok(())
}

/// Compiles a text; the inner result is the compiler's word on it.
fn compile(compiler: Compiler, language: Language, text: &str) -> Result<Result<(), String>> {
    let folder = workspace::root().join("target/c-header");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let source = folder.join(match language {
        Language::C => "header.c",
        Language::Cxx => "header.cpp",
    });
    fs::write(&source, text).with_context(|| format!("cannot write {}", source.display()))?;
    let mut compile = compiler.command(language)?;
    compile.arg(match compiler {
        Compiler::ClangCl => "/Zs",
        _ => "-fsyntax-only",
    });
    let output = compile
        // From the root, where it runs: Microsoft's command line takes a leading slash for an option.
        .arg(workspace::shown(&source))
        .output()
        .with_context(|| format!("cannot start `{}`", command::typed(&compile)))?;
    Ok(if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout))
    })
}

/// Something that C has to agree with.
#[derive(Debug, PartialEq, Eq)]
enum Assertion {
    Size {
        of: String,
        is: String,
    },
    Offset {
        of: String,
        member: String,
        is: String,
    },
    Number {
        name: String,
        is: String,
    },
}

/// The assertions as C.
fn text(assertions: &[Assertion], small: bool) -> String {
    const FULL_TABLE: &str = "RXCE_CONNECTION_EVENT_HANDLER";
    let mut text = String::from("#include <stddef.h>\n");
    // With the switch, the table of older headers has the name of the full one, which is not there.
    let name = |of: &str| match of {
        FULL_TABLE if small => None,
        "RXCEX_SMALL_EVENT_HANDLER" if small => Some(FULL_TABLE.to_owned()),
        _ => Some(of.to_owned()),
    };
    for assertion in assertions {
        let line = match assertion {
            Assertion::Size { of, is } => {
                name(of).map(|of| format!("C_ASSERT(sizeof({of}) == {is});"))
            }
            Assertion::Offset { of, member, is } => {
                name(of).map(|of| format!("C_ASSERT(offsetof({of}, {member}) == {is});"))
            }
            Assertion::Number { name, is } => Some(format!("C_ASSERT((ULONG){name} == {is});")),
        };
        if let Some(line) = line {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// Reads Rust sources, line by line.
fn assertions(sources: &str) -> Result<Vec<Assertion>> {
    let mut found = Vec::new();
    let mut documented = None;
    let mut types: BTreeMap<String, String> = BTreeMap::new();
    let mut constants: BTreeMap<String, String> = BTreeMap::new();
    for line in sources.lines().map(str::trim) {
        let words: Vec<&str> = line
            .split([' ', '(', ')', '<', '>', ',', ';', ':', '='])
            .filter(|word| !word.is_empty())
            .collect();
        if let Some(rest) = line.strip_prefix("/// `") {
            documented = rest.split('`').next().map(str::to_owned);
            continue;
        }
        match words.as_slice() {
            ["pub", "crate", "struct", name, ..] => {
                if let Some(of) = documented.take() {
                    types.insert((*name).to_owned(), of);
                }
            }
            ["pub", "const", name, "u32", is]
            | ["pub", "crate", "const", name, "u32", is]
            | ["pub", "crate", "const", name, "usize", is]
            | ["const", name, "u32", is] => {
                constants.insert((*name).to_owned(), number(is)?);
                if let Some(name) = documented.take() {
                    found.push(Assertion::Number {
                        name,
                        is: number(is)?,
                    });
                }
            }
            // A state of a circuit.
            [
                "Self",
                variant @ ("Active" | "Disconnected" | "TearDown"),
                is,
            ] => found.push(Assertion::Number {
                name: format!("RXCE_VC_{}", variant.to_uppercase()),
                is: number(is)?,
            }),
            ["assert!", "size_of", of, is @ ..] => found.push(Assertion::Size {
                of: known(&types, of)?,
                is: expression(is, &constants)?,
            }),
            ["assert!", "offset_of!", of, member, is] => found.push(Assertion::Offset {
                member: c_member(of, member),
                of: known(&types, of)?,
                is: number(is)?,
            }),
            ["const", "_", "assert!", rest @ ..] => {
                for pair in rest.split(|word| *word == "&&") {
                    let [of, "SIGNATURE", is] = pair else {
                        bail!("`{line}` is no assertion that is known here");
                    };
                    found.push(Assertion::Number {
                        name: format!("{}_SIGNATURE", known(&types, of)?),
                        is: number(is)?,
                    });
                }
            }
            ["assert!", ..] => bail!("`{line}` is no assertion that is known here"),
            // What stands between a documentation and its item.
            _ if line.starts_with("#[") || line.starts_with("///") => {}
            _ => documented = None,
        }
    }
    Ok(found)
}

fn known(types: &BTreeMap<String, String>, name: &str) -> Result<String> {
    types
        .get(name)
        .cloned()
        .with_context(|| format!("the documentation of `{name}` does not begin with its C name"))
}

/// The name of a member in C: those of event tables have more to it.
fn c_member(of: &str, member: &str) -> String {
    if of.ends_with("EventHandler") {
        format!("RxCe{member}EventHandler")
    } else if member == "routines" {
        "AllocateIrpWithMDL".to_owned()
    } else {
        member.to_owned()
    }
}

fn number(text: &str) -> Result<String> {
    let plain = text.replace('_', "");
    let digits = plain.strip_prefix("0x").unwrap_or(&plain);
    ensure!(
        !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_hexdigit()),
        "`{text}` is no number"
    );
    Ok(plain)
}

/// A sum or product of numbers and constants.
fn expression(words: &[&str], constants: &BTreeMap<String, String>) -> Result<String> {
    let mut text = Vec::new();
    for word in words {
        text.push(match *word {
            "+" | "*" => (*word).to_owned(),
            word => match constants.get(word) {
                Some(value) => value.clone(),
                None => number(word)?,
            },
        });
    }
    ensure!(!text.is_empty(), "an assertion without a number");
    Ok(text.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
/// `ONE`: a structure.
#[repr(C)]
pub(crate) struct First {
}
pub(crate) const MANY: usize = 2_0;
/// `FLAG`.
pub const F: u32 = 0x1_0;
        Self::TearDown => 0xBB,
    assert!(size_of::<First>() == 8 + 8 * MANY);
    assert!(offset_of!(First, pVc) == 0x10);
const _: () = assert!(First::SIGNATURE == 0x0048_EB71 && First::SIGNATURE == 1);
";

    #[test]
    fn assertions_become_those_of_c() {
        let lines = text(&assertions(SOURCE).unwrap(), false);
        let lines: Vec<&str> = lines.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "C_ASSERT((ULONG)FLAG == 0x10);",
                "C_ASSERT((ULONG)RXCE_VC_TEARDOWN == 0xBB);",
                "C_ASSERT(sizeof(ONE) == 8 + 8 * 20);",
                "C_ASSERT(offsetof(ONE, pVc) == 0x10);",
                "C_ASSERT((ULONG)ONE_SIGNATURE == 0x0048EB71);",
                "C_ASSERT((ULONG)ONE_SIGNATURE == 1);",
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_told() {
        assert!(assertions("assert!(align_of::<First>() == 8);").is_err());
        assert!(assertions("assert!(size_of::<Unknown>() == 8);").is_err());
    }
}
