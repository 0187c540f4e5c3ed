#![no_main]
//! Summary dumps (type 2), 64- and 32-bit.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Summary, bytes));
