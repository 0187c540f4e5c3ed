//! `pslist` of a user-mode minidump: its one process.

use super::{asked, cells, process_name, record, whose};
use crate::analysis::Ask;
use crate::analysis::pslist::COLUMNS;
use crate::dump::user::{List, UserDump};
use crate::error::Result;
use crate::report::{Cell, Column, Row, Sink};

/// A row of `columns` in which the process' name is all that a minidump knows.
pub(in crate::analysis) fn named(
    user: &UserDump<'_>,
    ask: &Ask,
    columns: &[Column],
    sink: &mut dyn Sink,
) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let [pid, name] = whose(user);
    let known = vec![("pid", pid), ("name", name), ("create_time", user.info().create_time.into())];
    let row = Row::new(cells(columns, known));
    sink.row(match user.info().file {
        Some(file) => row.at(record(file)),
        None => row,
    })
}

/// The row.
pub(in crate::analysis) fn pslist(user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let [pid, name] = whose(user);
    let program = user.program();
    let mut known = vec![
        ("pid", pid),
        ("name", name),
        ("image_name", process_name(user).into()),
        ("create_time", user.info().create_time.into()),
        ("threads", user.has(List::Threads).map(|()| user.threads().len() as u64).into()),
        ("handles", user.has(List::Handles).map(|()| user.handles().len() as u64).into()),
    ];
    if let Some(program) = program {
        known.push(("image_base", Cell::from(program.base)));
        known.push(("path", program.name.clone().into()));
    }
    let row = Row::new(cells(&COLUMNS, known));
    let file = user.info().file.or(program.map(|p| p.file));
    sink.row(match file {
        Some(file) => row.at(record(file)),
        None => row,
    })
}
