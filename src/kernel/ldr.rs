//! The loader's lists of modules: three lists through the same entries, kept in the process's own memory.

use super::peb::Shapes;
use crate::addr::Va;
use crate::bytes::Place;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Counted, Here, Layout, LayoutError};
use crate::time::FileTime;
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashMap;

layout! {
    /// `_PEB_LDR_DATA`.
    pub struct LdrData: "_PEB_LDR_DATA" {
        /// In the order they were loaded.
        load: Here = "InLoadOrderModuleList",
        /// By address.
        memory: Here = "InMemoryOrderModuleList",
        /// In the order they were initialised.
        init: Here = "InInitializationOrderModuleList",
    }
}
layout! {
    /// `_LDR_DATA_TABLE_ENTRY`: one module.
    pub struct LdrEntry: "_LDR_DATA_TABLE_ENTRY" {
        /// Link in the first list.
        load_links: Here = "InLoadOrderLinks",
        /// Link in the second.
        memory_links: Here = "InMemoryOrderLinks",
        /// Link in the third.
        init_links: Here = "InInitializationOrderLinks",
        /// Where it lies.
        base: Va = "DllBase",
        /// Its entry point.
        entry: Va = "EntryPoint",
        /// Bytes.
        size: u32 = "SizeOfImage",
        /// Full path.
        path: Counted = "FullDllName",
        /// File name.
        name: Counted = "BaseDllName",
        /// `LDRP_…`.
        flags: u32 = "Flags",
        /// How often it was loaded; -1 for good. Since 8 kept in the dependency node.
        load_count: u16 = "LoadCount" | "ObsoleteLoadCount",
        /// When it was loaded, since 7.
        load_time: FileTime = "LoadTime",
        /// Why it was loaded, since 8.
        load_reason: u32 = "LoadReason",
        /// The header's time stamp.
        timestamp: u32 = "TimeDateStamp",
        /// The dependency node, since 8.
        node: Va = "DdagNode",
        /// The module that loaded it, since 8.
        parent: Va = "ParentDllBase",
        /// Where it wanted to be, since 7.
        original_base: Va = "OriginalBase",
    }
}
layout! {
    /// `_LDR_DDAG_NODE`: a module in the graph of dependencies.
    pub struct DependencyNode: "_LDR_DDAG_NODE" {
        /// How often it was loaded.
        load_count: u32 = "LoadCount",
    }
}

/// Modules read from one list at most. Windows' own largest processes have some 500.
const MOST: usize = 1 << 16;

/// One module on the loader's lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The entry's address.
    pub entry_address: Va,
    /// Where it lies.
    pub base: Value<Va>,
    /// Bytes.
    pub size: Value<u32>,
    /// Entry point.
    pub entry: Value<Va>,
    /// `FullDllName`.
    pub path: Value<String>,
    /// `BaseDllName`.
    pub name: Value<String>,
    /// On the load-order list. Absent where that list is torn and the module was not met on what is left of it.
    pub in_load: Value<bool>,
    /// On the memory-order list.
    pub in_mem: Value<bool>,
    /// On the initialisation-order list.
    pub in_init: Value<bool>,
    /// From the lists of the 32-bit side.
    pub wow64: bool,
    /// When it was loaded.
    pub load_time: Value<FileTime>,
    /// Number in `_LDR_DLL_LOAD_REASON`.
    pub load_reason: Value<i32>,
    /// How often it was loaded; -1 (65,535 before 8) means for good.
    pub load_count: Value<i32>,
    /// The header's time stamp.
    pub timestamp: Value<u32>,
    /// `LDRP_…`.
    pub flags: Value<u32>,
    /// The module that loaded it.
    pub parent: Value<Va>,
    /// Where it wanted to be.
    pub original_base: Value<Va>,
    /// Where the entry stands.
    pub place: Place,
}

/// The modules of one side of a process.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// In load order, then those only the other lists have.
    pub modules: Vec<Module>,
    /// Lists that are torn.
    pub notes: Vec<Note>,
    /// Why the load-order, memory-order and initialisation-order lists ended early, each.
    pub torn: [Option<Absent>; 3],
}

/// One list: what was met on it, and why it ended early.
struct List {
    entries: Vec<Va>,
    broken: Option<Absent>,
}

/// The layouts for one width of code.
#[derive(Clone, Copy, Debug)]
pub struct LdrLayouts<'k> {
    data: &'k LdrData,
    entry: &'k LdrEntry,
    node: Option<&'k DependencyNode>,
    pointer: u32,
    wow64: bool,
}

