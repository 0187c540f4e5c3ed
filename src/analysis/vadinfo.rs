//! `vadinfo`: every stretch of every process's address space.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::{File, FileLayout, Files};
use crate::kernel::process::Process;
use crate::kernel::protection::Protections;
use crate::kernel::section::{ControlArea, ControlAreaLayout, Sections, SegmentLayout, Subsection, SubsectionLayout};
use crate::kernel::section_names::SectionNames;
use crate::kernel::sides::Sides;
use crate::kernel::usage::{self, Usage};
use crate::kernel::vad::{Kind as VadKind, Mapping, Vad, VadLong, VadShort};
use crate::kernel::vad_tree::{Layouts, Tree};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::{At, View};
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
pub const FIELDS: &[Field<Ranges>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    derived(
        wide("node", Kind::Hex, "Address of the VAD"),
        "the pointers of the tree: it is the row's own place",
        |c| c.vad.node.into(),
    ),
    placed(col("start", Kind::Hex, "First byte"), |c| c.vad.start.into(), |c| c.node.at(VadShort::start)),
    placed(col("end", Kind::Hex, "Last byte"), |c| c.vad.end.into(), |c| c.node.at(VadShort::end)),
    placed(
        col("tag", Kind::Text, "Pool tag of the node: VadS private, Vad mapped"),
        |c| c.vad.tag.and_then(|t| t.text()).into(),
        |c| c.tag_at(),
    ),
    placed(
        col(
            "type",
            Kind::Text,
            "private, mapped, image, physical, awe, write_watch, large_pages, rotate, large_page_section",
        ),
        |c| c.vad.kind.map(VadKind::key).into(),
        |c| c.node.at(VadShort::kind).or_else(|| c.node.at(VadShort::image_map)),
    ),
    placed(
        col("protection", Kind::Text, "Protection the range was made with, through MmProtectToValue"),
        |c| c.vad.protection.map(|p| c.show.protections.value(p).name()).into(),
        |c| c.node.at(VadShort::protection),
    ),
    placed(
        col("private", Kind::Bool, "Private memory, not a section's"),
        |c| c.vad.private.into(),
        |c| c.node.at(VadShort::private),
    ),
    placed(
        col("commit", Kind::Number, "Committed pages; 0 where the kernel does not count them (flag commit_fixed)"),
        |c| c.vad.commit.into(),
        |c| c.node.at(VadShort::commit),
    ),
    placed(
        col("file", Kind::Text, "Mapped file, by its FILE_OBJECT's own name"),
        |c| c.of_file(|f| f.name.clone()).into(),
        |c| c.space.place_of(&c.of_file(|f| f.name.clone())),
    ),
    derived(
        wide("device", Kind::Text, "Device the file lies on"),
        "the device object's own name behind its directory's",
        |c| c.of_file(|f| f.device.clone()).into(),
    ),
    derived(
        wide(
            "section_name",
            Kind::Text,
            "Path of a named section with this control area, in the object namespace or behind a handle",
        ),
        "the names of section objects with this control area",
        |c| c.area.and_then(|a| c.show.names.get(a.address).ok_or(Absent::NotApplicable)).map(str::to_owned).into(),
    ),
    derived(
        col(
            "usage",
            Kind::Texts,
            "What lives there: modules, heaps, stacks and TEBs by thread, PEB, environment and the like",
        ),
        "the process's PEB, TEBs, heaps and loader lists",
        |c| c.usage.at(c.vad.start).map(<[String]>::to_vec).into(),
    ),
    placed(
        wide("flags", Kind::Texts, "Further flags of the node"),
        |c| Cell::List(c.vad.flags.names().map(Cell::from).collect()),
        |c| c.node.at(VadShort::private),
    ),
    placed(
        wide("parent", Kind::Hex, "Address of the parent node; none at the root"),
        |c| if c.vad.depth == 0 { Absent::NotApplicable.into() } else { c.vad.parent.into() },
        |c| c.node.at(VadShort::parent),
    ),
    derived(wide("depth", Kind::Number, "Steps from the root"), "the pointers of the tree", |c| c.vad.depth.into()),
    placed(
        wide("control_area", Kind::Hex, "Address of the control area of what is mapped"),
        |c| c.area.map(|a| a.address).into(),
        |c| c.area_at(),
    ),
    placed(wide("file_object", Kind::Hex, "Address of the FILE_OBJECT"), |c| c.object.into(), |c| c.object_at()),
    placed(
        wide("delete_pending", Kind::Bool, "Whether the file goes when it is closed"),
        |c| c.file.as_ref().map_err(|e| *e).and_then(|f| f.delete_pending).into(),
        |c| c.in_file(FileLayout::delete_pending),
    ),
    placed(
        wide("section_bytes", Kind::Number, "Bytes of the whole section"),
        |c| c.segment().and_then(|s| s.size()).into(),
        |c| c.segment().ok()?.at(SegmentLayout::size),
    ),
    placed(
        wide("views", Kind::Number, "Views of the section in all processes"),
        |c| c.area.and_then(|a| a.views).into(),
        |c| c.in_area(ControlAreaLayout::views),
    ),
    placed(
        wide("first_prototype", Kind::Hex, "Address of the prototype page-table entry of the first page"),
        |c| c.mapping().and_then(|m| m.first_prototype).into(),
        |c| c.in_long(VadLong::first_prototype),
    ),
    placed(
        wide("last_prototype", Kind::Hex, "Address of the last prototype entry that lies in a row with the first"),
        |c| c.mapping().and_then(|m| m.last_prototype).into(),
        |c| c.in_long(VadLong::last_prototype),
    ),
    derived(
        wide(
            "subsections",
            Kind::Nested,
            "The section's parts: address, prototype entries, first sector or unit in the file, protection",
        ),
        "the subsections of the control area, one after the other",
        |c| c.subsections(),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

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

/// An address range of a process.
#[derive(Debug)]
pub struct Ranges;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    show: &'a VadRows<'a>,
    /// What lives where in the process.
    usage: &'a Usage,
    vad: &'a Vad,
    node: View<'a, VadShort>,
    area: Value<ControlArea>,
    object: Value<Va>,
    file: Value<File>,
    subsections: Value<Vec<Subsection>>,
}
who::of_process!(Ranges, Of);

impl<'a> Of<'a> {
    fn kernel(&self) -> &'a Kernel {
        self.process.kernel
    }
    fn of_file(&self, get: fn(&File) -> Value<Text>) -> Value<Text> {
        self.file.as_ref().map_err(|e| *e).and_then(get)
    }
    fn mapping(&self) -> Value<&'a Mapping> {
        self.vad.mapping.as_ref().ok_or(Absent::NotApplicable)
    }
    fn segment(&self) -> Value<View<'a, SegmentLayout>> {
        Ok(self.show.sections.segment(self.space, self.area?.segment?))
    }
    fn tag_at(&self) -> Option<Place> {
        self.show.layouts.tag_at(self.space, self.vad.node)
    }
    fn in_long(&self, field: At<VadLong>) -> Option<Place> {
        self.mapping().ok()?;
        self.kernel().place_in(self.space, self.vad.node, field)
    }
    fn in_area(&self, field: At<ControlAreaLayout>) -> Option<Place> {
        self.kernel().place_in(self.space, self.area.ok()?.address, field)
    }
    fn in_file(&self, field: At<FileLayout>) -> Option<Place> {
        self.kernel().place_in(self.space, self.object.ok()?, field)
    }
    /// The pointer to the control area: in the subsection, before 7 in the node.
    fn area_at(&self) -> Option<Place> {
        let subsection = self.mapping().ok()?.subsection;
        let behind = || self.kernel().place_in(self.space, subsection.ok()?, SubsectionLayout::control_area);
        behind().or_else(|| self.in_long(VadLong::control_area))
    }
    /// The pointer to the file: in the control area, or in the node where that has none.
    fn object_at(&self) -> Option<Place> {
        match self.area.and_then(|area| area.file) {
            Ok(_) => self.in_area(ControlAreaLayout::file),
            Err(_) => self.in_long(VadLong::file_object),
        }
    }
    fn subsections(&self) -> Cell {
        let object = |s: &Subsection| {
            let protection = s.protection.map(|p| self.show.protections.value(p).name());
            Cell::Object(vec![
                ("address".into(), s.address.into()),
                ("first_prototype".into(), s.base.into()),
                ("entries".into(), s.entries.into()),
                ("starting_sector".into(), s.starting_sector.into()),
                ("sectors".into(), s.sectors.into()),
                ("protection".into(), protection.into()),
            ])
        };
        match &self.subsections {
            Ok(list) => Cell::List(list.iter().map(object).collect()),
            Err(why) => Cell::Absent(*why),
        }
    }
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
    /// The row of one VAD of a process with this in it.
    pub fn row(
        &self,
        (process, space, usage): (&Process<'k>, &Space<'k>, &Usage),
        files: &mut Files<'k>,
        vad: &Vad,
        ask: &Ask,
        sink: &mut dyn Sink,
    ) -> Row {
        let object = self.sections.file_of(space, vad);
        let subsections = vad.mapping.as_ref().ok_or(Absent::NotApplicable).map(|mapping| {
            let (list, note) = self.sections.subsections(space, mapping);
            tell(process, note, sink);
            list
        });
        let of = Of {
            process,
            space,
            show: self,
            usage,
            vad,
            node: self.layouts.view(space, vad.node),
            area: self.sections.control_area_of(space, vad),
            object,
            file: object.and_then(|f| files.read(f)),
            subsections,
        };
        Row::of(FIELDS, &of, &ask.rows).at(vad.place)
    }
}

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
    for vad in &tree.vads {
        let row = show.row((process, space, &usage), &mut files, vad, ask, sink);
        sink.row(row)?;
    }
    Ok(())
}
