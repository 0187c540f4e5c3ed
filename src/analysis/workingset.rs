//! `workingset`: how much of each process (and of each range) is in memory, and where the rest is.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, Switch, who};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::page_state::{Grain, Pages, PfnDatabase, State, pages};
use crate::kernel::process::{EProcess, Process};
use crate::kernel::vad::{Kind as VadKind, Vad, VadShort};
use crate::kernel::vad_tree::Layouts;
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
use crate::value::{Absent, Note, Value};

/// The register's entry.
pub static WORKINGSET: Analysis = Analysis {
    name: "workingset",
    about: "Pages of each process by state: resident, shared, locked, paged out",
    help: "Counts pages by their state (see memmap), from the page tables and the address ranges' prototype entries. shared, unshared and locked \
           tell valid pages apart by the PFN database and are absent where the dump or the symbols lack it. kernel_count is what the kernel \
           itself counts. With --vads one row for each address range.\n\nExample: dumpwalk workingset memory.dmp --pid 1234 --vads",
    columns: &COLUMNS,
    switches: &[Switch {
        name: "vads",
        value: None,
        about: "One row for each address range instead of one for each process",
    }],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

/// The pages of a process, or of one of its address ranges.
struct WorkingSets;
struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    vad: Option<&'a Vad>,
    counts: &'a Counts,
}
who::of_process!(WorkingSets, Of);

impl Of<'_> {
    fn of_vad(&self, get: fn(&Vad) -> Cell) -> Cell {
        self.vad.map_or(Cell::Absent(Absent::NotApplicable), get)
    }
    fn in_node(&self, field: At<VadShort>) -> Option<Place> {
        self.process.kernel.place_in(self.space, self.vad?.node, field)
    }
    /// What only the address ranges say of pages that no entry of the process's own describes.
    fn by_ranges(&self, state: State) -> Cell {
        let ranges = Layouts::of(self.process.kernel).map_err(|_| Absent::NoSymbol).and_then(|l| l.whole());
        ranges.map(|()| self.counts.state(state)).into()
    }
    fn told(&self, count: u64) -> Cell {
        self.counts.untold.map_or(Cell::Dec(count), Cell::Absent)
    }
    fn of_process(&self, value: Value<u64>) -> Cell {
        if self.vad.is_some() { Absent::NotApplicable.into() } else { value.into() }
    }
}

