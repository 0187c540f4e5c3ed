//! `_HANDLE_TABLE`: a process's handles, and the table of all process and thread ids (`PspCidTable`).
//!
//! A table has one to three levels of pages. Leaf pages hold entries, the pages above hold pointers. Every slot is looked at:
//! tables have holes at every level, and a wild pointer costs what it pointed to, not what follows it.

use super::Kernel;
use super::process::Process;
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::{Bytes, Place, le};
use crate::error::Result;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Bits, Field, Here, Layout};
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashSet;

layout! {
    /// `_HANDLE_TABLE`.
    pub struct HandleTable: "_HANDLE_TABLE" {
        /// `TableCode`: the address of the top page, its level in the low two bits.
        code: u64 = "TableCode",
        /// `HandleCount` (up to 7).
        count: u32 = "HandleCount",
        /// `FreeLists` (from 8), whose first element counts.
        free_lists: Here = "FreeLists",
        /// `QuotaProcess`: whose table it is.
        owner: Va = "QuotaProcess",
        /// `UniqueProcessId`: whose table it is.
        pid: u64 = "UniqueProcessId",
        /// `NextHandleNeedingPool`: one past the last handle there is room for.
        end: u32 = "NextHandleNeedingPool",
    }
}
layout! {
    /// `_HANDLE_TABLE_FREE_LIST` (from 8).
    pub struct FreeList: "_HANDLE_TABLE_FREE_LIST" {
        /// `HandleCount`.
        count: u32 = "HandleCount",
    }
}
layout! {
    /// `_HANDLE_TABLE_ENTRY` up to 7: a pointer whose low bits are flags.
    pub struct OldEntry: "_HANDLE_TABLE_ENTRY" {
        /// `Object`, with flags in the low three bits.
        object: Va = "Object",
        /// `GrantedAccess`.
        access: u32 = "GrantedAccess",
    }
}
layout! {
    /// `_HANDLE_TABLE_ENTRY` from 8 on: bit-fields.
    pub struct NewEntry: "_HANDLE_TABLE_ENTRY" {
        /// `ObjectPointerBits`: the pointer without its alignment and its sign.
        object: Bits = "ObjectPointerBits",
        /// `Attributes`.
        attributes: Bits = "Attributes",
        /// `GrantedAccessBits`.
        access: Bits = "GrantedAccessBits",
        /// `ProtectFromClose` (x86).
        protect: Bits = "ProtectFromClose",
        /// `NoRightsUpgrade` (from 8.1).
        no_upgrade: Bits = "NoRightsUpgrade",
    }
}

/// Windows gives a process at most 16,777,216 handles.
const MOST_HANDLES: u64 = 1 << 24;
/// Handle values and process ids count in fours: the two low bits are the caller's to use.
const STEP: u64 = 4;

/// `OBJ_PROTECT_CLOSE`: the handle cannot be closed.
pub const PROTECT: u8 = 1;
/// `OBJ_INHERIT`: children get it.
pub const INHERIT: u8 = 2;
/// `OBJ_AUDIT_OBJECT_CLOSE`: closing it is audited.
pub const AUDIT: u8 = 4;
/// Bit 25 of the access word: protect-from-close up to 7 (where bit 0 of the pointer is the entry's lock) and on x86.
const OLD_PROTECT: u32 = 0x0200_0000;

/// One handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Its value.
    pub value: u64,
    /// Where its entry stands.
    pub place: Place,
    /// What the entry points to: the object's header (in `PspCidTable` the object itself).
    pub target: Va,
    /// The access granted.
    pub access: Value<u32>,
    /// [`PROTECT`], [`INHERIT`], [`AUDIT`].
    pub attributes: Value<u8>,
    /// Whether the access may not be widened when the handle is duplicated; [`Absent::NotInBuild`] where the kernel keeps no such
    /// bit.
    pub no_upgrade: Value<bool>,
}

/// A page of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its address.
    pub at: Va,
    /// The number of its first entry in the whole table.
    pub first: u64,
}

/// How a kernel writes entries.
#[derive(Clone, Copy, Debug)]
enum Form {
    Old { access: Value<Field> },
    New { attributes: Value<Field>, access: Value<Field>, protect: Value<Field>, no_upgrade: Value<Field> },
}

/// Reads handle tables of one kernel.
#[derive(Clone, Copy, Debug)]
pub struct HandleTables<'k> {
    table: &'k HandleTable,
    form: Form,
    /// The pointer to the object: without it nothing says which entries are in use.
    object: Field,
    entry_size: u32,
    pointer: u32,
}

