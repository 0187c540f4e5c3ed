#![no_main]
//! Raw images, and the recognition of what is no dump.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Raw, bytes));
