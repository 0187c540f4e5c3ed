//! What a triage dump holds of the kernel's lists: the crashing process, the drivers, the unloaded drivers.

use super::Kernel;
use super::module::{Module, Modules};
use super::process::{EProcess, Process, Processes};
use super::thread::{EThread, Thread, Threads};
use super::unloaded::Unloaded;
use crate::bytes::{Bytes, Place};
use crate::dump::Dump;
use crate::symbols::layout::View;
use crate::value::{Absent, Note};

impl Kernel {
    /// The copied `_EPROCESS` as the only process.
    pub(super) fn embedded_process<'k>(&'k self, layout: &'k EProcess) -> Processes<'k> {
        let Some(part) = self.dump.triage().and_then(|t| t.process()) else {
            let note = Note::loss("this triage dump keeps no copy of the crashing process");
            return Processes { list: Vec::new(), notes: vec![note] };
        };
        let bytes = Bytes::borrowed(part.bytes, part.va, None, Some(part.file));
        let process = Process::new(self, View::new(layout, bytes));
        let note = Note::info("a triage dump keeps one process: the one that was running when the machine crashed");
        Processes { list: vec![process], notes: vec![note] }
    }
    /// The copied `_ETHREAD` as the only thread.
    pub(super) fn embedded_thread<'k>(&'k self, layout: &'k EThread) -> Threads<'k> {
        let Some(part) = self.dump.triage().and_then(|t| t.thread()) else {
            let note = Note::loss("this triage dump keeps no copy of the crashing thread");
            return Threads { list: Vec::new(), notes: vec![note] };
        };
        let bytes = Bytes::borrowed(part.bytes, part.va, None, Some(part.file));
        let thread = Thread { kernel: self, view: View::new(layout, bytes) };
        let note = Note::info("a triage dump keeps one thread: the one that was running when the machine crashed");
        Threads { list: vec![thread], notes: vec![note] }
    }
}

/// The drivers of a triage dump; `None` of any other dump.
#[must_use]
pub fn modules(dump: &Dump) -> Option<Modules> {
    let list = dump.triage()?.drivers().iter().map(|d| Module {
        offset: Err(Absent::NotRecorded),
        place: Place { va: None, pa: None, file: Some(d.file) },
        base: Ok(d.base),
        size: Ok(d.size),
        entry: Err(Absent::NotRecorded),
        name: d.name.clone().map(|path| path.rsplit('\\').next().unwrap_or_default().into()),
        path: d.name.clone().map(Into::into),
        flags: Err(Absent::NotRecorded),
        load_count: Err(Absent::NotRecorded),
        timestamp: Ok(d.time_stamp),
        checksum: Ok(d.checksum),
    });
    Some(Modules::new(list.collect(), Vec::new()))
}

/// The unloaded drivers of a triage dump, in its order; `None` of any other dump.
#[must_use]
pub fn unloaded(dump: &Dump) -> Option<Vec<Unloaded>> {
    let list = dump.triage()?.unloaded().iter().zip(0..).map(|(d, index)| Unloaded {
        index,
        place: Place { va: None, pa: None, file: Some(d.file) },
        name: d.name.clone().map(Into::into),
        start: Ok(d.start),
        end: Ok(d.end),
        time: Err(Absent::NotRecorded),
    });
    Some(list.collect())
}
