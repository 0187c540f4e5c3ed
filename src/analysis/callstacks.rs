//! `callstacks`: the call stack of each thread, one frame a row.

use super::code::Location;
use super::parallel::{asked_for, in_order};
use super::thread_walk::{Common, Worker, each_thread, frame_location, symbol, walk};
use super::{Analysis, Answers, Ask, Case, Subject, Switch, copied, user, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::{Error, Result};
use crate::kernel::process::Process;
use crate::kernel::stack::thread::{Side, Stack};
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::Absent;

/// The register's entry.
pub static CALLSTACKS: Analysis = Analysis {
    name: "callstacks",
    about: "Call stacks of threads, one frame a row",
    help: "Walks the stacks of each thread: in the kernel from where it was switched away from (or from the registers of the crash), in \
           user mode from the trap frame, and the 32-bit side of WoW64 processes. x64 stacks are unwound by the unwind information of \
           the images in the dump, x86 and ARM64 stacks by their frame pointers, and so are x64 stacks through code that was made at \
           run time; where none of these leads on, the stack is scanned for the next return address that follows a call. `how` says \
           which: a frame of an `unchecked scan` may be a left-over, for the code before it is not in the dump.\n\n\
           A triage dump has the call stack of the crash, whatever stack the processor was on; it needs no symbols.\n\n\
           Example: dumpwalk callstacks memory.dmp --pid 4 --tid 88",
    columns: &COLUMNS,
    switches: &[Switch { name: "tid", value: Some("TID"), about: "Only the thread with this id" }],
    subject: Subject::Processes,
    answers: Answers::of(run)
        .triage(of_triage)
        .minidump(|_, dump, ask, sink| user::callstacks(dump, ask, tid(ask)?, sink)),
};

/// The columns of a frame.
pub const COLUMNS: [Column; 12] = [
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
    wide(
        "end",
        Kind::Text,
        "Of the last frame of a stack: how the walk ended (bottom of the stack, end of the kept stack, trap, lost, too many frames)",
    ),
];

/// The thread that was asked for.
fn tid(ask: &Ask) -> Result<Option<u64>> {
    let number = |text: &str| text.parse().map_err(|_| Error::Usage(format!("--tid {text}: not a number")));
    ask.value("tid").map(number).transpose()
}

fn of_triage(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    copied::callstack(case.kernel()?, ask, tid(ask)?, sink)
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let tid = tid(ask)?;
    let kernel = case.kernel()?;
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
        let locate = |side, ip| frame_location(common, with, side, ip);
        let [pid, name] = who::cells(with.process);
        let of = [pid, name, thread.tid().into()];
        frames(&of, &stack, locate, thread.place(), sink)?;
        Ok(())
    })
}

/// The rows of one stack; `of` are the cells that say whose it is.
///
/// # Errors
/// The sink's.
pub fn frames(
    of: &[Cell; 3],
    stack: &Stack,
    locate: impl Fn(Side, Va) -> Location,
    place: Place,
    sink: &mut dyn Sink,
) -> Result<()> {
    let [pid, name, tid] = of;
    stack.notes.iter().for_each(|n| sink.note(n.clone()));
    for (i, (side, frame)) in stack.frames.iter().enumerate() {
        let at = locate(*side, frame.ip);
        let cells: [Cell; COLUMNS.len()] = [
            pid.clone(),
            name.clone(),
            tid.clone(),
            (i as u64).into(),
            side.word().into(),
            frame.ip.into(),
            frame.sp.into(),
            at.module_name().into(),
            at.offset.map_or_else(Cell::Absent, Cell::Hex),
            symbol(at.symbol),
            frame.how.word().into(),
            stack.end_at(i).map_or(Cell::Absent(Absent::NotApplicable), Cell::from),
        ];
        sink.row(Row::new(cells.into()).at(place))?;
    }
    Ok(())
}
