//! Handle tables of up to three levels, and the objects behind the handles.

use std::collections::BTreeMap;

use super::files::Files;
use super::keys::Keys;
use super::names;
use crate::machine::{Header, Machine};
use crate::memory::PoolKind;
use crate::scenario::{Handle, Process};
use crate::truth::Json;

/// One used slot.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Handle value: a multiple of four.
    pub value: u64,
    /// What the entry points to: an object header, or in the CID table the body itself.
    pub pointer: u64,
    /// Granted access.
    pub access: u32,
    /// Attributes.
    pub attributes: u64,
}

/// Entries a leaf page holds.
fn leaf_slots(m: &Machine) -> u64 {
    0x1000 / m.layouts.size("_HANDLE_TABLE_ENTRY")
}

/// Plants a table; gives the address of its `_HANDLE_TABLE`.
pub fn table(m: &mut Machine, slots: &[Slot], owner: u64, pid: u64) -> u64 {
    let mut slots = slots.to_vec();
    slots.sort_by_key(|s| s.value);
    let top = slots.iter().map(|s| s.value / 4).max().unwrap_or(0);
    let n = leaf_slots(m);
    let mut at = 0;
    let leaves: Vec<u64> = (0..=top / n)
        .map(|i| {
            let end = at + slots[at..].iter().take_while(|s| s.value / 4 / n == i).count();
            let page = leaf(m, &slots[at..end]);
            at = end;
            page
        })
        .collect();
    assert!(at == slots.len(), "handles are not in order");
    let code = if leaves.len() == 1 {
        leaves[0]
    } else {
        let middles: Vec<u64> =
            leaves.chunks((0x1000 / m.pointer()) as usize).map(|chunk| pointers(m, chunk)).collect();
        if middles.len() == 1 { middles[0] | 1 } else { pointers(m, &middles) | 2 }
    };
    let va = m.alloc(PoolKind::Paged, b"Obtb", m.layouts.size("_HANDLE_TABLE"));
    let mut t = m.obj("_HANDLE_TABLE");
    t.set("TableCode", code).set("QuotaProcess", owner).set("UniqueProcessId", pid);
    t.set("NextHandleNeedingPool", leaves.len() as u64 * n * 4);
    t.set_first(&["HandleCount", "FreeLists[0].HandleCount"], slots.len() as u64);
    m.write(va, &t.bytes);
    va
}

fn pointers(m: &mut Machine, list: &[u64]) -> u64 {
    let page = m.alloc(PoolKind::Paged, b"Obtb", 0x1000);
    m.write(page, &m.words(list));
    page
}

fn leaf(m: &mut Machine, slots: &[Slot]) -> u64 {
    let n = leaf_slots(m);
    let size = m.layouts.size("_HANDLE_TABLE_ENTRY");
    let bits = |name: &str| m.layouts.find("_HANDLE_TABLE_ENTRY", name).and_then(|p| p.bits).map_or(0, |b| b.1);
    let ones = |n: u8| (1u64 << n) - 1;
    let (pointer, count, attributes) = (bits("ObjectPointerBits"), bits("RefCnt"), bits("Attributes"));
    // Objects are aligned to two pointers; the alignment's zero bits are not kept.
    let shift = if m.pointer() == 8 { 4 } else { 3 };
    let page = m.alloc(PoolKind::Paged, b"Obtb", 0x1000);
    for s in slots {
        let mut e = m.obj("_HANDLE_TABLE_ENTRY");
        if e.has("ObjectPointerBits") {
            // Where two bits are left for the attributes, "protect from close" has one of its own.
            e.set("Unlocked", 1).set("RefCnt", ones(count) >> 1);
            e.set("Attributes", if attributes == 3 { s.attributes } else { s.attributes >> 1 });
            e.set_opt("ProtectFromClose", s.attributes & 1);
            e.set("ObjectPointerBits", (s.pointer >> shift) & ones(pointer)).set("GrantedAccessBits", s.access.into());
        } else {
            // Windows 7: attributes in the pointer's low bits, bit 0 of them the lock (set when free to use);
            // "protect from close" moved to bit 25 of the access.
            let protect = s.attributes & 1;
            e.set("Object", s.pointer | 1 | (s.attributes & 6))
                .set("GrantedAccess", u64::from(s.access) | protect << 25);
        }
        m.write(page + s.value / 4 % n * size, &e.bytes);
    }
    page
}

/// What handles can refer to besides names.
pub struct Targets {
    /// Processes by name: `_EPROCESS`.
    pub processes: BTreeMap<String, u64>,
    /// First thread of a process by the process's name.
    pub threads: BTreeMap<String, u64>,
    /// Tokens by process name.
    pub tokens: BTreeMap<String, u64>,
    /// Registry keys.
    pub keys: Keys,
}

