//! `vadinfo`: every stretch of every process's address space.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::{File, Files};
use crate::kernel::process::Process;
use crate::kernel::protection::Protections;
use crate::kernel::section::Sections;
use crate::kernel::section_names::SectionNames;
use crate::kernel::sides::Sides;
use crate::kernel::usage::{self, Usage};
use crate::kernel::vad::{Kind as VadKind, Vad};
use crate::kernel::vad_tree::{Layouts, Tree};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};
use std::sync::Arc;

/// The register's entry.
pub static VADINFO: Analysis = Analysis {
    name: "vadinfo",
    about: "Address space of each process: ranges, types, protections, mapped files",
    help: "One row for each node of a process's VAD tree, in address order. The protection is the one the range was made with; single \
           pages may have another (see memmap). commit counts pages. The whole tree is walked; where it is torn, a note says what \
           hangs below the tear. Of a user-mode minidump, one row for each region of its memory-info list that is not free, with the \
           protection the region has now; flags says whether it is committed or reserved.\n\nExample: dumpwalk vadinfo memory.dmp --pid 1234",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|_, dump, ask, sink| user::vadinfo(dump, ask, sink)),
};

/// The columns of a VAD, shared with `vadtree`.
pub const COLUMNS: [Column; 26] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    wide("node", Kind::Hex, "Address of the VAD"),
    col("start", Kind::Hex, "First byte"),
    col("end", Kind::Hex, "Last byte"),
    col("tag", Kind::Text, "Pool tag of the node: VadS private, Vad mapped"),
    col(
        "type",
        Kind::Text,
        "private, mapped, image, physical, awe, write_watch, large_pages, rotate, large_page_section",
    ),
    col("protection", Kind::Text, "Protection the range was made with, through MmProtectToValue"),
    col("private", Kind::Bool, "Private memory, not a section's"),
    col("commit", Kind::Number, "Committed pages; 0 where the kernel does not count them (flag commit_fixed)"),
    col("file", Kind::Text, "Mapped file, by its FILE_OBJECT's own name"),
    wide("device", Kind::Text, "Device the file lies on"),
    wide(
        "section_name",
        Kind::Text,
        "Path of a named section with this control area, in the object namespace or behind a handle",
    ),
    col(
        "usage",
        Kind::Texts,
        "What lives there: modules, heaps, stacks and TEBs by thread, PEB, environment and the like",
    ),
    wide("flags", Kind::Texts, "Further flags of the node"),
    wide("parent", Kind::Hex, "Address of the parent node; none at the root"),
    wide("depth", Kind::Number, "Steps from the root"),
    wide("control_area", Kind::Hex, "Address of the control area of what is mapped"),
    wide("file_object", Kind::Hex, "Address of the FILE_OBJECT"),
    wide("delete_pending", Kind::Bool, "Whether the file goes when it is closed"),
    wide("section_bytes", Kind::Number, "Bytes of the whole section"),
    wide("views", Kind::Number, "Views of the section in all processes"),
    wide("first_prototype", Kind::Hex, "Address of the prototype page-table entry of the first page"),
    wide("last_prototype", Kind::Hex, "Address of the last prototype entry that lies in a row with the first"),
    wide(
        "subsections",
        Kind::Nested,
        "The section's parts: address, prototype entries, first sector or unit in the file, protection",
    ),
];

/// What is needed to show VADs; made once for all processes.
pub struct VadRows<'k> {
    layouts: Layouts<'k>,
    sections: Sections<'k>,
    sides: Option<Sides<'k>>,
    protections: Protections,
    names: SectionNames,
    /// What the symbols do not tell of protections.
    pub note: Option<Note>,
}

/// The process whose VADs are shown.
pub struct Of<'a, 'k> {
    /// The process.
    pub process: &'a Process<'k>,
    /// Kernel memory.
    pub space: &'a Space<'k>,
    /// What lives where in it.
    pub usage: &'a Usage,
}

