//! Registry hives in memory: keys and values by their cells.
//!
//! A hive is a heap of cells, numbered by 32 bits: the top one says stable or volatile, ten the table, nine the block in it, twelve the byte in the
//! block (`_HHIVE`, `_DUAL`, `_HMAP_…` of the symbols). Keys, values and lists of keys are cells with the layouts `_CM_KEY_NODE`,
//! `_CM_KEY_VALUE`, `_CM_KEY_INDEX`, the same as in hive files. Since 1803 the blocks lie in the user half of the process `Registry`.

use super::Kernel;
use super::list::List;
use crate::addr::Va;
use crate::bytes::{le, u16_at, u32_at};
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Counted, Here, Layout, LayoutError, Link, View};
use crate::utf16;
use crate::value::{Absent, Note, Value};

layout! {
    /// `_CMHIVE`.
    pub struct HiveLayout: "_CMHIVE" {
        /// `Hive.Signature`.
        signature: u32 = "Hive.Signature",
        /// `Hive.BaseBlock`: the header of the hive's file.
        base: Va = "Hive.BaseBlock",
        /// `Hive.Storage`: two `_DUAL`, stable and volatile.
        storage: Here = "Hive.Storage",
        /// `HiveList`.
        links: Link = "HiveList",
        /// `HiveRootPath` (Vista): where it is mounted, `\REGISTRY\MACHINE\SOFTWARE`.
        mounted: Counted = "HiveRootPath",
        /// `FileUserName`: its file.
        file: Counted = "FileUserName",
    }
}
layout! {
    /// `_DUAL`: the map of one half.
    pub struct Dual: "_DUAL" {
        /// `Length`, in bytes of cells.
        length: u32 = "Length",
        /// `Map`: the directory of tables.
        map: Va = "Map",
    }
}
layout! {
    /// `_HMAP_ENTRY`: where one block of cells lies.
    pub struct MapEntry: "_HMAP_ENTRY" {
        /// `BlockAddress` (up to 8.1).
        block: u64 = "BlockAddress",
        /// `PermanentBinAddress` (10): its bin, with flags in the low bits.
        bin: u64 = "PermanentBinAddress",
        /// `BlockOffset` (10): the block in its bin.
        offset: u64 = "BlockOffset",
    }
}
layout! {
    /// `_HBASE_BLOCK`.
    pub struct BaseBlock: "_HBASE_BLOCK" {
        /// `RootCell`.
        root: u32 = "RootCell",
    }
}
layout! {
    /// `_CM_KEY_NODE`.
    pub struct KeyNode: "_CM_KEY_NODE" {
        /// `Signature`: `nk`.
        signature: u16 = "Signature",
        /// `Flags`.
        flags: u16 = "Flags",
        /// `SubKeyLists`: cells of the lists of subkeys, stable and volatile.
        subkeys: Here = "SubKeyLists",
        /// `ValueList.Count`.
        value_count: u32 = "ValueList.Count",
        /// `ValueList.List`: the cell of an array of cells.
        values: u32 = "ValueList.List",
        /// `NameLength`.
        name_length: u16 = "NameLength",
        /// `Name`.
        name: Here = "Name",
    }
}
layout! {
    /// `_CM_KEY_VALUE`.
    pub struct KeyValue: "_CM_KEY_VALUE" {
        /// `Signature`: `vk`.
        signature: u16 = "Signature",
        /// `NameLength`.
        name_length: u16 = "NameLength",
        /// `DataLength`; the top bit says that the data stand in `Data` itself.
        length: u32 = "DataLength",
        /// `Data`: their cell.
        data: u32 = "Data",
        /// `Flags`.
        flags: u16 = "Flags",
        /// `Name`.
        name: Here = "Name",
    }
}

/// The head of the list of loaded hives. Nothing but symbols tells where it is.
pub const HIVES: &str = "CmpHiveListHead";
/// `HHIVE_SIGNATURE`: what `Hive.Signature` holds in every kernel (the pool scanners of the field look for the same).
const SIGNATURE: u32 = 0xbee0_bee0;
/// Cells of lists: index leaf, fast leaf, hash leaf, index root; of keys; of values.
const LISTS: [&[u8; 2]; 3] = [b"li", b"lf", b"lh"];
const ROOT: &[u8; 2] = b"ri";
/// `KEY_COMP_NAME` and `VALUE_COMP_NAME`: a byte for each character.
const COMPRESSED_KEY: u16 = 0x20;
const COMPRESSED_VALUE: u16 = 1;
/// No cell.
const NONE: u32 = u32::MAX;
/// Hives of a machine; users add a few each.
const MOST_HIVES: usize = 4096;
/// Values of a key that are looked at.
const MOST_VALUES: u32 = 1 << 16;
/// Bytes of data that are read: longer ones are split over several cells.
const MOST_DATA: u32 = 16_344;

