//! What the fuzz targets share. A crash of a target is an input that panics, hangs, eats memory or is answered wrongly.
//!
//! `fuzz/run` builds all targets with the stable toolchain, starts each from its seeds and says what it did. With cargo-fuzz,
//! `cargo +nightly fuzz run dump_triage` (from the project's directory) runs one. What was found becomes a test of the parser
//! concerned, so that it is tried on every change.

mod containers;
mod machine;
mod mapped;

pub use containers::{Container, ask, container};
pub use machine::machine;
pub use mapped::{image, tables};

/// A file of the symbol cache with its checksum made right, so that what is wrong with it reaches the decoder.
pub fn cache_file(bytes: &[u8]) -> Option<Vec<u8>> {
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
