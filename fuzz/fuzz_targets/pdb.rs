#![no_main]
//! A PDB: container, types, symbols.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::program_database(bytes));
