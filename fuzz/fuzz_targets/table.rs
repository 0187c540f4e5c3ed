#![no_main]
//! A layout table.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::layouts(bytes));
