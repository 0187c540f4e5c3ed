//! `verinfo`: what the version resources of each process's modules say.

use super::dlllist::ModuleRows;
use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user_memory, who};
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::image::Image;
use crate::kernel::process::Process;
use crate::kernel::process_modules;
use crate::kernel::stamp::{Bounds, Stamp};
use crate::kernel::verinfo::Version;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

/// The columns.
pub const COLUMNS: [Column; 24] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("base", Kind::Hex, "First byte of the image"),
    col("module_name", Kind::Text, "Name of the module, by the loader or the mapped file"),
    col("company", Kind::Text, "CompanyName"),
    col("product", Kind::Text, "ProductName"),
    col("original_name", Kind::Text, "OriginalFilename"),
    col("file_version", Kind::Text, "File version, by the four numbers of the fixed part"),
    wide("product_version", Kind::Text, "Product version, by the four numbers"),
    wide("file_version_text", Kind::Text, "FileVersion string"),
    wide("description", Kind::Text, "FileDescription"),
    wide("internal_name", Kind::Text, "InternalName"),
    wide("copyright", Kind::Text, "LegalCopyright"),
    wide("strings", Kind::Nested, "All strings of the version resource"),
    wide("machine", Kind::Text, "Processor, by the header"),
    wide("size", Kind::Hex, "SizeOfImage of the header"),
    wide("entry", Kind::Hex, "Entry point"),
    wide("timestamp", Kind::Hex, "TimeDateStamp of the header; a hash in reproducible builds"),
    wide("build_time", Kind::Time, "The same as a time, where it can be one of this machine's life"),
    wide("checksum", Kind::Hex, "CheckSum of the header"),
    wide("pdb", Kind::Text, "Name of its PDB"),
    wide("pdb_id", Kind::Text, "GUID and age of its PDB, as symbol servers are asked"),
    wide("path", Kind::Text, "Mapped file with its device, else the loader's path"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let show = ModuleRows::of(case.kernel()?)?;
    each_process(case, ask, sink, |space, process, sink| rows(&show, process, space, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(show: &ModuleRows<'k>, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> Result<()> {
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
        let image = Image::read(&memory.space, base);
        let mapped = show.mapped_file(&mut files, space, module);
        let listed = |get: fn(&crate::kernel::ldr::Module) -> Value<Text>| {
            module.listed.as_ref().map_or(Err(Absent::NotApplicable), get)
        };
        let file_name = mapped.clone().map(|p| p.map(|p| p.rsplit('\\').next().unwrap_or_default().to_owned()));
        let [pid, name] = who::cells(process);
        let head = [pid, name, who::address(process), base.into(), listed(|m| m.name.clone()).or(file_name).into()];
        let path = mapped.or_else(|_| listed(|m| m.path.clone()));
        let facts = facts(&memory.space, &image, bounds);
        let cells: Vec<Cell> = head.into_iter().chain(facts).chain([path.into()]).collect();
        let place = image.map_or_else(|_| memory.space.fetch(base, 1).place(0), |i| i.place);
        sink.row(Row::new(cells).at(place))?;
    }
    Ok(())
}

/// What an image says of itself: the cells from `company` to `pdb_id`.
#[must_use]
pub fn facts(space: &Space<'_>, image: &Value<Image>, bounds: Bounds) -> [Cell; 18] {
    let header = |get: &dyn Fn(&Image) -> Cell| image.as_ref().map_or_else(|e| Cell::Absent(*e), get);
    let version: Value<Version> = image.as_ref().map_err(|e| *e).and_then(|i| i.version(space));
    let pdb = image.as_ref().map_err(|e| *e).and_then(|i| i.pdb(space));
    let string = |name: &str| -> Cell {
        let found = version.as_ref().map_err(|e| *e).and_then(|v| v.string(name).ok_or(Absent::NotApplicable));
        found.map(str::to_owned).into()
    };
    let number = |get: fn(&Version) -> Option<crate::kernel::verinfo::Number>| -> Cell {
        version.as_ref().map_err(|e| *e).and_then(|v| get(v).ok_or(Absent::NotApplicable)).map(|n| n.to_string()).into()
    };
    let strings = version.as_ref().map_or_else(
        |e| Cell::Absent(*e),
        |v| Cell::Object(v.strings.iter().map(|(k, t)| (k.clone().into(), t.clone().into())).collect()),
    );
    [
        string("CompanyName"),
        string("ProductName"),
        string("OriginalFilename"),
        number(|v| v.file),
        number(|v| v.product),
        string("FileVersion"),
        string("FileDescription"),
        string("InternalName"),
        string("LegalCopyright"),
        strings,
        header(&|i| i.machine_name().into()),
        header(&|i| Cell::Hex(i.size.into())),
        header(&|i| if i.entry == 0 { Absent::NotApplicable.into() } else { i.base.add(i.entry.into()).into() }),
        header(&|i| Cell::Hex(i.timestamp.into())),
        header(&|i| bounds.built(i.timestamp, Stamp::read(space, i)).into()),
        header(&|i| Cell::Hex(i.checksum.into())),
        pdb.as_ref().map(|p| p.name.clone()).map_err(|e| *e).into(),
        pdb.as_ref().map(crate::symbols::PdbId::key).map_err(|e| *e).into(),
    ]
}