/// The layouts.
#[derive(Clone, Copy, Debug)]
struct Layouts<'k> {
    dual: &'k Dual,
    dual_size: u32,
    entry: &'k MapEntry,
    entry_size: u32,
    base: &'k BaseBlock,
    node: &'k KeyNode,
    value: &'k KeyValue,
}

/// A loaded hive.
#[derive(Debug)]
pub struct Hive<'a, 'k> {
    kernel: &'a Space<'k>,
    registry: Option<&'a Space<'k>>,
    layouts: Layouts<'k>,
    view: View<'a, HiveLayout>,
}

/// A key of a hive, by its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u32);

/// The loaded hives, in list order. `registry` is the address space of the process `Registry`, where there is one.
///
/// # Errors
/// The symbols lack a type or a field.
pub fn hives<'a, 'k: 'a>(
    kernel: &'k Kernel,
    space: &'a Space<'k>,
    registry: Option<&'a Space<'k>>,
) -> Result<(Vec<Hive<'a, 'k>>, Vec<Note>), LayoutError> {
    let layout = kernel.layout::<HiveLayout>()?;
    let size = |name: &str, least: u32| kernel.symbols.types.size_of(name).unwrap_or(least);
    let (dual, entry) = (kernel.layout::<Dual>()?, kernel.layout::<MapEntry>()?);
    let layouts = Layouts {
        dual,
        dual_size: size(Dual::TYPE, dual.span()),
        entry,
        entry_size: size(MapEntry::TYPE, entry.span()),
        base: kernel.layout()?,
        node: kernel.layout()?,
        value: kernel.layout()?,
    };
    let Some(head) = kernel.global(HIVES) else { return Ok((Vec::new(), Vec::new())) };
    let at = layout.field("links").map_or(0, |f| u64::from(f.offset));
    let hive = |link: Va| space.view(layout, link.sub(at));
    let list = List { what: "list of hives", head, width: space.pointer_size(), limit: MOST_HIVES };
    let walked = list.walk(space, |link| hive(link).signature() == Ok(SIGNATURE));
    let of = |link: Va| Hive { kernel: space, registry, layouts, view: hive(link) };
    Ok((walked.links.into_iter().map(of).filter(|h| h.view.signature() == Ok(SIGNATURE)).collect(), walked.notes))
}