impl<'k> HandleTables<'k> {
    /// Where a handle's access mask is.
    #[must_use]
    pub fn access_at(&self, handle: &Handle) -> Option<Place> {
        let (Form::Old { access } | Form::New { access, .. }) = self.form;
        Some(handle.place.offset_by(access.ok()?.offset.into()))
    }
    /// Resolves the layouts.
    ///
    /// # Errors
    /// Why no entry can be read: the symbols do not describe entries, or not where one says what it stands for.
    pub fn of(kernel: &'k Kernel) -> Value<Self> {
        let (new, old) = (kernel.layout::<NewEntry>(), kernel.layout::<OldEntry>());
        let (new, old) = (new.map_err(|_| Absent::NoSymbol)?, old.map_err(|_| Absent::NoSymbol)?);
        let field = |name| new.field(name);
        let (form, object) = match old.field("object") {
            Ok(object) => (Form::Old { access: old.field("access") }, object),
            Err(_) => {
                let (attributes, access) = (field("attributes"), field("access"));
                let (protect, no_upgrade) = (field("protect"), field("no_upgrade"));
                (Form::New { attributes, access, protect, no_upgrade }, field("object")?)
            }
        };
        let size = kernel.symbols.types.size_of(NewEntry::TYPE).filter(|s| matches!(s, 8 | 16));
        Ok(Self {
            table: kernel.layout().map_err(|_| Absent::NoSymbol)?,
            form,
            object,
            entry_size: size.ok_or(Absent::NoSymbol)?,
            pointer: kernel.space().pointer_size(),
        })
    }
    /// Entries in a leaf page.
    fn per_leaf(&self) -> u64 {
        PAGE_SIZE / u64::from(self.entry_size)
    }
    /// The page that a table begins with.
    ///
    /// # Errors
    /// Why its code cannot be read.
    pub fn top(&self, space: &Space<'_>, table: Va) -> Value<Va> {
        Ok(Va(space.view(self.table, table).code()? & !7))
    }
    /// Where in a `_HANDLE_TABLE` the code stands.
    #[must_use]
    pub fn code_at(&self) -> u64 {
        self.table.field("code").map_or(0, |f| f.offset.into())
    }
    /// All leaf pages of a table, in order.
    #[must_use]
    pub fn leaves(&self, space: &Space<'_>, table: Va) -> (Vec<Leaf>, Vec<Note>) {
        let mut walk = Walk {
            tables: self,
            space,
            out: Vec::new(),
            notes: Vec::new(),
            seen: FxHashSet::default(),
            physical: FxHashSet::default(),
            aliases: 0,
            wild: 0,
        };
        match space.view(self.table, table).code() {
            Ok(code) => {
                let level = code & 3;
                if level == 3 {
                    walk.notes
                        .push(Note::loss(format!("handle table at {table}: invalid level 3 in TableCode {code:#x}")));
                } else {
                    walk.page(Va(code & !7), level, 0);
                }
            }
            Err(why) => walk.notes.push(Note::loss(format!("handle table at {table} is {why}"))),
        }
        if walk.aliases > 0 {
            let text = format!(
                "handle table at {table}: {} of its pages are the same physical memory as others of it; they are read once",
                walk.aliases
            );
            walk.notes.push(Note::loss(text));
        }
        if walk.wild > 0 {
            let text = format!("handle table at {table}: {} pointers lead to no page of it", walk.wild);
            walk.notes.push(Note::loss(text));
        }
        (walk.out, walk.notes)
    }
    /// The handles of a leaf page.
    ///
    /// # Errors
    /// Why the page cannot be read at all.
    pub fn handles(&self, space: &Space<'_>, leaf: Leaf, mut each: impl FnMut(Handle)) -> Value<()> {
        let page = space.fetch(leaf.at, u32::try_from(PAGE_SIZE).map_err(|_| Absent::Implausible)?);
        let raw = page.all()?;
        // The first entry of each leaf page is no handle: it is the page's own (`InfoTable`, or nothing).
        for (slot, entry) in (0u32..).zip(raw.chunks_exact(self.entry_size as usize)).skip(1) {
            if let Some(mut handle) = self.entry(entry) {
                handle.value = leaf.first.saturating_add(slot.into()).saturating_mul(STEP);
                handle.place = page.place(slot.saturating_mul(self.entry_size));
                each(handle);
            }
        }
        Ok(())
    }
    /// The entry at the start of these bytes; `None` when it is free.
    #[inline]
    fn entry(&self, raw: &[u8]) -> Option<Handle> {
        let pointer = number(raw, self.object)?;
        // Its value and place are its reader's to fill in.
        let handle = |target: Va, access: Value<u32>, attributes: Value<u8>, no_upgrade: Value<bool>| {
            Some(Handle { value: 0, place: Place::default(), target, access, attributes, no_upgrade })
        };
        match self.form {
            Form::Old { access } => {
                if pointer & !7 == 0 {
                    return None;
                }
                let access = small::<u32>(raw, access);
                let protect = access.map(|access| if access & OLD_PROTECT == 0 { 0 } else { PROTECT });
                let low = u8::try_from(pointer & 7).ok()? & (INHERIT | AUDIT);
                let attributes = protect.map(|protect| low | protect);
                handle(Va(pointer & !7), access.map(|a| a & !OLD_PROTECT), attributes, Err(Absent::NotInBuild))
            }
            Form::New { attributes, access, protect, no_upgrade } => {
                if pointer == 0 {
                    return None;
                }
                let no_upgrade = small::<u8>(raw, no_upgrade).map(|bit| bit != 0);
                let target = self.pointer(self.object, pointer);
                handle(target, small(raw, access), new_attributes(raw, attributes, protect), no_upgrade)
            }
        }
    }
    /// A pointer from its bits: pool blocks are aligned to 16 bytes on 64-bit and 8 on 32-bit machines, so that many low
    /// bits are left out; above, the highest kept bit (it is a kernel address) is repeated.
    fn pointer(&self, field: Field, bits: u64) -> Va {
        let (_, length) = field.bits.unwrap_or((0, 64));
        if self.pointer == 4 {
            return Va(bits.wrapping_shl(3) & 0xffff_ffff);
        }
        let unused = 64u32.saturating_sub(u32::from(length).saturating_add(4));
        let shifted = bits.wrapping_shl(4).wrapping_shl(unused).cast_signed().wrapping_shr(unused);
        Va(shifted.cast_unsigned())
    }
}

