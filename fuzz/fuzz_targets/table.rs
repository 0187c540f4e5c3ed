#![no_main]
//! A layout table.

use dumpwalk::symbols::table;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(symbols) = table::parse(text, "fuzz") else { return };
    // What was read can be written and read again.
    assert_eq!(table::parse(&table::write(&symbols), "fuzz").ok(), Some(symbols));
});
