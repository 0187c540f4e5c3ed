#![no_main]
//! VMware state files with memory inside.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::container(dumpwalk_fuzz::Container::Vmware, bytes));
