//! `filescan`, `mutantscan`, `symlinkscan`: named objects found in physical memory.

use super::scans::{self, Scans};
use super::{Analysis, Answers, Ask, Case, Subject};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::file_object::{File, FileLayout, Files};
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::layout;
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed};
use crate::symbols::layout::{Bits, Counted, View};
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// The register's entry.
pub static FILESCAN: Analysis = Analysis {
    name: "filescan",
    about: "File objects found in physical memory",
    help: "Finds file objects by their pool tag: files that processes have open, and files that were open a moment ago. Files the \
           system opened without a name (streams, pipes' ends) have none.\n\nExample: dumpwalk filescan memory.dmp --format csv",
    columns: &FILE_COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run_files),
};
/// The register's entry.
pub static MUTANTSCAN: Analysis = Analysis {
    name: "mutantscan",
    about: "Mutants (mutexes) found in physical memory",
    help: "Finds mutants by their pool tag. Named ones are how malware tells whether it already runs; an owner is the thread that holds \
           it.\n\nExample: dumpwalk mutantscan memory.dmp",
    columns: &MUTANT_COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run_mutants),
};
/// The register's entry.
pub static SYMLINKSCAN: Analysis = Analysis {
    name: "symlinkscan",
    about: "Symbolic links of the object manager found in physical memory",
    help: "Finds symbolic links by their pool tag: drive letters, device names and what they stand for, with the time each was made.\n\n\
           Example: dumpwalk symlinkscan memory.dmp",
    columns: &LINK_COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run_links),
};

/// A file object that the scan met.
struct FileHits;
struct FileHit<'a> {
    found: &'a Found,
    space: &'a Space<'a>,
    kernel: &'a Kernel,
    file: &'a File,
}
impl crate::report::Subject for FileHits {
    type Of<'a> = FileHit<'a>;
}
impl Scans for FileHits {
    fn found<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Found {
        of.found
    }
}

const FILE_FIELDS: &[Field<FileHits>] = &[
    scans::address(col("offset", Kind::Hex, "Address of the _FILE_OBJECT")),
    scans::physical(),
    scans::found_by(),
    derived(
        col("device", Kind::Text, "Device it lies on"),
        "the device object's own name behind its directory's",
        |c| c.file.device.clone().into(),
    ),
    placed(
        col("path", Kind::Text, "Path on the device, as it was opened"),
        |c| named(&c.file.name),
        |c| c.space.place_of(&c.file.name),
    ),
    placed(
        col("delete_pending", Kind::Bool, "Delete on close is pending"),
        |c| c.file.delete_pending.into(),
        |c| c.kernel.place_in(c.space, c.file.object, FileLayout::delete_pending),
    ),
];
const FILE_COLUMNS: [Column; FILE_FIELDS.len()] = headers(FILE_FIELDS);
/// A mutant that the scan met.
struct MutantHits;
struct MutantHit<'a> {
    found: &'a Found,
    space: &'a Space<'a>,
    mutant: View<'a, Mutant>,
    name: Value<Text>,
}
impl crate::report::Subject for MutantHits {
    type Of<'a> = MutantHit<'a>;
}
impl Scans for MutantHits {
    fn found<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Found {
        of.found
    }
}

const MUTANT_FIELDS: &[Field<MutantHits>] = &[
    scans::address(col("offset", Kind::Hex, "Address of the _KMUTANT")),
    scans::physical(),
    scans::found_by(),
    placed(
        col("object_name", Kind::Text, "Name; none of an unnamed mutant"),
        |c| c.name.clone().into(),
        |c| c.space.place_of(&c.name),
    ),
    placed(
        col("owner", Kind::Hex, "Address of the thread that holds it; none while it is free"),
        |c| c.mutant.owner().and_then(Va::not_null).into(),
        |c| c.mutant.at(Mutant::owner),
    ),
    placed(
        col("abandoned", Kind::Bool, "Whether its owner ended without releasing it"),
        |c| c.mutant.abandoned().map(|a| a != 0).into(),
        |c| c.mutant.at(Mutant::abandoned),
    ),
];
const MUTANT_COLUMNS: [Column; MUTANT_FIELDS.len()] = headers(MUTANT_FIELDS);
/// A symbolic link that the scan met.
struct LinkHits;
struct LinkHit<'a> {
    found: &'a Found,
    space: &'a Space<'a>,
    link: View<'a, SymbolicLink>,
    name: Value<Text>,
    target: Value<Text>,
}
impl crate::report::Subject for LinkHits {
    type Of<'a> = LinkHit<'a>;
}
impl Scans for LinkHits {
    fn found<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Found {
        of.found
    }
}

