//! `mappedfiles`: every section that processes map, its file, and how much of it is in memory.

use super::parallel::asked_for;
use super::{Analysis, Answers, Ask, Case, Subject};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::file_object::{File, Files};
use crate::kernel::process::Process;
use crate::kernel::section::{ControlArea, ControlAreaLayout, Sections, SegmentLayout, Subsection};
use crate::kernel::vad_tree::Layouts;
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::{At, View};
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The register's entry.
pub static MAPPEDFILES: Analysis = Analysis {
    name: "mappedfiles",
    about: "Mapped files and sections: how much is in memory, and who maps them",
    help: "One row for each section that a process maps a view of, by the address of its control area. resident counts pages in memory \
           (in use, or on the standby or modified list), by the section's prototype page-table entries.\n\n\
           Example: dumpwalk mappedfiles memory.dmp --name explorer",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

/// A mapped section.
#[derive(Debug)]
pub struct SectionsOf;
/// What is known of it.
pub struct Of<'a> {
    kernel: &'a Kernel,
    space: &'a Space<'a>,
    from: &'a Sections<'a>,
    address: Va,
    area: Value<ControlArea>,
    file: Value<File>,
    counts: Counts,
    pids: Vec<u64>,
}
impl crate::report::Subject for SectionsOf {
    type Of<'a> = Of<'a>;
}

impl<'a> Of<'a> {
    fn kind(&self) -> Value<&'static str> {
        let area = self.area?;
        match (area.image, area.file) {
            (Ok(true), _) => Ok("image"),
            (Ok(false), Ok(_)) => Ok("file"),
            (Ok(false), Err(Absent::NotApplicable)) => Ok("page_file"),
            (Err(why), _) | (_, Err(why)) => Err(why),
        }
    }
    fn of_file(&self, get: fn(&File) -> Value<Text>) -> Value<Text> {
        self.file.as_ref().map_err(|e| *e).and_then(get)
    }
    fn segment(&self) -> Value<View<'a, SegmentLayout>> {
        Ok(self.from.segment(self.space, self.area?.segment?))
    }
    fn counted(&self, count: u64) -> Cell {
        self.from.counts_pages().map(|()| count).into()
    }
    fn in_area(&self, field: At<ControlAreaLayout>) -> Option<Place> {
        self.kernel.place_in(self.space, self.address, field)
    }
}

