//! `verinfo`: what the version resources of each process's modules say.

use super::dlllist::ModuleRows;
use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user_memory, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::image::{HeaderField, Image};
use crate::kernel::ldr::Module;
use crate::kernel::process::Process;
use crate::kernel::process_modules::{self, Loaded};
use crate::kernel::stamp::{Bounds, Stamp};
use crate::kernel::verinfo::{Number, Version};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::PdbId;
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// The register's entry.
pub static VERINFO: Analysis = Analysis {
    name: "verinfo",
    about: "Version information, headers and PDB identity of each process's modules",
    help: "One row for each module (as in dlllist), read from the image in memory as far as its pages are there. original_name is the name the \
           maker gave the file: another one than the file's tells of a renamed program.\n\nExample: dumpwalk verinfo memory.dmp --pid 1234",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|case, dump, ask, sink| user_memory::verinfo(&case.dump, *dump, ask, sink)),
};

/// A module of a process, as its image tells of it.
#[derive(Debug)]
pub struct Versions;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    module: &'a Loaded<'a>,
    base: Va,
    /// The file mapped there.
    mapped: Value<Text>,
    facts: Facts<'a>,
}
who::of_process!(Versions, Of);

impl Of<'_> {
    fn listed(&self, get: fn(&Module) -> Value<Text>) -> Value<Text> {
        self.module.listed.as_ref().map_or(Err(Absent::NotApplicable), get)
    }
    fn file_name(&self) -> Value<Text> {
        let last = |path: String| path.rsplit('\\').next().unwrap_or_default().to_owned();
        self.mapped.clone().map(|path| path.map(last))
    }
}

