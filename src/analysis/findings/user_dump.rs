//! Findings in a user-mode minidump: one process, no kernel. What `malfind` sees in it.

use super::rules::INJECTED_CODE;
use super::{Evidence, Finding, Severity, Subject};
use crate::addr::Va;
use crate::analysis::malfind::COLUMNS;
use crate::analysis::{Ask, user};
use crate::bytes::Place;
use crate::dump::Dump;
use crate::dump::user::UserDump;
use crate::error::Result;
use crate::place::At;
use crate::report::{Cell, Collected, Row, Sink};
use crate::value::{Absent, Note};

/// Executable memory that is no image, as findings.
///
/// # Errors
/// The sink's.
pub fn findings(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<Vec<Finding>> {
    let mut rows = Collected::default();
    user::memory::malfind(dump, user, ask, &mut rows)?;
    rows.notes.into_iter().for_each(|n| sink.note(n));
    sink.note(Note::info("a user-mode minidump holds one process and no kernel: only its memory was looked through"));
    let told = rows.rows.iter().map(|row| finding(dump, row));
    Ok(told.collect())
}

fn cell<'r>(row: &'r Row, key: &str) -> Option<&'r Cell> {
    row.cells.get(COLUMNS.iter().position(|c| c.key == key)?)
}
fn text(row: &Row, key: &str) -> String {
    let mut out = String::new();
    if let Some(cell) = cell(row, key) {
        cell.write_text(&mut out);
    }
    out
}

fn finding(dump: &Dump, row: &Row) -> Finding {
    let pid = match cell(row, "pid") {
        Some(Cell::Dec(pid)) => Some(*pid),
        _ => None,
    };
    let notes = text(row, "notes").replace('|', ", ");
    let said = notes.contains("PE header") || notes.contains("starts here");
    let severity = match (said, text(row, "protection").contains("WRITE")) {
        (true, _) => Severity::High,
        (false, true) => Severity::Low,
        (false, false) => Severity::Info,
    };
    let subject = Subject::Process { pid, name: text(row, "name"), offset: None };
    let notes = if notes.is_empty() { notes } else { format!(": {notes}") };
    let what = format!("{} memory at {}{notes}", text(row, "protection"), text(row, "start"));
    let start = match cell(row, "start") {
        Some(Cell::Hex(va)) => Some(Va(*va)),
        _ => None,
    };
    let file = row.place.and_then(|p| p.file);
    let bytes = file
        .and_then(At::dump_offset)
        .and_then(|at| usize::try_from(at).ok())
        .and_then(|at| dump.map().get(at..at.checked_add(32)?))
        .map(<[u8]>::to_vec)
        .ok_or(Absent::NotInDump);
    Finding::new(&INJECTED_CODE, severity, subject, what).with(Evidence {
        field: "first bytes of the range".into(),
        value: cell(row, "start").cloned().unwrap_or(Cell::Absent(Absent::NotRecorded)),
        place: Place { va: start, pa: None, file },
        bytes,
    })
}
