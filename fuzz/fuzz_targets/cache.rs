#![no_main]
//! A file of the symbol cache.

use dumpwalk::symbols::compact;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = compact::decode(data);
    let Some(file) = dumpwalk_fuzz::cache_file(data) else { return };
    if let Ok(symbols) = compact::decode(&file) {
        // What was read can be written and read again.
        assert_eq!(compact::decode(&compact::encode(&symbols)), Ok(symbols));
    }
});
