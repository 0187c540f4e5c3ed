//! Registry key objects: key body, key control blocks up to the root, name blocks.

use std::collections::BTreeMap;

use crate::machine::{Header, Machine};
use crate::memory::PoolKind;

/// Key control blocks by full path.
#[derive(Default)]
pub struct Keys {
    made: BTreeMap<String, u64>,
}

impl Keys {
    /// A key object for a full path (`\REGISTRY\MACHINE\SOFTWARE`).
    pub fn open(&mut self, m: &mut Machine, path: &str, pid: u64) -> u64 {
        let block = self.block(m, path);
        let va = m.object("Key", m.layouts.size("_CM_KEY_BODY"), &Header { pointers: 1, ..Header::default() });
        let mut k = m.obj("_CM_KEY_BODY");
        k.set("Type", u64::from(u32::from_be_bytes(*b"ky02"))).set("KeyControlBlock", block).set("ProcessID", pid);
        m.write(va, &k.bytes);
        let links = va + m.layouts.offset("_CM_KEY_BODY", "KeyBodyList");
        m.link(links, &[]);
        va
    }

    fn block(&mut self, m: &mut Machine, path: &str) -> u64 {
        if let Some(va) = self.made.get(path) {
            return *va;
        }
        let (parent, name) = path.rsplit_once('\\').unwrap_or(("", path));
        let parent = if parent.is_empty() { 0 } else { self.block(m, parent) };
        // Names of plain characters are kept one byte each.
        let at = m.layouts.offset("_CM_NAME_CONTROL_BLOCK", "Name");
        let names = m.alloc(PoolKind::Paged, b"CMnb", at + name.len() as u64);
        let mut n = m.obj("_CM_NAME_CONTROL_BLOCK");
        n.set("Compressed", 1).set("RefCount", 1).set("NameLength", name.len() as u64);
        m.write(names, &n.bytes[..at as usize]);
        m.write(names + at, name.as_bytes());
        let mut k = m.obj("_CM_KEY_CONTROL_BLOCK");
        k.set("RefCount", 2)
            .set("ParentKcb", parent)
            .set("NameBlock", names)
            .set("TotalLevels", path.matches('\\').count() as u64);
        let va = m.put(PoolKind::Paged, b"CMkb", &k);
        self.made.insert(path.to_string(), va);
        va
    }
}
