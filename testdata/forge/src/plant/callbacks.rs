//! Callbacks on lists: for registry operations, handles, bug checks and shutdown. No public PDB has their records.

use super::kernel_hooks::{base_of, count};
use crate::machine::Machine;
use crate::memory::PoolKind;
use crate::truth::Json;

/// `IRP_MJ_SHUTDOWN` (wdm.h).
const SHUTDOWN: usize = 0x10;

/// Plants some of each kind, all of whose routines lie in drivers; gives their truth in the order of the lists.
pub fn plant(m: &mut Machine, modules: &Json, drivers: &Json) -> Vec<Json> {
    let inside = |offset: u64| base_of(modules, count(modules) - 1).1 + offset;
    let told = |kind: &str, index: u64, routine: u64, detail: &str| {
        Json::object().with("kind", kind).with("index", index).with("routine", routine).with("detail", detail)
    };
    let mut truth = Vec::new();
    // `CmRegisterCallbackEx`: two counters, a cookie, the driver's context, its routine, its altitude.
    let mut entries = Vec::new();
    for (index, altitude) in (0u64..).zip(["385201", "320150.5"]) {
        let routine = inside(0x1900 + 0x40 * index);
        let text = m.text(b"CMal", altitude);
        // A `_UNICODE_STRING` begins with its length and its room, two bytes each.
        let n = 2 * altitude.len() as u64;
        let counted = n | (n + 2) << 16;
        let cookie = (0x01D7_0000_0000_0000 + index).to_le_bytes();
        let bytes =
            [m.words(&[0, 0]), vec![0; 8], cookie.to_vec(), m.words(&[0, routine, counted, text, 0, 0])].concat();
        entries.push(record(m, PoolKind::Paged, b"CMcb", &bytes));
        truth.push(told("registry", index, routine, altitude));
    }
    link(m, "CallbackListHead", &entries);
    // `ObRegisterCallbacks`: operations, in use, the registration, the type, before, after.
    for (name, before, after) in [("Process", 0x1A00, 0x1A40), ("Thread", 0x1A80, 0)] {
        let ty = m.types[name].1;
        let Some(list) = m.layouts.find("_OBJECT_TYPE", "CallbackList") else { continue };
        let registration = m.alloc(PoolKind::Paged, b"ObRg", 0x20);
        let [before, after] = [before, after].map(|offset| if offset == 0 { 0 } else { inside(offset) });
        let head = [m.words(&[0, 0]), 3u32.to_le_bytes().to_vec(), 1u32.to_le_bytes().to_vec()].concat();
        let bytes = [head, m.words(&[registration, ty, before, after, 0])].concat();
        let entry = record(m, PoolKind::Paged, b"ObRg", &bytes);
        m.link(ty + list.offset, &[entry]);
        truth.push(told("object_pre", 0, before, name));
        if after != 0 {
            truth.push(told("object_post", 0, after, name));
        }
    }
    // wdm.h: `KBUGCHECK_CALLBACK_RECORD` has a buffer and its length before the component, `KBUGCHECK_REASON_CALLBACK_RECORD` does not.
    for (kind, list, component, offset, buffer) in [
        ("bugcheck", "KeBugCheckCallbackListHead", "forgenet", 0x1B00, 2),
        ("bugcheck_reason", "KeBugCheckReasonCallbackListHead", "forgedump", 0x1B40, 0),
    ] {
        let text = m.alloc(PoolKind::NonPaged, b"Frge", component.len() as u64 + 1);
        m.write(text, &[component.as_bytes(), &[0]].concat());
        let routine = inside(offset);
        let words = [&[0, 0, routine][..], &vec![0; buffer], &[text, routine.wrapping_add(text), 1]].concat();
        let bytes = m.words(&words);
        let entry = record(m, PoolKind::NonPaged, b"Frge", &bytes);
        link(m, list, &[entry]);
        truth.push(told(kind, 0, routine, component));
    }
    // `IoRegisterShutdownNotification`: the device whose driver is called.
    let Json::List(drivers) = drivers else { return truth };
    for (list, driver) in ["IopNotifyShutdownQueueHead", "IopNotifyLastChanceShutdownQueueHead"].iter().zip(drivers) {
        let number = |key: &str| match driver.get(key) {
            Some(Json::Number(n)) => *n,
            _ => 0,
        };
        let Some(Json::List(majors)) = driver.get("majors") else { continue };
        let Some(Json::Text(name)) = driver.get("name") else { continue };
        let Json::Number(routine) = majors[SHUTDOWN] else { continue };
        let bytes = m.words(&[0, 0, number("device")]);
        let entry = record(m, PoolKind::NonPaged, b"IoSh", &bytes);
        link(m, list, &[entry]);
        truth.push(told("shutdown", 0, routine, name));
    }
    truth
}

fn record(m: &mut Machine, pool: PoolKind, tag: &[u8; 4], bytes: &[u8]) -> u64 {
    let at = m.alloc(pool, tag, bytes.len() as u64);
    m.write(at, bytes);
    at
}

fn link(m: &mut Machine, list: &str, entries: &[u64]) {
    let head = m.global(list);
    m.link(head, entries);
}
