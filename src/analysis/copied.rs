//! `pslist` and `threads` of a triage dump whose kernel no layout is known of: the identity of the copied process and
//! thread. Everything else is absent, for want of symbols.

use super::{Ask, pslist, threads};
use crate::error::Result;
use crate::kernel::find::Copied;
use crate::report::{Cell, Column, Row, Sink};
use crate::value::{Absent, Note};

fn cells(columns: &[Column], known: &[(&str, Cell)]) -> Vec<Cell> {
    let of = |c: &Column| known.iter().find(|(key, _)| *key == c.key).map(|(_, cell)| cell.clone());
    columns.iter().map(|c| of(c).unwrap_or(Cell::Absent(Absent::NoSymbol))).collect()
}

fn tell(copied: &Copied, sink: &mut dyn Sink) {
    sink.note(Note::info(format!(
        "who was running is told by the dump's copies, by distances of {} that the debugger block and the header bear out",
        copied.by
    )));
}

/// The one process.
pub(super) fn process(copied: &Copied, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    tell(copied, sink);
    if !ask.wants(Some(copied.pid), Some(&copied.name), None) {
        return Ok(());
    }
    let known = [
        ("pid", copied.pid.into()),
        ("ppid", copied.ppid.into()),
        ("name", copied.name.clone().into()),
        ("dtb", copied.dtb.into()),
        ("create_time", copied.created.into()),
    ];
    sink.row(Row::new(cells(&pslist::COLUMNS, &known)).at(copied.process))
}

/// The one thread.
pub(super) fn thread(copied: &Copied, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    tell(copied, sink);
    let Some((tid, place)) = copied.thread else { return Ok(()) };
    if !ask.wants(Some(copied.pid), Some(&copied.name), None) {
        return Ok(());
    }
    let known = [("pid", copied.pid.into()), ("name", copied.name.clone().into()), ("tid", tid.into())];
    sink.row(Row::new(cells(&threads::COLUMNS, &known)).at(place))
}
