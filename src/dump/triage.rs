//! Triage ("mini") dumps, type 4: no physical memory and no page tables, but blocks of virtual memory that Windows
//! chose, copies of the crashing process, thread and processor block, and the lists of drivers.

use super::header::Width;
use super::sparse::{Block, Sparse, slice};
use super::{raw, sniff};
use crate::addr::Va;
use crate::bytes::u32_at;
use crate::utf16;
use crate::value::{Absent, Note, Value};

/// A loaded driver, as the dump lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Path as the kernel knows it (`\SystemRoot\system32\ntoskrnl.exe`).
    ///
    /// # Errors
    /// [`Absent::Implausible`] where its offset or length points out of the file.
    pub name: Value<String>,
    /// First byte of the image.
    pub base: Va,
    /// `SizeOfImage`.
    pub size: u32,
    /// `CheckSum` of the PE header.
    pub checksum: u32,
    /// `TimeDateStamp` of the PE header: with the size, the image's key in a symbol store.
    pub time_stamp: u32,
    /// File offset of the characters of its path.
    pub name_at: u64,
    /// File offset of the entry.
    pub file: u64,
    /// Offset in the entry of its base, size, checksum and time stamp.
    pub fields: [u32; 4],
}

/// A driver that was unloaded before the crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnloadedDriver {
    /// File name, cut by Windows after twelve characters.
    pub name: Value<String>,
    /// Where it began.
    pub start: Va,
    /// One past its last byte.
    pub end: Va,
    /// File offset of the entry.
    pub file: u64,
    /// Offset in the entry of its name, start and end.
    pub fields: [u32; 3],
}

/// A copied structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'d> {
    /// Its bytes, up to the next part of the file: at least the structure, at most seven bytes of alignment more.
    pub bytes: &'d [u8],
    /// File offset of the first.
    pub file: u64,
    /// Where it stood in memory, where the dump says.
    pub va: Option<Va>,
}

/// What was read of the file at opening: offsets, and the lists.
#[derive(Debug)]
pub struct Contents {
    head: raw::Triage64,
    memory: Sparse,
    drivers: Vec<Driver>,
    unloaded: Vec<UnloadedDriver>,
    kdbg: Option<Va>,
    /// Where each part begins, sorted: a part ends where the next one begins.
    starts: Vec<u32>,
}

impl Contents {
    /// `SizeOfDump`: where the secondary data begins.
    pub fn size(&self) -> u64 {
        self.head.common.size_of_dump.into()
    }
}

/// What a triage dump holds.
#[derive(Clone, Copy, Debug)]
pub struct Triage<'d> {
    map: &'d [u8],
    contents: &'d Contents,
}

