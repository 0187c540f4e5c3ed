#![no_main]
//! A Volatility symbol file, plain or packed.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::volatility(bytes));
