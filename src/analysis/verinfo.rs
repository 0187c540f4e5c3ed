//! `verinfo`: what the version resources of each process's modules say.

use super::dlllist::ModuleRows;
use super::image_facts::{self, Facts};
use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::image::Image;
use crate::kernel::ldr::Module;
use crate::kernel::process::Process;
use crate::kernel::process_modules::{self, Loaded};
use crate::kernel::stamp::Bounds;
use crate::paging::Space;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, wide};
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
    answers: Answers::of(run).minidump(|case, dump, ask, sink| user::memory::verinfo(&case.dump, *dump, ask, sink)),
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
image_facts::of_image!(Versions, Of);

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
    image_facts::company(col("company", Kind::Text, "CompanyName")),
    image_facts::product(col("product", Kind::Text, "ProductName")),
    image_facts::original_name(col("original_name", Kind::Text, "OriginalFilename")),
    image_facts::file_version(col("file_version", Kind::Text, "File version, by the four numbers of the fixed part")),
    image_facts::product_version(wide("product_version", Kind::Text, "Product version, by the four numbers")),
    image_facts::file_version_text(wide("file_version_text", Kind::Text, "FileVersion string")),
    image_facts::description(wide("description", Kind::Text, "FileDescription")),
    image_facts::internal_name(wide("internal_name", Kind::Text, "InternalName")),
    image_facts::copyright(wide("copyright", Kind::Text, "LegalCopyright")),
    image_facts::strings(wide("strings", Kind::Nested, "All strings of the version resource")),
    image_facts::machine(wide("machine", Kind::Text, "Processor, by the header")),
    image_facts::size(wide("size", Kind::Hex, "SizeOfImage of the header")),
    image_facts::entry(wide("entry", Kind::Hex, "Entry point")),
    image_facts::timestamp(wide("timestamp", Kind::Hex, "TimeDateStamp of the header; a hash in reproducible builds")),
    image_facts::build_time(wide(
        "build_time",
        Kind::Time,
        "The same as a time, where it can be one of this machine's life",
    )),
    image_facts::checksum(wide("checksum", Kind::Hex, "CheckSum of the header")),
    image_facts::pdb(wide("pdb", Kind::Text, "Name of its PDB")),
    image_facts::pdb_id(wide("pdb_id", Kind::Text, "GUID and age of its PDB, as symbol servers are asked")),
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
