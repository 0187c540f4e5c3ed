#![no_main]
//! Page tables of every mode.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::tables(bytes));
