//! Type 4, the "mini" dump: no physical memory, but copies of the crashing process, thread and processor block, the kept
//! stack, the lists of drivers, and blocks of virtual memory.
//!
//! Source: `TRIAGE_DUMP32` and `TRIAGE_DUMP64` of `ntiodump.h`; the order of the parts is that of a real dump of build 19041.

use super::header;
use crate::machine::Machine;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// A file being laid out: bytes, and blocks of virtual memory to append.
struct Parts<'a> {
    m: &'a Machine,
    out: Vec<u8>,
}

impl Parts<'_> {
    /// Appends bytes at the next multiple of eight; gives their offset.
    fn add(&mut self, bytes: &[u8]) -> u32 {
        self.out.resize(self.out.len().next_multiple_of(8), 0);
        let at = self.out.len() as u32;
        self.out.extend(bytes);
        at
    }

    fn memory(&mut self, va: u64, len: u64) -> u32 {
        let bytes = self.m.kernel.read(&self.m.mem, va, len);
        self.add(&bytes)
    }

    fn word(&self, value: u64) -> Vec<u8> {
        value.to_le_bytes()[..self.m.layouts.pointer() as usize].to_vec()
    }
}

/// The whole file.
pub fn write(p: &Planted, s: &Scenario) -> Vec<u8> {
    let (m, t) = (&p.machine, &p.crash.triage);
    let wide = m.layouts.pointer() == 8;
    let start = header::size(p);
    let mut parts = Parts { m, out: vec![0; start + if wide { 0x80 } else { 0x68 }] };
    let mm =
        parts.add(&if wide { [1u32, 0x50].map(u32::to_le_bytes).concat() } else { vec![1, 0, 0, 0, 0x34, 0, 0, 0] });
    parts.out.resize(mm as usize + if wide { 0x50 } else { 0x38 }, 0);
    let bytes = unloaded(&parts, t);
    let unloaded = parts.add(&bytes);
    let prcb = parts.add(&t.prcb);
    let process = parts.memory(t.process, m.layouts.size("_EPROCESS"));
    let thread = parts.memory(t.thread, m.layouts.size("_ETHREAD"));
    let (top, base) = t.stack;
    let stack = parts.memory(top, base - top);
    let debugger = parts.add(&t.debugger);
    let (drivers, strings) = drivers(&mut parts, t);
    let pool_size = parts.out.len() as u32 - strings;
    let mut blocks = t.blocks.clone();
    blocks.retain(|(va, n)| !(*va >= top && va + n <= base));
    let list_at = parts.add(&vec![0; 16 * blocks.len()]);
    for (i, (va, n)) in blocks.iter().enumerate() {
        let at = parts.memory(*va, *n);
        let entry = [&va.to_le_bytes()[..], &at.to_le_bytes(), &(*n as u32).to_le_bytes()].concat();
        let to = list_at as usize + 16 * i;
        parts.out[to..to + 16].copy_from_slice(&entry);
    }
    let valid = parts.add(b"TRGD");
    let mut out = parts.out;
    let mut head: Vec<u8> = Vec::new();
    let (context, exception) = if wide { (0x348, 0xF00) } else { (0x320, 0x7D0) };
    let size = out.len() as u32;
    for v in [
        s.service_pack << 16,
        size,
        valid,
        context,
        exception,
        mm,
        unloaded,
        prcb,
        process,
        thread,
        stack,
        (base - top) as u32,
        drivers,
        t.drivers.len() as u32,
        strings,
        pool_size,
        0,
        0xFFFF_FFFF,
    ] {
        head.extend(v.to_le_bytes());
    }
    if wide {
        head.extend(top.to_le_bytes());
        head.extend([0; 0x20]); // another architecture's second stack, and the data page: none
    } else {
        head.extend((top as u32).to_le_bytes());
        head.extend([0; 0xC]);
    }
    for v in [debugger, t.debugger.len() as u32, list_at, blocks.len() as u32] {
        head.extend(v.to_le_bytes());
    }
    let first = header::write(p, s, 4, u64::from(size));
    out[..start].copy_from_slice(&first);
    out[start..start + head.len()].copy_from_slice(&head);
    out
}

/// A count, then name (whose buffer is nowhere), twelve characters of it, first address, end.
fn unloaded(parts: &Parts, t: &crate::plant::Triage) -> Vec<u8> {
    let mut out = (t.unloaded.len() as u32).to_le_bytes().to_vec();
    let wide = parts.m.layouts.pointer() == 8;
    if wide {
        out.extend([0; 4]);
    }
    for (name, first, end) in &t.unloaded {
        let units: Vec<u16> = name.encode_utf16().collect();
        out.extend((2 * units.len() as u16).to_le_bytes());
        out.extend((2 * units.len() as u16).to_le_bytes());
        out.extend(vec![0; if wide { 12 } else { 4 }]);
        out.extend((0..12).flat_map(|i| units.get(i).copied().unwrap_or(0).to_le_bytes()));
        out.extend(parts.word(*first));
        out.extend(parts.word(*end));
    }
    out
}

/// The list of drivers and the pool of their names: a count of characters, the characters, a terminator.
fn drivers(parts: &mut Parts, t: &crate::plant::Triage) -> (u32, u32) {
    let wide = parts.m.layouts.pointer() == 8;
    let entry = if wide { 0x90 } else { 0x4C };
    // base, entry, size, check sum, time: offsets in the entry, the name's offset in front of the table entry.
    let places: [usize; 5] = if wide { [0x38, 0x40, 0x48, 0x80, 0x88] } else { [0x1C, 0x20, 0x24, 0x44, 0x48] };
    let list = parts.add(&vec![0; entry * t.drivers.len()]);
    let mut strings = 0;
    for (i, d) in t.drivers.iter().enumerate() {
        let units: Vec<u16> = d.path.encode_utf16().collect();
        let mut text = (units.len() as u32).to_le_bytes().to_vec();
        text.extend(units.iter().chain([&0]).flat_map(|u| u.to_le_bytes()));
        let name = parts.add(&text);
        strings = if i == 0 { name } else { strings };
        let at = list as usize + entry * i;
        let mut put = |place: usize, bytes: &[u8]| parts.out[place..place + bytes.len()].copy_from_slice(bytes);
        put(at, &name.to_le_bytes());
        let n = if wide { 8 } else { 4 };
        put(at + places[0], &d.base.to_le_bytes()[..n]);
        put(at + places[1], &(d.base + 0x1000).to_le_bytes()[..n]);
        put(at + places[2], &(d.size as u32).to_le_bytes());
        put(at + places[3], &(d.timestamp ^ 0x0010_5A5A).to_le_bytes());
        put(at + places[4], &d.timestamp.to_le_bytes());
    }
    (list, strings)
}
