//! Times of processes, their threads, the libraries they loaded and the keys they have open.

use super::event::{Event, Kind, Stamp};
use super::gathered::Gathered;
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::handle_table::HandleTables;
use crate::kernel::object::Objects;
use crate::kernel::process::{EProcess, Process, base_name};
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::kernel::sides::Sides;
use crate::kernel::thread::{EThread, Thread};
use crate::paging::{Mode, Space};
use crate::progress::Progress;
use crate::symbols::layout::At;
use crate::symbols::layout::Layout;
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Note, Value};
use rayon::prelude::*;
use rustc_hash::FxHashSet;

/// Events of one process that are handed on together.
const AT_A_TIME: usize = 256;

/// Gathers them of every process that is wanted, listed or only scanned.
pub(super) fn gather(
    kernel: &Kernel,
    progress: &Progress,
    wanted: &dyn Fn(&Process<'_>) -> bool,
    events: &Gathered,
    notes: &mut Vec<Note>,
) -> Result<()> {
    let space = kernel.space();
    let mut processes = match kernel.processes() {
        Ok(found) => {
            notes.extend(found.notes);
            found.list
        }
        Err(e) => {
            notes.push(Note::loss(e.to_string()));
            Vec::new()
        }
    };
    let scanned = scan(kernel, progress, notes);
    let known: FxHashSet<_> = processes.iter().filter_map(|p| p.place().pa).collect();
    if !kernel.has_structures() {
        return events.take(&mut of_copy(kernel).into_iter().collect());
    }
    let span = kernel.layout::<EProcess>().map_err(|e| kernel.unreadable(&e))?.span();
    for f in scanned.iter().filter(|f| f.kind == Scanned::Process && !known.contains(&f.pa)) {
        processes.push(kernel.process_of(f.bytes(kernel, span))?);
    }
    processes.retain(|p| wanted(p));
    let types = kernel.object_types();
    let sides = Sides::of(kernel).ok();
    let parts: Vec<Vec<Note>> = processes
        .par_iter()
        .map_init(
            || (kernel.space(), Objects::of(kernel, &types).ok()),
            |(space, objects), process| {
                let mut part = Part { process, space, events: Vec::new(), all: events, notes: Vec::new() };
                part.own()?;
                part.threads()?;
                if let Some(sides) = &sides {
                    part.modules(sides)?;
                }
                if let Some(objects) = objects {
                    part.keys(objects)?;
                }
                events.take(&mut part.events)?;
                Ok(part.notes)
            },
        )
        .collect::<Result<_>>()?;
    notes.extend(parts.into_iter().flatten());
    threads_scanned(kernel, &space, &scanned, wanted, events)
}

/// When the process was made that a triage dump of an unknown kernel keeps, where its bytes show that.
fn of_copy(kernel: &Kernel) -> Option<Event> {
    kernel.copied.as_ref().map(|copied| Event {
        time: copied.created,
        kind: Kind::ProcessCreated,
        pid: Some(copied.pid),
        name: Ok(copied.name.clone().into()),
        description: Some(format!("parent {}", copied.ppid)),
        place: copied.process,
        stamp: Stamp::Time,
    })
}

/// Processes and threads of physical memory; none where there is none to scan.
fn scan(kernel: &Kernel, progress: &Progress, notes: &mut Vec<Note>) -> Vec<Found> {
    if kernel.mode == Mode::Blocks {
        return Vec::new();
    }
    kernel.scan(&[Scanned::Process, Scanned::Thread], progress, notes).unwrap_or_else(|e| {
        notes.push(Note::info(format!("no scan: {e}")));
        Vec::new()
    })
}

/// Threads that the scan met: those of the lists give the same events, which are kept once.
fn threads_scanned<'k>(
    kernel: &'k Kernel,
    space: &Space<'k>,
    scanned: &[Found],
    wanted: &dyn Fn(&Process<'_>) -> bool,
    events: &Gathered,
) -> Result<()> {
    let Ok(layout) = kernel.layout::<EThread>() else { return Ok(()) };
    for f in scanned.iter().filter(|f| f.kind == Scanned::Thread) {
        let thread = kernel.thread_of(f.bytes(kernel, layout.span()))?;
        let Ok(owner) = thread.view.owner() else { continue };
        let owner = kernel.process_at(space, owner)?;
        if wanted(&owner) {
            events.take(&mut of_thread(&thread, owner.name().map(Text::from)))?;
        }
    }
    Ok(())
}

/// When a thread was made and ended.
fn of_thread(thread: &Thread<'_>, name: Value<Text>) -> Vec<Event> {
    let tid = thread.tid().map_or_else(|_| "?".to_owned(), |t| t.to_string());
    let start = thread.win32_start().map_or_else(|_| String::new(), |va| format!(" starting at {va}"));
    let pid = thread.view.pid().ok();
    let event = |kind, time: Value<FileTime>, at: At<EThread>| {
        let place = thread.view.at(at).unwrap_or_default();
        let description = Some(format!("thread {tid}{start}"));
        Some(Event { time: time.ok()?, kind, pid, name: name.clone(), description, place, stamp: Stamp::Time })
    };
    let made = event(Kind::ThreadCreated, thread.created(), EThread::create_time_raw);
    let ended = if thread.ended() == Ok(true) { thread.exited() } else { Err(crate::value::Absent::NotApplicable) };
    [made, event(Kind::ThreadExited, ended, EThread::exit_time_raw)].into_iter().flatten().collect()
}

/// One process's share.
struct Part<'a, 'k> {
    process: &'a Process<'k>,
    space: &'a Space<'k>,
    events: Vec<Event>,
    all: &'a Gathered,
    notes: Vec<Note>,
}

impl<'k> Part<'_, 'k> {
    /// Events are handed on some at a time: how many a process has is up to the dump.
    fn add(&mut self, event: Event) -> Result<()> {
        self.events.push(event);
        if self.events.len() < AT_A_TIME { Ok(()) } else { self.all.take(&mut self.events) }
    }
    fn push(&mut self, time: Value<FileTime>, kind: Kind, description: Option<String>, place: Place) -> Result<()> {
        let Ok(time) = time else { return Ok(()) };
        let (pid, name) = (self.process.pid().ok(), self.process.name().map(Text::from));
        self.add(Event { time, kind, pid, name, description, place, stamp: Stamp::Time })
    }
    fn own(&mut self) -> Result<()> {
        let p = self.process;
        let place = |at| p.view.at(at).unwrap_or_default();
        let parent = p.ppid().map_or_else(|_| String::new(), |pp| format!("parent {pp}"));
        let path = p.image_path(self.space).unwrap_or_default();
        let what = [parent, path.to_string()].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join(", ");
        self.push(p.create_time(), Kind::ProcessCreated, Some(what), place(EProcess::created))?;
        let status = p.exit_status().map(|s| format!("exit status {s:#x}")).ok();
        self.push(p.exit_time(), Kind::ProcessExited, status, place(EProcess::exited))
    }
    fn threads(&mut self) -> Result<()> {
        // The notes on torn lists are those of `threads`: what the lists lack, the scan has.
        let Ok(threads) = self.process.thread_list(self.space) else { return Ok(()) };
        for thread in &threads.list {
            let events = of_thread(thread, self.process.name().map(Text::from));
            events.into_iter().try_for_each(|event| self.add(event))?;
        }
        Ok(())
    }
    fn modules(&mut self, sides: &Sides<'k>) -> Result<()> {
        let Ok(memory) = self.process.space() else { return Ok(()) };
        for side in sides.of_process(self.process, self.space) {
            let Ok(found) = side.modules(&memory) else { continue };
            for module in found.modules {
                let name = module.path.or(module.name).ok();
                self.push(module.load_time, Kind::ModuleLoaded, name.as_ref().map(ToString::to_string), module.place)?;
                if let (Ok(stamp), Some(path)) = (module.timestamp, name) {
                    let kind = Stamp::of(&memory, module.base);
                    let event = built(stamp, kind, path.to_string(), module.place);
                    event.into_iter().try_for_each(|event| self.add(event))?;
                }
            }
        }
        Ok(())
    }
    fn keys(&mut self, objects: &mut Objects<'k>) -> Result<()> {
        let kernel = self.process.kernel;
        let (Ok(tables), Ok(table)) = (HandleTables::of(kernel), self.process.view.handle_table()) else {
            return Ok(());
        };
        if table.is_null() {
            return Ok(());
        }
        let (leaves, _) = tables.leaves(self.space, table);
        let mut seen: FxHashSet<Va> = FxHashSet::default();
        for leaf in leaves {
            let mut handles = Vec::new();
            if let Err(why) = tables.handles(self.space, leaf, |h| handles.push(h.target)) {
                let pid = self.process.pid().map_or_else(|_| "?".to_owned(), |p| p.to_string());
                self.notes.push(Note::loss(format!("process {pid}: the page of handles at {} is {why}", leaf.at)));
            }
            for target in handles {
                let object = objects.with_header(target);
                if objects.type_of(&object).as_deref() != Ok("Key") || !seen.insert(object.body) {
                    continue;
                }
                if let Ok(key) = objects.key_written(object.body) {
                    let path = key.path.map_or_else(|why| format!("(its path is {why})"), |p| p.to_string());
                    self.push(Ok(key.time), Kind::KeyWritten, Some(path), key.place)?;
                }
            }
        }
        Ok(())
    }
}

/// When an image was built, by its header's stamp as its loader noted it: one event for each image, whoever loaded it.
pub(super) fn built(seconds: u32, stamp: Stamp, path: String, place: Place) -> Option<Event> {
    if seconds == 0 {
        return None;
    }
    let name = base_name(&path).to_owned();
    let time = FileTime::from_unix(seconds);
    Some(Event {
        time,
        kind: Kind::ImageBuilt,
        pid: None,
        name: Ok(name.into()),
        description: Some(path),
        place,
        stamp,
    })
}