const LINK_FIELDS: &[Field<LinkHits>] = &[
    scans::address(col("offset", Kind::Hex, "Address of the _OBJECT_SYMBOLIC_LINK")),
    scans::physical(),
    scans::found_by(),
    placed(col("object_name", Kind::Text, "Its own name"), |c| c.name.clone().into(), |c| c.space.place_of(&c.name)),
    placed(
        col("target", Kind::Text, "What it stands for"),
        |c| c.target.clone().into(),
        |c| c.space.place_of(&c.target),
    ),
    placed(
        col("create_time", Kind::Time, "When it was made"),
        |c| c.link.created().into(),
        |c| c.link.at(SymbolicLink::created),
    ),
];
const LINK_COLUMNS: [Column; LINK_FIELDS.len()] = headers(LINK_FIELDS);

layout! {
    /// `_KMUTANT`.
    pub struct Mutant: "_KMUTANT" {
        /// `Header.Type`: 2 (MutantObject in `_KOBJECTS`).
        kind: u8 = "Header.Type",
        /// `OwnerThread`.
        owner: crate::addr::Va = "OwnerThread",
        /// `Abandoned`.
        abandoned: Bits = "Abandoned",
    }
}
layout! {
    /// `_OBJECT_SYMBOLIC_LINK`.
    pub struct SymbolicLink: "_OBJECT_SYMBOLIC_LINK" {
        /// `CreationTime`.
        created: FileTime = "CreationTime",
        /// `LinkTarget`.
        target: Counted = "LinkTarget",
    }
}
/// `_KOBJECTS`: MutantObject.
const MUTANT_OBJECT: u8 = 2;

fn run_files(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::File)?;
    let (space, mut files) = (kernel.space(), Files::of(kernel).map_err(|e| kernel.unreadable(&e))?);
    for f in &found {
        let Some(file) = f.va.and_then(|va| files.read(va).ok()) else { continue };
        let of = FileHit { found: f, space: &space, kernel, file: &file };
        sink.row(Row::of(FILE_FIELDS, &of, &ask.rows).at(file.place))?;
    }
    Ok(())
}

fn named(name: &Value<Text>) -> Cell {
    name.clone().and_then(|n| if n.is_empty() { Err(Absent::NotApplicable) } else { Ok(n) }).into()
}

fn run_mutants(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::Mutant)?;
    let layout = kernel.layout::<Mutant>().map_err(|e| kernel.unreadable(&e))?;
    let (space, names) = (kernel.space(), Files::of(kernel).map_err(|e| kernel.unreadable(&e))?);
    for f in &found {
        let Some(va) = f.va else { continue };
        let mutant = space.view(layout, va);
        if mutant.kind() != Ok(MUTANT_OBJECT) {
            continue;
        }
        let place = mutant.place();
        let of = MutantHit { found: f, space: &space, mutant, name: names.object_name(va) };
        sink.row(Row::of(MUTANT_FIELDS, &of, &ask.rows).at(place))?;
    }
    Ok(())
}

fn run_links(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::SymbolicLink)?;
    let layout = kernel.layout::<SymbolicLink>().map_err(|e| kernel.unreadable(&e))?;
    let (space, names) = (kernel.space(), Files::of(kernel).map_err(|e| kernel.unreadable(&e))?);
    for f in &found {
        let Some(va) = f.va else { continue };
        let link = space.view(layout, va);
        let target = link.target().and_then(|t| space.text(t));
        if target.is_err() {
            continue;
        }
        let place = link.place();
        let of = LinkHit { found: f, space: &space, link, name: names.object_name(va), target };
        sink.row(Row::of(LINK_FIELDS, &of, &ask.rows).at(place))?;
    }
    Ok(())
}