/// The columns of a mapped section.
pub const FIELDS: &[Field<SectionsOf>] = &[
    derived(
        col("control_area", Kind::Hex, "Address of the control area"),
        "the address of the control area: it is the row's own place",
        |c| c.address.into(),
    ),
    placed(
        col("kind", Kind::Text, "image, file or page_file"),
        |c| c.kind().into(),
        |c| c.in_area(ControlAreaLayout::image),
    ),
    placed(
        col("file", Kind::Text, "File, by its FILE_OBJECT's own name"),
        |c| c.of_file(|f| f.name.clone()).into(),
        |c| c.space.place_of(&c.of_file(|f| f.name.clone())),
    ),
    derived(
        wide("device", Kind::Text, "Device it lies on"),
        "the device object's own name behind its directory's",
        |c| c.of_file(|f| f.device.clone()).into(),
    ),
    placed(
        col("bytes", Kind::Number, "Bytes of the section"),
        |c| c.segment().and_then(|s| s.size()).into(),
        |c| c.segment().ok()?.at(SegmentLayout::size),
    ),
    derived(
        col("pages", Kind::Number, "Pages it has prototype entries for"),
        "PtesInSubsection of all subsections",
        |c| c.counted(c.counts.pages),
    ),
    derived(col("resident", Kind::Number, "Pages in memory"), "the section's prototype entries", |c| {
        c.counted(c.counts.resident)
    }),
    derived(
        wide("standby", Kind::Number, "Of them on the standby or modified list"),
        "the section's prototype entries",
        |c| c.counted(c.counts.standby),
    ),
    derived(
        wide("unread", Kind::Number, "Pages whose prototype entries cannot be read"),
        "the section's prototype entries",
        |c| c.counted(c.counts.unread),
    ),
    placed(
        col("views", Kind::Number, "Views in all processes and the kernel"),
        |c| c.area.and_then(|a| a.views).into(),
        |c| c.in_area(ControlAreaLayout::views),
    ),
    placed(
        wide("sections", Kind::Number, "Section objects"),
        |c| c.area.and_then(|a| a.sections).into(),
        |c| c.in_area(ControlAreaLayout::sections),
    ),
    placed(
        wide("delete_on_close", Kind::Bool, "The file goes with the section"),
        |c| c.area.and_then(|a| a.delete_on_close).into(),
        |c| c.in_area(ControlAreaLayout::delete_on_close),
    ),
    placed(
        wide("file_object", Kind::Hex, "Address of the FILE_OBJECT"),
        |c| c.area.and_then(|a| a.file).into(),
        |c| c.in_area(ControlAreaLayout::file),
    ),
    derived(
        col("pids", Kind::Texts, "Processes that map it, of those asked for"),
        "the address ranges of the processes",
        |c| Cell::List(c.pids.iter().copied().map(Cell::from).collect()),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// Who maps a section, and from which subsection on (the lowest seen).
#[derive(Clone, Debug, Default)]
struct Mapped {
    pids: Vec<u64>,
    first: Option<Va>,
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let needs = |e| kernel.unreadable(&e);
    Layouts::of(kernel).map_err(needs)?; // fails here rather than in a worker
    let sections = Sections::of(kernel).map_err(needs)?;
    let processes = asked_for(case, ask, sink)?;
    // What each process maps, then all together: the sections of a machine number some thousands.
    let found: Vec<(BTreeMap<Va, Mapped>, Vec<Note>)> = processes
        .par_iter()
        .map_init(|| kernel.space(), |space, process| mapped_by(&sections, process, space))
        .collect();
    let mut all = BTreeMap::<Va, Mapped>::new();
    for (one, notes) in found {
        notes.into_iter().for_each(|n| sink.note(n));
        for (area, mapped) in one {
            let entry = all.entry(area).or_default();
            entry.first = [entry.first, mapped.first].into_iter().flatten().min();
            entry.pids.extend(mapped.pids);
        }
    }
    super::parallel::in_order(
        all.into_iter(),
        || (kernel.space(), Files::of(kernel)),
        |(space, files), (address, mapped), sink| {
            let files = files.as_mut().map_err(|e| kernel.unreadable(e))?;
            sink.row(row(kernel, &sections, space, files, address, mapped, ask))
        },
        sink,
    )
}

/// The rows of one process.
///
/// # Errors
/// The symbols lack a type or a field, or the sink's error.
pub fn rows<'k>(process: &Process<'k>, space: &Space<'k>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = process.kernel;
    let needs = |e| kernel.unreadable(&e);
    Layouts::of(kernel).map_err(needs)?; // fails here rather than in a worker
    let sections = Sections::of(kernel).map_err(needs)?;
    let mut files = Files::of(kernel).map_err(needs)?;
    // The notes on the tree are those of `vadinfo`.
    for (address, mapped) in mapped_by(&sections, process, space).0 {
        sink.row(row(kernel, &sections, space, &mut files, address, mapped, ask))?;
    }
    Ok(())
}

/// The control areas behind a process's address ranges, and what its tree could not tell.
fn mapped_by<'k>(
    sections: &Sections<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
) -> (BTreeMap<Va, Mapped>, Vec<Note>) {
    let mut out = BTreeMap::<Va, Mapped>::new();
    let tree = process.ranges(space);
    for vad in &tree.vads {
        let Ok(area) = sections.control_area_of(space, vad) else { continue };
        let entry = out.entry(area.address).or_default();
        let first = vad.mapping.as_ref().and_then(|m| m.subsection.ok()).filter(|s| !s.is_null());
        entry.first = [entry.first, first].into_iter().flatten().min();
        if let Ok(pid) = process.pid()
            && entry.pids.last() != Some(&pid)
        {
            entry.pids.push(pid);
        }
    }
    let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
    let notes = tree.notes.iter().map(|n| Note { text: format!("process {pid}: {}", n.text), loss: n.loss });
    (out, notes.collect())
}

fn row<'k>(
    kernel: &'k Kernel,
    sections: &Sections<'k>,
    space: &Space<'k>,
    files: &mut Files<'k>,
    address: Va,
    mapped: Mapped,
    ask: &Ask,
) -> Row {
    let area = sections.control_area(space, address);
    let file = area.and_then(|a| a.file).and_then(|f| files.read(f));
    let list = sections.subsections_from(space, mapped.first.unwrap_or(Va(0))).0;
    let counts = resident(kernel, space, sections.entry_size(), &list);
    let mut pids = mapped.pids;
    pids.dedup();
    let of = Of { kernel, space, from: sections, address, area, file, counts, pids };
    Row::of(FIELDS, &of, &ask.rows).at(space.place(address))
}

/// Pages of a section by their prototype entries.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    pages: u64,
    resident: u64,
    standby: u64,
    unread: u64,
}

/// Bytes of prototype entries fetched at a time.
const AT_ONCE: u64 = PAGE_SIZE;

fn resident(kernel: &Kernel, space: &Space<'_>, entry_size: u64, list: &[Subsection]) -> Counts {
    let mut counts = Counts::default();
    for s in list.iter().filter(|s| !s.base.is_null()) {
        let bytes = u64::from(s.entries).saturating_mul(entry_size);
        counts.pages = counts.pages.saturating_add(s.entries.into());
        let mut done = 0;
        while done < bytes {
            let at = s.base.add(done);
            let here = AT_ONCE.saturating_sub(at.offset_in_page()).min(bytes.saturating_sub(done));
            match u32::try_from(here).map_err(|_| Absent::Implausible).and_then(|n| space.slice(at, n)) {
                Ok(raw) => {
                    for entry in raw.chunks_exact(entry_size as usize).filter_map(crate::bytes::le) {
                        // Bit 0 is valid in every paging mode.
                        let standby = entry & 1 == 0 && kernel.format.transition(entry).is_some();
                        counts.resident = counts.resident.saturating_add(u64::from(standby || entry & 1 == 1));
                        counts.standby = counts.standby.saturating_add(standby.into());
                    }
                }
                Err(_) => counts.unread = counts.unread.saturating_add(here / entry_size),
            }
            done = done.saturating_add(here.max(entry_size));
        }
    }
    counts
}
