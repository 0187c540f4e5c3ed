//! Dump files: one file a container.

mod bitmap;
mod full;
mod header;
mod raw;

use crate::memory::Use;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// File extension and bytes of a container by its name in scenarios.
///
/// # Panics
/// When there is no such container.
pub fn write(kind: &str, p: &Planted, s: &Scenario) -> (&'static str, Vec<u8>) {
    match kind {
        "full" => ("dmp", full::write(p, s)),
        "bitmap" => ("dmp", bitmap::write(p, s, 5, |_| true)),
        "kernel" => ("dmp", bitmap::write(p, s, 6, |u| matches!(u, Some(Use::Table | Use::Kernel)))),
        "raw" => ("dd", raw::write(p)),
        other => panic!("container {other}"),
    }
}
