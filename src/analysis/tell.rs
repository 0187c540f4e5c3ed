//! Notes that belong to one process say which; a table that the dump lacks is a note of loss.

use crate::error::{Error, Result};
use crate::kernel::process::Process;
use crate::report::Sink;
use crate::value::Note;

/// Hands notes on, each with the process in front.
pub fn tell(process: &Process<'_>, notes: impl IntoIterator<Item = Note>, sink: &mut dyn Sink) {
    for note in notes {
        let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
        sink.note(Note { text: format!("process {pid}: {}", note.text), ..note });
    }
}

/// The members of a table of the kernel's. A dump (or its symbols) that lacks the table gives no rows and a note of loss, as a dump that lacks a
/// part of it does: the run was answered in part, it did not fail.
///
/// # Errors
/// What else went wrong.
pub fn members<T>(what: &str, read: Result<(Vec<T>, Vec<Note>)>, sink: &mut dyn Sink) -> Result<Vec<T>> {
    match read {
        Ok((list, notes)) => {
            notes.into_iter().for_each(|n| sink.note(n));
            Ok(list)
        }
        Err(Error::NotAvailable(why)) => {
            sink.note(Note::loss(format!("no {what}: {why}")));
            Ok(Vec::new())
        }
        Err(other) => Err(other),
    }
}