impl<'d> Triage<'d> {
    pub(super) fn new(map: &'d [u8], contents: &'d Contents) -> Self {
        Self { map, contents }
    }
    /// The bytes from `va` to at most `len` or the end of what is kept there, and the file offset of the first.
    /// What follows may be in another block: ask again.
    ///
    /// # Errors
    /// [`Absent::NotInDump`] where the dump keeps nothing.
    pub fn bytes(&self, va: Va, len: usize) -> Value<(&'d [u8], u64)> {
        self.contents.memory.bytes(self.map, va, len)
    }
    /// The first kept address at or after `va`.
    #[must_use]
    pub fn next_kept(&self, va: Va) -> Option<Va> {
        self.contents.memory.next_kept(va)
    }
    /// Every kept stretch of virtual memory (the data blocks, the stack, the debugger data), sorted by address and not
    /// overlapping.
    #[must_use]
    pub fn blocks(&self) -> &'d [Block] {
        self.contents.memory.blocks()
    }
    /// The loaded drivers in the order of the dump; the first is the kernel.
    #[must_use]
    pub fn drivers(&self) -> &'d [Driver] {
        &self.contents.drivers
    }
    /// The drivers unloaded before the crash.
    #[must_use]
    pub fn unloaded(&self) -> &'d [UnloadedDriver] {
        &self.contents.unloaded
    }
    /// The `_EPROCESS` of the crashing process.
    #[must_use]
    pub fn process(&self) -> Option<Part<'d>> {
        self.part(self.contents.head.common.process_offset, None)
    }
    /// The `_ETHREAD` of the crashing thread.
    #[must_use]
    pub fn thread(&self) -> Option<Part<'d>> {
        self.part(self.contents.head.common.thread_offset, None)
    }
    /// The `_KPRCB` of the processor that crashed.
    #[must_use]
    pub fn prcb(&self) -> Option<Part<'d>> {
        self.part(self.contents.head.common.prcb_offset, None)
    }
    /// The kept part of the crashing thread's stack, from its top (lowest address) on.
    #[must_use]
    pub fn stack(&self) -> Option<Part<'d>> {
        let head = &self.contents.head;
        let (file, len) = (head.common.call_stack_offset, head.common.size_of_call_stack);
        let bytes = slice_cut(self.map, file.into(), len.into()).filter(|_| used(file))?;
        Some(Part { bytes, file: file.into(), va: written(head.top_of_stack) })
    }
    /// The `_KDDEBUGGER_DATA64`, never encoded here.
    #[must_use]
    pub fn kdbg(&self) -> Option<Part<'d>> {
        let head = &self.contents.head;
        let (file, len) = (head.debugger_data_offset, head.debugger_data_size);
        let bytes = slice(self.map, file.into(), len.into()).filter(|b| used(file) && !b.is_empty())?;
        Some(Part { bytes, file: file.into(), va: self.contents.kdbg })
    }
    /// `ServicePackBuild`: the service pack number in the high half, where there is one.
    #[must_use]
    pub fn service_pack(&self) -> Option<u32> {
        let n = self.contents.head.common.service_pack_build;
        used(n).then_some(n)
    }
    /// A structure of which only the beginning is known.
    fn part(&self, file: u32, va: Option<Va>) -> Option<Part<'d>> {
        if !used(file) {
            return None;
        }
        let next = self.contents.starts.iter().find(|s| **s > file).copied()?;
        let bytes = slice_cut(self.map, file.into(), next.saturating_sub(file).into())?;
        Some(Part { bytes, file: file.into(), va })
    }
}

/// A field that points somewhere: neither zero nor filler.
fn used(offset: u32) -> bool {
    offset != 0 && offset != raw::FILL32
}
fn written(address: u64) -> Option<Va> {
    (address != 0 && address != raw::FILL64 && address != u64::from(raw::FILL32)).then_some(Va(address))
}
/// A stretch of the file as far as that goes; `None` where it does not go at all.
fn slice_cut(map: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let left = (map.len() as u64).checked_sub(at)?;
    slice(map, at, len.min(left)).filter(|b| !b.is_empty())
}

/// Opens a triage dump.
pub fn open(map: &[u8], width: Width, kdbg: Option<Va>, notes: &mut Vec<Note>) -> Result<Contents, String> {
    let at = width.header_size();
    let head = head(map, width).ok_or_else(|| {
        format!("a triage dump cut off at {:#x}, inside its second header at {at:#x}; copy the file again", map.len())
    })?;
    let t = &head.common;
    let length = map.len() as u64;
    if u64::from(t.size_of_dump) > length {
        notes.push(Note::loss(format!(
            "the dump is truncated: it should have {} bytes, the file has {length}",
            t.size_of_dump
        )));
    } else if slice(map, t.valid_offset.into(), 4) != Some(b"TRGD") {
        notes.push(Note::loss(format!(
            "the end mark TRGD is not at {:#x}: the dump was not finished, or is damaged",
            t.valid_offset
        )));
    }
    let memory = memory(map, width, &head, kdbg, notes);
    let drivers = drivers(map, width, t, notes);
    let unloaded = unloaded(map, width, t.unloaded_drivers_offset, notes);
    let mut starts: Vec<u32> = [
        t.mm_offset,
        t.unloaded_drivers_offset,
        t.prcb_offset,
        t.process_offset,
        t.thread_offset,
        t.call_stack_offset,
        t.driver_list_offset,
        t.string_pool_offset,
        t.valid_offset,
        t.size_of_dump,
        head.data_page_offset,
        head.debugger_data_offset,
        head.data_blocks_offset,
    ]
    .into_iter()
    .filter(|s| used(*s))
    .chain(u32::try_from(map.len()))
    .collect();
    starts.sort_unstable();
    Ok(Contents { head, memory, drivers, unloaded, kdbg, starts })
}