/// A plain number or a bit-field at the start of `raw`.
#[inline]
fn number(raw: &[u8], field: Field) -> Option<u64> {
    let from = field.offset as usize;
    let unit = le(raw.get(from..from.checked_add(field.size as usize)?)?)?;
    let Some((position, length)) = field.bits else { return Some(unit) };
    let value = unit.checked_shr(position.into())?;
    Some(if length >= 64 { value } else { value & (1u64 << length).wrapping_sub(1) })
}

/// The same, where this kernel has the field, as the type it must fit.
#[inline]
fn small<T: TryFrom<u64>>(raw: &[u8], field: Value<Field>) -> Value<T> {
    T::try_from(number(raw, field?).ok_or(Absent::Implausible)?).map_err(|_| Absent::Implausible)
}

/// The attributes of an entry from 8 on. Two bits are inherit and audit (x86, where protect is a field of its own); three begin
/// with protect.
#[inline]
fn new_attributes(raw: &[u8], attributes: Value<Field>, protect: Value<Field>) -> Value<u8> {
    let length = attributes?.bits.map_or(3, |(_, length)| length);
    let attributes: u8 = small(raw, attributes)?;
    if length != 2 {
        return Ok(attributes & 7);
    }
    let protect = small::<u8>(raw, protect)? != 0;
    Ok(attributes << 1 | if protect { PROTECT } else { 0 })
}

/// The descent into a table.
struct Walk<'a> {
    tables: &'a HandleTables<'a>,
    space: &'a Space<'a>,
    out: Vec<Leaf>,
    notes: Vec<Note>,
    /// Pages met: one that is met again is no page of this table.
    seen: FxHashSet<Va>,
    /// Physical pages met: one that is met again at another address is an alias.
    physical: FxHashSet<Pa>,
    aliases: usize,
    wild: usize,
}