impl<'k> Hive<'_, 'k> {
    /// Where it is mounted, else its file.
    ///
    /// # Errors
    /// Why neither can be read.
    pub fn name(&self) -> Value<String> {
        let text = |s: Value<Counted>| match self.kernel.text(s?)? {
            name if name.is_empty() => Err(Absent::NotApplicable),
            name => name.into_whole(),
        };
        text(self.view.mounted()).or_else(|_| text(self.view.file()))
    }
    /// The key at the top.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn root(&self) -> Value<Key> {
        let key = Key(self.kernel.view(self.layouts.base, self.view.base()?).root()?);
        self.node(key)?;
        Ok(key)
    }
    /// The subkey with a name, ignoring case.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] where there is none; else why the list cannot be read.
    pub fn subkey(&self, key: Key, name: &str) -> Value<Key> {
        let found =
            self.subkeys(key)?.into_iter().find(|k| self.key_name(*k).is_ok_and(|n| n.eq_ignore_ascii_case(name)));
        found.ok_or(Absent::NotApplicable)
    }
    /// All subkeys, those of the stable half first.
    ///
    /// # Errors
    /// Why a list cannot be read.
    pub fn subkeys(&self, key: Key) -> Value<Vec<Key>> {
        let lists = self.node(key)?.subkeys()?;
        let (space, lists) = (self.space_of(lists), lists);
        let mut out = Vec::new();
        for half in 0..2u64 {
            let list = u32::try_from(space.number(lists.add(half * 4), 4)?).unwrap_or(NONE);
            if list != NONE {
                self.list(list, true, &mut out)?;
            }
        }
        Ok(out)
    }
    /// A key's name.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn key_name(&self, key: Key) -> Value<String> {
        let node = self.node(key)?;
        self.text(node.name()?, node.name_length()?, node.flags()? & COMPRESSED_KEY != 0)
    }
    /// The text of a value (`REG_SZ`, `REG_EXPAND_SZ`), up to its terminator.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] where the key has no such value; else why it cannot be read.
    pub fn text_value(&self, key: Key, name: &str) -> Value<String> {
        let node = self.node(key)?;
        let count = node.value_count()?;
        if count == 0 {
            return Err(Absent::NotApplicable);
        }
        let (list, space) = self.cell(node.values()?)?;
        for i in 0..count.min(MOST_VALUES) {
            let cell = u32::try_from(space.number(list.add(u64::from(i) * 4), 4)?).unwrap_or(NONE);
            let (at, there) = self.cell(cell)?;
            let value = there.view(self.layouts.value, at);
            if value.signature()? != u16::from_le_bytes(*b"vk") {
                return Err(Absent::Implausible);
            }
            let own = self.text(value.name()?, value.name_length()?, value.flags()? & COMPRESSED_VALUE != 0)?;
            if own.eq_ignore_ascii_case(name) {
                let length = value.length()?;
                // Text of more than one character never stands in the value itself.
                if length > MOST_DATA {
                    return Err(Absent::Implausible);
                }
                let (data, there) = self.cell(value.data()?)?;
                let bytes = there.fetch(data, length);
                return Ok(utf16::until_nul(bytes.all()?));
            }
        }
        Err(Absent::NotApplicable)
    }

    fn node(&self, key: Key) -> Value<View<'_, KeyNode>> {
        let (at, space) = self.cell(key.0)?;
        let node = space.view(self.layouts.node, at);
        if node.signature()? == u16::from_le_bytes(*b"nk") { Ok(node) } else { Err(Absent::Implausible) }
    }
    /// A list of subkeys; lists of lists are one deep.
    fn list(&self, cell: u32, deeper: bool, out: &mut Vec<Key>) -> Value<()> {
        let (at, space) = self.cell(cell)?;
        let head = space.fetch(at, 4);
        let head = head.all()?;
        let (kind, count) = (head.first_chunk::<2>().ok_or(Absent::Implausible)?, u16_at(head, 2).unwrap_or(0));
        let stride = match kind {
            b"li" | ROOT => 4u32,
            _ if LISTS.contains(&kind) => 8,
            _ => return Err(Absent::Implausible),
        };
        let entries = space.fetch(at.add(4), u32::from(count).saturating_mul(stride));
        for entry in entries.all()?.chunks_exact(stride as usize) {
            let cell = u32_at(entry, 0).unwrap_or(NONE);
            match (kind == ROOT, deeper) {
                (true, true) => self.list(cell, false, out)?,
                (true, false) => return Err(Absent::Implausible),
                (false, _) => out.push(Key(cell)),
            }
        }
        Ok(())
    }
    fn text(&self, at: Va, length: u16, compressed: bool) -> Value<String> {
        let bytes = self.space_of(at).fetch(at, length.into());
        let bytes = bytes.all()?;
        // Compressed names hold the low bytes of UTF-16 (Latin-1).
        Ok(if compressed { bytes.iter().map(|b| char::from(*b)).collect() } else { utf16::text(bytes) })
    }
    /// The address of a cell's contents, and the address space it lies in.
    fn cell(&self, index: u32) -> Value<(Va, &Space<'k>)> {
        if index == NONE {
            return Err(Absent::NotApplicable);
        }
        let half = self.view.storage()?.add(u64::from(index >> 31) * u64::from(self.layouts.dual_size));
        let dual = self.kernel.view(self.layouts.dual, half);
        if index & 0x7fff_ffff >= dual.length()? {
            return Err(Absent::Implausible);
        }
        let (table, block, byte) = (index >> 21 & 0x3ff, index >> 12 & 0x1ff, index & 0xfff);
        let width = u64::from(self.kernel.pointer_size());
        let table = self.kernel.pointer(dual.map()?.add(u64::from(table) * width))?;
        let entry =
            self.kernel.view(self.layouts.entry, table.add(u64::from(block) * u64::from(self.layouts.entry_size)));
        let block = match entry.block() {
            Ok(block) => block,
            // Bins begin at pages; what stands in the low bits are flags.
            Err(Absent::NotInBuild) => (entry.bin()? & !0xf).checked_add(entry.offset()?).ok_or(Absent::Implausible)?,
            Err(why) => return Err(why),
        };
        if block == 0 {
            return Err(Absent::NotMapped);
        }
        // A cell begins with its length, negative while it is in use.
        let at = Va(block).add(byte.into());
        let space = self.space_of(at);
        let length = space.fetch(at, 4);
        match le(length.all()?) {
            Some(raw) if raw >> 31 == 1 => Ok((at.add(4), space)),
            _ => Err(Absent::Implausible),
        }
    }
    /// Blocks in the user half lie in the process `Registry`.
    fn space_of(&self, at: Va) -> &Space<'k> {
        let user = if self.kernel.pointer_size() == 8 { at.0 >> 63 == 0 } else { at.0 < 0x8000_0000 };
        match self.registry {
            Some(registry) if user => registry,
            _ => self.kernel,
        }
    }
}
