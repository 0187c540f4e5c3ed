#![no_main]
//! Pages of the compressed store.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::compressed(bytes));
