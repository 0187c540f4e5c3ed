#![no_main]
//! A PDB: container, types, symbols.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = dumpwalk::symbols::pdb::parse(data, "ntkrnlmp.pdb", "fuzz");
});