/// Plants all handles of a process: the slots and their truth.
pub fn plant(m: &mut Machine, p: &Process, files: &mut Files, targets: &mut Targets) -> (Vec<Slot>, Vec<Json>) {
    let (mut slots, mut truth) = (Vec::new(), Vec::new());
    let mut value = 4;
    for h in &p.handles {
        for _ in 0..h.count {
            // The first entry of every leaf page is the table's own.
            if value / 4 % leaf_slots(m) == 0 {
                value += 4;
            }
            let (body, details) = object(m, h, p, files, targets);
            add_reference(m, body);
            let pointer = body - m.body_offset();
            slots.push(Slot { value, pointer, access: h.access, attributes: h.attributes });
            truth.push(
                Json::object()
                    .with("value", value)
                    .with("type", h.ty.as_str())
                    .with("obj", body)
                    .with("access", h.access)
                    .with("attributes", h.attributes)
                    .with("name", h.name.as_str())
                    .with("details", details),
            );
            value += 4;
        }
    }
    (slots, truth)
}

/// One handle more on an object.
fn add_reference(m: &mut Machine, body: u64) {
    let header = body - m.body_offset();
    for field in ["HandleCount", "PointerCount"] {
        let n = m.read_word(header + m.layouts.offset("_OBJECT_HEADER", field));
        m.poke(header, "_OBJECT_HEADER", field, n + 1);
    }
}

/// The object and what is true of it beyond its name.
fn object(m: &mut Machine, h: &Handle, p: &Process, files: &mut Files, targets: &mut Targets) -> (u64, Json) {
    let of = |map: &BTreeMap<String, u64>| *map.get(&h.name).unwrap_or_else(|| panic!("no {} of {}", h.ty, h.name));
    match h.ty.as_str() {
        "Process" => return (of(&targets.processes), Json::Null),
        "Thread" => return (of(&targets.threads), Json::Null),
        "Token" => return (of(&targets.tokens), Json::Null),
        "File" => return file(m, h, files),
        "Key" => return (targets.keys.open(m, &h.name, p.pid), Json::Null),
        "Directory" => {
            let body = names::directory(m, &h.name).unwrap_or_else(|| panic!("no directory {}", h.name));
            return (body, Json::Null);
        }
        _ => {}
    }
    if let Some(body) = names::lookup(m, &h.name) {
        return (body, Json::Null);
    }
    let name = if h.name.is_empty() { None } else { Some(h.name.clone()) };
    let (ty, size) = body(m, &h.ty);
    let va = m.object(&h.ty, size, &Header { name, quota: true, ..Header::default() });
    let mut details = Json::Null;
    if let (Some(path), "Section") = (&h.extra, h.ty.as_str()) {
        let (data, _) = files.data(m, Some(path), 4);
        section_of(m, va, ty.unwrap_or("_SECTION"), &data);
        return (va, Json::object().with("file", path.as_str()).with("size", data.size));
    }
    if let Some(ty) = ty {
        let (bytes, told) = fill(m, h, ty, va, targets.processes.get(&p.name).copied().unwrap_or(0));
        m.write(va, &bytes);
        details = told;
    }
    (va, details)
}

/// A file, opened as the scenario says: `delete` waits for its deletion, `exclusive` shares nothing.
fn file(m: &mut Machine, h: &Handle, files: &mut Files) -> (u64, Json) {
    let va = files.open(m, &h.name);
    let said = |word: &str| h.extra.as_deref().is_some_and(|e| e.split(',').any(|w| w == word));
    if said("delete") {
        m.poke(va, "_FILE_OBJECT", "DeletePending", 1);
    }
    if said("exclusive") {
        for field in ["SharedRead", "SharedDelete"] {
            m.poke(va, "_FILE_OBJECT", field, 0);
        }
    }
    let shared = if said("exclusive") { "" } else { "RD" };
    let told = Json::object().with("delete_pending", said("delete")).with("shared", shared).with("flags", 0x44042u64);
    (va, told)
}

/// A named section object for memory that is mapped.
pub fn named_section(m: &mut Machine, name: &str, data: &super::files::DataMap) {
    let (ty, size) = body(m, "Section");
    let va = m.object("Section", size, &Header { name: Some(name.into()), quota: true, ..Header::default() });
    section_of(m, va, ty.unwrap_or("_SECTION"), data);
}

/// A section of a file.
fn section_of(m: &mut Machine, va: u64, ty: &str, data: &super::files::DataMap) {
    let mut o = m.obj(ty);
    if ty == "_SECTION" {
        o.set_first(&["u1.ControlArea", "ControlArea"], data.area)
            .set("SizeOfSection", data.size)
            .set("InitialPageProtection", 4);
    } else {
        let segment = m.read_word(data.area + m.layouts.offset("_CONTROL_AREA", "Segment"));
        o.set("Segment", segment);
    }
    m.write(va, &o.bytes);
}

