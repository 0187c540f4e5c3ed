//! What the tests of this layer share: dice with a seed, and crash-dump headers made by hand.

use super::Dump;
use std::path::{Path, PathBuf};

/// Random numbers that are the same every time (xorshift64*).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }
}

/// Overwrites bytes, growing the file where it must.
pub fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
pub fn put32(file: &mut Vec<u8>, at: usize, n: u32) {
    put(file, at, &n.to_le_bytes());
}
pub fn put64(file: &mut Vec<u8>, at: usize, n: u64) {
    put(file, at, &n.to_le_bytes());
}

/// A 64-bit header of an x64 machine with two processors.
pub fn header64(dump_type: u32) -> Vec<u8> {
    let mut file = vec![0; 0x2000];
    put(&mut file, 0, b"PAGEDU64");
    put32(&mut file, 0x30, 0x8664);
    put32(&mut file, 0x34, 2);
    put32(&mut file, 0xf98, dump_type);
    file
}
/// A 32-bit header of an x86 machine with two processors.
pub fn header32(dump_type: u32) -> Vec<u8> {
    let mut file = vec![0; 0x1000];
    put(&mut file, 0, b"PAGEDUMP");
    put32(&mut file, 0x20, 0x14c);
    put32(&mut file, 0x24, 2);
    put32(&mut file, 0xf88, dump_type);
    file
}
/// A page whose every word names it.
pub fn page_of(pfn: u64) -> Vec<u8> {
    (0..512).flat_map(|i| (pfn << 16 | i).to_le_bytes()).collect()
}
/// Opens bytes.
pub fn open(file: &[u8]) -> Result<Dump, String> {
    Dump::from_bytes(Path::new("made.dmp"), file).map_err(|e| e.to_string())
}

/// A file of the shared folder beside the project, where there is one; says so where there is none.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = if beside.is_dir() { Some(beside) } else { std::env::var_os("DUMPWALK_SHARED").map(PathBuf::from) };
    let file = root.map(|r| r.join(name)).filter(|f| f.exists());
    if file.is_none() {
        println!("skipped: {name} is not there (set DUMPWALK_SHARED)");
    }
    file
}
