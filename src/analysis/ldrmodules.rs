//! `ldrmodules`: every range that holds an executable image, and whether the loader knows of it.

use super::dlllist::ModuleRows;
use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::image::Image;
use crate::kernel::process::Process;
use crate::kernel::process_modules::{self, Loaded};
use crate::kernel::vad::Kind as VadKind;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashMap;

/// The register's entry.
pub static LDRMODULES: Analysis = Analysis {
    name: "ldrmodules",
    about: "Images in memory against the loader's lists",
    help: "One row for each range that holds an executable image: mapped as one, or beginning with a PE header wherever it came from. \
           An image on no list was unlinked, or never loaded by the loader: a DLL mapped as data, or code injected. A program's own image is \
           never on the initialisation list. Processes without a loader (System, minimal processes) are left out.\n\n\
           Example: dumpwalk ldrmodules memory.dmp",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

const COLUMNS: [Column; 14] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("base", Kind::Hex, "First byte of the range"),
    col("size", Kind::Hex, "Bytes of the range"),
    col("in_load", Kind::Bool, "On the load-order list of either side"),
    col("in_init", Kind::Bool, "On the initialisation-order list"),
    col("in_mem", Kind::Bool, "On the memory-order list"),
    col("mapped_path", Kind::Text, "Mapped file by its own name; none in private memory"),
    col("type", Kind::Text, "What the range is: image, mapped, private"),
    wide("header", Kind::Bool, "Whether it begins with a PE header, where its first page can be read"),
    wide("loader_path", Kind::Text, "FullDllName of the loader's entry"),
    wide("machine", Kind::Text, "Processor of the image, by its header"),
    wide("node", Kind::Hex, "Address of the VAD"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let show = ModuleRows::of(case.kernel()?)?;
    each_process(case, ask, sink, |space, process, sink| rows(&show, process, space, sink))
}

fn rows<'k>(show: &ModuleRows<'k>, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> Result<()> {
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    let mut files = Files::of(process.kernel).map_err(|e| process.kernel.unreadable(&e))?;
    let sides = show.sides.of_process(process, space);
    let found = process_modules::modules(&memory, &sides);
    tell(process, memory.tree.notes.iter().cloned().chain(found.notes), sink);
    if process.peb() == Err(Absent::NotApplicable) {
        let images = memory.tree.vads.iter().filter(|v| v.is_image()).count();
        if images > 0 {
            tell(
                process,
                [Note::info(format!("has no PEB, hence no loader: its {images} mapped images are on no list"))],
                sink,
            );
        }
        return Ok(());
    }
    // Several entries can name one base: the two sides both list the program.
    let mut listed: FxHashMap<_, Vec<&Loaded<'_>>> = FxHashMap::default();
    for module in found.modules.iter().filter(|m| m.listed.is_some()) {
        if let Ok(base) = module.base {
            listed.entry(base).or_default().push(module);
        }
    }
    let [unmet_load, unmet_mem, unmet_init] = found.unmet;
    for vad in &memory.tree.vads {
        let header = Image::read(&memory.space, vad.start);
        if !vad.is_image() && header.is_err() {
            continue;
        }
        let entries = listed.get(&vad.start).map(Vec::as_slice).unwrap_or_default();
        // On a list if any entry is; else what is said of images that no list has.
        let on = |get: fn(&Loaded<'_>) -> Value<bool>, unmet: Value<bool>| -> Value<bool> {
            let met = entries.iter().any(|m| get(m) == Ok(true));
            if met { Ok(true) } else { unmet }
        };
        let [pid, name] = who::cells(process);
        let cells: [Cell; COLUMNS.len()] = [
            pid,
            name,
            who::address(process),
            vad.start.into(),
            Cell::Hex(vad.bytes()),
            on(|m| m.in_load, unmet_load).into(),
            on(|m| m.in_init, unmet_init).into(),
            on(|m| m.in_mem, unmet_mem).into(),
            show.file(&mut files, space, vad).and_then(|f| f.name).into(),
            vad.kind.map(VadKind::key).into(),
            match &header {
                Ok(_) => true.into(),
                Err(Absent::Implausible) => false.into(),
                Err(why) => (*why).into(),
            },
            entries
                .first()
                .and_then(|m| m.listed.as_ref())
                .map_or(Cell::Absent(Absent::NotApplicable), |m| m.path.clone().into()),
            header.map(|h| h.machine_name()).into(),
            vad.node.into(),
        ];
        sink.row(Row::new(cells.into()).at(vad.place))?;
    }
    Ok(())
}
