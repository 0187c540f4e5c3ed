//! `ldrmodules`: every range that holds an executable image, and whether the loader knows of it.

use super::dlllist::ModuleRows;
use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::image::{HeaderField, Image};
use crate::kernel::process::Process;
use crate::kernel::process_modules::{self, Loaded};
use crate::kernel::vad::{Kind as VadKind, Vad, VadShort};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
use crate::utf16::Text;
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

/// A range that holds an image.
struct Ranges;
struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    /// The process's own memory.
    memory: &'a Space<'a>,
    vad: &'a Vad,
    header: Value<Image>,
    /// On the load-order, initialisation-order and memory-order list.
    on: [Value<bool>; 3],
    mapped: Value<Text>,
    loader_path: Value<Text>,
}
who::of_process!(Ranges, Of);

impl Of<'_> {
    fn in_node(&self, field: At<VadShort>) -> Option<Place> {
        self.process.kernel.place_in(self.space, self.vad.node, field)
    }
    fn has_header(&self) -> Cell {
        match &self.header {
            Ok(_) => true.into(),
            Err(Absent::Implausible) => false.into(),
            Err(why) => (*why).into(),
        }
    }
}

const FIELDS: &[Field<Ranges>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(col("base", Kind::Hex, "First byte of the range"), |c| c.vad.start.into(), |c| c.in_node(VadShort::start)),
    derived(col("size", Kind::Hex, "Bytes of the range"), "the first and the last page number of the node", |c| {
        Cell::Hex(c.vad.bytes())
    }),
    derived(
        col("in_load", Kind::Bool, "On the load-order list of either side"),
        "the links of the loader's lists",
        |c| c.on[0].into(),
    ),
    derived(col("in_init", Kind::Bool, "On the initialisation-order list"), "the links of the loader's lists", |c| {
        c.on[1].into()
    }),
    derived(col("in_mem", Kind::Bool, "On the memory-order list"), "the links of the loader's lists", |c| {
        c.on[2].into()
    }),
    placed(
        col("mapped_path", Kind::Text, "Mapped file by its own name; none in private memory"),
        |c| c.mapped.clone().into(),
        |c| c.space.place_of(&c.mapped),
    ),
    placed(
        col("type", Kind::Text, "What the range is: image, mapped, private"),
        |c| c.vad.kind.map(VadKind::key).into(),
        |c| c.in_node(VadShort::kind).or_else(|| c.in_node(VadShort::image_map)),
    ),
    derived(
        wide("header", Kind::Bool, "Whether it begins with a PE header, where its first page can be read"),
        "whether the bytes at base are those of a PE header",
        |c| c.has_header(),
    ),
    placed(
        wide("loader_path", Kind::Text, "FullDllName of the loader's entry"),
        |c| c.loader_path.clone().into(),
        |c| c.memory.place_of(&c.loader_path),
    ),
    placed(
        wide("machine", Kind::Text, "Processor of the image, by its header"),
        |c| c.header.as_ref().map(Image::machine_name).map_err(|why| *why).into(),
        |c| Some(c.header.as_ref().ok()?.header_at(c.memory, HeaderField::Machine)),
    ),
    derived(
        wide("node", Kind::Hex, "Address of the VAD"),
        "the pointers of the tree: it is the row's own place",
        |c| c.vad.node.into(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let show = ModuleRows::of(case.kernel()?)?;
    each_process(case, ask, sink, |space, process, sink| rows(&show, process, space, ask, sink))
}

fn rows<'k>(
    show: &ModuleRows<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
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
        let entry = entries.first().and_then(|m| m.listed.as_ref());
        let of = Of {
            process,
            space,
            memory: &memory.space,
            vad,
            header,
            on: [on(|m| m.in_load, unmet_load), on(|m| m.in_init, unmet_init), on(|m| m.in_mem, unmet_mem)],
            mapped: show.file(&mut files, space, vad).and_then(|f| f.name),
            loader_path: entry.map_or(Err(Absent::NotApplicable), |m| m.path.clone()),
        };
        sink.row(Row::of(FIELDS, &of, &ask.rows).at(vad.place))?;
    }
    Ok(())
}
