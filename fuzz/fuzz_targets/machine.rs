#![no_main]
//! The finders and every walker, over a whole machine with some words bent.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::machine(bytes));