impl Walk<'_> {
    /// A page at some level whose first entry has this number.
    fn page(&mut self, at: Va, level: u64, first: u64) {
        if at.offset_in_page() != 0 || !self.seen.insert(at) {
            self.wild = self.wild.saturating_add(1);
            return;
        }
        if let Ok(pa) = self.space.translate(at)
            && !self.physical.insert(pa)
        {
            self.aliases = self.aliases.saturating_add(1);
            return;
        }
        if level == 0 {
            self.out.push(Leaf { at, first });
            return;
        }
        let pointer = self.tables.pointer;
        let pointers = PAGE_SIZE / u64::from(pointer);
        // Entries below one pointer of this page.
        let mut below = self.tables.per_leaf();
        for _ in 1..level {
            below = below.saturating_mul(pointers);
        }
        let page: Bytes<'_> = self.space.fetch(at, u32::try_from(PAGE_SIZE).unwrap_or(0));
        let raw = match page.all() {
            Ok(raw) => raw,
            Err(why) => {
                self.notes.push(Note::loss(format!(
                    "handle table: the page at {at} is {why}: handles from {:#x} on may be missing",
                    first.saturating_mul(STEP)
                )));
                return;
            }
        };
        for (slot, raw) in raw.chunks_exact(pointer as usize).enumerate() {
            let next = le(raw).unwrap_or(0);
            let first = first.saturating_add(below.saturating_mul(slot as u64));
            if next == 0 {
                continue;
            }
            if first >= MOST_HANDLES {
                self.wild = self.wild.saturating_add(1);
                return;
            }
            if self.space.slice(Va(next), 1) == Err(Absent::NotMapped) {
                self.wild = self.wild.saturating_add(1);
                continue;
            }
            self.page(Va(next), level.saturating_sub(1), first);
        }
    }
}

impl Process<'_> {
    /// Open handles, as the table counts them.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: it has no table (it ended).
    pub fn handle_count(&self, space: &Space<'_>) -> Value<u32> {
        let at = self.view.handle_table()?;
        if at.is_null() {
            return Err(Absent::NotApplicable);
        }
        let table = space.view(self.kernel.layout::<HandleTable>().map_err(|_| Absent::NoSymbol)?, at);
        // A table has a page of entries from its start: one without is an empty page of the dump.
        if table.code() == Ok(0) {
            return Err(Absent::Implausible);
        }
        match table.count() {
            Err(Absent::NotInBuild) => {
                let list = self.kernel.layout::<FreeList>().map_err(|_| Absent::NoSymbol)?;
                space.view(list, table.free_lists()?).count()
            }
            count => count,
        }
    }
    /// Where that count is.
    #[must_use]
    pub fn handle_count_at(&self, space: &Space<'_>) -> Option<Place> {
        let at = self.view.handle_table().ok().filter(|at| !at.is_null())?;
        let in_list = || {
            let lists = HandleTable::free_lists.of(self.kernel.layout().ok()?, at)?;
            self.kernel.place_in(space, lists, FreeList::count)
        };
        self.kernel.place_in(space, at, HandleTable::count).or_else(in_list)
    }
}

