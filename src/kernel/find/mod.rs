//! From a dump to its kernel: a page-table root that translates, the image and where it lies, its symbols.
//!
//! There are several roads; each says what it saw. A road that ends gives a [`Candidate`]; what follows is the same for all:
//! the image names its PDB, the symbols are fetched, and the kernel is put together.

mod header;

use super::Kernel;
use super::image::Image;
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::dump::{Arch, Dump};
use crate::paging::pte::Format;
use crate::paging::{Mode, Space};
use crate::symbols::resolved::Resolved;
use crate::symbols::{Fallback, Machine, PdbId, SymbolSource, Symbols};
use crate::value::Note;
use std::sync::Arc;

/// What a road leads to.
#[derive(Clone, Debug)]
struct Candidate {
    mode: Mode,
    root: Pa,
    image: Image,
    pdb: Option<PdbId>,
}

/// Which road led to the kernel, and what was seen on the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Road {
    /// The road taken, in words.
    pub taken: String,
    /// How sure it is: what was checked.
    pub checks: Vec<String>,
    /// The roads that led nowhere, and what each saw.
    pub failed: Vec<String>,
}

/// Finds the kernel of a dump and loads its symbols.
///
/// # Errors
/// No road led to a kernel, or there are no symbols for it: the text says what each road saw and what to do.
pub fn find(dump: &Arc<Dump>, source: &dyn SymbolSource) -> Result<Kernel, String> {
    let mut road = Road::default();
    match header::follow(dump, &mut road) {
        Ok(candidate) => build(dump, candidate, road, source),
        Err(why) => {
            road.failed.push(why);
            Err(road.failed.join("; "))
        }
    }
}

/// Symbols for what was found, and the kernel.
fn build(dump: &Arc<Dump>, found: Candidate, road: Road, source: &dyn SymbolSource) -> Result<Kernel, String> {
    let arch = dump.arch.unwrap_or(match found.mode {
        Mode::X86 | Mode::Pae => Arch::X86,
        Mode::Arm64 => Arch::Arm64,
        Mode::X64 | Mode::La57 | Mode::Blocks => Arch::X64,
    });
    let build = dump.header.as_ref().map(|h| h.build).filter(|b| *b != 0);
    let mut notes = Vec::new();
    let symbols = match &found.pdb {
        Some(id) => source.load(id).map_err(|e| e.to_string())?,
        None => fallback(arch, build, source, &mut notes)?,
    };
    notes.extend(symbols.notes.iter().cloned());
    Ok(Kernel {
        dump: Arc::clone(dump),
        arch,
        mode: found.mode,
        root: found.root,
        base: found.image.base,
        size: Some(found.image.size),
        build,
        pdb: found.pdb,
        road,
        format: Format::resolve(found.mode, &symbols.types),
        symbols,
        notes,
        resolved: Resolved::default(),
    })
}

fn fallback(
    arch: Arch,
    build: Option<u32>,
    source: &dyn SymbolSource,
    notes: &mut Vec<Note>,
) -> Result<Symbols, String> {
    let machine = match arch {
        Arch::X86 => Machine::X86,
        Arch::X64 => Machine::X64,
        Arch::Arm64 => Machine::Arm64,
    };
    let nearest = source.fallbacks(&Fallback { machine, build, revision: None }).next();
    let symbols = nearest.ok_or("the kernel image names no PDB, and no built-in table is near its build")?;
    notes.push(Note::info(format!("the kernel image names no PDB: layouts are those of {}", symbols.origin)));
    Ok(symbols)
}

/// Names a kernel's PDB can have.
const KERNELS: [&str; 4] = ["ntkrnlmp", "ntkrnlpa", "ntkrpamp", "ntoskrnl"];

/// The kernel image at or below an address inside it: pages are tried downwards, up to 64 MiB.
/// An unreadable page does not end the search: with virtualisation-based security there is a hole behind the header page.
fn image_below(space: &Space<'_>, inside: Va) -> Option<(Image, Option<PdbId>)> {
    const PAGES: u64 = (64 << 20) / PAGE_SIZE;
    for i in 0..PAGES {
        let at = inside.page().sub(i.wrapping_mul(PAGE_SIZE));
        if !space.fetch(at, 2).all().is_ok_and(|b| b == b"MZ") {
            continue;
        }
        let Ok(image) = Image::read(space, at) else { continue };
        // The image must hold the address it was found from: a driver below the kernel does not.
        if u64::from(image.size) <= inside.0.wrapping_sub(at.0) {
            continue;
        }
        let pdb = image.pdb(space).ok();
        let named = pdb.as_ref().is_some_and(|p| KERNELS.iter().any(|k| p.name.to_ascii_lowercase().starts_with(k)));
        let coded = image.sections.iter().any(|s| s.name == "POOLCODE");
        if named || coded {
            return Some((image, pdb));
        }
    }
    None
}
