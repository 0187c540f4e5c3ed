//! `memmap`: every page of a process, where it is or where it went.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, Switch, memory, user, who};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::page_state::{Grain, Pages, State, pages};
use crate::kernel::process::Process;
use crate::kernel::section::{FilePage, Sections, Subsection};
use crate::kernel::vad::Vad;
use crate::paging::{Rights, Space};
use crate::place::At;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, Wanted, col, derived, headers, placed, wide};
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};
use std::rc::Rc;

/// The register's entry.
pub static MEMMAP: Analysis = Analysis {
    name: "memmap",
    about: "Every page of each process: state, physical address, place in the dump or page file",
    help: "One row for each page that the page tables or the address ranges' prototype entries say something of; a large page is one row. States: \
           valid (mapped by the processor), transition (on the standby or modified list), prototype (in memory for a section, not entered in \
           this process yet), demand_zero, paged_out (with page file and byte), file_backed (to be read from the mapped file), compressed, \
           not_in_dump (in memory when the dump was made, left out of it), unknown. What a page holds is not looked at: one that \
           the dump's writer filled with a pattern because it could not read it counts as the page it stands for. Totals follow as a note for each process.\n\n\
           Example: dumpwalk memmap memory.dmp --pid 1234 --runs",
    columns: &COLUMNS,
    switches: &[
        Switch { name: "runs", value: None, about: "Join neighbouring pages that go on in every respect" },
        Switch { name: "kernel", value: None, about: "The kernel's half of the address space as well" },
    ],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|_, dump, ask, sink| user::memory::memmap(dump, ask, sink)),
};

/// A page of a process, or several in a row.
#[derive(Debug)]
pub struct PagesOf;
/// What is known of it.
#[derive(Debug)]
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    memory: &'a AddressSpace<'a>,
    run: &'a Pages,
    kept: Value<At>,
    file: Value<(Text, FilePage)>,
}
who::of_process!(PagesOf, Of);