/// The second header, widened.
fn head(map: &[u8], width: Width) -> Option<raw::Triage64> {
    let at = width.header_size();
    match width {
        Width::Bits64 => raw::read(map, at),
        Width::Bits32 => {
            let h: raw::Triage32 = raw::read(map, at)?;
            Some(raw::Triage64 {
                common: h.common,
                top_of_stack: h.top_of_stack.into(),
                architecture: [0; 16],
                data_page_address: h.data_page_address.into(),
                data_page_offset: h.data_page_offset,
                data_page_size: h.data_page_size,
                debugger_data_offset: h.debugger_data_offset,
                debugger_data_size: h.debugger_data_size,
                data_blocks_offset: h.data_blocks_offset,
                data_blocks_count: h.data_blocks_count,
            })
        }
    }
}

/// `MiniDumpFields` bits (the WDK's `TRIAGE_DUMP_*`) of what older Windows versions do not write.
const HAS_DATA_PAGE: u32 = 0x200;
const HAS_DEBUGGER_DATA: u32 = 0x400;
const HAS_DATA_BLOCKS: u32 = 0x800;

/// All kept memory.
fn memory(map: &[u8], width: Width, head: &raw::Triage64, kdbg: Option<Va>, notes: &mut Vec<Note>) -> Sparse {
    let fields = match width {
        Width::Bits64 => raw::read::<raw::Tail64>(map, raw::TAIL64).map(|t| t.mini_fields),
        Width::Bits32 => raw::read::<raw::Tail32>(map, raw::TAIL32).map(|t| t.mini_fields),
    };
    // A writer that left the field alone said nothing about it.
    let fields = fields.filter(|f| used(*f)).unwrap_or(u32::MAX);
    let mut all = Vec::new();
    let mut add = |va: Option<Va>, file: u32, len: u32| {
        if let Some(va) = va.filter(|_| used(file) && len > 0) {
            // 32-bit addresses are written sign-extended; ours are zero-extended.
            let va = if width == Width::Bits32 { Va(va.0 & 0xffff_ffff) } else { va };
            all.push(Block { va, len: len.into(), file: file.into() });
        }
    };
    if fields & HAS_DATA_BLOCKS != 0 && used(head.data_blocks_offset) {
        let (at, count) = (head.data_blocks_offset, head.data_blocks_count);
        let room = length_after(map, at) / raw::size::<raw::TriageBlock>();
        let listed = (count as usize).min(room);
        if listed < count as usize {
            notes.push(Note::loss(format!(
                "the list of data blocks at {at:#x} is said to have {count} entries; the file has room for {room}"
            )));
        }
        for i in 0..listed {
            let entry = (at as usize).saturating_add(i.saturating_mul(raw::size::<raw::TriageBlock>()));
            let Some(b) = raw::read::<raw::TriageBlock>(map, entry) else { break };
            add(Some(Va(b.address)), b.offset, b.size);
        }
    }
    let t = &head.common;
    add(written(head.top_of_stack), t.call_stack_offset, t.size_of_call_stack);
    if fields & HAS_DEBUGGER_DATA != 0 {
        add(kdbg, head.debugger_data_offset, head.debugger_data_size);
    }
    if fields & HAS_DATA_PAGE != 0 {
        add(written(head.data_page_address), head.data_page_offset, head.data_page_size);
    }

    Sparse::new(map, all, notes)
}

fn length_after(map: &[u8], at: u32) -> usize {
    map.len().saturating_sub(at as usize)
}

