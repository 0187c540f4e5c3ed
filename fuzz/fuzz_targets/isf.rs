#![no_main]
//! A Volatility symbol file, plain or packed.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = dumpwalk::symbols::isf::parse(data, "fuzz");
});
