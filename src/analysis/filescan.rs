//! `filescan`, `mutantscan`, `symlinkscan`: named objects found in physical memory.

use super::{Analysis, Answers, Ask, Case, Subject, scans};
use crate::error::Result;
use crate::kernel::file_object::Files;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::layout;
use crate::report::{Cell, Column, Kind, Row, Sink, col};
use crate::symbols::layout::{Bits, Counted};
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

const FILE_COLUMNS: [Column; 6] = [
    col("offset", Kind::Hex, "Address of the _FILE_OBJECT"),
    scans::PHYSICAL,
    scans::FOUND_BY,
    col("device", Kind::Text, "Device it lies on"),
    col("path", Kind::Text, "Path on the device, as it was opened"),
    col("delete_pending", Kind::Bool, "Delete on close is pending"),
];
const MUTANT_COLUMNS: [Column; 6] = [
    col("offset", Kind::Hex, "Address of the _KMUTANT"),
    scans::PHYSICAL,
    scans::FOUND_BY,
    col("object_name", Kind::Text, "Name; none of an unnamed mutant"),
    col("owner", Kind::Hex, "Address of the thread that holds it; none while it is free"),
    col("abandoned", Kind::Bool, "Whether its owner ended without releasing it"),
];
const LINK_COLUMNS: [Column; 6] = [
    col("offset", Kind::Hex, "Address of the _OBJECT_SYMBOLIC_LINK"),
    scans::PHYSICAL,
    scans::FOUND_BY,
    col("object_name", Kind::Text, "Its own name"),
    col("target", Kind::Text, "What it stands for"),
    col("create_time", Kind::Time, "When it was made"),
];

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
    let mut files = Files::of(kernel).map_err(|e| kernel.unreadable(&e))?;
    for f in &found {
        let Some(file) = f.va.and_then(|va| files.read(va).ok()) else { continue };
        let [physical, by] = scans::cells(f);
        let cells: [Cell; FILE_COLUMNS.len()] =
            [file.object.into(), physical, by, file.device.into(), named(file.name), file.delete_pending.into()];
        sink.row(Row::new(cells.into()).at(file.place))?;
    }
    Ok(())
}

fn named(name: Value<Text>) -> Cell {
    name.and_then(|n| if n.is_empty() { Err(Absent::NotApplicable) } else { Ok(n) }).into()
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
        let owner = mutant.owner().and_then(|va| if va.is_null() { Err(Absent::NotApplicable) } else { Ok(va) });
        let [physical, by] = scans::cells(f);
        let cells: [Cell; MUTANT_COLUMNS.len()] = [
            va.into(),
            physical,
            by,
            names.object_name(va).into(),
            owner.into(),
            mutant.abandoned().map(|a| a != 0).into(),
        ];
        sink.row(Row::new(cells.into()).at(mutant.place()))?;
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
        let Ok(target) = link.target().and_then(|t| space.text(t)) else { continue };
        let [physical, by] = scans::cells(f);
        let cells: [Cell; LINK_COLUMNS.len()] =
            [va.into(), physical, by, names.object_name(va).into(), target.into(), link.created().into()];
        sink.row(Row::new(cells.into()).at(link.place()))?;
    }
    Ok(())
}
