//! `memmap`: every page of a process, where it is or where it went.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, Switch, memory, user_memory, who};
use crate::addr::{PAGE_SIZE, Va};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::Files;
use crate::kernel::page_state::{Grain, Pages, State, pages};
use crate::kernel::process::Process;
use crate::kernel::section::{FilePage, Sections, Subsection};
use crate::kernel::vad::Vad;
use crate::paging::{Rights, Space};
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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
    answers: Answers::of(run).minidump(|_, dump, ask, sink| user_memory::memmap(dump, ask, sink)),
};

/// The columns.
pub const COLUMNS: [Column; 18] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("start", Kind::Hex, "First address"),
    col("size", Kind::Number, "Bytes"),
    col(
        "state",
        Kind::Text,
        "valid, transition, prototype, demand_zero, paged_out, file_backed, compressed, not_in_dump, unknown",
    ),
    col("physical", Kind::Hex, "Physical address, of pages in memory"),
    col("file_offset", Kind::Hex, "Place in the dump file"),
    col("rights", Kind::Text, "What the processor allows: read, write, execute, user"),
    col("page_file", Kind::Number, "Page file that holds it"),
    col(
        "page_file_offset",
        Kind::Hex,
        "Byte in the page file; of the compressed store, 4096 times the page's key there",
    ),
    col("source", Kind::Text, "Where it can be read: dump, page file N (--page-file), compressed store"),
    col("mapped_file", Kind::Text, "Of a file_backed page: the file it is to be read from"),
    col("mapped_file_offset", Kind::Hex, "Its byte in that file"),
    wide("mapped_file_bytes", Kind::Number, "Bytes the file has of it; the rest of the page is zeros"),
    wide("prototype", Kind::Hex, "Address of the prototype entry that decides"),
    wide("entry", Kind::Hex, "The last page-table entry as it stands"),
    wide("vad", Kind::Hex, "First byte of the address range it lies in"),
];

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
            sink.row(row(process, &memory, &mut behind, &run))?;
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

fn row(process: &Process<'_>, memory: &AddressSpace<'_>, behind: &mut Behind<'_>, run: &Pages) -> Row {
    let [pid, name] = who::cells(process);
    let kept = run.kept(&memory.space);
    let file = match run.state {
        State::FileBacked => behind.page(memory.tree.at(run.va), run.va),
        _ => Err(Absent::NotApplicable),
    };
    let in_memory = |v: Option<u64>| v.map_or(Cell::Absent(Absent::NotApplicable), Cell::Hex);
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        who::offset(process),
        run.va.into(),
        run.size.into(),
        run.state.key().into(),
        in_memory(run.pa.map(|p| p.0)),
        match (run.pa, run.file) {
            (Some(_), None) => Absent::NotInDump.into(),
            (_, file) => in_memory(file),
        },
        run.rights.map(rights).ok_or(Absent::NotApplicable).into(),
        match run.page_file {
            Some((Some(number), _)) => number.into(),
            Some((None, _)) => Absent::NoSymbol.into(),
            None => Absent::NotApplicable.into(),
        },
        in_memory(run.page_file.map(|(_, at)| at)),
        kept.map(|at| memory::source(Some(at))).into(),
        file.as_ref().map(|(name, _)| name.clone()).map_err(|why| *why).into(),
        file.as_ref().map_or_else(|why| Cell::Absent(*why), |(_, page)| Cell::Hex(page.offset)),
        file.as_ref().map_or_else(|why| Cell::Absent(*why), |(_, page)| page.bytes.into()),
        in_memory(run.prototype.map(|p| p.0)),
        in_memory(run.entry),
        memory.tree.at(run.va).map_or(Cell::Absent(Absent::NotApplicable), |v| v.start.into()),
    ];
    let place = crate::bytes::Place { va: Some(run.va), pa: run.pa, file: kept.ok() };
    Row::new(cells.into()).at(place)
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
