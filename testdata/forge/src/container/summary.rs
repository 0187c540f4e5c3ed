//! Type 2: the kernel dump of Windows 2000 to 7, a bitmap with 32-bit counts.
//!
//! Source: `SUMMARY_DUMP32` and `SUMMARY_DUMP64` of `ntiodump.h`: signature, options, offset of the first page, bits, pages,
//! and a bitmap structure whose pointer, serialised with it, is four bytes or (after four of padding) eight.

use super::header;
use crate::memory::Use;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// The whole file; `keep` chooses frames by what they hold.
pub fn write(p: &Planted, s: &Scenario, keep: impl Fn(Option<Use>) -> bool) -> Vec<u8> {
    let mem = &p.machine.mem;
    let frames: Vec<u64> =
        mem.plan.runs.iter().flat_map(|(first, n)| *first..first + n).filter(|f| keep(mem.usage(*f))).collect();
    let bits = mem.plan.runs.iter().map(|(first, n)| first + n).max().unwrap_or(0) as u32;
    let mut bitmap = vec![0u8; bits.div_ceil(8) as usize];
    for f in &frames {
        bitmap[(f / 8) as usize] |= 1 << (f % 8);
    }
    let start = header::size(p);
    let head = if p.machine.layouts.pointer() == 8 { 0x28 } else { 0x20 };
    let first_page = (start + head + bitmap.len()).next_multiple_of(0x1000);
    let mut out = header::write(p, s, 2, (first_page + frames.len() * 0x1000) as u64);
    out.extend(b"SDMPDUMP");
    // Option 1: kernel addresses are valid.
    for word in [1, first_page as u32, bits, frames.len() as u32, bits] {
        out.extend(word.to_le_bytes());
    }
    out.resize(start + head, 0);
    out.extend(&bitmap);
    out.resize(first_page, 0);
    for f in frames {
        out.extend(mem.page(f));
    }
    out
}
