//! Type 1: header, then every page of every run, one after the other.

use std::io::{Result, Seek, SeekFrom, Write};

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

/// The same file through a writer that can skip: pages that no one took are left out, or are what `filler` gives for the frame.
/// Gives the length the file must have.
pub fn write_sparse(
    p: &Planted,
    s: &Scenario,
    out: &mut (impl Write + Seek),
    mut filler: impl FnMut(u64) -> Option<Vec<u8>>,
) -> Result<u64> {
    let mem = &p.machine.mem;
    let pages: u64 = mem.plan.runs.iter().map(|r| r.1).sum();
    let mut at = header::size(p) as u64;
    let (length, mut here) = (at + pages * 0x1000, at);
    out.write_all(&header::write(p, s, 1, length))?;
    for frame in mem.plan.runs.iter().flat_map(|(first, n)| *first..first + n) {
        let filled = if mem.taken(frame) { None } else { filler(frame) };
        let page = match &filled {
            Some(page) => Some(page.as_slice()),
            None => mem.taken(frame).then(|| mem.page(frame)),
        };
        if let Some(page) = page {
            if here != at {
                out.seek(SeekFrom::Start(at))?;
            }
            out.write_all(page)?;
            here = at + 0x1000;
        }
        at += 0x1000;
    }
    Ok(length)
}
