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
