//! User-mode minidumps: one process, told by the dump's streams. One file for each analysis that answers from them.

mod crashinfo;
mod dlllist;
mod handles;
mod info;
pub(super) mod memory;
mod modules;
mod parameters;
mod pslist;
mod threads;
mod timeline;
mod vadinfo;

pub(super) use crashinfo::crashinfo;
pub(super) use dlllist::dlllist;
pub(super) use handles::handles;
pub(super) use info::{info, info_at};
pub(super) use modules::{modules, unloaded};
pub(super) use parameters::{cmdline, envars};
pub(super) use pslist::{named, pslist};
pub(super) use threads::{callstacks, threads};
pub(super) use timeline::events;
pub(super) use vadinfo::vadinfo;

use super::Ask;
use crate::bytes::Place;
use crate::dump::user::{List, Module, UserDump};
use crate::kernel::process::base_name;
use crate::report::{Cell, Column, Row, Sink};
use crate::value::{Absent, Note, Value};

/// The program's file name: a minidump has no other name of its process.
fn process_name(user: &UserDump<'_>) -> Value<String> {
    let path = user.program().ok_or(Absent::NotRecorded)?.name.as_ref().map_err(|why| *why)?;
    Ok(base_name(path).to_owned())
}

/// The process's id and name, as every per-process row begins with.
fn whose(user: &UserDump<'_>) -> [Cell; 2] {
    [user.info().pid.into(), process_name(user).into()]
}

/// Whether the process is one that was asked for.
fn asked(user: &UserDump<'_>, ask: &Ask) -> bool {
    ask.wants(user.info().pid.ok().map(Into::into), process_name(user).ok().as_deref(), None)
}

/// The same row, with the places of its values where they were asked for: file offsets, by column.
fn placed(row: Row, ask: &Ask, places: &[(&'static str, Option<u64>)]) -> Row {
    placed_at(row, ask, places.iter().map(|(key, at)| (*key, at.map(Place::in_dump))))
}
/// The same, of values that are in the process's memory as well.
fn placed_at(mut row: Row, ask: &Ask, places: impl IntoIterator<Item = (&'static str, Option<Place>)>) -> Row {
    if ask.rows.places {
        row.fields.extend(places.into_iter().filter_map(|(key, place)| Some((key, place?))));
    }
    row
}

/// Where id and name of the process are: in `MINIDUMP_MISC_INFO`, and at the end of the first module's path.
pub(super) fn whose_at(user: &UserDump<'_>) -> [(&'static str, Option<u64>); 2] {
    [("pid", misc_at(user, 8)), ("name", user.program().and_then(|program| name_at(user, program)))]
}
/// Where a field of `MINIDUMP_MISC_INFO` is.
fn misc_at(user: &UserDump<'_>, field: u64) -> Option<u64> {
    user.info().file?.checked_add(field)
}
/// Where the path of a module is: `MINIDUMP_MODULE.ModuleNameRva`.
fn path_at(user: &UserDump<'_>, module: &Module) -> Option<u64> {
    user.text_at(module.file.checked_add(20)?)
}
/// Where its last part is.
fn name_at(user: &UserDump<'_>, module: &Module) -> Option<u64> {
    let path = module.name.as_ref().ok()?;
    let folder = path.strip_suffix(base_name(path))?;
    path_at(user, module)?.checked_add(u64::try_from(folder.encode_utf16().count()).ok()?.checked_mul(2)?)
}
/// Where a field of a record is.
const fn at(record: u64, field: u64) -> Option<u64> {
    record.checked_add(field)
}

/// A row of the cells that are known.
fn row_of(columns: &[Column], known: Vec<(&str, Cell)>, place: Place) -> Row {
    Row::new(cells(columns, known)).at(place)
}
/// A row's cells from those that are known, by column; no stream of a minidump holds the others.
fn cells(columns: &[Column], known: Vec<(&str, Cell)>) -> Vec<Cell> {
    let mut cells = vec![Cell::Absent(Absent::NotRecorded); columns.len()];
    for (key, cell) in known {
        let column = columns.iter().position(|c| c.key == key);
        debug_assert!(column.is_some(), "no column {key}");
        if let Some(slot) = column.and_then(|i| cells.get_mut(i)) {
            *slot = cell;
        }
    }
    cells
}

/// Says so where the dump was written without a list: none is not the same as an empty one.
fn tell_missing(user: &UserDump<'_>, list: List, what: &str, sink: &mut dyn Sink) {
    match user.has(list) {
        Ok(()) => {}
        Err(Absent::NotRecorded) => sink.note(Note::info(format!("the minidump was written without a list of {what}"))),
        Err(why) => sink.note(Note::loss(format!("the minidump's list of {what} is {why}"))),
    }
}
