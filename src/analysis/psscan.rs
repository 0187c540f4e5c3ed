//! `psscan`: processes found in physical memory, listed or not.

use super::pslist;
use super::{Analysis, Ask, Case, scans};
use crate::error::Result;
use crate::kernel::crossview::Standing;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::report::{Cell, Column, Kind, Sink, col, joined};
use crate::symbols::layout::Layout;
use crate::value::{Absent, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// The register's entry.
pub static PSSCAN: Analysis = Analysis {
    name: "psscan",
    about: "Processes found in physical memory, whether or not any list has them",
    help: "One pass over physical memory finds every process by its pool tag, and also without any pool header by its dispatcher header \
           and the pointers in it, so that neither unlinking a process nor wiping its tag hides it. `standing` says what it is: \
           `listed` on the active list, `terminated`, or `unlinked`: alive, but not on the list.\n\n\
           Example: dumpwalk psscan memory.dmp --format jsonl",
    columns: &COLUMNS,
    switches: &[],
    run,
};

const OWN: [Column; 4] = [
    scans::PHYSICAL,
    scans::FOUND_BY,
    col("standing", Kind::Text, "listed, terminated, or unlinked (alive, but on no active list)"),
    col("same_pid", Kind::Number, "Processes met that have this id: more than one where it was used again, or forged"),
];
const COLUMNS: [Column; pslist::COLUMNS.len() + OWN.len()] = joined(pslist::COLUMNS, OWN);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::Process)?;
    let listed: Value<FxHashSet<_>> = match kernel.processes() {
        Ok(listed) => Ok(listed.list.iter().filter_map(Process::offset).collect()),
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
    for (f, process) in found.iter().zip(&processes) {
        if !ask.wants(process.pid().ok(), process.name().ok().as_deref(), f.va) {
            continue;
        }
        let listed = listed.as_ref().map(|l| f.va.is_some_and(|va| l.contains(&va)));
        let standing = listed.map(|listed| Standing::of(process, listed)).map_err(|why| *why);
        let mut row = pslist::row(process, &space, ask);
        row.cells.extend(own_cells(f, standing));
        row.cells.push(process.pid().map(|pid| same_id.get(&pid).copied().unwrap_or(1)).into());
        sink.row(row)?;
    }
    let mut twice: Vec<_> = same_id.into_iter().filter(|(_, n)| *n > 1).collect();
    twice.sort_unstable();
    for (pid, n) in twice.into_iter().filter(|(pid, _)| ask.names_none() || ask.pids.contains(pid)) {
        sink.note(crate::value::Note::info(format!("process id {pid} was met {n} times")));
    }
    Ok(())
}

fn own_cells(f: &Found, standing: Value<Standing>) -> [Cell; 3] {
    let standing = match standing {
        Ok(Standing::Remains) => Cell::Absent(Absent::NotMapped),
        told => told.map(Standing::word).into(),
    };
    let [physical, by] = scans::cells(f);
    [physical, by, standing]
}
