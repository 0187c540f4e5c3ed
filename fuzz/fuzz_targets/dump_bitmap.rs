#![no_main]
//! Bitmap dumps (types 5 and 6), 64- and 32-bit.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Bitmap, bytes));
