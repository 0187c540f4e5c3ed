#![no_main]
//! A compressed PDB (`.pd_`), and any other symbol file by its first bytes.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::archive(bytes));
