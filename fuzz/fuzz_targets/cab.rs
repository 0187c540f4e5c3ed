#![no_main]
//! A compressed PDB (`.pd_`), and any other symbol file by its first bytes.

use dumpwalk::symbols::file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok((name, bytes)) = file::unpack_cab(data) {
        assert!(bytes.len() as u64 <= dumpwalk::symbols::pdb::LARGEST && name.len() < data.len());
    }
    let _ = file::parse(data, "ntkrnlmp.pdb", "fuzz");
});
