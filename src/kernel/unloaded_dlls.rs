//! DLLs that a process unloaded: ntdll's own ring of the last 64 (`RtlpUnloadEventTrace`), which it keeps for debuggers.
//!
//! No symbols of ntdll are needed: its exported `RtlGetUnloadEventTrace` does nothing but return the ring's address, which is read
//! out of its code. An entry is what Microsoft's page on that function says (`RTL_UNLOAD_EVENT_TRACE`: base, size, sequence, time
//! stamp, check sum, 32 characters of name); later versions append two words of version, so that the distance from one
//! entry to the next is told by the entries themselves. The same page says that ntdll lies at one address in all processes:
//! where one process's ntdll has its code in memory, the ring's address serves all.

use super::Kernel;
use super::address_space::AddressSpace;
use super::file_object::Files;
use super::image::Image;
use super::pe::Exports;
use super::process::Process;
use super::section::Sections;
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::{Bytes, Place, le, u16_at, u32_at};
use crate::paging::Space;
use crate::symbols::layout::LayoutError;
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashMap;
use std::sync::{Mutex, PoisonError};

/// `RTL_UNLOAD_EVENT_TRACE_NUMBER`.
const ENTRIES: u32 = 64;
/// Characters of a name.
const NAME: u32 = 32;
/// The function that returns the ring's address.
const FUNCTION: &str = "RtlGetUnloadEventTrace";

/// One DLL that was unloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unloaded {
    /// Where it lay.
    pub base: Va,
    /// How many bytes.
    pub size: u64,
    /// Number of the event, counted from the process's start.
    pub sequence: u32,
    /// `TimeDateStamp` of its header.
    pub timestamp: u32,
    /// `CheckSum` of its header.
    pub checksum: u32,
    /// Its file name, cut to 32 characters.
    pub name: String,
    /// Where the entry stands.
    pub place: Place,
}

/// One ntdll of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntdll {
    /// Where it lies.
    pub base: Va,
    /// Whether it is 32-bit code.
    pub narrow: bool,
}

/// Where each ntdll of the machine keeps its ring.
#[derive(Debug)]
pub struct Rings<'k> {
    sections: Sections<'k>,
    search: Mutex<Search<'k>>,
}

/// The processes are asked in their order, as far as it takes: for nearly every machine, to the first that runs a program of each width.
#[derive(Debug)]
struct Search<'k> {
    found: FxHashMap<Va, Value<Va>>,
    unasked: std::vec::IntoIter<Process<'k>>,
}

impl<'k> Rings<'k> {
    /// Those that these processes lead to.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel, processes: Vec<Process<'k>>) -> Result<Self, LayoutError> {
        let search = Search { found: FxHashMap::default(), unasked: processes.into_iter() };
        Ok(Self { sections: Sections::of(kernel)?, search: Mutex::new(search) })
    }
    /// The images called ntdll.dll in a process, by the kernel's own account: one, or two on the 64-bit side of a 32-bit process.
    pub fn ntdlls(&self, memory: &AddressSpace<'k>, kernel_space: &Space<'k>, files: &mut Files<'k>) -> Vec<Ntdll> {
        let mut out = Vec::new();
        for vad in memory.tree.vads.iter().filter(|v| v.is_image()) {
            let Ok(Ok(name)) = self.sections.file_of(kernel_space, vad).and_then(|f| files.read(f)).map(|f| f.name)
            else {
                continue;
            };
            let Some((folder, file)) = name.rsplit_once('\\') else { continue };
            if !file.eq_ignore_ascii_case("ntdll.dll") {
                continue;
            }
            // By its header; where that is not in memory, by the folder of a 64-bit Windows' 32-bit files.
            let narrow = match Image::read(&memory.space, vad.start) {
                Ok(image) => !image.wide,
                Err(_) => memory.space.pointer_size() == 4 || folder.to_ascii_lowercase().ends_with("\\syswow64"),
            };
            out.push(Ntdll { base: vad.start, narrow });
        }
        out
    }
    /// Where the ring of an ntdll lies: the first process that has its code in memory tells.
    fn ring(&self, ntdll: Va, kernel_space: &Space<'k>, files: &mut Files<'k>) -> Value<Va> {
        let mut search = self.search.lock().unwrap_or_else(PoisonError::into_inner);
        let Search { found, unasked } = &mut *search;
        loop {
            if let Some(Ok(ring)) = found.get(&ntdll) {
                return Ok(*ring);
            }
            let Some(process) = unasked.next() else {
                return found.get(&ntdll).copied().unwrap_or(Err(Absent::NotRecorded));
            };
            let Ok(memory) = AddressSpace::of(&process, kernel_space) else { continue };
            for other in self.ntdlls(&memory, kernel_space, files) {
                if !matches!(found.get(&other.base), Some(Ok(_))) {
                    found.insert(other.base, ring(&memory.space, other));
                }
            }
        }
    }
    /// The last DLLs a process unloaded, by one of its ntdlls, oldest first.
    ///
    /// # Errors
    /// Why the ring cannot be found or read.
    pub fn unloaded(
        &self,
        user: &Space<'_>,
        ntdll: Ntdll,
        kernel_space: &Space<'k>,
        files: &mut Files<'k>,
    ) -> Value<(Vec<Unloaded>, Option<Note>)> {
        read(user, self.ring(ntdll.base, kernel_space, files)?, ntdll.narrow)
    }
}

