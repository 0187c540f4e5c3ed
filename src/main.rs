//! The `dumpwalk` command.
fn main() {}
