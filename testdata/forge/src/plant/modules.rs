//! Kernel modules and the ring of unloaded drivers.

use super::image::timestamp;
use crate::image::{Section, Spec, build, kernel_size};
use crate::machine::Machine;
use crate::memory::{PAGE, PoolKind, flags};
use crate::scenario::Scenario;
use crate::truth::Json;

/// Entry of the ring (in no public PDB; the type stands in a few Windows 10 PDBs and in `ntiodump.h`, with these members):
/// name, start, end, time.
fn unloaded_size(m: &Machine) -> u64 {
    if m.pointer() == 8 { 0x28 } else { 0x18 }
}
/// Places in the ring.
const RING: u64 = 50;

/// The loaded modules in order, the kernel first.
pub fn plant(m: &mut Machine, s: &Scenario) -> (Json, Vec<Json>) {
    let ty = if m.layouts.has("_KLDR_DATA_TABLE_ENTRY") { "_KLDR_DATA_TABLE_ENTRY" } else { "_LDR_DATA_TABLE_ENTRY" };
    let mut list = vec![(
        "\\SystemRoot\\system32\\ntoskrnl.exe".to_string(),
        m.regions.kernel,
        kernel_size(&m.layouts),
        timestamp(s),
        false,
    )];
    let mut next = m.regions.drivers;
    for d in &s.drivers {
        driver(m, next, d.size, d.timestamp, &d.path);
        list.push((d.path.clone(), next, d.size, d.timestamp, d.hidden));
        next += (d.size + 0x3_0000).next_multiple_of(0x1_0000) + 0x3000;
    }
    let (mut links, mut truth, mut hidden_truth) = (Vec::new(), Vec::new(), Vec::new());
    for (path, base, size, time, hidden) in &list {
        let name = path.rsplit('\\').next().unwrap_or("").to_string();
        let (full_at, name_at) = (m.text(b"MmLd", path), m.text(b"MmLd", &name));
        let mut e = m.obj(ty);
        e.set("DllBase", *base)
            .set("EntryPoint", base + PAGE)
            .set("SizeOfImage", *size)
            .set("Flags", 0x0980_4000)
            .set_first(&["ObsoleteLoadCount", "LoadCount"], 1);
        e.set_text("FullDllName", path, full_at).set_text("BaseDllName", &name, name_at);
        // 8.1's user-mode form of the entry, which the kernel shares up to here, keeps the time elsewhere.
        e.set("TimeDateStamp", (*time).into()).set_opt("SizeOfImageNotRounded", *size);
        let va = m.put(PoolKind::NonPaged, b"MmLd", &e);
        let link = va + m.layouts.offset(ty, "InLoadOrderLinks");
        let told = Json::object()
            .with("entry", va)
            .with("name", name)
            .with("path", path.as_str())
            .with("base", *base)
            .with("size", *size)
            .with("timestamp", *time);
        if *hidden {
            // As one that unlinked itself: its links lead to itself.
            m.link(link, &[]);
            hidden_truth.push(told);
        } else {
            links.push(link);
            truth.push(told);
        }
    }
    let head = m.global("PsLoadedModuleList");
    m.plant(head, &[0; 16]);
    m.link(head, &links);
    (truth.into(), hidden_truth)
}

/// A driver's header page; its other pages are not in memory.
fn driver(m: &mut Machine, base: u64, size: u64, timestamp: u32, path: &str) {
    let s = |name, rva, size, code, read_only| Section { name, rva, size, code, read_only };
    let half = (size / 2) & !(PAGE - 1);
    let image = build(&Spec {
        name: path.rsplit('\\').next().unwrap_or("").into(),
        timestamp,
        base,
        size,
        wide: m.pointer() == 8,
        machine: m.layouts.machine(),
        dll: false,
        subsystem: 1,
        entry: PAGE,
        sections: vec![s(".text", PAGE, half - PAGE, true, false), s(".data", half, size - half, false, false)],
        exports: Vec::new(),
        rsds: None,
        debug_at: None,
        functions_at: None,
    });
    for (rva, bytes) in image.pieces {
        m.ensure(base + rva, bytes.len() as u64, flags::KERNEL | flags::NX);
        m.write(base + rva, &bytes);
    }
}

/// Where the first unloaded driver was.
pub fn first_unloaded(m: &Machine) -> u64 {
    m.regions.drivers + 0x200_0000
}

/// The unloaded drivers: a ring of fifty, the global saying how many there ever were.
pub fn unloaded(m: &mut Machine, s: &Scenario) -> Json {
    let entry = unloaded_size(m);
    let ring = m.alloc(PoolKind::NonPaged, b"MmDT", entry * RING);
    let mut truth = Vec::new();
    for (i, u) in s.unloaded.iter().enumerate() {
        let buffer = m.text(b"MmDT", &u.name);
        let length = 2 * u.name.encode_utf16().count() as u64;
        let start = first_unloaded(m) + 0x10_0000 * i as u64;
        let head = length | (length + 2) << 16;
        let mut bytes = m.words(&[head, buffer, start, start + u.size]);
        bytes.extend(u.time.to_le_bytes());
        m.write(ring + entry * i as u64, &bytes);
        truth.push(
            Json::object()
                .with("name", u.name.as_str())
                .with("start", start)
                .with("end", start + u.size)
                .with("time", u.time),
        );
    }
    m.plant_word("MmUnloadedDrivers", ring);
    m.plant_u32("MmLastUnloadedDriver", s.unloaded.len() as u32);
    truth.into()
}
