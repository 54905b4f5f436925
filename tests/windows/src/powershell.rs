//! PowerShell, parsed by the grammar of the tree-sitter project.

use anyhow::{Context, Result};
use tree_sitter::{Node, Parser, Tree};

/// A command that a script calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// As it is written; a path is cut down to its last part.
    pub name: String,
    /// Parameters (`-Path`, without a value), as they are written.
    pub parameters: Vec<String>,
    /// Parameters and arguments that are written as plain words, in their order.
    pub words: Vec<String>,
    /// Every text in quotation marks in its arguments, without the marks.
    pub texts: Vec<String>,
    /// Its line, from 1.
    pub line: usize,
}

/// A parsed script.
pub struct Script<'a> {
    text: &'a str,
    tree: Tree,
}

impl<'a> Script<'a> {
    /// Parses.
    ///
    /// # Errors
    ///
    /// The parser cannot be made. A script that is wrong is none: see [`Self::errors`].
    pub fn parse(text: &'a str) -> Result<Self> {
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_powershell::LANGUAGE.into())?;
        Ok(Self {
            text,
            tree: parser.parse(text, None).context("not parsed")?,
        })
    }

    /// What is no PowerShell, with lines from 1.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        self.walk(&mut |node| {
            if node.is_error() || node.is_missing() {
                let what = if node.is_missing() {
                    format!("`{}` is missing", node.kind())
                } else {
                    let text: String = self.text_of(node).chars().take(60).collect();
                    format!("not understood: {text:?}")
                };
                errors.push(format!("line {}: {what}", node.start_position().row + 1));
            }
        });
        errors
    }

    /// The functions that it defines, with their parameters.
    #[must_use]
    pub fn functions(&self) -> Vec<(String, Vec<String>)> {
        let mut functions = Vec::new();
        self.walk(&mut |node| {
            if node.kind() == "function_statement" {
                let mut name = String::new();
                walk(node, &mut |inner| {
                    if inner.kind() == "function_name" && name.is_empty() {
                        name = self.text_of(inner).to_owned();
                    }
                });
                functions.push((name, self.parameters_in(node)));
            }
        });
        functions
    }

    /// The parameters of the script itself (with those of functions that it defines).
    #[must_use]
    pub fn parameters(&self) -> Vec<String> {
        self.parameters_in(self.tree.root_node())
    }

    fn parameters_in(&self, node: Node<'_>) -> Vec<String> {
        let mut names = Vec::new();
        walk(node, &mut |inner| {
            if inner.kind() == "script_parameter" {
                // Attributes come first, then the variable.
                let mut cursor = inner.walk();
                let variable = inner
                    .children(&mut cursor)
                    .find(|child| child.kind() == "variable");
                let name = variable.map(|variable| self.text_of(variable).replacen('$', "-", 1));
                names.extend(name);
            }
        });
        names
    }

    /// The commands that it calls.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        self.walk(&mut |node| {
            if node.kind() == "command" {
                commands.extend(self.command(node));
            }
        });
        commands
    }

    fn command(&self, node: Node<'_>) -> Option<Command> {
        let name = node.child_by_field_name("command_name")?;
        let name = self.text_of(name).trim_matches(['"', '\'']);
        let mut command = Command {
            name: name.rsplit(['\\', '/']).next().unwrap_or(name).to_owned(),
            parameters: Vec::new(),
            words: Vec::new(),
            texts: Vec::new(),
            line: node.start_position().row + 1,
        };
        let elements = node.child_by_field_name("command_elements").unwrap_or(node);
        let mut cursor = elements.walk();
        for element in elements.children(&mut cursor) {
            match element.kind() {
                "command_parameter" => {
                    command.parameters.push(self.text_of(element).to_owned());
                    command.words.push(self.text_of(element).to_owned());
                }
                "generic_token" => command.words.push(self.text_of(element).to_owned()),
                _ => walk(element, &mut |node| {
                    if node.kind() == "string_literal" {
                        let text = self.text_of(node).trim_matches(['"', '\'']);
                        command.texts.push(text.to_owned());
                    }
                }),
            }
        }
        Some(command)
    }

    fn text_of(&self, node: Node<'_>) -> &'a str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn walk(&self, visit: &mut impl for<'t> FnMut(Node<'t>)) {
        walk(self.tree.root_node(), visit);
    }
}

/// Visits a node and all below it, in the order of the text.
fn walk<'t>(node: Node<'t>, visit: &mut impl FnMut(Node<'t>)) {
    let mut pending = vec![node];
    while let Some(node) = pending.pop() {
        visit(node);
        let mut cursor = node.walk();
        let children: Vec<Node<'t>> = node.children(&mut cursor).collect();
        pending.extend(children.into_iter().rev());
    }
}
