//! Files of symbols, of every kind.

use dumpwalk::symbols::{compact, file, isf, pdb, table};

/// A PDB: container, types, symbols.
pub fn program_database(bytes: &[u8]) {
    let _ = pdb::parse(bytes, "ntkrnlmp.pdb", "fuzz");
    let _ = pdb::identify(bytes, "ntkrnlmp.pdb", "fuzz");
}

/// A Volatility symbol file, plain or packed.
pub fn volatility(bytes: &[u8]) {
    let _ = isf::parse(bytes, "fuzz");
}

/// A layout table: what was read can be written and read again.
pub fn layouts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(symbols) = table::parse(text, "fuzz") else { return };
    assert_eq!(table::parse(&table::write(&symbols), "fuzz").ok(), Some(symbols));
}

/// A compressed PDB (`.pd_`), and any other symbol file by its first bytes.
pub fn archive(bytes: &[u8]) {
    if let Ok((_, unpacked)) = file::unpack_cab(bytes) {
        assert!(unpacked.len() as u64 <= pdb::LARGEST);
    }
    let _ = file::parse(bytes, "ntkrnlmp.pdb", "fuzz");
}

/// A file of the symbol cache: as it is, and with its checksum made right, so that what is wrong with it reaches the decoder.
/// What was read can be written and read again.
pub fn cache(bytes: &[u8]) {
    let _ = compact::decode(bytes);
    let Some(file) = with_checksum(bytes) else { return };
    if let Ok(symbols) = compact::decode(&file) {
        assert_eq!(compact::decode(&compact::encode(&symbols)), Ok(symbols));
    }
}

fn with_checksum(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut file = bytes.to_vec();
    let (head, body) = file.split_at_mut_checked(24)?;
    let mut sum = 0x9e37_79b9_7f4a_7c15u64 ^ body.len() as u64;
    let (words, rest) = body.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for word in words.iter().chain([&last]) {
        sum = (sum.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    head[..12].copy_from_slice(b"dumpwalk sym");
    head[16..].copy_from_slice(&(sum ^ sum >> 32).to_le_bytes());
    Some(file)
}