impl<'k> LdrLayouts<'k> {
    /// Resolves them; `wow64` for the 32-bit side of a process on a 64-bit kernel.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(shapes: Shapes<'k>, wow64: bool) -> Result<Self, LayoutError> {
        Ok(Self {
            data: shapes.get(wow64)?,
            entry: shapes.get(wow64)?,
            node: shapes.described(wow64),
            pointer: shapes.pointer(wow64),
            wow64,
        })
    }

    /// All modules of the lists whose heads are at `ldr` (`_PEB.Ldr`).
    #[must_use]
    pub fn modules(&self, space: &Space<'_>, ldr: Va) -> Modules {
        let mut out = Modules::default();
        if ldr.is_null() {
            return out;
        }
        let heads = space.view(self.data, ldr);
        let mut found: Vec<Va> = Vec::new();
        let mut place: FxHashMap<Va, usize> = FxHashMap::default();
        let mut on: Vec<[bool; 3]> = Vec::new();
        let mut broken = [None; 3];
        let lists = [
            ("load order", heads.load(), "load_links"),
            ("memory order", heads.memory(), "memory_links"),
            ("initialisation order", heads.init(), "init_links"),
        ];
        for (i, (name, head, links)) in lists.into_iter().enumerate() {
            let offset = self.entry.field(links).map(|f| f.offset);
            let (list, offset) = match (head, offset) {
                (Ok(head), Ok(offset)) => (self.walk(space, head), offset),
                (Err(why), _) | (_, Err(why)) => (List { entries: Vec::new(), broken: Some(why) }, 0),
            };
            if let Some(why) = list.broken {
                let bits = if self.wow64 { "32-bit " } else { "" };
                out.notes.push(Note::loss(format!(
                    "the {bits}loader's {name} list at {ldr} is torn ({why}); {} modules found on it",
                    list.entries.len()
                )));
                if let Some(slot) = broken.get_mut(i) {
                    *slot = Some(why);
                }
            }
            for link in list.entries {
                let entry = link.sub(offset.into());
                let index = *place.entry(entry).or_insert_with(|| {
                    found.push(entry);
                    on.push([false; 3]);
                    found.len().saturating_sub(1)
                });
                if let Some(slot) = on.get_mut(index).and_then(|o| o.get_mut(i)) {
                    *slot = true;
                }
            }
        }
        let member = |seen: bool, torn: Option<Absent>| match (seen, torn) {
            (true, _) => Ok(true),
            (false, None) => Ok(false),
            (false, Some(why)) => Err(why),
        };
        out.torn = broken;
        for (address, [load, mem, init]) in found.into_iter().zip(on) {
            let mut module = self.read(space, address);
            let [torn_load, torn_mem, torn_init] = broken;
            module.in_load = member(load, torn_load);
            module.in_mem = member(mem, torn_mem);
            module.in_init = member(init, torn_init);
            out.modules.push(module);
        }
        out
    }

    /// One entry.
    fn read(&self, space: &Space<'_>, address: Va) -> Module {
        let v = space.view(self.entry, address);
        let text = |s: Value<Counted>| s.and_then(|s| space.text(s));
        // Since 8 the count lies in the dependency node; the entry's own is obsolete.
        let count = match v.node() {
            Ok(node) if !node.is_null() => match self.node {
                Some(layout) => space.view(layout, node).load_count().map(|c| i32::from_ne_bytes(c.to_ne_bytes())),
                None => Err(Absent::NoSymbol),
            },
            _ => v.load_count().map(|c| i32::from(i16::from_ne_bytes(c.to_ne_bytes()))),
        };
        Module {
            entry_address: address,
            base: v.base(),
            size: v.size(),
            entry: v.entry(),
            path: text(v.path()),
            name: text(v.name()),
            in_load: Ok(false),
            in_mem: Ok(false),
            in_init: Ok(false),
            wow64: self.wow64,
            load_time: v.load_time(),
            load_reason: v.load_reason().map(|r| i32::from_ne_bytes(r.to_ne_bytes())),
            load_count: count,
            timestamp: v.timestamp(),
            flags: v.flags(),
            parent: v.parent(),
            original_base: v.original_base(),
            place: v.place(),
        }
    }

    /// The links of one list, forwards until the head or a tear; over a tear, backwards from the head as well.
    fn walk(&self, space: &Space<'_>, head: Va) -> List {
        let mut seen = rustc_hash::FxHashSet::default();
        let mut forward = Vec::new();
        let mut broken = self.follow(space, head, 0, &mut seen, &mut forward);
        if broken.is_some() {
            let mut backward = Vec::new();
            let also = self.follow(space, head, self.pointer, &mut seen, &mut backward);
            // Both ways met in the middle: nothing is missing.
            if also.is_none() {
                broken = None;
            }
            backward.reverse();
            forward.append(&mut backward);
        }
        List { entries: forward, broken }
    }
    /// Follows one direction: 0 for `Flink`, a pointer's size for `Blink`. `None` when the way led back to the head or to a link already seen.
    fn follow(
        &self,
        space: &Space<'_>,
        head: Va,
        side: u32,
        seen: &mut rustc_hash::FxHashSet<Va>,
        out: &mut Vec<Va>,
    ) -> Option<Absent> {
        let mut at = head;
        loop {
            let next = match space.number(at.add(side.into()), self.pointer) {
                Ok(next) => Va(next),
                Err(why) => {
                    // The last link is no entry if it cannot be read; the head always is one.
                    if at != head {
                        out.pop();
                        seen.remove(&at);
                    }
                    return Some(why);
                }
            };
            if next == head {
                return None;
            }
            if next.is_null() || !next.0.is_multiple_of(u64::from(self.pointer)) {
                return Some(Absent::Implausible);
            }
            if !seen.insert(next) {
                // Forwards a link seen before is a loop; backwards it is where the forward way ended.
                return (side == 0).then_some(Absent::Implausible);
            }
            if out.len() >= MOST {
                return Some(Absent::Implausible);
            }
            out.push(next);
            at = next;
        }
    }
}
