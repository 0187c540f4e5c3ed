//! Triage dumps of a kernel that no layout is known of: the identity of the copied process and thread, where their own bytes
//! show it, and the call stack of the crash. Everything else is absent, for want of symbols.

use super::code::Location;
use super::{Ask, callstacks};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::find::Copied;
use crate::kernel::process::EProcess;
use crate::kernel::stack::crash;
use crate::kernel::thread::EThread;
use crate::report::{Cell, Column, Row, Sink};
use crate::value::{Absent, Note, Value};

fn cells(columns: &[Column], known: &[(&str, Cell)]) -> Vec<Cell> {
    let of = |c: &Column| known.iter().find(|(key, _)| *key == c.key).map(|(_, cell)| cell.clone());
    columns.iter().map(|c| of(c).unwrap_or(Cell::Absent(Absent::NoSymbol))).collect()
}

/// Says where the identity comes from, or that there is none.
fn source<'k>(kernel: &'k Kernel, sink: &mut dyn Sink) -> Option<&'k Copied> {
    let copied = kernel.copied.as_ref();
    sink.note(match copied {
        Some(copied) => Note::info(format!(
            "process and thread are those of the dump's copies, read by offsets of {} that agree with the debugger block and the header",
            copied.by
        )),
        None => Note::info("which process was running is not known: the bytes of its copy do not agree with the dump's header"),
    });
    copied
}

fn wanted(copied: &Copied, ask: &Ask) -> bool {
    ask.wants(Some(copied.pid), Some(&copied.name), None)
}

/// What is said where not even the identity is asked for.
pub(super) fn nothing(kernel: &Kernel, sink: &mut dyn Sink) -> Result<()> {
    source(kernel, sink);
    sink.note(Note::loss("no layout fits this kernel's structures: nothing of this can be read"));
    Ok(())
}

/// The one process: its row in an analysis that has one row for each.
pub(super) fn process(kernel: &Kernel, columns: &[Column], ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let Some(copied) = source(kernel, sink).filter(|c| wanted(c, ask)) else { return Ok(()) };
    let known = [
        ("pid", copied.pid.into()),
        ("ppid", copied.ppid.into()),
        ("name", copied.name.clone().into()),
        ("dtb", copied.dtb.into()),
        ("create_time", copied.created.into()),
    ];
    sink.row(Row::new(cells(columns, &known)).at(copied.process))
}

/// The one thread: its row in an analysis that has one row for each.
pub(super) fn thread(kernel: &Kernel, columns: &[Column], ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let Some(copied) = source(kernel, sink).filter(|c| wanted(c, ask)) else { return Ok(()) };
    let Some((tid, place)) = copied.thread else { return Ok(()) };
    let known = [("pid", copied.pid.into()), ("name", copied.name.clone().into()), ("tid", tid.into())];
    sink.row(Row::new(cells(columns, &known)).at(place))
}

/// Who was running when the machine stopped, as far as the triage dump's copies say.
struct Running {
    pid: Value<u64>,
    name: Value<String>,
    tid: Value<u64>,
    /// Where the copy of the thread is.
    place: Place,
    /// Where id and name of the process and id of the thread are.
    places: [Option<Place>; 3],
}

impl Running {
    fn of(kernel: &Kernel, sink: &mut dyn Sink) -> Self {
        if kernel.has_structures() {
            return Self::read(kernel, sink);
        }
        match source(kernel, sink) {
            Some(copied) => Self {
                pid: Ok(copied.pid),
                name: Ok(copied.name.clone()),
                tid: copied.thread.map(|(tid, _)| tid).ok_or(Absent::NoSymbol),
                place: copied.thread.map(|(_, place)| place).unwrap_or_default(),
                places: [None; 3],
            },
            None => Self {
                pid: Err(Absent::NoSymbol),
                name: Err(Absent::NoSymbol),
                tid: Err(Absent::NoSymbol),
                place: Place::default(),
                places: [None; 3],
            },
        }
    }
    fn read(kernel: &Kernel, sink: &mut dyn Sink) -> Self {
        let process = kernel.processes().ok().and_then(|found| {
            found.notes.into_iter().for_each(|n| sink.note(n));
            found.list.into_iter().next()
        });
        let pid = process.as_ref().ok_or(Absent::NotInDump).and_then(|p| p.pid());
        let threads = process.as_ref().and_then(|p| p.thread_list(&kernel.space()).ok()).unwrap_or_default();
        for note in threads.notes {
            let of = pid.map_or_else(|_| "?".into(), |pid| pid.to_string());
            sink.note(Note { loss: note.loss, text: format!("process {of}: {}", note.text) });
        }
        let thread = kernel.copied_thread();
        Self {
            pid,
            name: process.as_ref().ok_or(Absent::NotInDump).and_then(|p| p.name()),
            tid: thread.as_ref().map_err(|why| *why).and_then(|t| t.tid()),
            places: [
                process.as_ref().and_then(|p| p.view.at(EProcess::id)),
                process.as_ref().and_then(|p| p.view.at(EProcess::short_name)),
                thread.as_ref().ok().and_then(|t| t.view.at(EThread::tid)),
            ],
            place: thread.map(|t| t.place()).unwrap_or_default(),
        }
    }
}

/// The call stack of a triage dump: that of the crash. It needs no layout.
pub(super) fn callstack(kernel: &Kernel, ask: &Ask, tid: Option<u64>, sink: &mut dyn Sink) -> Result<()> {
    let running = Running::of(kernel, sink);
    let asked = ask.names_none() || ask.wants(running.pid.ok(), running.name.as_deref().ok(), None);
    if !asked || tid.is_some_and(|tid| running.tid != Ok(tid)) {
        return Ok(());
    }
    let found = match crash::of(kernel) {
        Ok(found) => found,
        Err(why) => {
            sink.note(Note::loss(format!("the call stack of the crash is {why}")));
            return Ok(());
        }
    };
    let space = kernel.space();
    let locate = |_, ip| Location::of(kernel, &space, &found.code, ip);
    let (pid, name, tid) = (running.pid.into(), running.name.into(), running.tid.into());
    let of = callstacks::Whose { pid, name, tid, places: running.places };
    callstacks::frames(&of, &found.stack, locate, running.place, ask, sink)
}

#[cfg(test)]
#[path = "copied_tests.rs"]
mod tests;
