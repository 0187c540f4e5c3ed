//! What a triage dump holds of the kernel's lists: the crashing process, the drivers, the unloaded drivers.

use super::Kernel;
use super::module::{Module, Modules};
use super::process::{EProcess, Process, Processes};
use super::thread::{EThread, Thread, Threads};
use super::unloaded::Unloaded;
use crate::bytes::{Bytes, Place};
use crate::dump::Dump;
use crate::symbols::layout::View;
use crate::value::{Absent, Note, Value};

impl Kernel {
    /// Whether processes can be read: not those of a triage dump of a kernel whose layout nobody has. What such a dump says
    /// without structures is in [`Kernel::copied`], the drivers, the header and the call stack of the crash.
    #[must_use]
    pub fn has_structures(&self) -> bool {
        self.dump.triage().is_none() || self.layout::<EProcess>().is_ok()
    }
    /// No process: no layout says how to read the one that is copied.
    pub(super) fn unreadable_process(&self) -> Processes<'_> {
        let text = "the copied process cannot be read: no layout fits this kernel's structures";
        Processes { list: Vec::new(), notes: vec![Note::loss(text)], active: None }
    }
    /// The copied `_EPROCESS` as the only process.
    pub(super) fn embedded_process<'k>(&'k self, layout: &'k EProcess) -> Processes<'k> {
        let Some(part) = self.dump.triage().and_then(|t| t.process()) else {
            let note = Note::loss("this triage dump keeps no copy of the crashing process");
            return Processes { list: Vec::new(), notes: vec![note], active: None };
        };
        let bytes = Bytes::borrowed(part.bytes, part.va, None, Some(part.file.into()));
        let process = Process::new(self, View::new(layout, bytes));
        let note = Note::info("a triage dump keeps one process: the one that was running when the machine crashed");
        Processes { list: vec![process], notes: vec![note], active: None }
    }
    /// The copied `_ETHREAD`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn copied_thread(&self) -> Value<Thread<'_>> {
        let part = self.dump.triage().and_then(|t| t.thread()).ok_or(Absent::NotInDump)?;
        self.thread_of(Bytes::borrowed(part.bytes, part.va, None, Some(part.file.into()))).map_err(|_| Absent::NoSymbol)
    }
    /// The copied `_ETHREAD` as the only thread.
    pub(super) fn embedded_thread<'k>(&'k self, layout: &'k EThread) -> Threads<'k> {
        let Some(part) = self.dump.triage().and_then(|t| t.thread()) else {
            let note = Note::loss("this triage dump keeps no copy of the crashing thread");
            return Threads { list: Vec::new(), notes: vec![note] };
        };
        let bytes = Bytes::borrowed(part.bytes, part.va, None, Some(part.file.into()));
        let thread = Thread { kernel: self, view: View::new(layout, bytes) };
        let mut notes =
            vec![Note::info("a triage dump keeps one thread: the one that was running when the machine crashed")];
        notes.extend(home_of(&thread));
        Threads { list: vec![thread], notes }
    }
}

/// What is to be said of a thread that ran in the address space of a process that is not its own.
fn home_of(thread: &Thread<'_>) -> Option<Note> {
    if thread.tid() == Ok(0) {
        return Some(Note::info(
            "the thread is the idle thread of its processor, which has the id 0 and runs in System's address space",
        ));
    }
    let (home, attached) = (thread.view.owner().ok()?, thread.view.attached().ok()?);
    let pid = thread.view.pid().ok()?;
    let text = format!("the thread is one of process {pid}, and was attached to the process that is kept");
    (home != attached).then(|| Note::info(text))
}

/// The drivers of a triage dump; `None` of any other dump.
#[must_use]
pub fn modules(dump: &Dump) -> Option<Modules> {
    let list = dump.triage()?.drivers().iter().map(|d| Module {
        offset: Err(Absent::NotRecorded),
        place: Place::in_dump(d.file),
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
        place: Place::in_dump(d.file),
        name: d.name.clone().map(Into::into),
        start: Ok(d.start),
        end: Ok(d.end),
        time: Err(Absent::NotRecorded),
        places: {
            let [name, start, end] = d.fields.map(|field| Some(Place::in_dump(d.file.saturating_add(field.into()))));
            [name.filter(|_| d.name.is_ok()), start, end, None]
        },
    });
    Some(list.collect())
}
