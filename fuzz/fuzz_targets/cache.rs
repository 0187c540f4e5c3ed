#![no_main]
//! A file of the symbol cache.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::cache(bytes));
