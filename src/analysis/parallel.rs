//! Work on many processes at once, with rows coming out in the order of the processes.
//!
//! Workers take units (a process, or a part of one) in order from a common source, so that a long one keeps one worker busy and
//! no other waiting. Rows stream: the first unfinished unit's go straight out, those of later units wait in a bounded
//! buffer, and a worker whose buffer is full waits for its turn. The first unit's worker never waits, so the whole never stops.
//! Memory is bounded by `WINDOW × threads × CHUNKS` chunks of `CHUNK` rows (or `TEXT` bytes), however many a unit makes.

use super::{Ask, Case};
use crate::addr::Va;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::paging::Space;
use crate::report::{Column, Pen, Row, Sink};
use crate::value::Note;
use rustc_hash::FxHashSet;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// Units that may be in work or finished ahead of the first unfinished one, for each thread.
const WINDOW: usize = 8;
/// Rows sent at a time.
const CHUNK: usize = 64;
/// Bytes sent at a time, of rows that the output takes as text.
const TEXT: usize = 32 << 10;
/// Bytes that are enough for nearly every row.
const ROW: usize = 2 << 10;
/// Chunks that wait for each unit's turn.
const CHUNKS: usize = 8;

/// What a unit gives.
enum Item {
    Row(Row),
    /// So many rows, as the output's text.
    Text(u64, Vec<u8>),
    Note(Note),
    Section(&'static str, &'static [Column]),
}
/// One message of a unit: rows, or the error that ended it.
type Message = Result<Vec<Item>>;

/// Runs `work` on every unit and hands rows and notes to `sink` in the order of the units, the same at any number of threads
/// (those of the rayon pool in use). `start` makes each worker's own state, such as an address space with its cache.
///
/// # Errors
/// The first failing unit's error, or the sink's.
pub fn in_order<U: Send, W>(
    units: impl Iterator<Item = U> + Send,
    start: impl Fn() -> W + Sync,
    work: impl Fn(&mut W, U, &mut dyn Sink) -> Result<()> + Sync,
    sink: &mut dyn Sink,
) -> Result<()> {
    let threads = rayon::current_num_threads();
    if threads < 2 {
        let mut state = start();
        let mut units = units;
        return units.try_for_each(|unit| work(&mut state, unit, sink));
    }
    let (order, turns) = sync_channel::<Receiver<Message>>(threads.saturating_mul(WINDOW));
    let source = Mutex::new((units, Some(order)));
    let pen = sink.pen();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut state, mut pen) = (start(), pen.clone());
                while let Some((unit, rows)) = claim(&source) {
                    pen.as_mut().into_iter().for_each(Pen::begin);
                    let mut buffer =
                        Buffer { items: Vec::new(), pen: pen.as_mut(), text: Vec::new(), rows: 0, out: rows };
                    match work(&mut state, unit, &mut buffer) {
                        Ok(()) => _ = buffer.flush(),
                        Err(e) => {
                            _ = buffer.flush();
                            _ = buffer.out.send(Err(e));
                        }
                    }
                }
            });
        }
        let result = drain(turns, sink);
        if result.is_err() {
            // The receivers are gone: what is in work ends at its next chunk, and nothing new is begun.
            source.lock().unwrap_or_else(PoisonError::into_inner).1 = None;
        }
        result
    })
}

/// Takes the next unit and a place in the order of output for it. Waits while too many are ahead.
fn claim<U, I: Iterator<Item = U>>(
    source: &Mutex<(I, Option<SyncSender<Receiver<Message>>>)>,
) -> Option<(U, SyncSender<Message>)> {
    let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
    let (units, order) = &mut *source;
    let next = order.as_ref().and_then(|_| units.next());
    let Some(unit) = next else {
        *order = None; // The last: the reader's loop ends when all places are read.
        return None;
    };
    let (rows, turn) = sync_channel(CHUNKS);
    order.as_ref()?.send(turn).ok()?;
    Some((unit, rows))
}

