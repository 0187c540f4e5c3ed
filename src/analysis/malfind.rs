//! `malfind`: memory that runs code without being an image.

use super::disassembly::{Look, hex_lines, instructions, look};
use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, Switch, user, who};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::{Bytes, Place};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::image::Image;
use crate::kernel::page_state::{Grain, Pages, State, pages};
use crate::kernel::process::Process;
use crate::kernel::protection::{Protection, Protections};
use crate::kernel::section::Sections;
use crate::kernel::sides::Sides;
use crate::kernel::vad::{Kind as VadKind, Vad, VadShort};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
use crate::value::{Absent, Note, Value};

/// The register's entry.
pub static MALFIND: Analysis = Analysis {
    name: "malfind",
    about: "Executable memory not backed by an image (possible injection), with indicators",
    help: "One row for each range that is no mapped image and may be both written and executed, if anything was ever written there; and for each \
           range with executable pages that holds a PE header (or where one was wiped), in which a thread starts, or whose code finds its own way. Compilers at run time (.NET, browsers, Java) make such \
           memory too: ranges full of functions as they make them, that no thread starts in, are counted in a note and shown \
           with --all (code made to look so escapes this way). notes say what speaks for an injection. Bytes and instructions are taken where a thread starts, else at a PE header's \
           entry point, else at the first byte written.\n\nExample: dumpwalk malfind memory.dmp --format json",
    columns: &COLUMNS,
    switches: &[Switch {
        name: "all",
        value: None,
        about: "Ranges too whose code looks as a compiler makes it at run time",
    }],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|case, dump, ask, sink| user::memory::malfind(&case.dump, *dump, ask, sink)),
};

/// A range that runs code without being an image.
#[derive(Debug)]
pub struct Suspects;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    protections: &'a Protections,
    suspect: &'a Suspect,
    /// What is at `code_at`.
    bytes: Bytes<'a>,
}
who::of_process!(Suspects, Of);

impl Of<'_> {
    fn in_node(&self, field: At<VadShort>) -> Option<Place> {
        self.process.kernel.place_in(self.space, self.suspect.vad.node, field)
    }
    fn threads(&self) -> Cell {
        let mut tids: Vec<u64> = self.suspect.threads.iter().map(|(tid, _)| *tid).collect();
        tids.dedup();
        tids.into()
    }
    fn shown(&self) -> Value<&[u8]> {
        if self.bytes.prefix().is_empty() { self.bytes.at(0, 1) } else { Ok(self.bytes.prefix()) }
    }
    fn lines(&self) -> Value<Vec<String>> {
        let at = self.suspect.code_at;
        let narrow = match &self.suspect.header {
            Some((_, image)) => !image.wide,
            None => self.process.is_wow64() == Ok(true) && at.0 <= u32::MAX.into(),
        };
        // A header is no code.
        let code = self.shown().and_then(|b| if b.starts_with(b"MZ") { Err(Absent::NotApplicable) } else { Ok(b) });
        instructions(self.process.kernel.arch, narrow, at, code?, INSTRUCTIONS)
    }
}

/// The columns.
pub const FIELDS: &[Field<Suspects>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(
        col("start", Kind::Hex, "First byte of the range"),
        |c| c.suspect.vad.start.into(),
        |c| c.in_node(VadShort::start),
    ),
    placed(col("end", Kind::Hex, "Last byte of the range"), |c| c.suspect.vad.end.into(), |c| c.in_node(VadShort::end)),
    placed(
        col("protection", Kind::Text, "Protection the range was made with"),
        |c| c.suspect.vad.protection.map(|p| c.protections.value(p).name()).into(),
        |c| c.in_node(VadShort::protection),
    ),
    derived(col("tag", Kind::Text, "Pool tag of the VAD"), "the pool header before the node", |c| {
        c.suspect.vad.tag.and_then(|t| t.text()).into()
    }),
    placed(
        col("private", Kind::Bool, "Private memory, not a section's"),
        |c| c.suspect.vad.private.into(),
        |c| c.in_node(VadShort::private),
    ),
    placed(
        wide("type", Kind::Text, "What the range is, as in vadinfo"),
        |c| c.suspect.vad.kind.map(VadKind::key).into(),
        |c| c.in_node(VadShort::kind).or_else(|| c.in_node(VadShort::image_map)),
    ),
    placed(
        wide("commit", Kind::Number, "Committed pages"),
        |c| c.suspect.vad.commit.into(),
        |c| c.in_node(VadShort::commit),
    ),
    derived(
        col("notes", Kind::Texts, "What was found there"),
        "page tables, contents, and threads' start addresses",
        |c| c.suspect.notes.clone().into(),
    ),
    derived(wide("threads", Kind::Texts, "Ids of the threads that start there"), "threads' start addresses", |c| {
        c.threads()
    }),
    derived(
        wide("executable_pages", Kind::Number, "Valid pages that the processor executes"),
        "the page tables",
        |c| c.suspect.executable_pages.into(),
    ),
    derived(
        wide("code_at", Kind::Hex, "Where the bytes and instructions shown are taken"),
        "threads' start addresses, an image's entry point, or the first byte that is not zero",
        |c| c.suspect.code_at.into(),
    ),
    placed(
        wide("hexdump", Kind::Texts, "Bytes there"),
        |c| c.shown().map(|b| hex_lines(c.suspect.code_at, b.get(..64).unwrap_or(b))).into(),
        |c| Some(c.bytes.place(0)),
    ),
    placed(wide("disassembly", Kind::Texts, "Instructions there"), |c| c.lines().into(), |c| Some(c.bytes.place(0))),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// Bytes shown.
const SHOWN: u32 = 128;
/// Instructions shown.
const INSTRUCTIONS: usize = 16;
/// Functions in rows from which on code counts as made by a compiler.
const FUNCTIONS: u32 = 4;
/// Pages whose code is looked at in one range.
const MOST_LOOKED: u64 = 64;
/// Page starts looked at for PE headers in one range.
const MOST_HEADERS: u64 = 1 << 14;

/// What is needed to look at processes; made once for all.
pub struct Finder<'k> {
    kernel: &'k Kernel,
    protections: Protections,
    sections: Option<Sections<'k>>,
    sides: Option<Sides<'k>>,
}

