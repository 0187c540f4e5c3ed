//! Type 1: header, then every page of every run, one after the other.

use super::header;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// The whole file.
pub fn write(p: &Planted, s: &Scenario) -> Vec<u8> {
    let mem = &p.machine.mem;
    let pages: u64 = mem.plan.runs.iter().map(|r| r.1).sum();
    let mut out = header::write(p, s, 1, header::size(p) as u64 + pages * 0x1000);
    for (first, n) in &mem.plan.runs {
        for frame in *first..first + n {
            out.extend(mem.page(frame));
        }
    }
    out
}
