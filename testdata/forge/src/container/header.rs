//! The crash-dump header: two pages on 64-bit, one on 32-bit.
//!
//! Source: `ntiodump.h` as known from debuggers and published parsers; the offsets are listed in the project's notes.

use crate::memory::Mode;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// Bytes of the header.
pub fn size(p: &Planted) -> usize {
    if p.machine.layouts.pointer() == 8 { 0x2000 } else { 0x1000 }
}

/// The header for a dump of that type; `file_size` is the space the header says it takes.
pub fn write(p: &Planted, s: &Scenario, kind: u32, file_size: u64) -> Vec<u8> {
    if p.machine.layouts.pointer() == 8 { wide(p, s, kind, file_size) } else { narrow(p, s, kind, file_size) }
}

/// Build number in the header: the kernel file's.
fn build(s: &Scenario) -> u32 {
    if s.build == 19045 { 19041 } else { s.build }
}

/// `DUMP_HEADER32`.
fn narrow(p: &Planted, s: &Scenario, kind: u32, file_size: u64) -> Vec<u8> {
    let mut h: Vec<u8> = b"PAGE".iter().copied().cycle().take(0x1000).collect();
    let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x04, b"DUMP");
    let c = &p.crash;
    let lists = [c.cr3, c.pfn_database, c.module_list, c.process_head].map(|v| v as u32);
    for (i, v) in [0xF, build(s)].into_iter().chain(lists).chain([0x14C, 1, s.bugcheck.0]).enumerate() {
        put(8 + 4 * i, &v.to_le_bytes());
    }
    for (i, v) in s.bugcheck.1.iter().enumerate() {
        put(0x2C + 4 * i, &(*v as u32).to_le_bytes());
    }
    put(0x5C, &[u8::from(p.machine.kernel.mode == Mode::Pae)]);
    put(0x60, &(c.debugger_data as u32).to_le_bytes());
    let runs = &p.machine.mem.plan.runs;
    put(0x64, &(runs.len() as u32).to_le_bytes());
    put(0x68, &(runs.iter().map(|r| r.1).sum::<u64>() as u32).to_le_bytes());
    for (i, (first, n)) in runs.iter().enumerate() {
        put(0x6C + 8 * i, &(*first as u32).to_le_bytes());
        put(0x70 + 8 * i, &(*n as u32).to_le_bytes());
    }
    put(0x320, &c.context);
    let mut exception = vec![0u8; 0x50];
    exception[..4].copy_from_slice(&0x8000_0003u32.to_le_bytes());
    exception[0xC..0x10].copy_from_slice(&(c.rip as u32).to_le_bytes());
    put(0x7D0, &exception);
    put(0x820, &[0; 0x80]);
    put(0xF88, &kind.to_le_bytes());
    put(0xF8C, &(if kind == 4 { 0xCFFu32 } else { 0 }).to_le_bytes());
    put(0xF94, &1u32.to_le_bytes());
    put(0xF98, &0x110u32.to_le_bytes());
    put(0xFA0, &file_size.to_le_bytes());
    put(0xFB8, &(s.now - s.boot).to_le_bytes());
    put(0xFC0, &s.now.to_le_bytes());
    h
}

/// `DUMP_HEADER64`.
fn wide(p: &Planted, s: &Scenario, kind: u32, file_size: u64) -> Vec<u8> {
    // Windows fills what it does not set with the letters of its signature.
    let mut h: Vec<u8> = b"PAGE".iter().copied().cycle().take(0x2000).collect();
    let mut put = |at: usize, bytes: &[u8]| h[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x04, b"DU64");
    put(0x08, &0xFu32.to_le_bytes()); // checked or free build
    put(0x0C, &build(s).to_le_bytes());
    for (at, value) in [
        (0x10, p.crash.cr3),
        (0x18, p.crash.pfn_database),
        (0x20, p.crash.module_list),
        (0x28, p.crash.process_head),
        (0x80, p.crash.debugger_data),
    ] {
        put(at, &value.to_le_bytes());
    }
    put(0x30, &u32::from(p.machine.layouts.machine()).to_le_bytes());
    put(0x34, &2u32.to_le_bytes());
    put(0x38, &s.bugcheck.0.to_le_bytes());
    put(0x3C, &0u32.to_le_bytes());
    for (i, value) in s.bugcheck.1.iter().enumerate() {
        put(0x40 + 8 * i, &value.to_le_bytes());
    }
    let runs = &p.machine.mem.plan.runs;
    put(0x88, &(runs.len() as u32).to_le_bytes());
    put(0x8C, &0u32.to_le_bytes());
    put(0x90, &runs.iter().map(|r| r.1).sum::<u64>().to_le_bytes());
    for (i, (first, n)) in runs.iter().enumerate() {
        put(0x98 + 16 * i, &first.to_le_bytes());
        put(0xA0 + 16 * i, &n.to_le_bytes());
    }
    put(0x348, &p.crash.context);
    let mut exception = vec![0u8; 0x98];
    exception[..4].copy_from_slice(&0x8000_0003u32.to_le_bytes());
    exception[0x10..0x18].copy_from_slice(&p.crash.rip.to_le_bytes());
    put(0xF00, &exception);
    put(0xF98, &kind.to_le_bytes());
    put(0xFA0, &file_size.to_le_bytes());
    put(0xFA8, &s.now.to_le_bytes());
    put(0xFB0, &[0; 0x80]); // comment: none
    put(0x1030, &(s.now - s.boot).to_le_bytes()); // up time
    // Mini dump fields of real triage dumps; product type, suites (terminal server, one user at a time), writer's status.
    put(0x1038, &(if kind == 4 { 0xCFFu32 } else { 0 }).to_le_bytes());
    put(0x1040, &1u32.to_le_bytes());
    put(0x1044, &0x110u32.to_le_bytes());
    put(0x1048, &0u32.to_le_bytes());
    h
}
