//! Patches a PDB's GUID and age, which the linker chose, to those of the kernel whose layout it holds.
//!
//! MSF: superblock (page size at 0x20, directory size at 0x2C, page of the directory's page list at 0x34); stream 1 is
//! the PDB information stream (version, signature, age, GUID), stream 3 the DBI stream (age at offset 8).

fn u32_at(data: &[u8], at: usize) -> usize {
    u32::from_le_bytes(data[at..at + 4].try_into().expect("four bytes")) as usize
}

/// File offset of the first page of a stream.
fn stream(pdb: &[u8], wanted: usize) -> usize {
    let page = u32_at(pdb, 0x20);
    let list = u32_at(pdb, 0x34) * page;
    let directory_pages = u32_at(pdb, 0x2C).div_ceil(page);
    let directory: Vec<u8> = (0..directory_pages)
        .flat_map(|i| {
            let at = u32_at(pdb, list + 4 * i) * page;
            pdb[at..at + page].to_vec()
        })
        .collect();
    let streams = u32_at(&directory, 0);
    let size = |i: usize| match u32_at(&directory, 4 + 4 * i) {
        0xFFFF_FFFF => 0,
        n => n,
    };
    let before: usize = (0..wanted).map(|i| size(i).div_ceil(page)).sum();
    u32_at(&directory, 4 + 4 * (streams + before)) * page
}

/// The GUID's 16 bytes as they lie in memory, from its 32 digits.
pub fn guid_bytes(digits: &str) -> [u8; 16] {
    let raw: Vec<u8> =
        (0..16).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).expect("GUID digits")).collect();
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    order.map(|i| raw[i])
}

/// Sets the identity; the signature (once a timestamp) becomes a fixed number, so that the bytes repeat.
pub fn set(pdb: &mut [u8], guid: &str, age: u32) {
    let info = stream(pdb, 1);
    pdb[info + 4..info + 8].copy_from_slice(&0x5EED_0001u32.to_le_bytes());
    pdb[info + 8..info + 12].copy_from_slice(&age.to_le_bytes());
    pdb[info + 12..info + 28].copy_from_slice(&guid_bytes(guid));
    let dbi = stream(pdb, 3);
    pdb[dbi + 8..dbi + 12].copy_from_slice(&age.to_le_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn guid_halves_are_swapped() {
        let bytes = super::guid_bytes("89284D0CA6ACC8274B9A44BD5AF9290B");
        assert_eq!(bytes[..8], [0x0C, 0x4D, 0x28, 0x89, 0xAC, 0xA6, 0x27, 0xC8]);
        assert_eq!(bytes[8..10], [0x4B, 0x9A]);
    }
}