impl<'k> VadRows<'k> {
    /// Resolves the layouts and reads the kernel's protection table.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel) -> Result<Self> {
        let needs = |e| kernel.unreadable(&e);
        let (protections, note) = Protections::of(kernel);
        Ok(Self {
            layouts: Layouts::of(kernel).map_err(needs)?,
            sections: Sections::of(kernel).map_err(needs)?,
            sides: Sides::of(kernel).ok(),
            protections,
            names: SectionNames::of(kernel, &kernel.processes()?.list),
            note,
        })
    }
    /// A process's tree, and what lives in it. The tree's notes name the process and go to `sink`.
    pub fn tree(&self, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> (Arc<Tree>, Usage) {
        // Without page tables of its own a process still has its tree, which lies in the kernel's memory.
        let (tree, usage) = match (AddressSpace::of(process, space), &self.sides) {
            (Ok(memory), Some(sides)) => {
                let usage = usage::usage(process, space, &memory, &sides.of_process(process, space));
                (memory.tree, usage)
            }
            (Ok(memory), None) => (memory.tree, Usage::default()),
            (Err(_), _) => (process.ranges(space), Usage::default()),
        };
        tell(process, tree.notes.iter().cloned(), sink);
        (tree, usage)
    }
    /// The row of one VAD.
    pub fn row(&self, of: &Of<'_, 'k>, files: &mut Files<'k>, vad: &Vad, ask: &Ask, sink: &mut dyn Sink) -> Row {
        let Of { process, space, usage } = *of;
        let [pid, name] = who::cells(process);
        let area = self.sections.control_area_of(space, vad);
        let object = self.sections.file_of(space, vad);
        let file = object.and_then(|f| files.read(f));
        let of_file = |get: fn(&File) -> Value<Text>| file.as_ref().map_err(|e| *e).and_then(get);
        let mapping = vad.mapping.as_ref().ok_or(Absent::NotApplicable);
        let segment = area.and_then(|a| a.segment).map(|s| self.sections.segment(space, s));
        let cells: [Cell; COLUMNS.len()] = [
            pid,
            name,
            who::offset(process),
            vad.node.into(),
            vad.start.into(),
            vad.end.into(),
            vad.tag.and_then(|t| t.text()).into(),
            vad.kind.map(VadKind::key).into(),
            vad.protection.map(|p| self.protections.value(p).name()).into(),
            vad.private.into(),
            vad.commit.into(),
            of_file(|f| f.name.clone()).into(),
            of_file(|f| f.device.clone()).into(),
            area.and_then(|a| self.names.get(a.address).ok_or(Absent::NotApplicable)).map(str::to_owned).into(),
            usage.at(vad.start).map(<[String]>::to_vec).into(),
            Cell::List(vad.flags.names().map(Cell::from).collect()),
            if vad.depth == 0 { Absent::NotApplicable.into() } else { vad.parent.into() },
            vad.depth.into(),
            area.map(|a| a.address).into(),
            object.into(),
            file.as_ref().map_err(|e| *e).and_then(|f| f.delete_pending).into(),
            segment.as_ref().map_err(|e| *e).and_then(|s| s.size()).into(),
            area.and_then(|a| a.views).into(),
            mapping.and_then(|m| m.first_prototype).into(),
            mapping.and_then(|m| m.last_prototype).into(),
            self.subsections(process, space, vad, sink),
        ];
        let mut row = Row::new(cells.into()).at(vad.place);
        if ask.provenance {
            row.fields = self.places(space, vad);
        }
        row
    }
    fn subsections(&self, process: &Process<'k>, space: &Space<'k>, vad: &Vad, sink: &mut dyn Sink) -> Cell {
        let Some(mapping) = &vad.mapping else { return Absent::NotApplicable.into() };
        let (list, note) = self.sections.subsections(space, mapping);
        tell(process, note, sink);
        let object = |s: &crate::kernel::section::Subsection| {
            let protection = s.protection.map(|p| self.protections.value(p).name());
            Cell::Object(vec![
                ("address".into(), s.address.into()),
                ("first_prototype".into(), s.base.into()),
                ("entries".into(), s.entries.into()),
                ("starting_sector".into(), s.starting_sector.into()),
                ("sectors".into(), s.sectors.into()),
                ("protection".into(), protection.into()),
            ])
        };
        Cell::List(list.iter().map(object).collect())
    }
    fn places(&self, space: &Space<'k>, vad: &Vad) -> Vec<(&'static str, Place)> {
        let view = self.layouts.view(space, vad.node);
        FIELDS.iter().filter_map(|(key, accessor)| Some((*key, view.place_of(accessor)?))).collect()
    }
}

/// Where single cells stand: column and the layout's accessor.
const FIELDS: [(&str, &str); 6] = [
    ("start", "start"),
    ("end", "end"),
    ("type", "kind"),
    ("protection", "protection"),
    ("private", "private"),
    ("commit", "commit"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let show = VadRows::of(kernel)?;
    show.note.iter().for_each(|n| sink.note(n.clone()));
    each_process(case, ask, sink, |space, process, sink| rows(&show, process, space, ask, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    show: &VadRows<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let mut files = Files::of(process.kernel).map_err(|e| process.kernel.unreadable(&e))?;
    let (tree, usage) = show.tree(process, space, sink);
    let of = Of { process, space, usage: &usage };
    for vad in &tree.vads {
        let row = show.row(&of, &mut files, vad, ask, sink);
        sink.row(row)?;
    }
    Ok(())
}
