//! `timeline`: every time stamp that is known, as one sorted stream.

pub(super) mod event;
mod gathered;
mod processes;
mod record;
mod sorter;
mod system;

use super::{Analysis, Answers, Ask, Case, Subject, Switch, parallel, user};
use crate::error::Result;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::value::{Absent, Note};
use event::{Doubt, Event};
use gathered::Gathered;
use sorter::Sorter;

/// The register's entry.
pub static TIMELINE: Analysis = Analysis {
    name: "timeline",
    about: "Every time stamp that is known, sorted: processes, threads, modules, keys, drivers, boot, crash",
    help: "One row for each time stamp: a process or thread was made or ended (those of the lists and those of the scan), a library was loaded, \
           an open registry key was last written, an image was built by its header, a driver was unloaded, a symbolic link was made, the \
           machine was started, the dump was taken. Places and addresses are those of the stamp itself.\n\n\
           A time before 1990 or after the dump's own is no fact of this machine: `doubt` says so, such rows come last, and a body file \
           leaves them out. Images of reproducible builds have a hash in the place of a time: those have no row (`modules` and `dlllist` \
           have their stamps). Where such images are, the stamp of one whose headers cannot be read `may_be_hash`.\n\n\
           `--body` writes a body file as mactime reads it (TSK 3): creation as birth (crtime), loading and writing as modification (mtime), the end and the rest as \
           change (ctime); the inode is the offset of the stamp in the dump file.\n\n\
           Example: dumpwalk timeline memory.dmp --body -o memory.body",
    columns: &COLUMNS,
    switches: &[Switch { name: "body", value: None, about: "Write a body file for mactime instead of rows" }],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|case, _, ask, sink| run(case, ask, sink)),
};

/// An event.
struct Events;
struct Of {
    event: Event,
    doubt: Option<Doubt>,
}
impl crate::report::Subject for Events {
    type Of<'a> = Of;
}

const FIELDS: &[Field<Events>] = &[
    placed(col("time", Kind::Time, "The time stamp"), |c| c.event.time.into(), |c| Some(c.event.place)),
    derived(
        col(
            "kind",
            Kind::Text,
            "process_created, process_exited, thread_created, thread_exited, module_loaded, image_built, key_written, link_created, \
         driver_unloaded, boot, system_time, dump_written, crash",
        ),
        "what the time stamp belongs to",
        |c| c.event.kind.word().into(),
    ),
    derived(wide("macb", Kind::Text, "m, c or b: what a body file takes it for"), "kind", |c| {
        c.event.kind.macb().into()
    }),
    derived(
        col("pid", Kind::Number, "Process id; none of what belongs to no process"),
        "whose the time stamp is",
        |c| c.event.pid.map_or_else(Cell::default, Cell::from),
    ),
    derived(col("name", Kind::Text, "Process, module or object"), "whose the time stamp is", |c| {
        c.event.name.clone().into()
    }),
    derived(
        col("description", Kind::Text, "What else is known: thread id and start, path, key"),
        "fields beside the time stamp",
        |c| c.event.description.clone().map_or_else(Cell::default, Cell::from),
    ),
    derived(
        col(
            "doubt",
            Kind::Text,
            "before_1990, after_dump: no time of this machine's life; may_be_hash: perhaps no time at all",
        ),
        "time, when the dump was taken, and the images' debug directories",
        |c| c.doubt.map_or_else(Cell::default, |d| d.word().into()),
    ),
    derived(
        wide("offset", Kind::Hex, "Virtual address of the time stamp"),
        "the address of the time stamp: it is the row's own place",
        |c| c.event.place.va.map_or(Cell::Absent(Absent::NotRecorded), Cell::from),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let end = case.taken();
    let events = Gathered::until(end);
    let mut notes = Vec::new();
    if let Some(dump) = case.dump.minidump() {
        events.take(&mut user::events(&dump, ask))?;
    } else {
        let kernel = case.kernel()?;
        let space = kernel.space();
        let wanted = |p: &crate::kernel::process::Process<'_>| parallel::wanted(ask, p, &space);
        processes::gather(kernel, &ask.progress, &wanted, &events, &mut notes)?;
        if ask.names_none() {
            let mut more = Vec::new();
            system::gather(case, kernel, &mut more, &mut notes);
            events.take(&mut more)?;
        }
    }
    notes.into_iter().for_each(|n| sink.note(n));
    if end.is_none() {
        sink.note(Note::info("when the dump was taken is not known: times after it cannot be told"));
    }
    written(events, ask, sink)
}

/// The rows in order: what is no time is not sorted among the times but comes last.
fn written(events: Gathered, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let bounds = events.bounds();
    let doubted = Sorter::default();
    let (mut left_out, mut last) = (0u64, 0u64);
    for event in events.sorted()?.each_once() {
        let event = event?;
        match event.doubt(bounds) {
            None => sink.row(row(event, None, ask))?,
            Some(doubt) if event.kind == event::Kind::ImageBuilt && doubt.is_sure() => {
                left_out = left_out.saturating_add(1)
            }
            Some(_) => {
                last = last.saturating_add(1);
                doubted.take(&mut vec![event])?;
            }
        }
    }
    if left_out > 0 {
        let text = format!(
            "{left_out} images have a stamp that is no time (a hash, as reproducible builds have, or out of this machine's life): \
             they have no row"
        );
        sink.note(Note::info(text));
    }
    if last > 0 {
        let text =
            format!("{last} time stamps may be no times of this machine's life: they come last, see the column doubt");
        sink.note(Note::info(text));
    }
    for event in doubted.sorted()?.each_once() {
        let event = event?;
        let doubt = event.doubt(bounds);
        sink.row(row(event, doubt, ask))?;
    }
    Ok(())
}

fn row(event: Event, doubt: Option<Doubt>, ask: &Ask) -> Row {
    let place = event.place;
    Row::of(FIELDS, &Of { event, doubt }, &ask.rows).at(place)
}