/// The driver list.
fn drivers(map: &[u8], width: Width, t: &raw::Triage, notes: &mut Vec<Note>) -> Vec<Driver> {
    if !used(t.driver_list_offset) || t.driver_count == 0 {
        notes.push(Note::info("the dump has no list of loaded drivers"));
        return Vec::new();
    }
    let (entry_size, fields) = match width {
        Width::Bits64 => (raw::size::<raw::TriageDriver64>(), [0x38, 0x48, 0x80, 0x88]),
        Width::Bits32 => (raw::size::<raw::TriageDriver32>(), [0x1c, 0x24, 0x44, 0x48]),
    };
    let room = length_after(map, t.driver_list_offset).checked_div(entry_size).unwrap_or(0);
    let count = (t.driver_count as usize).min(room);
    if count < t.driver_count as usize {
        notes.push(Note::loss(format!(
            "the driver list at {:#x} is said to have {} entries; the file has room for {room}",
            t.driver_list_offset, t.driver_count
        )));
    }
    let (mut drivers, mut odd) = (Vec::with_capacity(count), 0u32);
    for i in 0..count {
        let at = (t.driver_list_offset as usize).saturating_add(i.saturating_mul(entry_size));
        let entry = match width {
            Width::Bits64 => raw::read::<raw::TriageDriver64>(map, at)
                .map(|d| (d.name_offset, d.base, d.size_of_image, d.checksum, d.time_stamp)),
            Width::Bits32 => raw::read::<raw::TriageDriver32>(map, at)
                .map(|d| (d.name_offset, u64::from(d.base), d.size_of_image, d.checksum, d.time_stamp)),
        };
        let Some((name_at, base, size, checksum, time_stamp)) = entry else { break };
        let name = dump_string(map, name_at);
        let name_at = u64::from(name_at).saturating_add(4);
        odd = odd.saturating_add(u32::from(name.is_err()));
        drivers.push(Driver { name, base: Va(base), size, checksum, time_stamp, name_at, file: at as u64, fields });
    }
    if odd > 0 {
        notes.push(Note::loss(format!("{odd} of {} drivers have no readable name", drivers.len())));
    }
    drivers
}

/// A length in characters, then UTF-16. No path of Windows is longer than 32,767 characters.
fn dump_string(map: &[u8], at: u32) -> Value<String> {
    let length =
        u32_at(map, at as usize).filter(|n| used(at) && (1..=0x7fff).contains(n)).ok_or(Absent::Implausible)?;
    let text = slice(map, u64::from(at).saturating_add(4), u64::from(length).saturating_mul(2));
    text.map(utf16::text).ok_or(Absent::Implausible)
}

/// The unloaded drivers: a count, then entries of a fixed size.
fn unloaded(map: &[u8], width: Width, at: u32, notes: &mut Vec<Note>) -> Vec<UnloadedDriver> {
    let Some(count) = u32_at(map, at as usize).filter(|_| used(at)) else { return Vec::new() };
    let (first, size, fields) = match width {
        Width::Bits64 => (8, raw::size::<raw::TriageUnloaded64>(), [0x10, 0x28, 0x30]),
        Width::Bits32 => (4, raw::size::<raw::TriageUnloaded32>(), [8, 0x20, 0x24]),
    };
    // The kernel remembers 50.
    const MOST: u32 = 64;
    if count > MOST {
        notes.push(Note::loss(format!(
            "the count of unloaded drivers at {at:#x} is {} ({count}); they are not read",
            sniff::quote(&count.to_le_bytes())
        )));
        return Vec::new();
    }
    let mut all = Vec::new();
    for i in 0..count as usize {
        let entry = (at as usize).saturating_add(first).saturating_add(i.saturating_mul(size));
        let read = match width {
            Width::Bits64 => raw::read::<raw::TriageUnloaded64>(map, entry).map(|u| (u.length, u.name, u.start, u.end)),
            Width::Bits32 => raw::read::<raw::TriageUnloaded32>(map, entry)
                .map(|u| (u.length, u.name, u64::from(u.start), u64::from(u.end))),
        };
        let Some((length, name, start, end)) = read else {
            notes.push(Note::loss(format!("the file ends inside the list of unloaded drivers at {at:#x}")));
            break;
        };
        let text = name.get(..usize::from(length).min(name.len())).unwrap_or_default();
        let name = if length == 0 || length % 2 != 0 { Err(Absent::Implausible) } else { Ok(utf16::text(text)) };
        all.push(UnloadedDriver { name, start: Va(start), end: Va(end), file: entry as u64, fields });
    }
    all
}

#[cfg(test)]
#[path = "triage_tests.rs"]
pub(super) mod tests;
