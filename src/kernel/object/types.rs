//! Object types: which there are, and which one an object's header names.

use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::le;
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Bits, Counted};
use crate::value::{Absent, Note, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

layout! {
    /// `_OBJECT_TYPE`.
    pub struct TypeLayout: "_OBJECT_TYPE" {
        /// `Name`.
        name: Counted = "Name",
        /// `Index`: its place in `ObTypeIndexTable`.
        index: Bits = "Index",
        /// `TotalNumberOfObjects`.
        objects: u32 = "TotalNumberOfObjects",
        /// `TotalNumberOfHandles`.
        handles: u32 = "TotalNumberOfHandles",
        /// `Key`: the pool tag of its objects.
        key: u32 = "Key",
    }
}

/// Entries `ObTypeIndexTable` may have: the index is a byte.
const MOST_TYPES: usize = 256;
/// The first entry with a type. The two before are null and a marker.
const FIRST_TYPE: usize = 2;

/// One object type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectType {
    /// Its `_OBJECT_TYPE`.
    pub at: Va,
    /// Its name.
    pub name: Value<Cow<'static, str>>,
    /// Objects of it.
    pub objects: Value<u32>,
    /// Handles to them.
    pub handles: Value<u32>,
}

/// How `TypeIndex` of a header is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// As it stands (7 to 8.1).
    Plain,
    /// Exclusive-or with the second byte of the header's address and with `ObHeaderCookie` (from Windows 10).
    Cookie(u8),
}

/// The types of a kernel.
#[derive(Clone, Debug)]
pub struct ObjectTypes {
    /// By index.
    pub list: BTreeMap<u8, ObjectType>,
    coding: Value<Coding>,
    /// How they were found out, where not by symbols.
    pub notes: Vec<Note>,
}

impl Kernel {
    /// The object types: by `ObTypeIndexTable` and `ObHeaderCookie` where the symbols have them, else by what such a table looks
    /// like, and by what turns the headers of the listed processes into the type `Process`.
    #[must_use]
    pub fn object_types(&self) -> ObjectTypes {
        let space = self.space();
        let mut notes = Vec::new();
        let table = self.global("ObTypeIndexTable").or_else(|| {
            let found = by_appearance(self, &space)?;
            notes.push(Note::info(format!(
                "object types: no symbol ObTypeIndexTable; a table that reads as one lies at {found}"
            )));
            Some(found)
        });
        let list = table.map(|at| types_at(self, &space, at)).unwrap_or_default();
        let coding = coding(self, &space, &list, &mut notes);
        let described = self.symbols.types.member("_OBJECT_HEADER", "TypeIndex").is_some();
        if described && list.is_empty() {
            notes.push(Note::loss("object types: ObTypeIndexTable was not found: types of objects cannot be told"));
        }
        ObjectTypes { list, coding, notes }
    }
}

impl ObjectTypes {
    /// The name of the type that a header at `header` gives as `index`.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`]: the types, or how the index is written, are not known. [`Absent::Implausible`]: no such type.
    pub fn name(&self, index: u8, header: Va) -> Value<Cow<'static, str>> {
        if self.list.is_empty() {
            return Err(Absent::NoSymbol);
        }
        let index = decode(self.coding?, index, header);
        self.list.get(&index).ok_or(Absent::Implausible)?.name.clone()
    }
    /// The index of a type.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<u8> {
        self.list.iter().find(|(_, t)| t.name.as_deref() == Ok(name)).map(|(i, _)| *i)
    }
    /// The index that a header at `header` means by `index`.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`]: how it is written is not known.
    pub fn decode(&self, index: u8, header: Va) -> Value<u8> {
        Ok(decode(self.coding?, index, header))
    }
}

fn decode(coding: Coding, index: u8, header: Va) -> u8 {
    match coding {
        Coding::Plain => index,
        Coding::Cookie(cookie) => index ^ second_byte(header) ^ cookie,
    }
}

fn second_byte(header: Va) -> u8 {
    header.0.to_le_bytes().get(1).copied().unwrap_or_default()
}

