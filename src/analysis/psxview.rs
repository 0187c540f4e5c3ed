//! `psxview`: every way the kernel knows its processes, side by side.

use super::{Analysis, Answers, Ask, Case, Subject, parallel, pslist, user, who};
use crate::dump::UserDump;
use crate::error::Result;
use crate::kernel::crossview::{Crossed, Reason, Standing, View};
use crate::kernel::scan::find::By;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::{Absent, Note};

/// The register's entry.
pub static PSXVIEW: Analysis = Analysis {
    name: "psxview",
    about: "Cross-view of processes: lists, tables and scans, with the reason for each miss",
    help: "One row for each process met in any way: the active list forwards and backwards, the scan of physical memory, PspCidTable, the \
           threads that belong to it, its session's list, the handles of csrss.exe and of System, its job's list. A process that hides \
           has left one of them and is in another. `unexplained` names the views that ought to have it and do not; `explained` those that lack \
           it for an innocent reason (it exited, is System, is a minimal process, was made before csrss.exe …). A column is absent \
           where the dump cannot answer. `holders` counts the processes that hold a handle to it.\n\n\
           Example: dumpwalk psxview memory.dmp",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(of_minidump),
};

const COLUMNS: [Column; 21] = [
    who::PID,
    who::NAME,
    col("offset", Kind::Hex, "Address of the _EPROCESS; none where the kernel maps it no more"),
    col(
        "list_status",
        Kind::Text,
        "listed, terminated, unlinked (alive, but on no active list), torn (the active list is torn where it stands), or remains (in \
         memory no longer mapped)",
    ),
    col("pslist", Kind::Bool, "On the active list, followed forwards"),
    col("pslist_back", Kind::Bool, "On the active list, followed backwards"),
    col("psscan", Kind::Bool, "Met by the scan of physical memory"),
    col("pspcid", Kind::Bool, "In PspCidTable by its own id"),
    col("thrdscan", Kind::Bool, "A thread of the scan or of PspCidTable belongs to it"),
    col("session", Kind::Bool, "On the process list of its session"),
    col("csrss", Kind::Bool, "A csrss.exe holds a handle to it or to a thread of it"),
    col("system", Kind::Bool, "System holds a handle to it or to a thread of it"),
    col("job", Kind::Bool, "On the process list of its job"),
    col("unexplained", Kind::Texts, "Views that ought to have it and do not"),
    wide("explained", Kind::Texts, "Views that lack it, each with the innocent reason"),
    wide("holders", Kind::Number, "Other processes that hold a handle to it or to a thread of it"),
    wide("ppid", Kind::Number, "Id of the parent it inherited from"),
    col("create_time", Kind::Time, "When it was created"),
    col("exit_time", Kind::Time, "When it ended; none while it runs"),
    wide("physical", Kind::Hex, "Physical address of the _EPROCESS"),
    wide("found_by", Kind::Texts, "pool_tag, dispatcher_header: how the scan met it"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let found = kernel.crossview(&ask.progress)?;
    found.notes.into_iter().for_each(|n| sink.note(n));
    let space = kernel.space();
    for crossed in &found.processes {
        if parallel::wanted(ask, &crossed.process, &space) {
            sink.row(row(crossed, ask))?;
        }
    }
    Ok(())
}

fn of_minidump(_: &Case, dump: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    sink.note(Note::info("a user-mode minidump holds one process and none of the kernel's views"));
    user::named(dump, ask, &COLUMNS, sink)
}

/// Why it has no virtual address.
fn unmapped(c: &Crossed<'_>) -> Absent {
    if c.pa.is_some() { Absent::NotMapped } else { Absent::NotRecorded }
}
/// Why it has no physical address: its page is not there, or the dump has none at all.
fn no_page(c: &Crossed<'_>) -> Absent {
    c.process.view.kind().err().unwrap_or(Absent::NotRecorded)
}

fn row(c: &Crossed<'_>, ask: &Ask) -> Row {
    let [pid, name] = who::cells(&c.process);
    let has = |view: View| Cell::from(c.has(view));
    let explained = c.seen.iter().filter_map(|s| match s.reason {
        None | Some(Reason::Unexplained) => None,
        Some(reason) => Some(Cell::from(format!("{}: {}", s.view.key(), reason.words()))),
    });
    let [pslist, back, psscan, pspcid, thrdscan, session, csrss, system, job] = View::ALL.map(has);
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        c.process.offset().map_or_else(|| Cell::Absent(unmapped(c)), Cell::from),
        c.standing.map(Standing::word).into(),
        pslist,
        back,
        psscan,
        pspcid,
        thrdscan,
        session,
        csrss,
        system,
        job,
        Cell::List(c.unexplained().map(|v| v.key().into()).collect()),
        Cell::List(explained.collect()),
        c.holders.into(),
        c.process.ppid().into(),
        c.process.create_time().into(),
        c.process.exit_time().into(),
        c.pa.map_or_else(|| Cell::Absent(no_page(c)), Cell::from),
        Cell::List(c.found_by.iter().map(|b| By::word(*b).into()).collect()),
    ];
    let mut row = Row::new(cells.into()).at(c.process.place());
    if ask.provenance {
        row.fields = pslist::places(&c.process);
        row.fields.retain(|(key, _)| COLUMNS.iter().any(|column| column.key == *key));
    }
    row
}