/// A range that runs code without being an image.
#[derive(Clone, Debug)]
pub struct Suspect {
    /// The range.
    pub vad: Vad,
    /// What was found there.
    pub notes: Vec<String>,
    /// Threads that start there: id and start.
    pub threads: Vec<(u64, Va)>,
    /// Valid pages that the processor executes.
    pub executable_pages: u64,
    /// An image header: its offset from the start, and itself.
    pub header: Option<(u64, Image)>,
    /// Where to look first.
    pub code_at: Va,
    /// Nothing speaks for an injection, and the code looks as a compiler makes it at run time.
    pub explained: bool,
}

/// What the pages of a range hold.
#[derive(Default)]
struct Content {
    /// Valid pages that are executable.
    executable: u64,
    /// The first page with a byte that is not zero.
    first: Option<Va>,
    /// Pages whose content is somewhere else.
    away: u64,
    /// The state of the first of them.
    away_state: Option<State>,
    /// An image header that begins a page.
    header: Option<(u64, Image)>,
    /// Whether the first page's content is somewhere else.
    start_away: bool,
    /// A PDB's identity record: linkers put one into images.
    debug_record: Option<u64>,
    /// What its code looks like.
    look: Look,
    /// Pages whose code was looked at.
    looked: u64,
}

impl Content {
    /// Counts pages that cannot be read.
    fn is_away(&mut self, vad: &Vad, run: &Pages, va: Va, size: u64) {
        self.away = self.away.saturating_add(size / PAGE_SIZE);
        self.away_state.get_or_insert(run.state);
        self.start_away |= va == vad.start;
    }
    /// A first page that is blank or was never touched, with something right behind it (where an image's code begins), or an image's debug
    /// record: a header was here, or was left out.
    fn wiped(&self, vad: &Vad) -> bool {
        let behind = !self.start_away && self.first == Some(vad.start.add(PAGE_SIZE));
        self.header.is_none() && (behind || self.debug_record.is_some())
    }
    /// What a compiler at run time makes: functions in rows, with no need to find their way.
    fn compiled(&self) -> bool {
        self.look.functions >= FUNCTIONS && !self.look.odd() && self.header.is_none()
    }
}

