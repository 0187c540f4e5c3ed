//! LiME, as AVML 1 writes it: a record for each stretch, at most so many pages, zeros left out.

use crate::plant::Planted;

/// Pages of a record: few, so that runs are cut.
const PAGES: u64 = 96;

/// The whole file.
pub fn write(p: &Planted) -> Vec<u8> {
    let mem = &p.machine.mem;
    let mut out = Vec::new();
    for (first, n) in &mem.plan.runs {
        let (mut at, end) = (*first, first + n);
        while at < end {
            let frames = at..end.min(at + PAGES);
            at = frames.end;
            if frames.clone().all(|f| mem.page(f).iter().all(|b| *b == 0)) {
                continue;
            }
            out.extend(0x4C69_4D45u32.to_le_bytes());
            out.extend(1u32.to_le_bytes());
            out.extend((frames.start * 0x1000).to_le_bytes());
            out.extend((frames.end * 0x1000 - 1).to_le_bytes());
            out.extend(0u64.to_le_bytes());
            frames.for_each(|f| out.extend(mem.page(f)));
        }
    }
    out
}
