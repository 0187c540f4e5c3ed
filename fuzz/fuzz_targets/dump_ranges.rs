#![no_main]
//! Range dumps (types 8, 9 and 0xA).
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Ranges, bytes));
