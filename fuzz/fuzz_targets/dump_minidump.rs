#![no_main]
//! User-mode minidumps.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Minidump, bytes));
