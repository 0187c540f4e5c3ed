//! Registry key objects: key body, key control blocks up to the root, name blocks.
//!
//! Where a hive is attached, a real kernel of 14393 or later has two blocks: the key in the hive above (flags 0x22: exit, plain name)
//! and the hive's own root cell (0x2c: entry, not to be deleted, plain name), named as the cell is. Older ones have one block, with
//! the name of the first and the flags of the second. So read from dumps of 7, 1607, 2004 and 24H2.

use std::collections::BTreeMap;

use crate::machine::{Header, Machine};
use crate::memory::PoolKind;

/// Key control blocks by full path.
pub struct Keys {
    made: BTreeMap<String, u64>,
    /// Whether the root cell of a hive has a block of its own.
    two: bool,
}

/// A key of a hive.
const PLAIN: u64 = 0x20;
/// The root cell of a hive.
const ENTRY: u64 = 0x2c;
/// The key that a hive is attached to.
const EXIT: u64 = 0x22;

/// Whether a hive is attached at a key, and what its root cell is called.
fn attached(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('\\').collect();
    match parts.as_slice() {
        ["", "REGISTRY", "MACHINE", "HARDWARE"] => Some("HARDWARE"),
        ["", "REGISTRY", "MACHINE", "SYSTEM" | "SOFTWARE" | "SAM" | "SECURITY"] => Some("ROOT"),
        ["", "REGISTRY", "USER", _] => Some("CMI-CreateHive{6A1C4018-979D-4291-A7DC-7AED1C75B67C}"),
        _ => None,
    }
}

impl Keys {
    /// Those of a build.
    pub fn of(build: u32) -> Self {
        Self { made: BTreeMap::new(), two: build >= 14393 }
    }
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
        let levels = path.matches('\\').count() as u64;
        let va = match attached(path) {
            Some(root) if self.two => {
                let exit = put(m, parent, name, levels, EXIT);
                put(m, exit, root, levels + 1, ENTRY)
            }
            Some(_) => put(m, parent, name, levels, ENTRY),
            None => put(m, parent, name, levels, if parent == 0 { ENTRY } else { PLAIN }),
        };
        self.made.insert(path.to_string(), va);
        va
    }
}

/// One block and its name.
fn put(m: &mut Machine, parent: u64, name: &str, levels: u64, flags: u64) -> u64 {
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
        .set("TotalLevels", levels)
        .set("Flags", flags);
    m.put(PoolKind::Paged, b"CMkb", &k)
}