const FIELDS: &[Field<WorkingSets>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(
        col("start", Kind::Hex, "First byte of the range (--vads)"),
        |c| c.of_vad(|v| v.start.into()),
        |c| c.in_node(VadShort::start),
    ),
    placed(
        col("end", Kind::Hex, "Last byte of the range (--vads)"),
        |c| c.of_vad(|v| v.end.into()),
        |c| c.in_node(VadShort::end),
    ),
    placed(
        col("type", Kind::Text, "Type of the range (--vads)"),
        |c| c.of_vad(|v| v.kind.map(VadKind::key).into()),
        |c| c.in_node(VadShort::kind).or_else(|| c.in_node(VadShort::image_map)),
    ),
    derived(col("valid", Kind::Number, "Pages the processor maps"), "the page tables", |c| {
        c.counts.state(State::Valid).into()
    }),
    derived(col("transition", Kind::Number, "Pages on the standby or modified list"), "the page tables", |c| {
        c.counts.state(State::Transition).into()
    }),
    derived(
        col("prototype", Kind::Number, "Pages in memory for a section, not entered in this process"),
        "the page tables, address ranges and prototype entries",
        |c| c.by_ranges(State::Prototype),
    ),
    derived(
        col("demand_zero", Kind::Number, "Pages promised, never touched"),
        "the page tables, address ranges and prototype entries",
        |c| c.by_ranges(State::DemandZero),
    ),
    derived(col("paged_out", Kind::Number, "Pages in page files"), "the page tables", |c| {
        c.counts.state(State::PagedOut).into()
    }),
    derived(
        col("file_backed", Kind::Number, "Pages to be read from the mapped file"),
        "the page tables, address ranges and prototype entries",
        |c| c.by_ranges(State::FileBacked),
    ),
    derived(col("compressed", Kind::Number, "Pages in the compressed store"), "the page tables", |c| {
        c.counts.state(State::Compressed).into()
    }),
    derived(
        col("not_in_dump", Kind::Number, "Pages in memory that the dump leaves out"),
        "the page tables, and which pages the dump has",
        |c| c.counts.state(State::NotInDump).into(),
    ),
    derived(
        wide("unknown", Kind::Number, "Pages whose tables or prototype entries cannot be read"),
        "the page tables",
        |c| c.counts.state(State::Unknown).into(),
    ),
    derived(
        col("shared", Kind::Number, "Valid pages of sections (PFN database)"),
        "the page tables and the PFN database",
        |c| c.told(c.counts.shared),
    ),
    derived(
        wide("unshared", Kind::Number, "Valid pages of the process alone"),
        "the page tables and the PFN database",
        |c| c.told(c.counts.unshared),
    ),
    derived(
        wide("locked", Kind::Number, "Valid pages that something holds in place"),
        "the page tables and the PFN database",
        |c| c.told(c.counts.locked),
    ),
    placed(
        wide("kernel_count", Kind::Number, "Working set size as the kernel counts it, in pages"),
        |c| c.of_process(c.process.view.working_set()),
        |c| c.process.view.at(EProcess::working_set),
    ),
    placed(
        wide("kernel_peak", Kind::Number, "Its peak, in pages"),
        |c| c.of_process(c.process.view.working_set_peak()),
        |c| c.process.view.at(EProcess::working_set_peak),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// Pages by state.
#[derive(Default)]
struct Counts {
    states: [u64; State::ALL.len()],
    shared: u64,
    unshared: u64,
    locked: u64,
    /// Why a page's kind could not be told, where it could not.
    untold: Option<Absent>,
    /// Where the page tables were too many to follow.
    cut: Option<Note>,
}

impl Counts {
    fn add(&mut self, kernel_space: &Space<'_>, pfns: Value<PfnDatabase<'_>>, run: &Pages) {
        if let Some(note) = run.cut_note() {
            // What was not followed is not counted.
            self.cut = Some(note);
            return;
        }
        let count = run.size / PAGE_SIZE;
        if let Some(n) = self.states.get_mut(run.state as usize) {
            *n = n.saturating_add(count);
        }
        // In memory when the dump was made, whether the dump has it or not.
        let (Some(pa), None) = (run.pa.filter(|_| run.rights.is_some()), run.prototype) else { return };
        for i in 0..count {
            match pfns.and_then(|p| p.shared_and_locked(kernel_space, pa.add(i.saturating_mul(PAGE_SIZE)))) {
                Ok((shared, locked)) => {
                    let which = if shared { &mut self.shared } else { &mut self.unshared };
                    *which = which.saturating_add(1);
                    self.locked = self.locked.saturating_add(locked.into());
                }
                Err(why) => {
                    self.untold = Some(why);
                    return;
                }
            }
        }
    }
    fn state(&self, state: State) -> u64 {
        self.states.get(state as usize).copied().unwrap_or(0)
    }
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let pfns = PfnDatabase::of(kernel);
    each_process(case, ask, sink, |space, process, sink| rows(kernel, pfns, process, space, ask, sink))
}

/// The rows of a process: one, or with `--vads` one for each address range.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    kernel: &'k Kernel,
    pfns: Value<PfnDatabase<'k>>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let memory = match AddressSpace::of(process, space) {
        Ok(memory) => memory,
        Err(why) => {
            tell(process, [Note::loss(format!("its page tables are {why}"))], sink);
            return Ok(());
        }
    };
    tell(process, memory.tree.notes.iter().cloned(), sink);
    if ask.has("vads") {
        for vad in &memory.tree.vads {
            let mut counts = Counts::default();
            pages(&memory.space, vad.start, vad.end, Grain::Any).for_each(|run| counts.add(space, pfns, &run));
            tell(process, counts.cut.take(), sink);
            sink.row(row(process, space, Some(vad), &counts, ask))?;
        }
        return Ok(());
    }
    let mut counts = Counts::default();
    pages(&memory.space, Va(0), kernel.last_user_address(), Grain::Any).for_each(|run| counts.add(space, pfns, &run));
    tell(process, counts.cut.take(), sink);
    sink.row(row(process, space, None, &counts, ask))
}

fn row(process: &Process<'_>, space: &Space<'_>, vad: Option<&Vad>, counts: &Counts, ask: &Ask) -> Row {
    Row::of(FIELDS, &Of { process, space, vad, counts }, &ask.rows).at(vad.map_or(process.place(), |v| v.place))
}

#[cfg(test)]
mod tests {
    use crate::kernel::page_state::PfnLayout;
    use crate::symbols::layout::Layout;

    #[test]
    fn every_known_kernel_tells_what_its_page_frames_are_for() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            // The table of 24H2 has no bits of `_MI_PFN_FLAGS4`, where the others' `PrototypePte` is.
            let told = PfnLayout::resolve(&symbols.types).unwrap().field("prototype").is_ok();
            assert_eq!(told, !name.contains("26100"), "{name}");
        }
    }
}
