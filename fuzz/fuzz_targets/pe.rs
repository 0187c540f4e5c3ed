#![no_main]
//! A PE image in memory: headers, exports, debug record, version information, unwind data.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dumpwalk_fuzz::image(bytes));