/// The columns.
pub const FIELDS: &[Field<Versions>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    derived(
        col("base", Kind::Hex, "First byte of the image"),
        "the loader's entry, or the address range of the image",
        |c| c.base.into(),
    ),
    derived(
        col("module_name", Kind::Text, "Name of the module, by the loader or the mapped file"),
        "the loader's BaseDllName, or the last part of the mapped file's name",
        |c| c.listed(|m| m.name.clone()).or(c.file_name()).into(),
    ),
    derived(col("company", Kind::Text, "CompanyName"), "the image's version resource", |c| {
        c.facts.string("CompanyName")
    }),
    derived(col("product", Kind::Text, "ProductName"), "the image's version resource", |c| {
        c.facts.string("ProductName")
    }),
    derived(col("original_name", Kind::Text, "OriginalFilename"), "the image's version resource", |c| {
        c.facts.string("OriginalFilename")
    }),
    derived(
        col("file_version", Kind::Text, "File version, by the four numbers of the fixed part"),
        "the image's version resource",
        |c| c.facts.number(|v| v.file),
    ),
    derived(
        wide("product_version", Kind::Text, "Product version, by the four numbers"),
        "the image's version resource",
        |c| c.facts.number(|v| v.product),
    ),
    derived(wide("file_version_text", Kind::Text, "FileVersion string"), "the image's version resource", |c| {
        c.facts.string("FileVersion")
    }),
    derived(wide("description", Kind::Text, "FileDescription"), "the image's version resource", |c| {
        c.facts.string("FileDescription")
    }),
    derived(wide("internal_name", Kind::Text, "InternalName"), "the image's version resource", |c| {
        c.facts.string("InternalName")
    }),
    derived(wide("copyright", Kind::Text, "LegalCopyright"), "the image's version resource", |c| {
        c.facts.string("LegalCopyright")
    }),
    derived(
        wide("strings", Kind::Nested, "All strings of the version resource"),
        "the image's version resource",
        |c| c.facts.strings(),
    ),
    placed(
        wide("machine", Kind::Text, "Processor, by the header"),
        |c| c.facts.header(|i| i.machine_name().into()),
        |c| c.facts.header_at(HeaderField::Machine),
    ),
    placed(
        wide("size", Kind::Hex, "SizeOfImage of the header"),
        |c| c.facts.header(|i| Cell::Hex(i.size.into())),
        |c| c.facts.header_at(HeaderField::Size),
    ),
    placed(
        wide("entry", Kind::Hex, "Entry point"),
        |c| c.facts.header(entry),
        |c| c.facts.header_at(HeaderField::Entry),
    ),
    placed(
        wide("timestamp", Kind::Hex, "TimeDateStamp of the header; a hash in reproducible builds"),
        |c| c.facts.header(|i| Cell::Hex(i.timestamp.into())),
        |c| c.facts.header_at(HeaderField::TimeStamp),
    ),
    derived(
        wide("build_time", Kind::Time, "The same as a time, where it can be one of this machine's life"),
        "timestamp, where the debug directory does not say that it is a hash",
        |c| c.facts.build_time(),
    ),
    placed(
        wide("checksum", Kind::Hex, "CheckSum of the header"),
        |c| c.facts.header(|i| Cell::Hex(i.checksum.into())),
        |c| c.facts.header_at(HeaderField::CheckSum),
    ),
    derived(wide("pdb", Kind::Text, "Name of its PDB"), "the CodeView record of the image's debug directory", |c| {
        c.facts.pdb.as_ref().map(|p| p.name.clone()).map_err(|e| *e).into()
    }),
    derived(
        wide("pdb_id", Kind::Text, "GUID and age of its PDB, as symbol servers are asked"),
        "the CodeView record of the image's debug directory",
        |c| c.facts.pdb.as_ref().map(crate::symbols::PdbId::key).map_err(|e| *e).into(),
    ),
    derived(
        wide("path", Kind::Text, "Mapped file with its device, else the loader's path"),
        "the mapped file's name behind its device's, or the loader's FullDllName",
        |c| c.mapped.clone().or_else(|_| c.listed(|m| m.path.clone())).into(),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let show = ModuleRows::of(case.kernel()?)?;
    each_process(case, ask, sink, |space, process, sink| rows(&show, process, space, ask, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    show: &ModuleRows<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    let mut files = Files::of(process.kernel).map_err(|e| process.kernel.unreadable(&e))?;
    let found = process_modules::modules(&memory, &show.sides.of_process(process, space));
    tell(process, memory.tree.notes.iter().cloned().chain(found.notes), sink);
    let mut seen = rustc_hash::FxHashSet::default();
    let bounds = Bounds::of(process.kernel);
    for module in &found.modules {
        // The program is on the lists of both sides: its header is one.
        let Ok(base) = module.base else { continue };
        if !seen.insert(base) {
            continue;
        }
        let facts = Facts::of(Ok(&memory.space), Image::read(&memory.space, base), bounds);
        let place = facts.image.as_ref().map_or_else(|_| memory.space.place(base), |i| i.place);
        let mapped = show.mapped_file(&mut files, space, module);
        sink.row(Row::of(FIELDS, &Of { process, module, base, mapped, facts }, &ask.rows).at(place))?;
    }
    Ok(())
}

/// What an image says of itself.
pub struct Facts<'a> {
    space: Value<&'a Space<'a>>,
    /// Its headers.
    pub image: Value<Image>,
    version: Value<Version>,
    /// The identity of its PDB.
    pub pdb: Value<PdbId>,
    bounds: Bounds,
}

impl<'a> Facts<'a> {
    /// Reads them in the image's memory.
    #[must_use]
    pub fn of(space: Value<&'a Space<'a>>, image: Value<Image>, bounds: Bounds) -> Self {
        let version = image.as_ref().map_err(|why| *why).and_then(|image| image.version(space?));
        let pdb = image.as_ref().map_err(|why| *why).and_then(|image| image.pdb(space?));
        Self { space, image, version, pdb, bounds }
    }
    fn version(&self) -> Value<&Version> {
        self.version.as_ref().map_err(|why| *why)
    }
    /// A string of its version resource.
    #[must_use]
    pub fn string(&self, name: &str) -> Cell {
        self.version().and_then(|v| v.string(name).ok_or(Absent::NotApplicable)).map(str::to_owned).into()
    }
    /// A version number.
    #[must_use]
    pub fn number(&self, get: fn(&Version) -> Option<Number>) -> Cell {
        self.version().and_then(|v| get(v).ok_or(Absent::NotApplicable)).map(|n| n.to_string()).into()
    }
    /// All strings of its version resource.
    #[must_use]
    pub fn strings(&self) -> Cell {
        let object =
            |v: &Version| Cell::Object(v.strings.iter().map(|(k, t)| (k.clone().into(), t.clone().into())).collect());
        self.version().map_or_else(Cell::Absent, object)
    }
    /// Something of its headers.
    #[must_use]
    pub fn header(&self, get: fn(&Image) -> Cell) -> Cell {
        self.image.as_ref().map_or_else(|why| Cell::Absent(*why), get)
    }
    /// Where a field of its headers is.
    #[must_use]
    pub fn header_at(&self, field: HeaderField) -> Option<Place> {
        Some(self.image.as_ref().ok()?.header_at(self.space.ok()?, field))
    }
    /// When it was linked.
    #[must_use]
    pub fn build_time(&self) -> Cell {
        let image = self.image.as_ref().map_err(|why| *why);
        image.and_then(|i| self.bounds.built(i.timestamp, Stamp::read(self.space?, i))).into()
    }
}

/// The address of an image's entry point.
#[must_use]
pub fn entry(image: &Image) -> Cell {
    if image.entry == 0 { Absent::NotApplicable.into() } else { image.base.add(image.entry.into()).into() }
}