/// Hands everything on in order.
fn drain(turns: Receiver<Receiver<Message>>, sink: &mut dyn Sink) -> Result<()> {
    for turn in turns {
        for message in turn {
            for item in message? {
                match item {
                    Item::Row(row) => sink.row(row)?,
                    Item::Text(rows, text) => sink.penned(rows, &text)?,
                    Item::Note(note) => sink.note(note),
                    Item::Section(title, columns) => sink.section(title, columns)?,
                }
            }
        }
    }
    Ok(())
}

/// A unit's rows on their way out.
struct Buffer<'p> {
    items: Vec<Item>,
    /// What turns rows into text, where the output takes text, and the text so far.
    pen: Option<&'p mut Pen>,
    text: Vec<u8>,
    rows: u64,
    out: SyncSender<Message>,
}
impl Buffer<'_> {
    fn flush(&mut self) -> Result<()> {
        if self.rows > 0 {
            self.items.push(Item::Text(self.rows, std::mem::take(&mut self.text)));
            self.rows = 0;
        }
        let items = std::mem::take(&mut self.items);
        // Nobody listens any more: the run is over, for a reason that is reported elsewhere.
        self.out.send(Ok(items)).map_err(|_| Error::Output(io::ErrorKind::BrokenPipe.into()))
    }
}
impl Sink for Buffer<'_> {
    fn row(&mut self, row: Row) -> Result<()> {
        let full = if let Some(pen) = &mut self.pen {
            if self.text.is_empty() {
                self.text.reserve(TEXT.saturating_add(ROW));
            }
            pen.row(&mut self.text, &row);
            self.rows = self.rows.saturating_add(1);
            self.text.len() >= TEXT
        } else {
            self.items.push(Item::Row(row));
            self.items.len() >= CHUNK
        };
        if full { self.flush() } else { Ok(()) }
    }
    fn note(&mut self, note: Note) {
        self.items.push(Item::Note(note));
    }
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        match &mut self.pen {
            Some(pen) => pen.section(title, columns),
            None => self.items.push(Item::Section(title, columns)),
        }
        Ok(())
    }
}

/// The processes a user asks for, each handed to `work` with an address space of the kernel's, on all threads.
/// Notes on the process list come first.
///
/// # Errors
/// No kernel, no symbols for processes, or the sink's error.
pub fn each_process<'k>(
    case: &'k Case,
    ask: &Ask,
    sink: &mut dyn Sink,
    work: impl Fn(&Space<'k>, &Process<'k>, &mut dyn Sink) -> Result<()> + Sync,
) -> Result<()> {
    let kernel = case.kernel()?;
    let wanted = asked_for(case, ask, sink)?;
    in_order(wanted.into_iter(), || kernel.space(), |space, process, sink| work(space, &process, sink), sink)
}

/// The processes a user asks for, in list order; after them those asked for by their address that the list does not have. Hands the notes on the list to `sink`.
///
/// # Errors
/// No kernel, or no symbols for processes.
pub fn asked_for<'k>(case: &'k Case, ask: &Ask, sink: &mut dyn Sink) -> Result<Vec<Process<'k>>> {
    let kernel = case.kernel()?;
    let found = kernel.processes()?;
    for note in found.notes {
        sink.note(note);
    }
    let space = kernel.space();
    let mut list = found.list;
    if ask.names_none() {
        return Ok(list);
    }
    let all: FxHashSet<Va> = list.iter().filter_map(Process::offset).collect();
    list.retain(|p| wanted(ask, p, &space));
    list.extend(unlisted(kernel, &space, ask, &all, sink));
    for va in &ask.offsets {
        if list.iter().any(|p| p.offset() == Some(*va)) {
            continue;
        }
        let process = kernel.process_at(&space, *va)?;
        if process.may_be_one() {
            sink.note(Note::info(format!("the process at {va} is not on the active list")));
            list.push(process);
        } else {
            sink.note(Note::loss(format!("no _EPROCESS at {va}; use the `offset` column of psscan or psxview")));
        }
    }
    if list.is_empty() && ask.offsets.is_empty() {
        sink.note(Note::info(format!(
            "no process matches {} ({} on the active list); for unlinked processes see psscan or psxview and use --offset",
            asked_in_words(ask),
            all.len()
        )));
    }
    Ok(list)
}

