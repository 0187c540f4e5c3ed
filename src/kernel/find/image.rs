//! The kernel image in an address space: below an address that must lie in it, or wherever the page tables map one.

use super::shared_page::arch;
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::dump::Arch;
use crate::kernel::image::Image;
use crate::kernel::pe::Exports;
use crate::paging::{Mode, Space};
use crate::symbols::{KERNEL_PDBS, PdbId};
use rustc_hash::FxHashSet;

/// A kernel image, and what tells that it is one.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub base: Va,
    /// Bytes.
    pub size: u32,
    /// Its headers, where they are in the dump.
    pub image: Option<Image>,
    pub pdb: Option<PdbId>,
    /// In words.
    pub told_by: String,
    /// Whether its own name says so, and not only its sections.
    pub named: bool,
    /// The module list that told of it, where one did.
    pub list: Option<Va>,
}

impl Found {
    fn by_headers(image: Image, pdb: Option<PdbId>, told_by: String, named: bool) -> Self {
        Self { base: image.base, size: image.size, image: Some(image), pdb, told_by, named, list: None }
    }
}

/// Names it exports under.
pub(super) const EXPORT_NAMES: [&str; 4] = ["ntoskrnl.exe", "ntkrnlpa.exe", "ntkrnlmp.exe", "ntkrpamp.exe"];
/// How large a kernel image may be. Those of Windows 11 have 18 MiB; nothing stops them from growing.
pub(super) const LARGEST: u32 = 256 << 20;
/// How far below an address inside it the image is looked for.
const REACH: u64 = LARGEST as u64;

pub(super) fn is_kernel_pdb(name: &str) -> bool {
    KERNEL_PDBS.iter().any(|k| k.eq_ignore_ascii_case(name))
}

/// What lies at `base`, if it is a kernel.
///
/// # Errors
/// Why it is none, in words; empty where there is no image at all.
pub(super) fn identify(space: &Space<'_>, base: Va) -> Result<Found, String> {
    if space.number(base, 2) != Ok(0x5a4d) {
        return Err(String::new());
    }
    let image = Image::read(space, base).map_err(|_| String::new())?;
    let machine = match arch(space.mode()) {
        Arch::X86 => 0x14c,
        Arch::X64 => 0x8664,
        Arch::Arm64 => 0xaa64,
    };
    if image.machine != machine || image.size < 0x10_0000 || image.size > LARGEST {
        return Err(String::new());
    }
    let pdb = image.pdb(space);
    if let Ok(id) = &pdb {
        if is_kernel_pdb(&id.name) {
            let told_by = format!("its debug record names {}", id.name);
            return Ok(Found::by_headers(image, pdb.ok(), told_by, true));
        }
        return Err(format!("the image at {base} has the PDB {}", id.name));
    }
    let exported = Exports::read(space, &image).ok().and_then(|e| e.name);
    if let Some(name) = exported.as_deref() {
        if EXPORT_NAMES.iter().any(|k| k.eq_ignore_ascii_case(name)) {
            let told_by = format!("it exports as {name}");
            return Ok(Found::by_headers(image, None, told_by, true));
        }
        return Err(format!("the image at {base} exports as {name}"));
    }
    if is_kernel_by_sections(&image) {
        let told_by = "its sections are a kernel's (PAGEKD, POOLCODE); its names are not in the dump".to_owned();
        return Ok(Found::by_headers(image, None, told_by, false));
    }
    Err(format!("the image at {base} tells no name"))
}

/// Sections that the kernel has and no driver: from XP on `POOLCODE` or `PAGEKD` with `PAGELK`.
fn is_kernel_by_sections(image: &Image) -> bool {
    let has = |name: &str| image.sections.iter().any(|s| s.name == name);
    has("POOLCODE") || has("PAGEKD") && has("PAGELK")
}

