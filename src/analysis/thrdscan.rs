//! `thrdscan`: threads found in physical memory, listed or not.

use super::{Analysis, Answers, Ask, Case, Subject, scans};
use crate::error::Result;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::kernel::thread::{EThread, Thread};
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::symbols::layout::Layout;
use crate::value::Value;
use rustc_hash::FxHashSet;
use std::borrow::Cow;

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

const COLUMNS: [Column; 15] = [
    col("pid", Kind::Number, "Process id the thread says it belongs to (Cid)"),
    col("name", Kind::Text, "Name of the process it points to"),
    col("tid", Kind::Number, "Thread id"),
    col("offset", Kind::Hex, "Address of the _ETHREAD"),
    scans::PHYSICAL,
    scans::FOUND_BY,
    col("list_status", Kind::Text, "listed, terminated, or unlinked (alive, but on no list of its process)"),
    col("doubts", Kind::Texts, "Fields that cannot be right, of what is a thread all the same"),
    col("start_address", Kind::Hex, "Where the kernel began it"),
    col("win32_start_address", Kind::Hex, "What its creator asked to run"),
    wide("teb", Kind::Hex, "Thread environment block"),
    wide("process", Kind::Hex, "Address of the _EPROCESS it points to"),
    wide("state", Kind::Text, "Scheduler state"),
    col("create_time", Kind::Time, "When it was created"),
    col("exit_time", Kind::Time, "When it ended; none while it lives"),
];

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
        let owner = thread.view.owner();
        let name: Value<String> =
            owner.and_then(|va| kernel.process_at(&space, va).map_err(|_| crate::value::Absent::NoSymbol)?.name());
        if !ask.wants(thread.view.pid().ok(), name.as_deref().ok(), owner.ok()) {
            continue;
        }
        let standing = if f.va.is_some_and(|va| listed.contains(&va)) {
            "listed"
        } else if thread.ended() == Ok(true) {
            "terminated"
        } else {
            "unlinked"
        };
        let [physical, by] = scans::cells(f);
        let cells: [Cell; COLUMNS.len()] = [
            thread.view.pid().into(),
            name.into(),
            thread.tid().into(),
            scans::offset(f),
            physical,
            by,
            standing.into(),
            Cell::List(thread.doubts(&space).into_iter().flatten().map(|d| d.words().into()).collect()),
            thread.view.start().into(),
            thread.win32_start().into(),
            thread.teb().into(),
            owner.into(),
            thread.state().map(Cow::into_owned).into(),
            thread.created().into(),
            thread.exited().into(),
        ];
        sink.row(Row::new(cells.into()).at(thread.place()))?;
    }
    Ok(())
}
