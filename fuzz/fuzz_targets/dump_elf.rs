#![no_main]
//! ELF cores of virtual machines.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Elf, bytes));
