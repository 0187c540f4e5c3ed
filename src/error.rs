//! What stops a run. One value that is not there is an [`Absent`](crate::value::Absent), never an `Error`.

use std::path::PathBuf;

/// A failure that ends the run. Says what was tried and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a dump dumpwalk knows, or its header cannot be.
    #[error("{path}: {what}", path = path.display())]
    NotADump {
        /// The file.
        path: PathBuf,
        /// What it looks like, and what was looked for.
        what: String,
    },
    /// No kernel was found in the dump.
    #[error("no Windows kernel found: {0}")]
    NoKernel(String),
    /// No symbols for the kernel.
    #[error("no symbols: {0}")]
    NoSymbols(String),
    /// Symbols were found but cannot be used.
    #[error("symbols from {origin}: {what}")]
    BadSymbols {
        /// File or URL.
        origin: String,
        /// What is wrong with them.
        what: String,
    },
    /// The dump does not hold what the analysis needs.
    #[error("{0}")]
    NotAvailable(String),
    /// Writing the output failed.
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
    /// The words of the command line make no sense together.
    #[error("{0}")]
    Usage(String),
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Text that was met on the way (a path, a server's words, a name in the dump) as a part of a message of several lines: its
/// own line breaks must not look like the message's.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.replace('\r', "<U+000D>").replace('\n', "<U+000A>")
}

/// A message of several lines on one: what a note or a cell of a table can hold.
#[must_use]
pub fn in_one_line(message: &str) -> String {
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut out = String::with_capacity(message.len());
    for line in lines {
        match out.chars().last() {
            None => {}
            Some(':' | ',' | ';') => out.push(' '),
            Some(_) => out.push_str("; "),
        }
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_several_lines_fit_one() {
        assert_eq!(
            in_one_line("none for x; tried:\n  a: not there\n  b: empty\nDo this,\nthen that."),
            "none for x; tried: a: not there; b: empty; Do this, then that."
        );
        assert_eq!(in_one_line("one"), "one");
        assert_eq!(one_line("a\nb\r"), "a<U+000A>b<U+000D>");
    }
}