/// The body's type and size; window stations and desktops belong to win32k, whose types the kernel's PDB does not hold.
fn body(m: &Machine, ty: &str) -> (Option<&'static str>, u64) {
    let name = match ty {
        "Event" => "_KEVENT",
        "Mutant" => "_KMUTANT",
        "Semaphore" => "_KSEMAPHORE",
        "Timer" => "_ETIMER",
        "Job" => "_EJOB",
        "ALPC Port" => "_ALPC_PORT",
        "EtwRegistration" => "_ETW_REG_ENTRY",
        "IoCompletion" => "_KQUEUE",
        "SymbolicLink" => "_OBJECT_SYMBOLIC_LINK",
        "Section" if m.layouts.find("_SECTION", "SizeOfSection").is_some() => "_SECTION",
        "Section" => "_SECTION_OBJECT",
        "Port" => "_LPCP_PORT_OBJECT",
        _ => return (None, 0x80),
    };
    (Some(name), m.layouts.size(name))
}

/// Dispatcher objects get their type and an empty wait list; a section gets memory behind it.
fn fill(m: &mut Machine, h: &Handle, ty: &str, va: u64, process: u64) -> (Vec<u8>, Json) {
    let kind = h.ty.as_str();
    let said = |word: &str| h.extra.as_deref().is_some_and(|e| e.split(',').any(|w| w == word));
    let mut told = Json::object();
    let mut o = m.obj(ty);
    let dispatcher = match kind {
        "Event" => Some((0, "Header")),
        "Mutant" => Some((2, "Header")),
        "IoCompletion" => Some((4, "Header")),
        "Semaphore" => Some((5, "Header")),
        "Timer" => Some((8, "KeTimer.Header")),
        _ => None,
    };
    if let Some((number, at)) = dispatcher {
        let list = va + m.layouts.offset(ty, &format!("{at}.WaitListHead"));
        o.set(&format!("{at}.Type"), number).set(&format!("{at}.Size"), (m.layouts.size(ty) / 4) & 0xFF);
        let state = if said("reset") { 0u64 } else { 1 };
        o.set(&format!("{at}.SignalState"), state);
        told.set("state", state);
        o.set(&format!("{at}.WaitListHead.Flink"), list).set(&format!("{at}.WaitListHead.Blink"), list);
    }
    match kind {
        "Semaphore" => {
            o.set("Limit", 0x7FFF_FFFF);
            told.set("limit", 0x7FFF_FFFFu64);
        }
        "Timer" if said("periodic") => {
            o.set("KeTimer.Period", 5000).set("KeTimer.DueTime.QuadPart", 0x1_2345_6789);
            told.set("period", 5000u64);
        }
        "ALPC Port" => {
            // A connection port is its own communication's.
            let mut c = m.obj("_ALPC_COMMUNICATION_INFO");
            c.set("ConnectionPort", va);
            let at = m.put(PoolKind::Paged, b"AlIn", &c);
            o.set("CommunicationInfo", at).set("OwnerProcess", process);
            told.set("owner", process);
        }
        "EtwRegistration" if m.layouts.has("_ETW_GUID_ENTRY") => {
            let mut rng = crate::rng::Rng::named(&h.name);
            let guid = [rng.word().to_le_bytes(), rng.word().to_le_bytes()].concat();
            let mut g = m.obj("_ETW_GUID_ENTRY");
            g.set_bytes("Guid", &guid);
            let at = m.put(PoolKind::NonPaged, b"EtwG", &g);
            o.set("GuidEntry", at).set_opt("Process", process);
            told.set("guid", guid.iter().map(|b| format!("{b:02x}")).collect::<String>());
        }
        "SymbolicLink" => {
            let target = "\\Device\\HarddiskVolume3";
            let buffer = m.text(b"Symb", target);
            o.set_text("LinkTarget", target, buffer);
            told.set("target", target);
        }
        "Section" => data_section(m, &mut o, ty),
        _ => {}
    }
    (o.bytes, told)
}

/// A section backed by the page file: control area without a file.
fn data_section(m: &mut Machine, section: &mut crate::machine::Obj, ty: &str) {
    let prototypes = m.alloc(PoolKind::Paged, b"MmSt", m.pte_size() * 4);
    let segment = m.alloc(PoolKind::Paged, b"MmSt", m.layouts.size("_SEGMENT"));
    let size = m.layouts.size("_CONTROL_AREA") + m.layouts.size("_SUBSECTION");
    let area = m.alloc(PoolKind::NonPaged, b"MmCa", size);
    let mut a = m.obj("_CONTROL_AREA");
    a.set("Segment", segment).set("NumberOfSectionReferences", 1).set("NumberOfUserReferences", 1);
    m.write(area, &a.bytes);
    let mut s = m.obj("_SEGMENT");
    s.set("ControlArea", area).set("TotalNumberOfPtes", 4).set("SizeOfSegment", 0x4000).set("PrototypePte", prototypes);
    m.write(segment, &s.bytes);
    if ty == "_SECTION" {
        section
            .set_first(&["u1.ControlArea", "ControlArea"], area)
            .set("SizeOfSection", 0x4000)
            .set("InitialPageProtection", 4);
    } else {
        section.set("Segment", segment);
    }
}
