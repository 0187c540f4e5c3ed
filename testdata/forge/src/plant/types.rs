//! Object types and `ObTypeIndexTable`.

use crate::machine::{Header, Machine, TYPES_5, TYPES_7, TYPES_8, TYPES_10};
use crate::memory::PoolKind;
use crate::scenario::Scenario;

/// Globals that point to a type's object.
const POINTERS: [(&str, &str); 14] = [
    ("PsProcessType", "Process"),
    ("PsThreadType", "Thread"),
    ("PsJobType", "Job"),
    ("IoFileObjectType", "File"),
    ("ExEventObjectType", "Event"),
    ("ExMutantObjectType", "Mutant"),
    ("ExSemaphoreObjectType", "Semaphore"),
    ("ExTimerObjectType", "Timer"),
    ("MmSectionObjectType", "Section"),
    ("CmKeyObjectType", "Key"),
    ("AlpcPortObjectType", "ALPC Port"),
    ("ObpTypeObjectType", "Type"),
    ("ObpDirectoryObjectType", "Directory"),
    ("ObpSymbolicLinkObjectType", "SymbolicLink"),
];

/// The names of the types that a Windows of this version has, in the order of their indexes.
pub fn names(nt: (u32, u32)) -> Vec<String> {
    let names = match nt {
        (5, _) => TYPES_5,
        (6, 0 | 1) => TYPES_7,
        (6, _) => TYPES_8,
        _ => TYPES_10,
    };
    names.split_whitespace().map(|n| n.replace('_', " ")).collect()
}

/// The structure that the objects of a type are, where the type's owner asks for its size.
fn body(ty: &str) -> Option<&'static str> {
    Some(match ty {
        "Process" => "_EPROCESS",
        "Thread" => "_ETHREAD",
        "Job" => "_EJOB",
        _ => return None,
    })
}

/// What an object is charged: its own size, the object's header and the one with the name. Of real machines: a process 0x290 on XP,
/// 0x528 on 7 x64, 0xa98 on 10 2004.
fn charge(m: &Machine, body: &str) -> u64 {
    m.layouts.size(body) + m.layouts.size("_OBJECT_HEADER") + m.layouts.size("_OBJECT_HEADER_NAME_INFO")
}

/// Plants the types; from here on objects can be made.
pub fn plant(m: &mut Machine, s: &Scenario) {
    let names = names(s.nt);
    for (i, name) in names.iter().enumerate() {
        m.types.insert(name.clone(), (i as u8 + 2, 0));
    }
    let mut slots = vec![0u64, 0xBAD0_B0B0];
    for (i, name) in names.iter().enumerate() {
        let header = Header { name: Some(format!("\\ObjectTypes\\{name}")), creator: true, ..Header::default() };
        let va = m.object("Type", m.layouts.size("_OBJECT_TYPE"), &header);
        let buffer = m.text(b"ObNm", name);
        let mut t = m.obj("_OBJECT_TYPE");
        t.set_text("Name", name, buffer).set("Index", i as u64 + 2);
        t.set("Key", u64::from(u32::from_le_bytes(*b"ObjT")) ^ i as u64);
        t.set("TypeInfo.Length", m.layouts.size("_OBJECT_TYPE_INITIALIZER"));
        t.set("TypeInfo.ValidAccessMask", 0x1F_FFFF).set("TypeInfo.PoolType", if m.cookie == 0 { 0 } else { 0x200 });
        if let Some(body) = body(name).filter(|body| s.tails && m.layouts.has(body)) {
            t.set("TypeInfo.DefaultNonPagedPoolCharge", charge(m, body));
            t.set("TypeInfo.DefaultPagedPoolCharge", if *name == "Process" { 0x1000 } else { 0 });
        }
        m.write(va, &t.bytes);
        let list = va + m.layouts.offset("_OBJECT_TYPE", "TypeList");
        m.link(list, &[]);
        if let Some(place) = m.layouts.find("_OBJECT_TYPE", "CallbackList") {
            m.link(va + place.offset, &[]);
        }
        slots.push(va);
        m.types.insert(name.clone(), (i as u8 + 2, va));
        if i == 0 && !m.layouts.vista() {
            // The type of types, which nobody knew when it was made.
            m.poke(va - m.body_offset(), "_OBJECT_HEADER", "Type", va);
        }
    }
    slots.extend([0, 0]);
    if let Some(table) = m.global_opt("ObTypeIndexTable") {
        let bytes = m.words(&slots);
        m.plant(table, &bytes);
    }
    for (symbol, name) in POINTERS {
        if let Some(ty) = m.types.get(name) {
            m.plant_word(symbol, ty.1);
        }
    }
    // A spare block keeps the first pool page from looking too regular.
    m.alloc(PoolKind::NonPaged, b"None", 0x60);
}