/// The columns.
pub const FIELDS: &[Field<PagesOf>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    derived(col("start", Kind::Hex, "First address"), "which page-table entry it is", |c| c.run.va.into()),
    derived(
        col("size", Kind::Number, "Bytes"),
        "the level of the page-table entry, and with --runs the number of pages",
        |c| c.run.size.into(),
    ),
    derived(
        col(
            "state",
            Kind::Text,
            "valid, transition, prototype, demand_zero, paged_out, file_backed, compressed, not_in_dump, unknown",
        ),
        "entry, and the prototype entry where it names one",
        |c| c.run.state.key().into(),
    ),
    placed(
        col("physical", Kind::Hex, "Physical address, of pages in memory"),
        |c| in_memory(c.run.pa.map(|p| p.0)),
        |c| c.deciding(),
    ),
    derived(
        col("file_offset", Kind::Hex, "Place in the dump file"),
        "physical, by the dump's own table of pages",
        |c| file_offset(c.run),
    ),
    derived(
        col("rights", Kind::Text, "What the processor allows: read, write, execute, user"),
        "the entries of all levels",
        |c| c.run.rights.map(rights).ok_or(Absent::NotApplicable).into(),
    ),
    placed(col("page_file", Kind::Number, "Page file that holds it"), |c| page_file(c.run), |c| c.deciding()),
    placed(
        col(
            "page_file_offset",
            Kind::Hex,
            "Byte in the page file; of the compressed store, 4096 times the page's key there",
        ),
        |c| in_memory(c.run.page_file.map(|(_, at)| at)),
        |c| c.deciding(),
    ),
    derived(
        col("source", Kind::Text, "Where it can be read: dump, page file N (--page-file), compressed store"),
        "entry, the prototype entry, and which files are given",
        |c| c.kept.map(|at| memory::source(Some(at))).into(),
    ),
    placed(
        col("mapped_file", Kind::Text, "Of a file_backed page: the file it is to be read from"),
        |c| c.file.as_ref().map(|(name, _)| name.clone()).map_err(|why| *why).into(),
        |c| c.space.place_of(&c.file.as_ref().map(|(name, _)| name.clone()).map_err(|why| *why)),
    ),
    derived(
        col("mapped_file_offset", Kind::Hex, "Its byte in that file"),
        "the subsection that has the prototype entry, and which of its entries it is",
        |c| c.file.as_ref().map_or_else(|why| Cell::Absent(*why), |(_, page)| Cell::Hex(page.offset)),
    ),
    derived(
        wide("mapped_file_bytes", Kind::Number, "Bytes the file has of it; the rest of the page is zeros"),
        "the subsection that has the prototype entry, and which of its entries it is",
        |c| c.file.as_ref().map_or_else(|why| Cell::Absent(*why), |(_, page)| page.bytes.into()),
    ),
    derived(
        wide("prototype", Kind::Hex, "Address of the prototype entry that decides"),
        "entry, or the address range's first prototype entry",
        |c| in_memory(c.run.prototype.map(|p| p.0)),
    ),
    placed(
        wide("entry", Kind::Hex, "The last page-table entry as it stands"),
        |c| in_memory(c.run.entry),
        |c| c.memory.space.entry_place(c.run.va).filter(|_| c.run.entry.is_some()),
    ),
    derived(
        wide("vad", Kind::Hex, "First byte of the address range it lies in"),
        "the process's address ranges",
        |c| c.memory.tree.at(c.run.va).map_or(Cell::Absent(Absent::NotApplicable), |v| v.start.into()),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// Rows given for one process at most: hostile page tables can name themselves without end.
const MOST: u64 = 1 << 27;

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    each_process(case, ask, sink, |space, process, sink| rows(process, space, ask, sink))
}

fn rows<'k>(process: &Process<'k>, space: &Space<'k>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let memory = match AddressSpace::of(process, space) {
        Ok(memory) => memory,
        Err(why) => {
            tell(process, [Note::loss(format!("its page tables are {why}"))], sink);
            return Ok(());
        }
    };
    tell(process, memory.tree.notes.iter().cloned(), sink);
    let kernel = process.kernel;
    let mut ranges = vec![(&memory.space, Va(0), kernel.last_user_address())];
    let whole = process.whole_space().ok().filter(|_| ask.has("kernel"));
    if let Some(whole) = &whole {
        let all = if whole.pointer_size() == 8 { u64::MAX } else { u32::MAX.into() };
        ranges.push((whole, kernel.last_user_address().add(1), Va(all)));
    }
    let mut behind = Behind::of(kernel, space);
    let mut totals = [0u64; State::ALL.len()];
    let mut given = 0u64;
    'all: for (part, from, last) in ranges {
        let grain = if ask.has("runs") { Grain::Runs } else { Grain::Single };
        for run in pages(part, from, last, grain) {
            if let Some(note) = run.cut_note() {
                tell(process, [note], sink);
                break;
            }
            if let Some(total) = totals.get_mut(run.state as usize) {
                *total = total.saturating_add(run.size / PAGE_SIZE);
            }
            sink.row(row(process, &memory, &mut behind, &run, &ask.rows))?;
            given = given.saturating_add(1);
            if given >= MOST {
                tell(process, [Note::loss(format!("stopped after {MOST} rows, at {}", run.va))], sink);
                break 'all;
            }
        }
    }
    let told: Vec<String> =
        State::ALL.iter().zip(totals).filter(|(_, n)| *n > 0).map(|(s, n)| format!("{n} {}", s.key())).collect();
    if !told.is_empty() {
        tell(process, [Note::info(format!("pages: {}", told.join(", ")))], sink);
    }
    Ok(())
}

/// The files behind mapped ranges, each looked up once.
struct Behind<'k> {
    space: &'k Space<'k>,
    sections: Option<Sections<'k>>,
    files: Option<Files<'k>>,
    /// The range asked for last.
    last: Option<Mapped>,
}

