//! Notes that belong to one process say which.

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
