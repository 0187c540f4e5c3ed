//! `pslist` of a user-mode minidump: its one process.

use super::{asked, at, cells, misc_at, path_at, placed, process_name, whose, whose_at};
use crate::analysis::Ask;
use crate::analysis::pslist::COLUMNS;
use crate::bytes::Place;
use crate::dump::user::{List, UserDump};
use crate::error::Result;
use crate::report::{Cell, Column, Row, Sink};

/// `ThreadListStream` and `HandleDataStream` of `MINIDUMP_STREAM_TYPE`.
const THREAD_LIST: u32 = 3;
const HANDLE_DATA: u32 = 12;

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
    let [pid, name] = whose_at(user);
    let row = placed(Row::new(cells(columns, known)), ask, &[pid, name, ("create_time", misc_at(user, 12))]);
    sink.row(match user.info().file {
        Some(file) => row.at(Place::in_dump(file)),
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
    let [pid, name] = whose_at(user);
    let places = [
        pid,
        name,
        ("create_time", misc_at(user, 12)),
        // The first word of a list is its length.
        ("threads", user.stream(THREAD_LIST)),
        // MINIDUMP_HANDLE_DATA_STREAM: NumberOfDescriptors behind two sizes.
        ("handles", user.stream(HANDLE_DATA).and_then(|stream| at(stream, 8))),
        ("image_base", program.map(|p| p.file)),
        ("path", program.and_then(|p| path_at(user, p))),
    ];
    let row = placed(Row::new(cells(&COLUMNS, known)), ask, &places);
    let file = user.info().file.or(program.map(|p| p.file));
    sink.row(match file {
        Some(file) => row.at(Place::in_dump(file)),
        None => row,
    })
}