/// What a range maps.
struct Mapped {
    node: Va,
    subsections: Rc<[Subsection]>,
    /// The file's name, and whether it is mapped as an image.
    file: Value<(Text, bool)>,
}

impl<'k> Behind<'k> {
    fn of(kernel: &'k Kernel, space: &'k Space<'k>) -> Self {
        Self { space, sections: Sections::of(kernel).ok(), files: Files::of(kernel).ok(), last: None }
    }
    /// The file of a page, and where in it.
    fn page(&mut self, vad: Option<&Vad>, va: Va) -> Value<(Text, FilePage)> {
        let vad = vad.ok_or(Absent::NotApplicable)?;
        let (Some(sections), Some(files)) = (self.sections, &mut self.files) else { return Err(Absent::NoSymbol) };
        if self.last.as_ref().is_none_or(|known| known.node != vad.node) {
            let subsections = vad.mapping.as_ref().map(|m| sections.subsections(self.space, m).0.into());
            let area = sections.control_area_of(self.space, vad);
            let file = area.and_then(|area| {
                let object = area.file.or_else(|_| sections.file_of(self.space, vad))?;
                Ok((files.read(object)?.name?, area.image?))
            });
            self.last = Some(Mapped { node: vad.node, subsections: subsections.unwrap_or_default(), file });
        }
        let Mapped { subsections: list, file, .. } = self.last.as_ref().ok_or(Absent::NotApplicable)?;
        let (name, image) = file.clone()?;
        let pte = sections.prototypes_of(vad, va, |_| Rc::clone(list)).map_err(|_| Absent::NotMapped)?.first;
        let page = list.iter().find_map(|s| match s.page(pte, sections.entry_size(), image) {
            Err(Absent::NotApplicable) => None,
            page => Some(page),
        });
        Ok((name, page.ok_or(Absent::NotMapped)??))
    }
}

fn row(process: &Process<'_>, memory: &AddressSpace<'_>, behind: &mut Behind<'_>, run: &Pages, wanted: &Wanted) -> Row {
    let kept = run.kept(&memory.space);
    let file = match run.state {
        State::FileBacked => behind.page(memory.tree.at(run.va), run.va),
        _ => Err(Absent::NotApplicable),
    };
    let place = Place { va: Some(run.va), pa: run.pa, file: kept.ok() };
    Row::of(FIELDS, &Of { process, space: behind.space, memory, run, kept, file }, wanted).at(place)
}

impl Of<'_> {
    /// The entry that says where the page is: a prototype, or the last of the page tables.
    fn deciding(&self) -> Option<Place> {
        match self.run.prototype {
            Some(prototype) => Some(self.space.place(prototype)),
            None => self.memory.space.entry_place(self.run.va),
        }
    }
}

fn in_memory(value: Option<u64>) -> Cell {
    value.map_or(Cell::Absent(Absent::NotApplicable), Cell::Hex)
}

fn file_offset(run: &Pages) -> Cell {
    match (run.pa, run.file) {
        (Some(_), None) => Absent::NotInDump.into(),
        (_, file) => in_memory(file),
    }
}

fn page_file(run: &Pages) -> Cell {
    match run.page_file {
        Some((Some(number), _)) => number.into(),
        Some((None, _)) => Absent::NoSymbol.into(),
        None => Absent::NotApplicable.into(),
    }
}

/// `rwxu`, with `-` for what is not allowed.
fn rights(r: Rights) -> &'static str {
    match (r.write, r.execute, r.user) {
        (false, false, true) => "r--u",
        (false, true, true) => "r-xu",
        (true, false, true) => "rw-u",
        (true, true, true) => "rwxu",
        (false, false, false) => "r---",
        (false, true, false) => "r-x-",
        (true, false, false) => "rw--",
        (true, true, false) => "rwx-",
    }
}