impl<'k> Finder<'k> {
    /// Resolves what is needed.
    pub fn of(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            protections: Protections::of(kernel).0,
            sections: Sections::of(kernel).ok(),
            sides: Sides::of(kernel).ok(),
        }
    }

    /// The suspect ranges of a process, by address.
    pub fn suspects(&self, process: &Process<'k>, kernel_space: &Space<'k>, memory: &AddressSpace<'k>) -> Vec<Suspect> {
        let starts = self.thread_starts(process, kernel_space);
        let mut no_execute: Option<bool> = None;
        let mut found = Vec::new();
        for vad in &memory.tree.vads {
            // Images are measured against their files elsewhere; device memory holds no code of the process. Private memory is looked
            // into whatever kind it claims: no image is private, and the kind is one field.
            let other = matches!(vad.kind, Ok(VadKind::Image | VadKind::Physical | VadKind::Rotate) | Err(_));
            if other && vad.private != Ok(true) {
                continue;
            }
            let made = vad.protection.map(|p| self.protections.value(p)).unwrap_or(Protection(0));
            let both = made.executable() && made.writable();
            let threads: Vec<(u64, Va)> = starts.iter().filter(|(_, va)| vad.contains(*va)).copied().collect();
            if !both && !made.executable() && self.is_file(kernel_space, vad) {
                continue;
            }
            if !made.executable() {
                // Made without execute rights: pages can have been given them later. Only where the processor knows such rights at all.
                let given = pages(&memory.space, vad.start, vad.end, Grain::Any)
                    .any(|p| p.rights.is_some_and(|r| r.execute && r.user));
                if !given || !*no_execute.get_or_insert_with(|| uses_no_execute(memory)) {
                    continue;
                }
            }
            let narrow = process.is_wow64() == Ok(true) && vad.end.0 <= u32::MAX.into();
            let content = self.content(&memory.space, vad, narrow);
            let touched = content.first.is_some() || content.away > 0;
            let speaks = content.header.is_some() || !threads.is_empty() || content.wiped(vad) || content.look.odd();
            if !(speaks || both && touched) {
                continue;
            }
            let explained = !speaks && content.compiled();
            found.push(Suspect { explained, ..self.suspect(process, memory, vad, made, threads, content) });
        }
        found
    }

    /// Whether a range maps a file (as data): by its section, not by what the range alone says.
    fn is_file(&self, kernel_space: &Space<'_>, vad: &Vad) -> bool {
        let Some(sections) = &self.sections else { return false };
        vad.private == Ok(false) && sections.control_area_of(kernel_space, vad).is_ok_and(|area| area.file.is_ok())
    }

    /// Where the threads of a process start, both by the kernel's note and by what their creator asked for.
    fn thread_starts(&self, process: &Process<'k>, kernel_space: &Space<'k>) -> Vec<(u64, Va)> {
        let Ok(threads) = process.thread_list(kernel_space) else { return Vec::new() };
        let mut starts = Vec::new();
        for thread in &threads.list {
            let Ok(tid) = thread.tid() else { continue };
            let both = [thread.win32_start(), thread.view.start()];
            for va in both.into_iter().flatten().filter(|va| !va.is_null()) {
                if !starts.contains(&(tid, va)) {
                    starts.push((tid, va));
                }
            }
        }
        starts
    }

    /// Looks through the pages of a range.
    fn content(&self, space: &Space<'_>, vad: &Vad, narrow: bool) -> Content {
        let mut out = Content::default();
        for run in pages(space, vad.start, vad.end, Grain::Any) {
            let executable = run.rights.is_some_and(|r| r.execute && r.user);
            if executable {
                out.executable = out.executable.saturating_add(run.size / PAGE_SIZE);
            }
            match run.state {
                State::Valid | State::Transition | State::Prototype | State::PagedOut | State::Compressed => {
                    self.read(space, vad, &run, narrow, &mut out);
                }
                State::DemandZero => {}
                _ => out.is_away(vad, &run, run.va, run.size),
            }
        }
        out
    }
    fn read(&self, space: &Space<'_>, vad: &Vad, run: &Pages, narrow: bool, out: &mut Content) {
        for i in 0..run.size / PAGE_SIZE {
            let va = run.va.add(i.saturating_mul(PAGE_SIZE));
            let bytes = space.fetch(va, u32::try_from(PAGE_SIZE).unwrap_or(0));
            let Ok(page) = bytes.all() else {
                if matches!(run.state, State::PagedOut | State::Compressed) {
                    out.is_away(vad, run, va, PAGE_SIZE);
                }
                continue;
            };
            let blank = page.iter().all(|b| *b == 0);
            if blank {
                continue;
            }
            out.first.get_or_insert(va);
            let offset = va.0.saturating_sub(vad.start.0);
            if out.header.is_none() && offset / PAGE_SIZE < MOST_HEADERS && page.starts_with(b"MZ") {
                out.header = Image::read(space, va).ok().map(|image| (offset, image));
                // A header is no code.
                if out.header.is_some() {
                    continue;
                }
            }
            if out.debug_record.is_none() {
                out.debug_record = debug_record(page).map(|at| offset.saturating_add(at));
            }
            if out.looked < MOST_LOOKED {
                out.looked = out.looked.saturating_add(1);
                out.look.add(look(self.kernel.arch, narrow, vad.start, va, page));
            }
        }
    }

    fn suspect(
        &self,
        process: &Process<'k>,
        memory: &AddressSpace<'k>,
        vad: &Vad,
        made: Protection,
        threads: Vec<(u64, Va)>,
        content: Content,
    ) -> Suspect {
        let mut notes = Vec::new();
        let mut code_at = None;
        for (tid, va) in &threads {
            notes.push(format!("thread {tid} starts here, at +{:#x}", va.0.saturating_sub(vad.start.0)));
            code_at.get_or_insert(*va);
        }
        if let Some((offset, image)) = &content.header {
            let size = image.size;
            let kind = image.machine_name();
            let at = if *offset == 0 { "begins with".to_owned() } else { format!("at +{offset:#x}") };
            notes.push(format!(
                "{at} a PE header: {kind}, {size} bytes, entry point +{:#x}",
                offset.saturating_add(image.entry.into())
            ));
            let entry = vad.start.add(*offset).add(image.entry.into());
            if image.entry != 0 && vad.contains(entry) && memory.space.slice(entry, 1).is_ok() {
                code_at.get_or_insert(entry);
            }
        } else if let Some(at) = content.debug_record {
            notes.push(format!("no PE header, but the debug record of an image at +{at:#x}: the header was wiped"));
        } else if content.wiped(vad) {
            notes.push("the first page is blank and the next is not, as when a PE header was wiped or left out".into());
        }
        let seen = [
            (content.look.reads_peb, "reads the PEB's address"),
            (content.look.finds_itself, "calls to learn where it lies"),
            (content.look.system_call, "direct system call"),
        ];
        for (at, what) in seen {
            if let Some(at) = at {
                notes.push(format!("{what}, at +{at:#x}"));
                code_at.get_or_insert(vad.start.add(at).page());
            }
        }
        if content.compiled() {
            notes.push(format!("{} functions in rows, as a compiler at run time makes them", content.look.functions));
        }
        if let Some(sides) = &self.sides {
            for side in sides.of_process(process, &self.kernel.space()) {
                let base = side.view(&memory.space).and_then(|peb| peb.image_base());
                if base == Ok(vad.start) {
                    notes.push("the PEB names it as the program's image: the image was replaced".into());
                }
            }
        }
        if !made.executable() && content.executable > 0 {
            notes.push(format!(
                "{} pages were made executable after it was reserved as {}",
                content.executable,
                made.name()
            ));
        }
        if content.first.is_none() {
            let where_to = content.away_state.map_or("unreadable", State::key);
            notes.push(format!("no byte of it can be read: {} pages are {where_to}", content.away));
        }
        let code_at = code_at.or(content.first).unwrap_or(vad.start);
        Suspect {
            vad: vad.clone(),
            notes,
            threads,
            executable_pages: content.executable,
            header: content.header,
            code_at,
            explained: false,
        }
    }
}

