#![no_main]
//! Triage dumps (type 4), 64- and 32-bit.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Triage, bytes));
