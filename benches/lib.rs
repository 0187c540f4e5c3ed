//! What the measurements share: the samples, opened with their own symbols and nothing of the user's.

use dumpwalk::analysis::{Case, OpenOptions};
use std::path::{Path, PathBuf};

/// The repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A dump: `win10-22h2/full.dmp` of the samples.
#[must_use]
pub fn sample(name: &str) -> PathBuf {
    root().join("testdata").join(name)
}

/// Opens a dump with the symbols of the samples.
///
/// # Panics
/// When it cannot be opened or no kernel is in it.
#[must_use]
pub fn open(dump: &Path) -> Case {
    let options =
        OpenOptions { symbols: vec![root().join("symbols")], offline: true, isolated: true, ..OpenOptions::default() };
    let case = Case::open(dump, &options).expect("the dump opens");
    case.kernel().expect("a kernel");
    case
}
