//! `callstacks`: the call stack of each thread, one frame a row.

use super::code::Location;
use super::parallel::{asked_for, in_order};
use super::thread_walk::{Common, Worker, each_thread, frame_location, symbol, walk};
use super::{Analysis, Answers, Ask, Case, Subject, Switch, Takes, copied, user, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::{Error, Result};
use crate::kernel::process::{EProcess, Process};
use crate::kernel::stack::thread::{Side, Stack};
use crate::kernel::stack::walk::Frame;
use crate::kernel::thread::EThread;
use crate::number;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
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
    switches: &[Switch {
        name: "tid",
        value: Some(Takes::one("TID", |text| number::count(text).map(drop))),
        about: "Only the thread with this id",
    }],
    subject: Subject::Processes,
    answers: Answers::of(run)
        .triage(of_triage)
        .minidump(|_, dump, ask, sink| user::callstacks(dump, ask, tid(ask)?, sink)),
};

/// A frame of a stack.
struct Frames;
struct Of<'a> {
    of: &'a Whose,
    index: usize,
    side: Side,
    frame: &'a Frame,
    at: Location,
    end: Option<&'static str>,
}
impl crate::report::Subject for Frames {
    type Of<'a> = Of<'a>;
}

/// Whose a stack is, and where that is said: id and name of the process, id of the thread.
pub struct Whose {
    /// Id of the process.
    pub pid: Cell,
    /// Its name.
    pub name: Cell,
    /// Id of the thread.
    pub tid: Cell,
    /// Where the three are.
    pub places: [Option<Place>; 3],
}

/// The columns of a frame.
const FIELDS: &[Field<Frames>] = &[
    placed(who::PID, |c| c.of.pid.clone(), |c| c.of.places[0]),
    placed(who::NAME, |c| c.of.name.clone(), |c| c.of.places[1]),
    placed(col("tid", Kind::Number, "Thread id"), |c| c.of.tid.clone(), |c| c.of.places[2]),
    derived(col("frame", Kind::Number, "Number of the frame, 0 at the top"), "its order in the walk", |c| {
        (c.index as u64).into()
    }),
    derived(
        col("side", Kind::Text, "kernel, user or wow64 (32-bit code of a 64-bit Windows)"),
        "which of the thread's stacks it is",
        |c| c.side.word().into(),
    ),
    derived(
        col("ip", Kind::Hex, "Address of the code"),
        "the registers that the walk begins with, then return addresses, as how says",
        |c| c.frame.ip.into(),
    ),
    derived(
        col("sp", Kind::Hex, "Stack pointer"),
        "the registers that the walk begins with, then the sizes of frames, as how says",
        |c| c.frame.sp.into(),
    ),
    derived(
        col("module", Kind::Text, "Module of the code; none outside of all images"),
        "ip, and the images of kernel and process",
        |c| c.at.module_name().into(),
    ),
    derived(
        col("module_offset", Kind::Hex, "Bytes from the module's start"),
        "ip, and the images of kernel and process",
        |c| c.at.offset.map_or_else(Cell::Absent, Cell::Hex),
    ),
    derived(
        col("symbol", Kind::Text, "Function and distance, where symbols tell"),
        "ip, the images of kernel and process, and their symbols and exports",
        |c| symbol(c.at.symbol.clone()),
    ),
    derived(
        col(
            "how",
            Kind::Text,
            "How the frame was found: context, trap, switch, unwind, frame pointer, scan, unchecked scan",
        ),
        "the walk of the stack",
        |c| c.frame.how.word().into(),
    ),
    derived(
        wide(
            "end",
            Kind::Text,
            "Of the last frame of a stack: how the walk ended (bottom of the stack, end of the kept stack, trap, lost, too many frames)",
        ),
        "the walk of the stack",
        |c| c.end.map_or(Cell::Absent(Absent::NotApplicable), Cell::from),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// The thread that was asked for.
fn tid(ask: &Ask) -> Result<Option<u64>> {
    ask.value("tid").map(number::count).transpose().map_err(Error::Usage)
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
    in_order(wanted.into_iter(), start, |worker, process, sink| rows(&common, worker, &process, tid, ask, sink), sink)
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
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    each_thread(worker, process, true, sink, |with, thread, _, sink| {
        if tid.is_some_and(|t| thread.tid() != Ok(t)) {
            return Ok(());
        }
        let stack = walk(common, with, thread);
        let locate = |side, ip| frame_location(common, with, side, ip);
        let process = with.process;
        let places =
            [process.view.at(EProcess::id), process.view.at(EProcess::short_name), thread.view.at(EThread::tid)];
        let of = Whose { pid: process.pid().into(), name: process.name().into(), tid: thread.tid().into(), places };
        frames(&of, &stack, locate, thread.place(), ask, sink)?;
        Ok(())
    })
}

/// The rows of one stack; `of` says whose it is.
///
/// # Errors
/// The sink's.
pub fn frames(
    of: &Whose,
    stack: &Stack,
    locate: impl Fn(Side, Va) -> Location,
    place: Place,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    stack.notes.iter().for_each(|n| sink.note(n.clone()));
    for (index, (side, frame)) in stack.frames.iter().enumerate() {
        let of = Of { of, index, side: *side, frame, at: locate(*side, frame.ip), end: stack.end_at(index) };
        sink.row(Row::of(FIELDS, &of, &ask.rows).at(place))?;
    }
    Ok(())
}