impl Kernel {
    /// Every process and thread id the kernel has given out (`PspCidTable`), with the `_EPROCESS` or `_ETHREAD` it stands for,
    /// in order, and notes on what could not be read.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`]: nothing says where the table is, or what it looks like.
    pub fn client_ids(&self, space: &Space<'_>) -> Value<(Vec<Handle>, Vec<Note>)> {
        let table = space.pointer(self.global("PspCidTable").ok_or(Absent::NoSymbol)?)?;
        let tables = HandleTables::of(self)?;
        let (leaves, mut notes) = tables.leaves(space, table);
        let mut out = Vec::new();
        for leaf in leaves {
            if let Err(why) = tables.handles(space, leaf, |h| out.push(h)) {
                let first = leaf.first.saturating_mul(STEP);
                notes.push(Note::loss(format!("PspCidTable: ids from {first} on: the page at {} is {why}", leaf.at)));
            }
        }
        Ok((out, notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pa;
    use crate::kernel::testing;
    use crate::paging::Mode;
    use crate::paging::testing::Memory;

    /// Where the table and its pages are; physical pages follow one another from page 0x100.
    const TABLE: u64 = 0xffff_9000_0000_0000;

    struct Pages {
        memory: Memory,
        next: u64,
    }
    impl Pages {
        fn new() -> Self {
            let mut memory = Memory::new(Mode::X64, Pa(0x8000_0000));
            memory.map(Va(TABLE), Pa(0x10_0000), 12);
            Self { memory, next: 1 }
        }
        fn page(&mut self, words: &[(usize, u64)]) -> u64 {
            let (va, pa) = (TABLE + self.next * 0x1000, 0x10_0000 + self.next * 0x1000);
            self.next += 1;
            self.memory.map(Va(va), Pa(pa), 12);
            let page = self.memory.page(pa / 0x1000);
            for (slot, word) in words {
                page[8 * slot..8 * slot + 8].copy_from_slice(&word.to_le_bytes());
            }
            va
        }
        /// A leaf page with objects in these slots; the object of a slot is at `object(slot)`.
        fn leaf(&mut self, slots: &[usize], object: impl Fn(usize) -> u64) -> u64 {
            // 8.1 and later: unlocked in bit 0, attributes from bit 17, pointer without its low four bits from bit 20;
            // then 25 bits of access.
            let low = |slot| (object(slot) & 0xffff_ffff_ffff) >> 4 << 20 | 2 << 17 | 1;
            let words: Vec<_> = slots.iter().flat_map(|s| [(2 * s, low(*s)), (2 * s + 1, 0x12_019f)]).collect();
            self.page(&words)
        }
        fn read(&mut self, code: u64) -> (Vec<Handle>, Vec<Note>) {
            self.memory.write(Pa(0x10_0000 + 8), &code.to_le_bytes()); // TableCode
            let Some(kernel) = testing::kernel(&self.memory, "x64-10.0.19045.2965") else { return (vec![], vec![]) };
            assert_eq!(kernel.symbols.types.member("_HANDLE_TABLE", "TableCode").unwrap().offset, 8);
            let space = kernel.space();
            let tables = HandleTables::of(&kernel).unwrap();
            let (leaves, notes) = tables.leaves(&space, Va(TABLE));
            let mut out = Vec::new();
            for leaf in leaves {
                tables.handles(&space, leaf, |h| out.push(h)).unwrap();
            }
            (out, notes)
        }
    }
    fn object(slot: usize) -> u64 {
        0xffff_a000_0000_0000 + 0x100 * slot as u64
    }
    fn values(handles: &[Handle]) -> Vec<u64> {
        handles.iter().map(|h| h.value).collect()
    }

    #[test]
    fn many_addresses_of_one_page_are_read_once() {
        let mut p = Pages::new();
        let leaf = p.leaf(&[1, 3], object);
        let aliases: Vec<u64> = (0..200u64).map(|i| TABLE + 0x10_0000 + i * 0x1000).collect();
        for alias in &aliases {
            p.memory.map(Va(*alias), Pa(0x10_0000 + leaf - TABLE), 12);
        }
        let all: Vec<(usize, u64)> = std::iter::once(leaf).chain(aliases).enumerate().collect();
        let code = p.page(&all) | 1;
        let (handles, notes) = p.read(code);
        if handles.is_empty() {
            return; // no layout tables here
        }
        assert_eq!(values(&handles), [4, 12]);
        assert!(notes.len() == 1 && notes[0].loss && notes[0].text.contains(" 200 of its pages"), "{notes:?}");
    }

    #[test]
    fn one_page() {
        let mut p = Pages::new();
        let code = p.leaf(&[1, 3, 255], object);
        let (handles, notes) = p.read(code);
        if handles.is_empty() {
            return; // no layout tables here
        }
        assert_eq!(values(&handles), [4, 12, 1020]);
        assert_eq!(handles[1].target, Va(object(3)));
        assert_eq!((handles[1].access, handles[1].attributes), (Ok(0x12_019f), Ok(INHERIT)));
        assert_eq!(handles[1].place.va, Some(Va(code + 48)));
        assert!(notes.is_empty());
    }

    #[test]
    fn three_levels_with_holes_and_wild_pointers() {
        let mut p = Pages::new();
        let first = p.leaf(&[1], object);
        let far = p.leaf(&[2], object);
        let beyond = p.leaf(&[5], object);
        let unaligned = first + 8;
        let unmapped = TABLE + 0x1000_0000;
        let mid0 = p.page(&[(0, first), (1, unmapped), (2, unaligned), (511, far)]);
        let mid1 = p.page(&[(0, 0), (3, beyond), (4, first)]);
        let top = p.page(&[(0, mid0), (2, mid1)]);
        let (handles, notes) = p.read(top | 2);
        if handles.is_empty() {
            return;
        }
        // ((middle * 512 + leaf) * 256 + slot) * 4
        assert_eq!(values(&handles), [4, (511 * 256 + 2) * 4, ((2 * 512 + 3) * 256 + 5) * 4]);
        // An unmapped page, a misaligned one, and a leaf that stands in two places.
        assert!(notes[0].loss && notes[0].text.contains("3 pointers lead to no page of it"), "{notes:?}");
    }

    #[test]
    fn a_page_that_points_to_itself_ends() {
        let mut p = Pages::new();
        let at = p.page(&[]);
        let pa = 0x10_0000 + (at - TABLE);
        for slot in 0..512u64 {
            p.memory.write(Pa(pa + 8 * slot), &at.to_le_bytes());
        }
        let (handles, notes) = p.read(at | 2);
        assert!(handles.is_empty());
        assert!(notes.is_empty() || notes[0].text.contains("lead to no page of it"), "{notes:?}");
    }

    #[test]
    fn three_hundred_thousand_handles() {
        let mut p = Pages::new();
        let all: Vec<usize> = (1..256).collect();
        let leaves: Vec<u64> = (0..1200).map(|_| p.leaf(&all, object)).collect();
        let words = |chunk: &[u64]| chunk.iter().copied().enumerate().collect::<Vec<_>>();
        let middle: Vec<u64> = leaves.chunks(512).map(|c| p.page(&words(c))).collect();
        let top = p.page(&words(&middle));
        let (handles, notes) = p.read(top | 2);
        if handles.is_empty() {
            return;
        }
        assert_eq!(handles.len(), 1200 * 255);
        assert!(notes.is_empty());
        assert!(handles.is_sorted_by(|a, b| a.value < b.value));
        assert_eq!(handles.last().unwrap().value, (1199 * 256 + 255) * 4);
    }

    /// The entry of these two words in a kernel's form.
    fn entry(kernel: &str, low: u64, high: u32) -> Option<Handle> {
        let memory = Memory::new(if kernel.starts_with("x86") { Mode::Pae } else { Mode::X64 }, Pa(0x10_0000));
        let kernel = testing::kernel(&memory, kernel)?;
        let tables = HandleTables::of(&kernel).unwrap();
        let mut raw = low.to_le_bytes()[..tables.entry_size as usize / 2].to_vec();
        raw.extend_from_slice(&u64::from(high).to_le_bytes()[..tables.entry_size as usize / 2]);
        tables.entry(&raw)
    }

    #[test]
    fn each_form_of_entry() {
        let told = |e: Option<Handle>| e.map(|h| (h.target.0, h.access.unwrap(), h.attributes.unwrap()));
        if testing::shared("layouts").is_none() {
            return;
        }
        // 7: the pointer with flags in its low bits (1 is the lock), protection in bit 25 of the access.
        let e = entry("x64-6.1.7601.24540", 0xffff_fa80_0123_4563, 0x0212_019f);
        assert_eq!(told(e), Some((0xffff_fa80_0123_4560, 0x12_019f, PROTECT | INHERIT)));
        // 8: 41 bits of pointer from bit 23, three of attributes from bit 20.
        let e = entry("x64-6.2.9200.16384", (0xffff_fa80_0123_4560u64 >> 4) << 23 | 0b101 << 20 | 1, 0x1f_ffff);
        assert_eq!(told(e), Some((0xffff_fa80_0123_4560, 0x1f_ffff, PROTECT | AUDIT)));
        // 8.1 and later: 44 bits from bit 20, attributes from bit 17.
        let e = entry("x64-10.0.22000.318", (0xffff_9c81_0d10_b030u64 >> 4) << 20 | 0b010 << 17 | 1, 0x021f_ffff);
        assert_eq!(told(e), Some((0xffff_9c81_0d10_b030, 0x1f_ffff, INHERIT)));
        assert_eq!(e.unwrap().no_upgrade, Ok(true));
        // x86 from 8 on: 29 bits from bit 3, inherit and audit from bit 1, protection apart.
        let e = entry("x86-10.0.10240.16384", 0x8512_3458 | 0b10 << 1 | 1, 0x021f_0003);
        assert_eq!(told(e), Some((0x8512_3458, 0x1f_0003, PROTECT | AUDIT)));
        // x86 before.
        let e = entry("x86-5.1.2600.5512", 0x8512_345d, 0x001f_0003);
        assert_eq!(told(e), Some((0x8512_3458, 0x1f_0003, AUDIT)));
        // Free entries have no pointer.
        assert_eq!(entry("x64-10.0.22000.318", 0, 0x40), None);
        assert_eq!(entry("x64-6.1.7601.24540", 1, 0x40), None);
    }

    #[test]
    fn every_known_kernel_counts_its_handles_in_one_of_two_places() {
        for (name, symbols) in testing::kernels() {
            let table = HandleTable::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            let own = table.field("count").is_ok();
            assert_ne!(own, table.field("free_lists").is_ok(), "{name}");
            assert_eq!(symbols.types.get(FreeList::TYPE).is_some(), !own, "{name}");
        }
    }
}