/// The kernel image around an address inside it. Pages are tried downwards; an unreadable one does not end the search:
/// with virtualisation-based security there is a hole behind the header page.
///
/// # Errors
/// What was met on the way.
pub(super) fn around(space: &Space<'_>, inside: Va) -> Result<Found, String> {
    let mut met = Vec::new();
    for i in 0..REACH / PAGE_SIZE {
        let at = inside.page().sub(i.wrapping_mul(PAGE_SIZE));
        if at > inside {
            break;
        }
        match identify(space, at) {
            // The image must hold the address it was found from.
            Ok(found) if u64::from(found.size) > inside.0.wrapping_sub(at.0) => return Ok(found),
            Ok(found) => met.push(format!("the kernel image at {at} ends at {}", at.add(found.size.into()))),
            Err(why) if why.is_empty() => {}
            Err(why) => met.push(why),
        }
        if met.len() >= 8 {
            met.push("and more".into());
            break;
        }
    }
    let met = if met.is_empty() { String::new() } else { format!(" ({})", met.join("; ")) };
    Err(format!("no kernel image within {} MiB below {inside}{met}", REACH >> 20))
}

/// Where the loader puts the kernel and its first drivers.
fn window(mode: Mode) -> (Va, Va) {
    match mode {
        // All x64 and ARM64 kernels seen lie here, from Windows 7 to 11 24H2; MmSystemRangeStart is far below.
        Mode::X64 | Mode::La57 | Mode::Arm64 | Mode::Blocks => (Va(0xffff_f800_0000_0000), Va(0xffff_f87f_ffff_ffff)),
        Mode::X86 | Mode::Pae => (Va(0x8000_0000), Va(0xffff_ffff)),
    }
}
/// All of the kernel's half.
fn half(mode: Mode) -> (Va, Va) {
    match mode {
        Mode::La57 => (Va(0xff00_0000_0000_0000), Va(u64::MAX)),
        Mode::X64 | Mode::Arm64 | Mode::Blocks => (Va(0xffff_8000_0000_0000), Va(u64::MAX)),
        Mode::X86 | Mode::Pae => (Va(0x8000_0000), Va(0xffff_ffff)),
    }
}

/// Entries looked at, so that page tables that name themselves end: 16 million small pages map 64 GiB.
const MOST_ENTRIES: usize = 1 << 24;

/// Pages looked at for a kernel: 8 GiB. A single entry can map a gigabyte, and tables can name themselves.
const MOST_PAGES: u64 = 1 << 21;

/// Any kernel image that the page tables map where kernels are loaded.
///
/// # Errors
/// What was met.
pub(super) fn mapped(space: &Space<'_>) -> Result<Found, String> {
    let (from, last) = window(space.mode());
    let (mut pages, mut images) = (0u64, 0u64);
    let mut unnamed = None;
    for region in space.regions(from, last).take(MOST_ENTRIES) {
        if region.found.is_err() {
            continue;
        }
        for i in 0..region.size.div_ceil(PAGE_SIZE) {
            if pages >= MOST_PAGES {
                return unnamed.ok_or_else(|| {
                    format!("of what is mapped between {from} and {last} the first {pages} pages, {images} images, none a kernel")
                });
            }
            pages = pages.saturating_add(1);
            match identify(space, region.va.page().add(i.wrapping_mul(PAGE_SIZE))) {
                Ok(found) if found.named => return Ok(found),
                Ok(found) => unnamed = unnamed.or(Some(found)),
                Err(why) => images = images.saturating_add(u64::from(!why.is_empty())),
            }
        }
    }
    unnamed.ok_or_else(|| format!("{pages} pages mapped between {from} and {last}, {images} images, none a kernel"))
}

/// The mappings of these physical pages in the kernel's half, in order of address: a reverse lookup by the tables alone.
pub(super) fn mappings_of(space: &Space<'_>, pages: &FxHashSet<Pa>) -> impl Iterator<Item = Va> {
    let (from, last) = half(space.mode());
    space.regions(from, last).take(MOST_ENTRIES).filter_map(|region| {
        let pa = region.found.ok()?.pa;
        if region.size <= PAGE_SIZE {
            return pages.contains(&pa.page()).then(|| region.va.page());
        }
        let inside = pages.iter().find(|p| p.0.wrapping_sub(pa.0) < region.size)?;
        Some(region.va.add(inside.0.wrapping_sub(pa.0)))
    })
}
