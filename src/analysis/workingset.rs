//! `workingset`: how much of each process (and of each range) is in memory, and where the rest is.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, Switch, who};
use crate::addr::{PAGE_SIZE, Va};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::page_state::{Grain, Pages, PfnDatabase, State, pages};
use crate::kernel::process::Process;
use crate::kernel::vad::{Kind as VadKind, Vad};
use crate::kernel::vad_tree::Layouts;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

const COLUMNS: [Column; 20] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("start", Kind::Hex, "First byte of the range (--vads)"),
    col("end", Kind::Hex, "Last byte of the range (--vads)"),
    col("type", Kind::Text, "Type of the range (--vads)"),
    col("valid", Kind::Number, "Pages the processor maps"),
    col("transition", Kind::Number, "Pages on the standby or modified list"),
    col("prototype", Kind::Number, "Pages in memory for a section, not entered in this process"),
    col("demand_zero", Kind::Number, "Pages promised, never touched"),
    col("paged_out", Kind::Number, "Pages in page files"),
    col("file_backed", Kind::Number, "Pages to be read from the mapped file"),
    col("compressed", Kind::Number, "Pages in the compressed store"),
    col("not_in_dump", Kind::Number, "Pages in memory that the dump leaves out"),
    wide("unknown", Kind::Number, "Pages whose tables or prototype entries cannot be read"),
    col("shared", Kind::Number, "Valid pages of sections (PFN database)"),
    wide("unshared", Kind::Number, "Valid pages of the process alone"),
    wide("locked", Kind::Number, "Valid pages that something holds in place"),
    wide("kernel_count", Kind::Number, "Working set size as the kernel counts it, in pages"),
    wide("kernel_peak", Kind::Number, "Its peak, in pages"),
];

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
            sink.row(row(process, Some(vad), &counts))?;
        }
        return Ok(());
    }
    let mut counts = Counts::default();
    pages(&memory.space, Va(0), kernel.last_user_address(), Grain::Any).for_each(|run| counts.add(space, pfns, &run));
    tell(process, counts.cut.take(), sink);
    sink.row(row(process, None, &counts))
}

fn row(process: &Process<'_>, vad: Option<&Vad>, counts: &Counts) -> Row {
    let [pid, name] = who::cells(process);
    // What only the address ranges say of pages that no entry of the process's own describes.
    let ranges = Layouts::of(process.kernel).map_err(|_| Absent::NoSymbol).and_then(|l| l.whole());
    let by_ranges = |state: State| Cell::from(ranges.map(|()| counts.state(state)));
    let of_vad = |get: &dyn Fn(&Vad) -> Cell| vad.map_or(Cell::Absent(Absent::NotApplicable), get);
    let told = |n: u64| counts.untold.map_or(Cell::Dec(n), Cell::Absent);
    let of_process = |v: Value<u64>| if vad.is_some() { Absent::NotApplicable.into() } else { Cell::from(v) };
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        who::address(process),
        of_vad(&|v| v.start.into()),
        of_vad(&|v| v.end.into()),
        of_vad(&|v| v.kind.map(VadKind::key).into()),
        counts.state(State::Valid).into(),
        counts.state(State::Transition).into(),
        by_ranges(State::Prototype),
        by_ranges(State::DemandZero),
        counts.state(State::PagedOut).into(),
        by_ranges(State::FileBacked),
        counts.state(State::Compressed).into(),
        counts.state(State::NotInDump).into(),
        counts.state(State::Unknown).into(),
        told(counts.shared),
        told(counts.unshared),
        told(counts.locked),
        of_process(process.view.working_set()),
        of_process(process.view.working_set_peak()),
    ];
    Row::new(cells.into()).at(vad.map_or(process.place(), |v| v.place))
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
