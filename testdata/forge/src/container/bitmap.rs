//! Types 5 and 6: header, second header with a bitmap of the frames kept, then these pages in ascending order.
//!
//! The two types differ in nothing but the number and in which pages are kept.

use super::header;
use crate::memory::Use;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// Offset of the bitmap in the second header.
const BITMAP: usize = 0x38;

/// The whole file; `keep` chooses frames by what they hold.
pub fn write(p: &Planted, s: &Scenario, kind: u32, keep: impl Fn(Option<Use>) -> bool) -> Vec<u8> {
    let mem = &p.machine.mem;
    let frames: Vec<u64> =
        mem.plan.runs.iter().flat_map(|(first, n)| *first..first + n).filter(|f| keep(mem.usage(*f))).collect();
    // One bit for each frame up to the highest of the machine. A reader that counts whole bytes, or whole words, loses
    // the tail unless the number is a multiple of eight; it is made not to be one.
    let mut bits = mem.plan.runs.iter().map(|(first, n)| first + n).max().unwrap_or(0);
    if bits % 8 == 0 {
        bits += 3;
    }
    let mut bitmap = vec![0u8; bits.div_ceil(8) as usize];
    for f in &frames {
        bitmap[(f / 8) as usize] |= 1 << (f % 8);
    }
    let first_page = (header::size(p) + BITMAP + bitmap.len()).next_multiple_of(0x1000);
    let mut out = header::write(p, s, kind, (first_page + frames.len() * 0x1000) as u64);
    out.extend(b"SDMPDUMP");
    out.resize(header::size(p) + 0x20, 0);
    out.extend((first_page as u64).to_le_bytes());
    out.extend((frames.len() as u64).to_le_bytes());
    out.extend(bits.to_le_bytes());
    out.extend(&bitmap);
    out.resize(first_page, 0);
    for f in frames {
        out.extend(mem.page(f));
    }
    out
}