/// Where the ring lies, out of the code that returns its address.
fn ring(user: &Space<'_>, ntdll: Ntdll) -> Value<Va> {
    let image = Image::read(user, ntdll.base)?;
    let exports = Exports::read(user, &image)?;
    let missing = if exports.unread > 0 { Absent::NotMapped } else { Absent::NotInBuild };
    let function = exports.get(ntdll.base, FUNCTION).ok_or(missing)?;
    let code = user.fetch(function, 16);
    let found = returned(code.prefix(), function).ok_or_else(|| match code.all() {
        Ok(_) => Absent::Implausible,
        Err(why) => why,
    })?;
    // It is a variable of ntdll.
    let end = ntdll.base.add(image.size.into());
    if (ntdll.base..end).contains(&found) { Ok(found) } else { Err(Absent::Implausible) }
}

/// The address that a function of two instructions returns: `lea rax, [rip+distance]` or `mov eax, address`, and `ret`.
fn returned(mut code: &[u8], mut at: Va) -> Option<Va> {
    // What compilers put in front: endbr64, mov edi, edi.
    for filler in [&[0xf3, 0x0f, 0x1e, 0xfa][..], &[0x8b, 0xff]] {
        if let Some(rest) = code.strip_prefix(filler) {
            code = rest;
            at = at.add(filler.len() as u64);
        }
    }
    let value = |at: usize| Some(u32::from_le_bytes(code.get(at..at.checked_add(4)?)?.try_into().ok()?));
    match code {
        [0x48, 0x8d, 0x05, _, _, _, _, 0xc3, ..] => {
            let distance = value(3)?.cast_signed();
            Some(Va(at.add(7).0.wrapping_add_signed(distance.into())))
        }
        [0xb8, _, _, _, _, 0xc3, ..] => Some(Va(value(1)?.into())),
        _ => None,
    }
}

/// Offsets in an entry, for either width of pointer: sequence, time stamp, check sum and name follow two pointers.
const fn sizes(narrow: bool) -> (u32, [u32; 2]) {
    // Base and size; then 3 words and 64 bytes of name; then maybe two words; rounded up to a pointer.
    if narrow { (8, [84, 92]) } else { (16, [96, 104]) }
}

/// A part of an entry.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// Where the DLL lay.
    Base,
    /// Bytes.
    Size,
    /// Number of the event.
    Sequence,
    /// `TimeDateStamp`.
    TimeStamp,
    /// `CheckSum`.
    CheckSum,
    /// File name.
    Name,
}

impl Part {
    /// Its offset in an entry, of either width of pointer.
    #[must_use]
    pub fn offset(self, narrow: bool) -> u64 {
        let head = u64::from(sizes(narrow).0);
        match self {
            Self::Base => 0,
            Self::Size => head / 2,
            Self::Sequence => head,
            Self::TimeStamp => head.saturating_add(4),
            Self::CheckSum => head.saturating_add(8),
            Self::Name => head.saturating_add(12),
        }
    }
}