/// Processes asked for by id or name that the active list does not have and the table of client ids does: whoever hides one takes it
/// off the list first.
fn unlisted<'k>(
    kernel: &'k Kernel,
    space: &Space<'k>,
    ask: &Ask,
    listed: &FxHashSet<Va>,
    sink: &mut dyn Sink,
) -> Vec<Process<'k>> {
    let mut found = Vec::new();
    if ask.pids.is_empty() && ask.names.is_empty() {
        return found;
    }
    for (id, at) in kernel.numbered(space).map(|n| n.processes).unwrap_or_default() {
        let Ok(process) = kernel.process_at(space, at) else { continue };
        if !listed.contains(&at)
            && !ask.offsets.contains(&at)
            && (ask.pids.contains(&id) || wanted(ask, &process, space))
        {
            sink.note(Note::info(format!(
                "process {id} at {at} is not on the active list; the table of client ids (PspCidTable) has it"
            )));
            found.push(process);
        }
    }
    found
}

/// `--pid 99999`, `--name lsass`: what was asked for.
fn asked_in_words(ask: &Ask) -> String {
    let pids = ask.pids.iter().map(|pid| format!("--pid {pid}"));
    pids.chain(ask.names.iter().map(|name| format!("--name {name}"))).collect::<Vec<_>>().join(" ")
}

/// Whether a process is asked for, by its id, by either of its names, or by its address.
#[must_use]
pub fn wanted(ask: &Ask, process: &Process<'_>, space: &Space<'_>) -> bool {
    let (pid, at) = (process.pid().ok(), process.offset());
    ask.wants(pid, process.name().ok().as_deref(), at)
        || (!ask.names.is_empty() && ask.wants(pid, process.long_name(space).ok().as_deref(), at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Cell, Collected};

    /// Rows of a unit: as many as its number says, the first 1,000 times more.
    fn run(threads: usize, units: u64) -> Collected {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut out = Collected::default();
        pool.install(|| {
            in_order(
                0..units,
                || 0u64,
                |state, unit, sink| {
                    *state += 1;
                    let rows = if unit == 0 { 20_000 } else { unit % 7 };
                    for n in 0..rows {
                        sink.row(Row::new(vec![Cell::Dec(unit), Cell::Dec(n)]))?;
                    }
                    sink.note(Note::info(format!("{unit} done")));
                    Ok(())
                },
                &mut out,
            )
        })
        .unwrap();
        out
    }

    #[test]
    fn order_does_not_depend_on_threads() {
        let one = run(1, 300);
        let eight = run(8, 300);
        assert_eq!(one.rows.len(), 20_000 + (1..300u64).map(|u| u % 7).sum::<u64>() as usize);
        assert_eq!(one.notes.len(), 300);
        assert_eq!(one.notes, eight.notes);
        assert!(one.rows.iter().map(|r| &r.cells).eq(eight.rows.iter().map(|r| &r.cells)));
    }

    #[test]
    fn a_closed_output_ends_the_run() {
        struct Closes(usize);
        impl Sink for Closes {
            fn row(&mut self, _: Row) -> Result<()> {
                self.0 += 1;
                if self.0 > 10 { Err(Error::Output(io::ErrorKind::BrokenPipe.into())) } else { Ok(()) }
            }
            fn note(&mut self, _: Note) {}
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let mut sink = Closes(0);
        // Endless: it returns only if the closed output stops the workers.
        let result = pool.install(|| {
            in_order(0u64.., || (), |(), _, sink| (0..500).try_for_each(|_| sink.row(Row::default())), &mut sink)
        });
        assert!(matches!(result, Err(Error::Output(_))));
        assert_eq!(sink.0, 11);
    }

    #[test]
    fn an_error_comes_after_the_rows_before_it() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let mut out = Collected::default();
        let result = pool.install(|| {
            let work = |(): &mut (), unit: u64, sink: &mut dyn Sink| {
                sink.row(Row::new(vec![Cell::Dec(unit)]))?;
                if unit == 5 { Err(Error::NotAvailable("five".into())) } else { Ok(()) }
            };
            in_order(0..100, || (), work, &mut out)
        });
        assert_eq!(result.unwrap_err().to_string(), "five");
        assert_eq!(out.rows.len(), 6);
    }
}
