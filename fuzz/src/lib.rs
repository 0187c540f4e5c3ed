//! What the fuzz targets share: the body of each. A crash is an input that panics, hangs, eats memory or is answered wrongly.
//!
//! `fuzz/run` builds all targets with the stable toolchain, starts each from its seeds and says what it did. With cargo-fuzz,
//! `cargo +nightly fuzz run dump_triage` (from the project's directory) runs one. `tests/fuzzed.rs` runs the same bodies on
//! mutated seeds with every test run; an input that a target failed on becomes a seed, and so a test.

mod containers;
mod machine;
mod mapped;
mod paged;
mod symbols;

pub use containers::{Container, container};
pub use machine::machine;
pub use mapped::{image, tables};
pub use paged::compressed;
pub use symbols::{archive, cache, layouts, program_database, volatility};