fn read(user: &Space<'_>, ring: Va, narrow: bool) -> Value<(Vec<Unloaded>, Option<Note>)> {
    let (head, strides) = sizes(narrow);
    let longest = strides.into_iter().max().unwrap_or(0);
    let bytes = user.fetch(ring, longest.saturating_mul(ENTRIES));
    bytes.at(0, head)?;
    let by = strides.map(|stride| entries(&bytes, head, stride));
    // With the wrong distance the second entry is no entry. Where one fits both, they say the same.
    let [short, long] = by;
    let (mut list, rest) = if long.0.len() > short.0.len() { long } else { short };
    list.sort_by_key(|e| e.sequence);
    let note = rest.map(|(slot, why)| match why {
        Absent::Implausible => {
            Note::info(format!("the ring of unloaded DLLs at {ring} holds none from slot {slot} on"))
        }
        why => Note::loss(format!("the ring of unloaded DLLs at {ring} is {why} from slot {slot} on")),
    });
    Ok((list, note))
}

/// The entries in use at this distance, and the slot from which on they are none.
fn entries(bytes: &Bytes<'_>, head: u32, stride: u32) -> (Vec<Unloaded>, Option<(u32, Absent)>) {
    let mut list = Vec::new();
    for slot in 0..ENTRIES {
        match entry(bytes, slot.saturating_mul(stride), head) {
            Ok(Some(entry)) => list.push(entry),
            Ok(None) => {}
            Err(why) => return (list, Some((slot, why))),
        }
    }
    (list, None)
}

/// The entry at an offset; `None` where nothing was put yet.
fn entry(bytes: &Bytes<'_>, at: u32, head: u32) -> Value<Option<Unloaded>> {
    let after = |n: u32| at.saturating_add(head).saturating_add(n);
    let word = |n: u32| u32_at(bytes.at(after(n), 4)?, 0).ok_or(Absent::Implausible);
    let pointer = |n: u32| le(bytes.at(at.saturating_add(n), head / 2)?).ok_or(Absent::Implausible);
    let (base, size) = (pointer(0)?, pointer(head / 2)?);
    if base == 0 && size == 0 {
        return Ok(None);
    }
    let raw = bytes.at(after(12), NAME.saturating_mul(2))?;
    let units = raw.chunks_exact(2).filter_map(|c| u16_at(c, 0)).take_while(|u| *u != 0);
    let name: Result<String, _> = char::decode_utf16(units).collect();
    let name = name.ok().filter(|n| !n.is_empty() && !n.contains(char::is_control)).ok_or(Absent::Implausible)?;
    let whole = |n: u64| n != 0 && n.is_multiple_of(PAGE_SIZE);
    if !whole(base) || !whole(size) || size > u32::MAX.into() {
        return Err(Absent::Implausible);
    }
    Ok(Some(Unloaded {
        base: Va(base),
        size,
        sequence: word(0)?,
        timestamp: word(4)?,
        checksum: word(8)?,
        name,
        place: bytes.place(at),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_a_function_returns() {
        let lea = [0x48, 0x8d, 0x05, 0xf9, 0x0f, 0, 0, 0xc3, 0xcc];
        assert_eq!(returned(&lea, Va(0x1000)), Some(Va(0x2000)));
        let back = [0x48, 0x8d, 0x05, 0xf9, 0xff, 0xff, 0xff, 0xc3];
        assert_eq!(returned(&back, Va(0x7ff0_0000_0000)), Some(Va(0x7ff0_0000_0000)));
        let marked = [&[0xf3, 0x0f, 0x1e, 0xfa][..], &lea].concat();
        assert_eq!(returned(&marked, Va(0xffc)), Some(Va(0x2000)));
        let narrow = [0x8b, 0xff, 0xb8, 0x40, 0x30, 0x20, 0x77, 0xc3];
        assert_eq!(returned(&narrow, Va(0x7710_0000)), Some(Va(0x7720_3040)));
        // Code that does more, or was patched, is not believed.
        assert_eq!(returned(&[0xe9, 0, 0, 0, 0, 0xc3], Va(0)), None);
        assert_eq!(returned(&lea[..7], Va(0)), None);
    }
}
