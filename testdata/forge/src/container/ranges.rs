//! Types 8, 9 and 0xA: a list of ranges of frames behind the second header, then the pages of all ranges in order.
//!
//! Source: the project's notes on `RDMP`, which agree with published parsers. Types 8 and 9 end their list with frame 0;
//! 0xA says how many ranges and pages there are.

use super::header;
use crate::memory::Use;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// Where the list begins behind the header.
const LIST: usize = 0x30;

/// The whole file; `keep` chooses frames by what they hold.
pub fn write(p: &Planted, s: &Scenario, kind: u32, keep: impl Fn(Option<Use>) -> bool) -> Vec<u8> {
    let mem = &p.machine.mem;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for frame in mem.plan.runs.iter().flat_map(|(first, n)| *first..first + n).filter(|f| keep(mem.usage(*f))) {
        match ranges.last_mut() {
            Some((first, n)) if *first + *n == frame => *n += 1,
            _ => ranges.push((frame, 1)),
        }
    }
    let pages: u64 = ranges.iter().map(|r| r.1).sum();
    let start = header::size(p);
    // Room for the list and its end; the rest of the page stays zero.
    let first_page = (start + LIST + 16 * (ranges.len() + 1)).next_multiple_of(0x1000) as u64;
    let mut out = header::write(p, s, kind, first_page + pages * 0x1000);
    out.extend(0x40u32.to_le_bytes());
    out.extend(b"RDMPDUMP");
    out.extend(0u32.to_le_bytes());
    // The size of the metadata counts 0x20 bytes of the head twice: what holds is size - 0x20 = first page - 0x2040.
    out.extend((first_page - start as u64 - 0x20).to_le_bytes());
    out.extend(first_page.to_le_bytes());
    if kind == 0xA {
        out.extend((ranges.len() as u32).to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(pages.to_le_bytes());
    } else {
        out.extend([0; 16]);
    }
    for (first, n) in &ranges {
        out.extend(first.to_le_bytes());
        out.extend(n.to_le_bytes());
    }
    out.resize(first_page as usize, 0);
    for frame in ranges.iter().flat_map(|(first, n)| *first..first + n) {
        out.extend(mem.page(frame));
    }
    out
}