/// The types a table at `at` leads to. Null entries end it; entry 1 is the marker.
fn types_at(kernel: &Kernel, space: &Space<'_>, at: Va) -> BTreeMap<u8, ObjectType> {
    let width = space.pointer_size();
    let mut out = BTreeMap::new();
    let Ok(layout) = kernel.layout::<TypeLayout>() else { return out };
    for index in FIRST_TYPE..MOST_TYPES {
        let entry = at.add((index as u64).saturating_mul(width.into()));
        let Ok(pointer) = space.pointer(entry) else { break };
        if pointer.is_null() {
            break;
        }
        let v = space.view(layout, pointer);
        let name = v.name().and_then(|n| space.text(n)?.into_whole()).map(known);
        let Ok(index) = u8::try_from(index) else { break };
        out.insert(index, ObjectType { at: pointer, name, objects: v.objects(), handles: v.handles() });
    }
    out
}

/// The name of a type by its `_OBJECT_TYPE`.
///
/// # Errors
/// Why it cannot be read.
pub fn name_of(kernel: &Kernel, space: &Space<'_>, at: Va) -> Value<Cow<'static, str>> {
    let layout = kernel.layout::<TypeLayout>().map_err(|_| Absent::NoSymbol)?;
    space.view(layout, at).name().and_then(|n| space.text(n)?.into_whole()).map(known)
}

/// How headers write their type's index.
fn coding(kernel: &Kernel, space: &Space<'_>, list: &BTreeMap<u8, ObjectType>, notes: &mut Vec<Note>) -> Value<Coding> {
    if let Some(at) = kernel.global("ObHeaderCookie") {
        let cookie = space.number(at, 1)?;
        return Ok(Coding::Cookie(u8::try_from(cookie).map_err(|_| Absent::Implausible)?));
    }
    // Where the symbols name the table and no cookie, the kernel has none; the processes' headers must bear that out.
    let unproven = if kernel.global("ObTypeIndexTable").is_some() { Ok(Coding::Plain) } else { Err(Absent::NoSymbol) };
    let process = list.iter().find(|(_, t)| t.name.as_deref() == Ok("Process")).map(|(i, _)| *i);
    let (Some(process), Ok(found)) = (process, kernel.processes()) else { return unproven };
    let headers = super::header::Headers::of(kernel)?;
    let indexes: Vec<(Va, u8)> = found
        .list
        .iter()
        .filter_map(|p| {
            let at = p.offset()?.sub(headers.body());
            Some((at, headers.at(&kernel.space(), at).view.type_index().ok()?))
        })
        .collect();
    // One process proves nothing: the right cookie turns the header of every process into the same type.
    if indexes.len() < 2 {
        return unproven;
    }
    if indexes.iter().all(|(_, index)| *index == process) {
        return Ok(Coding::Plain);
    }
    let mut cookies = indexes.iter().map(|(at, index)| index ^ second_byte(*at) ^ process);
    let cookie = cookies.next().ok_or(Absent::NoSymbol)?;
    if cookies.all(|c| c == cookie) {
        notes.push(Note::info(format!(
            "object types: no symbol ObHeaderCookie; {cookie:#x} turns the headers of all {} processes into Process",
            indexes.len()
        )));
        return Ok(Coding::Cookie(cookie));
    }
    Err(Absent::NoSymbol)
}

/// A table in the kernel image that reads as `ObTypeIndexTable`: null, something that is no type (7 and 8 write 0xbad0b0b0,
/// later kernels the address of an unmapped page), then pointers to `_OBJECT_TYPE`s whose first is called `Type` and each of
/// which knows its own index.
fn by_appearance(kernel: &Kernel, space: &Space<'_>) -> Option<Va> {
    let layout = kernel.layout::<TypeLayout>().ok()?;
    let width = space.pointer_size();
    let step = u64::from(width);
    // Pool blocks are aligned and lie in the upper half.
    let pointer = |word: u64| match width {
        4 => word >= 0x8000_0000 && word.is_multiple_of(8),
        _ => word >= 0xffff_8000_0000_0000 && word.is_multiple_of(16),
    };
    let is_type = |table: Va, index: u64, name: Option<&str>| {
        let at = space.pointer(table.add(index.saturating_mul(step))).ok()?;
        let v = space.view(layout, at);
        let right = v.index().ok()? == index;
        let called = space.text(v.name().ok()?).ok()?;
        Some(right && !called.is_empty() && name.is_none_or(|n| called == *n))
    };
    let pages = u64::from(kernel.size?).div_ceil(PAGE_SIZE);
    for page in 0..pages {
        let base = kernel.base.add(page.saturating_mul(PAGE_SIZE));
        let Ok(raw) = space.slice(base, u32::try_from(PAGE_SIZE).ok()?) else { continue };
        let words: Vec<u64> = raw.chunks_exact(usize::try_from(width).ok()?).map(|w| le(w).unwrap_or(0)).collect();
        for (i, word) in words.iter().enumerate() {
            // The table may begin near a page's end: what is on the next page is looked at below.
            let next = |n: usize| words.get(i.saturating_add(n)).copied();
            let may_be = *word == 0
                && next(1).is_none_or(|w| w != 0)
                && next(2).is_none_or(pointer)
                && next(3).is_none_or(pointer);
            if !may_be {
                continue;
            }
            let table = base.add((i as u64).saturating_mul(step));
            let fits = is_type(table, 2, Some("Type")) == Some(true)
                && (3..8).all(|index| is_type(table, index, None) == Some(true));
            if fits {
                return Some(table);
            }
        }
    }
    None
}

/// The names kernels give their types, so that rows need no text of their own.
const KNOWN: [&str; 73] = [
    "ALPC Port",
    "ActivationObject",
    "ActivityReference",
    "Adapter",
    "Callback",
    "Composition",
    "Controller",
    "CoreMessaging",
    "CoverageSampler",
    "CpuPartition",
    "CrossVmEvent",
    "CrossVmMutant",
    "DebugObject",
    "Desktop",
    "Device",
    "Directory",
    "DmaAdapter",
    "Driver",
    "DxgkCompositionObject",
    "DxgkCurrentDxgProcessObject",
    "DxgkDisplayManagerObject",
    "DxgkDisplayMuxSwitch",
    "DxgkSharedBundleObject",
    "DxgkSharedKeyedMutexObject",
    "DxgkSharedProtectedSessionObject",
    "DxgkSharedResource",
    "DxgkSharedSwapChainObject",
    "DxgkSharedSyncObject",
    "EnergyTracker",
    "EtwConsumer",
    "EtwRegistration",
    "EtwSessionDemuxEntry",
    "Event",
    "EventPair",
    "File",
    "FilterCommunicationPort",
    "FilterConnectionPort",
    "IRTimer",
    "IoCompletion",
    "IoCompletionReserve",
    "IoRing",
    "Job",
    "Key",
    "KeyedEvent",
    "Mutant",
    "NdisCmState",
    "Partition",
    "PcwObject",
    "Port",
    "PowerRequest",
    "Process",
    "ProcessStateChange",
    "Profile",
    "PsSiloContextNonPaged",
    "PsSiloContextPaged",
    "RawInputManager",
    "RegistryTransaction",
    "Section",
    "Semaphore",
    "Session",
    "SymbolicLink",
    "Thread",
    "Timer",
    "TmEn",
    "TmRm",
    "TmTm",
    "TmTx",
    "Token",
    "TpWorkerFactory",
    "Type",
    "WaitCompletionPacket",
    "WindowStation",
    "WmiGuid",
];

/// A type's name without memory of its own, where it is a usual one.
fn known(name: String) -> Cow<'static, str> {
    match KNOWN.binary_search(&name.as_str()) {
        Ok(at) => KNOWN.get(at).map_or(Cow::Owned(name), |n| Cow::Borrowed(*n)),
        Err(_) => Cow::Owned(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::layout::Layout;

    #[test]
    fn every_known_kernel_has_the_fields() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            TypeLayout::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    #[test]
    fn names_are_sorted() {
        assert!(KNOWN.is_sorted());
        assert!(matches!(known("Event".into()), Cow::Borrowed("Event")));
        assert!(matches!(known("Nonesuch".into()), Cow::Owned(_)));
    }
    #[test]
    fn the_index_is_encoded_by_address_and_cookie() {
        // 7 ^ 0x12 ^ 0x5a
        assert_eq!(decode(Coding::Cookie(0x5a), 0x4f, Va(0xffff_e000_1234_1230)), 7);
        assert_eq!(decode(Coding::Plain, 7, Va(0xffff_e000_1234_1230)), 7);
    }
}
