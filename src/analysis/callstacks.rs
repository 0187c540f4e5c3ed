//! `callstacks`: the call stack of each thread, one frame a row.

use super::parallel::{asked_for, in_order};
use super::threads::{Common, Worker, each_thread, frame_location, symbol, walk};
use super::{Analysis, Ask, Case, Switch, who};
use crate::error::{Error, Result};
use crate::kernel::process::Process;
use crate::report::{Cell, Column, Kind, Row, Sink, col};
use crate::value::Note;

/// The register's entry.
pub static CALLSTACKS: Analysis = Analysis {
    name: "callstacks",
    about: "Call stacks of threads, one frame a row",
    help: "Walks the stacks of each thread: in the kernel from where it was switched away from (or from the registers of the crash), in \
           user mode from the trap frame, and the 32-bit side of WoW64 processes. x64 stacks are unwound by the unwind information of \
           the images in the dump, x86 stacks by their frame pointers; where neither leads on, the stack is scanned for the next \
           return address that follows a call. `how` says which.\n\nExample: dumpwalk callstacks memory.dmp --pid 4 --tid 88",
    columns: &COLUMNS,
    switches: &[Switch { name: "tid", value: Some("TID"), about: "Only the thread with this id" }],
    run,
};

/// The columns of a frame.
pub const COLUMNS: [Column; 11] = [
    who::PID,
    who::NAME,
    col("tid", Kind::Number, "Thread id"),
    col("frame", Kind::Number, "Number of the frame, 0 at the top"),
    col("side", Kind::Text, "kernel, user or wow64 (32-bit code of a 64-bit Windows)"),
    col("ip", Kind::Hex, "Address of the code"),
    col("sp", Kind::Hex, "Stack pointer"),
    col("module", Kind::Text, "Module of the code; none outside of all images"),
    col("module_offset", Kind::Hex, "Bytes from the module's start"),
    col("symbol", Kind::Text, "Function and distance, where symbols tell"),
    col(
        "how",
        Kind::Text,
        "How the frame was found: context, trap, switch, unwind, frame pointer, scan, unchecked scan",
    ),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let tid = match ask.value("tid") {
        Some(text) => Some(text.parse::<u64>().map_err(|_| Error::Usage(format!("--tid {text}: not a number")))?),
        None => None,
    };
    let common = Common::of(kernel, true);
    let wanted = asked_for(case, ask, sink)?;
    let start = || Worker::of(kernel);
    in_order(wanted.into_iter(), start, |worker, process, sink| rows(&common, worker, &process, tid, sink), sink)
}

/// The frames of a process' threads, or of one of them.
///
/// # Errors
/// The symbols do not describe threads, or the sink's error.
pub fn rows<'k>(
    common: &Common<'k>,
    worker: &mut Worker<'k>,
    process: &Process<'k>,
    tid: Option<u64>,
    sink: &mut dyn Sink,
) -> Result<()> {
    each_thread(worker, process, true, sink, |with, thread, _, sink| {
        if tid.is_some_and(|t| thread.tid() != Ok(t)) {
            return Ok(());
        }
        let stack = walk(common, with, thread);
        for side in &stack.cut {
            let tid = thread.tid().map_or_else(|_| "?".into(), |t| t.to_string());
            sink.note(Note::info(format!(
                "thread {tid}: the walk of its {} stack stopped before the end",
                side.word()
            )));
        }
        for (i, (side, frame)) in stack.frames.iter().enumerate() {
            let at = frame_location(common, with, *side, frame.ip);
            let [pid, name] = who::cells(with.process);
            let cells: [Cell; COLUMNS.len()] = [
                pid,
                name,
                thread.tid().into(),
                (i as u64).into(),
                side.word().into(),
                frame.ip.into(),
                frame.sp.into(),
                at.module_name().into(),
                at.offset.map_or_else(Cell::Absent, Cell::Hex),
                symbol(&at),
                frame.how.word().into(),
            ];
            sink.row(Row::new(cells.into()).at(thread.place()))?;
        }
        Ok(())
    })
}
