//! `psscan`: processes found in physical memory, listed or not.

use super::pslist;
use super::scans::{self, Scans};
use super::{Analysis, Answers, Ask, Case, Subject};
use crate::error::Result;
use crate::kernel::active::Place;
use crate::kernel::crossview::Standing;
use crate::kernel::life::Life;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::report::{Cell, Column, Field, Kind, Sink, col, derived, headers, joined};
use crate::symbols::layout::Layout;
use crate::value::{Absent, Value};
use rustc_hash::FxHashMap;

/// The register's entry.
pub static PSSCAN: Analysis = Analysis {
    name: "psscan",
    about: "Processes found in physical memory, on a list or not",
    help: "One pass over physical memory finds every process by its pool tag, and also without any pool header by its dispatcher header \
           and the pointers in it, so that neither unlinking a process nor wiping its tag hides it. `list_status` says what it is: \
           `listed` on the active list, `terminated`, `unlinked`: alive, but not on the list, or `torn`: the list is broken where it \
           stands. A field that cannot be right (links that lead nowhere, an id of 0, a time that never was) does not hide a process \
           whose threads, handle table or page tables bear it out: it is a row, and `doubts` names the field.\n\n\
           Example: dumpwalk psscan memory.dmp --format jsonl",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of_memory(run),
};

/// What the scan says of a process.
struct Hits;
struct Hit<'a> {
    process: &'a Process<'a>,
    found: &'a Found,
    standing: Value<Standing>,
    same_pid: Value<u32>,
}
impl crate::report::Subject for Hits {
    type Of<'a> = Hit<'a>;
}
impl Scans for Hits {
    fn found<'a, 'b>(of: &'b Hit<'a>) -> &'b Found {
        of.found
    }
}

const OWN: &[Field<Hits>] = &[
    scans::physical(),
    scans::found_by(),
    derived(
        col(
            "list_status",
            Kind::Text,
            "listed, terminated, unlinked (alive, but on no active list), or torn (the active list is torn where it stands)",
        ),
        "the active list, and what says whether it has ended",
        |c| match c.standing {
            Ok(Standing::Remains) => Cell::Absent(Absent::NotMapped),
            told => told.map(Standing::word).into(),
        },
    ),
    derived(
        col("doubts", Kind::Texts, "Fields that cannot be right, of what is a process all the same"),
        "the fields it names",
        |c| Cell::List(c.process.doubts().into_iter().map(|d| Cell::from(d.words())).collect()),
    ),
    derived(
        col(
            "same_pid",
            Kind::Number,
            "Processes met that have this id: more than one where it was used again, or forged",
        ),
        "the ids of all processes met",
        |c| c.same_pid.into(),
    ),
];
const COLUMNS: [Column; pslist::COLUMNS.len() + OWN.len()] = joined(pslist::COLUMNS, headers::<_, 5>(OWN));

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::Process)?;
    let active = match kernel.active_list() {
        Ok(active) => {
            let mut notes = active.notes.clone();
            notes.extend(kernel.lost_ids(Some(&active)).filter(|n| !active.notes.contains(n)));
            notes.into_iter().filter(|n| n.loss).for_each(|n| sink.note(n));
            Ok(active)
        }
        Err(e) => {
            sink.note(crate::value::Note::loss(format!(
                "the active list cannot be walked, what is listed cannot be told: {e}"
            )));
            Err(Absent::NotRecorded)
        }
    };
    let layout = kernel.layout::<EProcess>().map_err(|e| kernel.unreadable(&e))?;
    let space = kernel.space();
    let processes =
        found.iter().map(|f| kernel.process_of(f.bytes(kernel, layout.span()))).collect::<Result<Vec<_>>>()?;
    let mut same_id: FxHashMap<u64, u32> = FxHashMap::default();
    for pid in processes.iter().filter_map(|p| p.pid().ok()) {
        let n = same_id.entry(pid).or_default();
        *n = n.saturating_add(1);
    }
    let mut places = active.as_ref().map(|a| a.places(kernel, &space)).map_err(|why| *why);
    for (f, process) in found.iter().zip(&processes) {
        if !ask.wants(process.pid().ok(), process.name().ok().as_deref(), f.va) {
            continue;
        }
        let place = places.as_mut().map_err(|why| *why).map(|p| f.va.map_or(Place::Off, |va| p.of(va)));
        let standing = place.map(|place| Standing::of(process, place, &Life::of(process, &space)));
        let same_pid = process.pid().map(|pid| same_id.get(&pid).copied().unwrap_or(1));
        let hit = Hit { process, found: f, standing, same_pid };
        sink.row(pslist::row(process, &space, ask).and(OWN, &hit, &ask.rows))?;
    }
    let mut twice: Vec<_> = same_id.into_iter().filter(|(_, n)| *n > 1).collect();
    twice.sort_unstable();
    for (pid, n) in twice.into_iter().filter(|(pid, _)| ask.names_none() || ask.pids.contains(pid)) {
        sink.note(crate::value::Note::info(format!("process id {pid} was met {n} times")));
    }
    Ok(())
}
