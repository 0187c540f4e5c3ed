//! ELF cores: as QEMU writes them (section header before the program headers, segments at odd offsets, a note for each processor), with
//! the guest's crash-dump header, with a segment for each mapping, and as VirtualBox does.

use super::header;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// Which program wrote it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    Qemu,
    /// With the guest's driver: a note has the crash-dump header.
    QemuWithHeader,
    /// With the option for virtual mappings: a page has several segments.
    QemuMappings,
    VirtualBox,
}

struct Segment {
    virt: u64,
    phys: u64,
    offset: u64,
    bytes: u64,
}

/// The whole file.
pub fn write(p: &Planted, s: &Scenario, by: By) -> Vec<u8> {
    let mem = &p.machine.mem;
    let notes = notes(p, s, by);
    let mut segments = Vec::new();
    let total: u64 = mem.plan.runs.iter().map(|r| r.1).sum();
    let extra = if by == By::QemuMappings { mem.plan.runs.len() } else { 0 };
    let headers = 1 + mem.plan.runs.len() + extra + 1;
    let (sections, programs) = if by == By::VirtualBox { (0, 64) } else { (64, 192) };
    let notes_at = programs + 56 * headers as u64;
    let first = notes_at + notes.len() as u64;
    let mut at = first;
    for (frame, n) in &mem.plan.runs {
        segments.push(Segment { virt: 0, phys: frame * 0x1000, offset: at, bytes: n * 0x1000 });
        if by == By::QemuMappings {
            // The middle of the run, mapped elsewhere.
            let skip = n / 3;
            let middle = (n - skip).div_ceil(2);
            segments.insert(
                0,
                Segment {
                    virt: 0xffff_8000_0000_0000 + frame * 0x1000,
                    phys: (frame + skip) * 0x1000,
                    offset: at + skip * 0x1000,
                    bytes: middle * 0x1000,
                },
            );
        }
        at += n * 0x1000;
    }
    // Device memory without bytes.
    segments.push(Segment { virt: 0, phys: 0xe000_0000, offset: 0, bytes: 0 });

    let machine: u16 = if p.machine.pointer() == 8 { 62 } else { 3 };
    let version = u8::from(by != By::VirtualBox);
    let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, version, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend(4u16.to_le_bytes());
    out.extend(machine.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.extend(programs.to_le_bytes());
    out.extend((sections as u64).to_le_bytes());
    out.extend(0u32.to_le_bytes());
    for half in [64u16, 56, headers as u16, 64, u16::from(sections != 0), 0] {
        out.extend(half.to_le_bytes());
    }
    out.resize(programs as usize, 0);
    let mut program = |kind: u32, s: &Segment| {
        out.extend(kind.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        for word in [s.offset, s.virt, s.phys, s.bytes, s.bytes.max(0x1000), 0] {
            out.extend(word.to_le_bytes());
        }
    };
    program(4, &Segment { virt: 0, phys: 0, offset: notes_at, bytes: notes.len() as u64 });
    segments.iter().for_each(|s| program(1, s));
    out.extend(notes);
    for (frame, n) in &mem.plan.runs {
        (*frame..frame + n).for_each(|f| out.extend(mem.page(f)));
    }
    assert_eq!(out.len() as u64, first + total * 0x1000);
    out
}

fn notes(p: &Planted, s: &Scenario, by: By) -> Vec<u8> {
    let mut out = Vec::new();
    let mut note = |name: &str, kind: u32, data: &[u8]| {
        out.extend((name.len() as u32 + 1).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(data);
        out.resize(out.len().next_multiple_of(4), 0);
    };
    let state = |len: usize, at: usize| {
        let mut state = vec![0u8; len];
        state[at..at + 8].copy_from_slice(&p.crash.cr3.to_le_bytes());
        state
    };
    if by == By::VirtualBox {
        note("VBCORE", 0xb00, &[0xde, 0xac, 0x01, 0xc0, 1, 0, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        (0..2).for_each(|_| note("VBCPU", 0xb01, &state(0x200, 0x130)));
        return out;
    }
    (0..2).for_each(|_| note("CORE", 1, &[0; 0x150]));
    (0..2).for_each(|_| note("QEMU", 0, &state(0x1b8, 0x1a0)));
    if by == By::QemuWithHeader {
        let header = header::write(p, s, 1, 0);
        note("VMCOREINFO", 0, &header);
    }
    out
}
