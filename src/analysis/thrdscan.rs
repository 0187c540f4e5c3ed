//! `thrdscan`: threads found in physical memory, listed or not.

use super::scans::{self, Scans};
use super::{Analysis, Answers, Ask, Case, Subject, which_thread};
use crate::error::Result;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::kernel::thread::{EThread, Thread};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::Layout;
use crate::value::{Absent, Value};
use rustc_hash::FxHashSet;

/// The register's entry.
pub static THRDSCAN: Analysis = Analysis {
    name: "thrdscan",
    about: "Threads found in physical memory, on a list or not",
    help: "Finds threads by their pool tag and, without any pool header, by their dispatcher header; each must point to a process with \
           the same id. A thread that is alive and on neither list of its process was unlinked.\n\n\
           Example: dumpwalk thrdscan memory.dmp --pid 1234",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of_memory(run),
};

/// A thread that the scan met.
struct Hits;
struct Hit<'a> {
    found: &'a Found,
    space: &'a Space<'a>,
    thread: &'a Thread<'a>,
    /// The process it points to.
    owner: Value<Process<'a>>,
    list_status: &'static str,
}
impl crate::report::Subject for Hits {
    type Of<'a> = Hit<'a>;
}
which_thread::of_thread!(Hits, Hit);
impl Scans for Hits {
    fn found<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Found {
        of.found
    }
}

impl Hit<'_> {
    fn owner_name(&self) -> Value<String> {
        self.owner.as_ref().map_err(|why| *why).and_then(Process::name)
    }
}

const FIELDS: &[Field<Hits>] = &[
    placed(
        col("pid", Kind::Number, "Process id the thread says it belongs to (Cid)"),
        |c| c.thread.view.pid().into(),
        |c| c.thread.view.at(EThread::pid),
    ),
    placed(
        col("name", Kind::Text, "Name of the process it points to"),
        |c| c.owner_name().into(),
        |c| c.owner.as_ref().ok()?.view.at(EProcess::short_name),
    ),
    which_thread::tid(),
    scans::address(col("offset", Kind::Hex, "Address of the _ETHREAD")),
    scans::physical(),
    scans::found_by(),
    derived(
        col("list_status", Kind::Text, "listed, terminated, or unlinked (alive, but on no list of its process)"),
        "the lists of threads of its process, and what says whether it has ended",
        |c| c.list_status.into(),
    ),
    derived(
        col("doubts", Kind::Texts, "Fields that cannot be right, of what is a thread all the same"),
        "the fields it names",
        |c| Cell::List(c.thread.doubts(c.space).into_iter().flatten().map(|d| d.words().into()).collect()),
    ),
    which_thread::start_address(col("start_address", Kind::Hex, "Where the kernel began it")),
    which_thread::win32_start_address(col("win32_start_address", Kind::Hex, "What its creator asked to run")),
    which_thread::teb(wide("teb", Kind::Hex, "Thread environment block")),
    placed(
        wide("process", Kind::Hex, "Address of the _EPROCESS it points to"),
        |c| c.thread.view.owner().into(),
        |c| c.thread.view.at(EThread::owner),
    ),
    which_thread::state(wide("state", Kind::Text, "Scheduler state")),
    which_thread::create_time(col("create_time", Kind::Time, "When it was created")),
    which_thread::exit_time(col("exit_time", Kind::Time, "When it ended; none while it lives")),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::Thread)?;
    let layout = kernel.layout::<EThread>().map_err(|e| kernel.unreadable(&e))?;
    let space = kernel.space();
    let mut listed = FxHashSet::default();
    // Threads of processes that are themselves unlinked are on their process' list all the same.
    let owners: FxHashSet<_> =
        found.iter().filter_map(|f| kernel.thread_of(f.bytes(kernel, layout.span())).ok()?.view.owner().ok()).collect();
    for owner in owners {
        let process = kernel.process_at(&space, owner)?;
        for list in [process.thread_list(&space), process.scheduler_thread_list(&space)] {
            listed.extend(list?.list.iter().filter_map(Thread::offset));
        }
    }
    for f in &found {
        let thread = kernel.thread_of(f.bytes(kernel, layout.span()))?;
        let owner_at = thread.view.owner();
        let owner = owner_at.and_then(|va| kernel.process_at(&space, va).map_err(|_| Absent::NoSymbol));
        let list_status = if f.va.is_some_and(|va| listed.contains(&va)) {
            "listed"
        } else if thread.ended() == Ok(true) {
            "terminated"
        } else {
            "unlinked"
        };
        let hit = Hit { found: f, space: &space, thread: &thread, owner, list_status };
        if ask.wants(thread.view.pid().ok(), hit.owner_name().ok().as_deref(), owner_at.ok()) {
            sink.row(Row::of(FIELDS, &hit, &ask.rows).at(thread.place()))?;
        }
    }
    Ok(())
}
