//! `psxview`: every way the kernel knows its processes, side by side.

use super::{Analysis, Answers, Ask, Case, Subject, parallel, user, who};
use crate::dump::UserDump;
use crate::error::Result;
use crate::kernel::crossview::{Crossed, Reason, Standing, View};
use crate::kernel::process::Process;
use crate::kernel::scan::find::By;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, wide};
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

/// A process, met in any way.
struct Views;
impl crate::report::Subject for Views {
    type Of<'a> = &'a Crossed<'a>;
}
impl who::OfProcess for Views {
    fn process<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Process<'a> {
        &of.process
    }
}

/// What a view says.
macro_rules! view {
    ($key:literal, $view:expr, $about:literal, $from:literal) => {
        derived(col($key, Kind::Bool, $about), $from, |c| c.has($view).into())
    };
}

const FIELDS: &[Field<Views>] = &[
    who::pid(),
    who::name(),
    derived(
        col("offset", Kind::Hex, "Address of the _EPROCESS; none where the kernel maps it no more"),
        "the address at which the object is: it is the row's own place",
        |c| c.process.offset().map_or_else(|| Cell::Absent(unmapped(c)), Cell::from),
    ),
    derived(
        col(
            "list_status",
            Kind::Text,
            "listed, terminated, unlinked (alive, but on no active list), torn (the active list is torn where it stands), or remains (in \
             memory no longer mapped)",
        ),
        "all views, and what says whether it has ended",
        |c| c.standing.map(Standing::word).into(),
    ),
    view!(
        "pslist",
        View::ALL[0],
        "On the active list, followed forwards",
        "PsActiveProcessHead and the links of its members"
    ),
    view!(
        "pslist_back",
        View::ALL[1],
        "On the active list, followed backwards",
        "PsActiveProcessHead and the links of its members"
    ),
    view!("psscan", View::ALL[2], "Met by the scan of physical memory", "all of memory"),
    view!("pspcid", View::ALL[3], "In PspCidTable by its own id", "the entries of PspCidTable"),
    view!(
        "thrdscan",
        View::ALL[4],
        "A thread of the scan or of PspCidTable belongs to it",
        "the threads of the scan and of PspCidTable"
    ),
    view!("session", View::ALL[5], "On the process list of its session", "the process lists of sessions"),
    view!(
        "csrss",
        View::ALL[6],
        "A csrss.exe holds a handle to it or to a thread of it",
        "the handle tables of csrss.exe"
    ),
    view!("system", View::ALL[7], "System holds a handle to it or to a thread of it", "System's handle table"),
    view!("job", View::ALL[8], "On the process list of its job", "the process lists of jobs"),
    derived(col("unexplained", Kind::Texts, "Views that ought to have it and do not"), "all views", |c| {
        Cell::List(c.unexplained().map(|v| v.key().into()).collect())
    }),
    derived(wide("explained", Kind::Texts, "Views that lack it, each with the innocent reason"), "all views", |c| {
        explained(c)
    }),
    derived(
        wide("holders", Kind::Number, "Other processes that hold a handle to it or to a thread of it"),
        "the handle tables of all processes",
        |c| c.holders.into(),
    ),
    who::ppid(wide("ppid", Kind::Number, "Id of the parent it inherited from")),
    who::create_time(col("create_time", Kind::Time, "When it was created")),
    who::exit_time(col("exit_time", Kind::Time, "When it ended; none while it runs")),
    derived(
        wide("physical", Kind::Hex, "Physical address of the _EPROCESS"),
        "where it was met: it is the row's own place",
        |c| c.pa.map_or_else(|| Cell::Absent(no_page(c)), Cell::from),
    ),
    derived(
        wide("found_by", Kind::Texts, "pool_tag, dispatcher_header: how the scan met it"),
        "how the scan met it",
        |c| Cell::List(c.found_by.iter().map(|b| By::word(*b).into()).collect()),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let found = kernel.crossview(&ask.progress)?;
    found.notes.into_iter().for_each(|n| sink.note(n));
    let space = kernel.space();
    for crossed in &found.processes {
        if parallel::wanted(ask, &crossed.process, &space) {
            sink.row(Row::of(FIELDS, &crossed, &ask.rows).at(crossed.process.place()))?;
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

fn explained(c: &Crossed<'_>) -> Cell {
    let explained = c.seen.iter().filter_map(|s| match s.reason {
        None | Some(Reason::Unexplained) => None,
        Some(reason) => Some(Cell::from(format!("{}: {}", s.view.key(), reason.words()))),
    });
    Cell::List(explained.collect())
}
