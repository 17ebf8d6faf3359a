//! What a command says when it is done: lines for people, or one JSON object.

use std::io::{self, Write as _};

use serde_json::Value;

/// An answer in the making.
pub(super) struct Answer {
    event: &'static str,
    facts: Value,
    lines: Vec<String>,
    next: Option<(String, &'static str)>,
}

impl Answer {
    /// That `event` happened, with `facts` (an object) for programs.
    pub(super) fn new(event: &'static str, facts: Value) -> Self {
        Self {
            event,
            facts,
            lines: Vec::new(),
            next: None,
        }
    }

    /// A line for people.
    pub(super) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// What one would do next, and what that does.
    pub(super) fn next(mut self, command: impl Into<String>, does: &'static str) -> Self {
        self.next = Some((command.into(), does));
        self
    }

    /// Prints it to standard output.
    pub(super) fn print(self, as_json: bool) -> io::Result<()> {
        io::stdout()
            .lock()
            .write_all(self.render(as_json).as_bytes())
    }

    pub(super) fn render(self, as_json: bool) -> String {
        if as_json {
            let mut object = self.facts;
            object["event"] = self.event.into();
            return format!("{object}\n");
        }
        let mut text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        if let Some((command, does)) = self.next {
            text.push_str(&format!("\nNext:\n  {command}\n    {does}\n"));
        }
        text
    }
}
