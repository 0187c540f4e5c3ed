//! VMware: a memory file whose pages lie in another order than in the machine, the state file that says where they belong, and a state
//! file with memory inside.

use crate::plant::Planted;

/// A stretch of frames and where it begins in the memory file, in pages.
type Region = (u64, u64, u64);

/// The last run first, so that nothing lies at its own address.
fn regions(p: &Planted) -> Vec<Region> {
    let mut at = 0;
    let mut out = Vec::new();
    for (first, n) in p.machine.mem.plan.runs.iter().rev() {
        out.push((*first, at, *n));
        at += n;
    }
    out
}

/// The memory file.
pub fn memory(p: &Planted) -> Vec<u8> {
    let mem = &p.machine.mem;
    regions(p).into_iter().flat_map(|(first, _, n)| first..first + n).flat_map(|f| mem.page(f).to_vec()).collect()
}

fn tag(out: &mut Vec<u8>, name: &str, indices: &[u32], data: &[u8]) {
    out.push((indices.len() << 6 | data.len()) as u8);
    out.push(name.len() as u8);
    out.extend(name.as_bytes());
    indices.iter().for_each(|i| out.extend(i.to_le_bytes()));
    out.extend(data);
}

/// The state file; with memory inside when asked.
pub fn state(p: &Planted, inside: bool) -> Vec<u8> {
    let mut cpu = Vec::new();
    for processor in 0..2u32 {
        tag(&mut cpu, "CR64", &[processor, 0], &0x8005_0033u64.to_le_bytes());
        tag(&mut cpu, "CR64", &[processor, 3], &p.crash.cr3.to_le_bytes());
    }
    cpu.extend([0, 0]);
    let mut group = Vec::new();
    let regions = regions(p);
    tag(&mut group, "regionsCount", &[], &(regions.len() as u32).to_le_bytes());
    for (i, (first, at, n)) in regions.iter().enumerate() {
        tag(&mut group, "regionPPN", &[i as u32], &(*first as u32).to_le_bytes());
        tag(&mut group, "regionPageNum", &[i as u32], &(*at as u32).to_le_bytes());
        tag(&mut group, "regionSize", &[i as u32], &(*n as u32).to_le_bytes());
    }
    let head = 12 + 2 * 80;
    let memory_at = head + cpu.len();
    if inside {
        let memory = memory(p);
        // A long tag: sizes on disk and in memory, then bytes up to where a page of the file begins.
        group.extend([2 << 6 | 63, 6]);
        group.extend(b"Memory");
        group.extend([0; 8]);
        group.extend((memory.len() as u64).to_le_bytes());
        group.extend((memory.len() as u64).to_le_bytes());
        let here = memory_at + group.len() + 2;
        let padding = here.next_multiple_of(0x1000) - here;
        group.extend((padding as u16).to_le_bytes());
        group.resize(group.len() + padding, 0xff);
        group.extend(memory);
    }
    group.extend([0, 0]);
    let mut out = 0xbed3_bed3u32.to_le_bytes().to_vec();
    out.extend(8u32.to_le_bytes());
    out.extend(2u32.to_le_bytes());
    for (name, at, len) in [("cpu", head, cpu.len()), ("memory", memory_at, group.len())] {
        let mut text = [0; 64];
        text[..name.len()].copy_from_slice(name.as_bytes());
        out.extend(text);
        out.extend((at as u64).to_le_bytes());
        out.extend((len as u64).to_le_bytes());
    }
    out.extend(cpu);
    out.extend(group);
    out
}