/// Whether any page of the process is not executable. Without that bit (old processors, non-PAE x86) every page would look like code.
fn uses_no_execute(memory: &AddressSpace<'_>) -> bool {
    memory
        .tree
        .vads
        .iter()
        .flat_map(|v| pages(&memory.space, v.start, v.end, Grain::Any).take(64))
        .filter_map(|p| p.rights)
        .any(|r| !r.execute)
}

/// The offset of a PDB identity record (`RSDS`, GUID, age, a name that ends in `.pdb`) in a page.
fn debug_record(page: &[u8]) -> Option<u64> {
    // Linkers align it to 4 bytes.
    let at = page.chunks_exact(4).position(|c| c == b"RSDS")?.checked_mul(4)?;
    let name = page.get(at.checked_add(24)?..)?.split(|b| *b == 0).next()?;
    name.to_ascii_lowercase().ends_with(b".pdb").then_some(at as u64)
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let finder = Finder::of(case.kernel()?);
    each_process(case, ask, sink, |space, process, sink| {
        let memory = match AddressSpace::of(process, space) {
            Ok(memory) => memory,
            Err(Absent::NotApplicable | Absent::Implausible) => return Ok(()),
            Err(why) => {
                tell(process, [Note::loss(format!("its page tables are {why}"))], sink);
                return Ok(());
            }
        };
        tell(process, memory.tree.notes.iter().cloned(), sink);
        let all = ask.has("all");
        let mut explained = 0u64;
        for suspect in finder.suspects(process, space, &memory) {
            if suspect.explained && !all {
                explained = explained.saturating_add(1);
                continue;
            }
            let bytes = memory.space.fetch(suspect.code_at, SHOWN);
            let of = Of { process, space, protections: &finder.protections, suspect: &suspect, bytes };
            sink.row(Row::of(FIELDS, &of, &ask.rows).at(suspect.vad.place))?;
        }
        if explained > 0 {
            let text = format!(
                "{explained} writable executable ranges hold what a compiler at run time makes, and no thread starts there: not shown (--all)"
            );
            tell(process, [Note::info(text)], sink);
        }
        Ok(())
    })
}
