//! Raw memory: byte n of the file is byte n of the machine; what does not exist is zero.
//!
//! The file is as long as the highest frame is high, so scenarios for raw images keep everything low (`compact`).

use crate::plant::Planted;

/// The whole file.
pub fn write(p: &Planted) -> Vec<u8> {
    let mem = &p.machine.mem;
    let end = mem.plan.runs.iter().map(|(first, n)| first + n).max().unwrap_or(0);
    // Volatility looks for an x64 table in a window that must lie in the file as a whole.
    let end = if p.machine.pointer() == 8 { end.max(0x2A1) } else { end };
    let mut out = vec![0u8; (end * 0x1000) as usize];
    for (first, n) in &mem.plan.runs {
        for frame in *first..first + n {
            let at = (frame * 0x1000) as usize;
            out[at..at + 0x1000].copy_from_slice(mem.page(frame));
        }
    }
    out
}
