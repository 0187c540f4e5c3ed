//! The kernel by the loader's list of modules: what tells where it lies when its own header page is missing (not in the
//! dump, paged out, wiped on purpose). Its debug record is then looked for in the image.

use super::image::{EXPORT_NAMES, Found, LARGEST, is_kernel_pdb};
use super::roots;
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::le;
use crate::kernel::pe;
use crate::paging::Space;
use crate::symbols::PdbId;

/// Offsets in the loader's entry of a module (`_LDR_DATA_TABLE_ENTRY`, in the newer tables also `_KLDR_DATA_TABLE_ENTRY`),
/// the same in all 22 tables, XP to Windows 11 24H2: `InLoadOrderLinks` 0, and by width of a pointer these.
struct Offsets {
    base: u64,
    size: u64,
    /// `BaseDllName`, a `_UNICODE_STRING`.
    name: u64,
    /// `_UNICODE_STRING.Buffer`.
    buffer: u64,
}

const fn offsets(width: u32) -> Offsets {
    if width == 4 {
        Offsets { base: 0x18, size: 0x20, name: 0x2c, buffer: 4 }
    } else {
        Offsets { base: 0x30, size: 0x40, name: 0x58, buffer: 8 }
    }
}

/// The kernel that a list of modules begins with.
///
/// # Errors
/// What is there instead.
pub(super) fn first(space: &Space<'_>, list: Va) -> Result<Found, String> {
    let width = space.pointer_size();
    let o = offsets(width);
    let gone = |what: &'static str| move |why| format!("{what} of the module list {list} is {why}");
    let entry = space.pointer(list).map_err(gone("the head"))?;
    let back = space.pointer(entry.add(width.into())).map_err(gone("the first entry"))?;
    if back != list || entry == list {
        return Err(format!("{list} is no list of modules: the first entry's link does not lead back"));
    }
    let base = space.pointer(entry.add(o.base)).map_err(gone("the first base"))?;
    let size = space.number(entry.add(o.size), 4).map_err(gone("the first size"))?;
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    if base.offset_in_page() != 0 || !(0x10_0000..=LARGEST).contains(&size) {
        return Err(format!("the module list {list} begins with {size:#x} bytes at {base}"));
    }
    let name = text(space, entry.add(o.name), o.buffer).ok_or(format!("the first module of {list} has no name"))?;
    if !EXPORT_NAMES.iter().any(|k| k.eq_ignore_ascii_case(&name)) {
        return Err(format!("the module list {list} begins with {name:?}"));
    }
    let pdb = record(space, base, size);
    let told_by = match &pdb {
        Some(id) => format!("the module list {list} begins with {name}, and a debug record in it names {}", id.name),
        None => format!("the module list {list} begins with {name}"),
    };
    Ok(Found { base, size, image: None, pdb, told_by, named: true, list: Some(list) })
}

/// A short `_UNICODE_STRING`.
fn text(space: &Space<'_>, at: Va, buffer: u64) -> Option<String> {
    let length = space.number(at, 2).ok().filter(|n| (2..=64).contains(n) && n.is_multiple_of(2))?;
    let units = space.fetch(space.pointer(at.add(buffer)).ok()?, u32::try_from(length).ok()?);
    let units: Option<Vec<u16>> = units.all().ok()?.chunks_exact(2).map(|c| Some(le(c)? as u16)).collect();
    String::from_utf16(&units?).ok()
}

/// How far around an address in the image its module list is looked for: both lie in the kernel's writable sections.
const AROUND: u64 = 32 << 20;

/// Looks for the module list around an address inside the kernel image. Nothing is taken but a list whose first entry is
/// an image of a kernel's name that holds both the address and the list.
///
/// # Errors
/// What was seen.
pub(super) fn search(space: &Space<'_>, inside: Va) -> Result<Found, String> {
    let width = space.pointer_size();
    let kernel_half = if width == 4 { 0x8000_0000 } else { 0xffff_8000_0000_0000 };
    let from = Va(inside.page().0.saturating_sub(AROUND).max(kernel_half));
    let last = Va(inside.page().0.saturating_add(AROUND));
    let (mut pages, mut words) = (0u64, 0u64);
    // No more regions than pages, so that tables that name themselves end.
    for region in space.regions(from, last).take((2 * AROUND / PAGE_SIZE) as usize) {
        if region.found.is_err() {
            continue;
        }
        for i in 0..region.size.div_ceil(PAGE_SIZE).min(2 * AROUND / PAGE_SIZE) {
            let page = region.va.page().add(i.wrapping_mul(PAGE_SIZE));
            let Ok(bytes) = space.slice(page, PAGE_SIZE as u32) else { continue };
            pages = pages.saturating_add(1);
            let mut at = page;
            for raw in bytes.chunks_exact(width as usize) {
                let here = at;
                at = at.add(width.into());
                let Some(next) = le(raw).filter(|n| *n > kernel_half && n.is_multiple_of(width.into())) else {
                    continue;
                };
                if next == here.0 || space.pointer(Va(next).add(width.into())) != Ok(here) {
                    continue;
                }
                words = words.saturating_add(1);
                if let Ok(found) = first(space, here)
                    && holds(&found, inside)
                    && holds(&found, here)
                {
                    return Ok(found);
                }
            }
        }
    }
    Err(format!("no module list within {} MiB of {inside} ({pages} pages, {words} heads of lists)", AROUND >> 20))
}

fn holds(found: &Found, at: Va) -> bool {
    at >= found.base && at.0.wrapping_sub(found.base.0) < u64::from(found.size)
}

/// A CodeView record of a kernel in an image whose headers do not say where it is.
pub(super) fn record(space: &Space<'_>, base: Va, size: u32) -> Option<PdbId> {
    (0..u64::from(size).div_ceil(PAGE_SIZE)).find_map(|i| {
        let page = base.add(i.wrapping_mul(PAGE_SIZE));
        let at = roots::record(space.slice(page, PAGE_SIZE as u32).ok()?)?;
        let id = pe::code_view(&space.fetch(page.add(at), RECORD)).ok()?;
        is_kernel_pdb(&id.name).then_some(id)
    })
}

/// "RSDS", GUID, age and a file name.
const RECORD: u32 = 24 + 260;
