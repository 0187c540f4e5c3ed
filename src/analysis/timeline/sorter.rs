//! Any number of events in order, in memory that is bounded.
//!
//! What comes is kept in memory up to [`ROOM`] bytes; then it is sorted and written to a temporary file that has no name (on
//! Windows one that the system deletes as it is closed), so that nothing is left however the run ends. Runs are merged in the
//! end, and before that whenever there are [`FAN`] of one generation: the number of open files grows with the logarithm of the
//! number of events. The order is total, so that where runs end changes nothing of the outcome.

use super::event::{Event, Stamp};
use super::record;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write as _};
use std::sync::{Mutex, PoisonError};

/// Bytes of events in memory before they are written to a file.
const ROOM: usize = 48 << 20;
/// Runs of one generation before they become one of the next.
const FAN: usize = 16;
/// Bytes read or written of one run at a time.
const BUFFER: usize = 64 << 10;
/// What the allocator takes for a text besides its bytes, about.
const TEXT: usize = 24;

/// Takes events from many threads in any order.
pub(super) struct Sorter {
    room: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    events: Vec<Event>,
    bytes: usize,
    /// Sorted runs by generation, the youngest first.
    generations: Vec<Vec<File>>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::within(ROOM)
    }
}

impl Sorter {
    fn within(room: usize) -> Self {
        Self { room, inner: Mutex::default() }
    }
    /// Takes these events and leaves the list empty.
    ///
    /// # Errors
    /// The temporary files cannot be written or read.
    pub(super) fn take(&self, events: &mut Vec<Event>) -> Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events.drain(..) {
            inner.bytes = inner.bytes.saturating_add(size(&event));
            inner.events.push(event);
            if inner.bytes > self.room {
                inner.spill().map_err(failed)?;
            }
        }
        Ok(())
    }
    /// All events in order; those that are equal in all are given once.
    ///
    /// # Errors
    /// The temporary files cannot be read.
    pub(super) fn sorted(self) -> Result<Sorted> {
        let mut inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        inner.events.sort_unstable();
        let files = std::mem::take(&mut inner.generations).into_iter().flatten();
        let mut runs = files.map(Run::of).collect::<io::Result<Vec<_>>>().map_err(failed)?;
        runs.push(Run::Memory(std::mem::take(&mut inner.events).into_iter()));
        Sorted::of(runs).map_err(failed)
    }
}

/// The folder is named: a full one is the user's to see to.
fn failed(why: io::Error) -> Error {
    let folder = std::env::temp_dir();
    io::Error::new(why.kind(), format!("a temporary file in {}, where many rows are sorted: {why}", folder.display()))
        .into()
}

/// What an event takes in memory, about.
fn size(event: &Event) -> usize {
    let name = event.name.as_ref().map_or(0, |n| n.len().saturating_add(TEXT));
    let description = event.description.as_ref().map_or(0, |d| d.len().saturating_add(TEXT));
    size_of::<Event>().saturating_add(name).saturating_add(description)
}

impl Inner {
    /// Writes what is in memory, sorted, to a run of its own.
    fn spill(&mut self) -> io::Result<()> {
        self.events.sort_unstable();
        self.events.dedup();
        let mut run = written(self.events.drain(..).map(Ok))?;
        self.bytes = 0;
        let mut generation = 0;
        loop {
            if self.generations.len() <= generation {
                self.generations.push(Vec::new());
            }
            let Some(runs) = self.generations.get_mut(generation) else { return Ok(()) };
            runs.push(run);
            if runs.len() < FAN {
                return Ok(());
            }
            let full = std::mem::take(runs).into_iter().map(Run::of).collect::<io::Result<_>>()?;
            run = written(Sorted::of(full)?)?;
            generation = generation.saturating_add(1);
        }
    }
}

/// Writes events, which are in order, to a file without a name.
fn written(events: impl Iterator<Item = io::Result<Event>>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(BUFFER, tempfile::tempfile()?);
    for event in events {
        record::write(&mut out, &event?)?;
    }
    out.flush()?;
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// Events in order, from memory or from a file.
enum Run {
    Memory(std::vec::IntoIter<Event>),
    File(BufReader<File>),
}

impl Run {
    fn of(mut file: File) -> io::Result<Self> {
        file.rewind()?;
        Ok(Self::File(BufReader::with_capacity(BUFFER, file)))
    }
    fn next(&mut self) -> io::Result<Option<Event>> {
        match self {
            Self::Memory(events) => Ok(events.next()),
            Self::File(file) => record::read(file),
        }
    }
}

/// Runs merged to one.
pub(super) struct Sorted {
    runs: Vec<Run>,
    /// The next event of each run, with the run's number.
    heads: BinaryHeap<Reverse<(Event, usize)>>,
}

impl Sorted {
    fn of(mut runs: Vec<Run>) -> io::Result<Self> {
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (i, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|event| Reverse((event, i))));
        }
        Ok(Self { runs, heads })
    }
    /// The lowest of the heads, whose run moves on.
    fn lowest(&mut self) -> io::Result<Option<Event>> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let run = head.0.1;
        Ok(Some(match self.runs.get_mut(run).map_or(Ok(None), Run::next)? {
            Some(next) => std::mem::replace(&mut *head, Reverse((next, run))).0.0,
            None => PeekMut::pop(head).0.0,
        }))
    }
    /// The next event; those equal to it are passed over.
    fn next_event(&mut self) -> io::Result<Option<Event>> {
        let event = self.lowest()?;
        while self.heads.peek().is_some_and(|next| Some(&next.0.0) == event.as_ref()) {
            self.lowest()?;
        }
        Ok(event)
    }
}

impl Iterator for Sorted {
    type Item = io::Result<Event>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}

impl Sorted {
    /// The same with stamps that were met more than once as one event: by a list and by the scan, or an image that many processes
    /// loaded.
    pub(super) fn each_once(self) -> impl Iterator<Item = Result<Event>> {
        let mut all = self.peekable();
        std::iter::from_fn(move || {
            let mut event = match all.next()? {
                Ok(event) => event,
                Err(why) => return Some(Err(failed(why))),
            };
            while let Some(same) = all.next_if(|next| next.as_ref().is_ok_and(|next| next.is_same(&event))) {
                // Where one process' copy of the headers is missing, another's may be there.
                if let (Stamp::Unknown, Ok(same)) = (event.stamp, same) {
                    event.stamp = same.stamp;
                }
            }
            Some(Ok(event))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Kind;
    use super::*;
    use crate::addr::{Pa, Va};
    use crate::bytes::{At, Place, Stored};
    use crate::time::FileTime;
    use crate::utf16::Text;
    use crate::value::Absent;

    /// Numbers without meaning, the same each time: a linear congruential generator (Knuth's constants).
    fn random() -> impl FnMut(u64) -> u64 {
        let mut state = 1u64;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        }
    }

    fn some_event(random: &mut impl FnMut(u64) -> u64) -> Event {
        let kind = Kind::ALL[random(Kind::ALL.len() as u64) as usize];
        let name = match random(4) {
            0 => Err(Absent::ALL[random(Absent::ALL.len() as u64) as usize]),
            1 => Ok(Text::cut(format!("cut {}", random(9)), Absent::PagedOut)),
            n => Ok(format!("name{n} ü\0{}", random(50)).into()),
        };
        let at = random(1000);
        let place = Place {
            va: (!at.is_multiple_of(3)).then_some(Va(at)),
            pa: (!at.is_multiple_of(5)).then_some(Pa(at)),
            file: Some(match at % 4 {
                0 => At::Decoded { from: Stored::page_file(3, at), slot: 9, inside: 0x123 },
                1 => At::Stored(Stored::page_file(0, at)),
                _ => At::in_dump(at),
            }),
        };
        let stamp = [Stamp::Time, Stamp::Hash, Stamp::Unknown][random(3) as usize];
        let description = (random(2) == 0).then(|| "what else is known\n".repeat(random(9) as usize));
        Event {
            time: FileTime(random(300)),
            kind,
            pid: (!at.is_multiple_of(7)).then_some(at),
            name,
            description,
            place,
            stamp,
        }
    }

    /// As many runs as take two generations, many equal events among them: the order is that of all at once.
    #[test]
    fn runs_change_nothing_of_the_order() {
        let mut random = random();
        let mut events: Vec<Event> = (0..20_000).map(|_| some_event(&mut random)).collect();
        events.extend_from_within(..5_000);
        let sorter = Sorter::within(10_000);
        for some in events.chunks(777) {
            sorter.take(&mut some.to_vec()).unwrap();
        }
        let generations: Vec<usize> = sorter.inner.lock().unwrap().generations.iter().map(Vec::len).collect();
        assert!(generations.len() > 2 && generations.iter().all(|n| *n < FAN), "{generations:?}");
        let got: Vec<Event> = sorter.sorted().unwrap().map(io::Result::unwrap).collect();
        events.sort();
        events.dedup();
        assert_eq!(got.len(), events.len());
        assert!(got == events);
    }
    #[test]
    fn few_events_need_no_file() {
        let mut random = random();
        let mut events: Vec<Event> = (0..1000).map(|_| some_event(&mut random)).collect();
        let sorter = Sorter::default();
        sorter.take(&mut events).unwrap();
        assert!(events.is_empty() && sorter.inner.lock().unwrap().generations.is_empty());
        assert!(sorter.sorted().unwrap().map(io::Result::unwrap).is_sorted());
        assert_eq!(Sorter::default().sorted().unwrap().count(), 0);
    }
    /// More than fits: what is in memory stays within the room.
    #[test]
    fn memory_holds_one_run() {
        let mut random = random();
        let sorter = Sorter::within(100_000);
        for _ in 0..10_000 {
            sorter.take(&mut vec![some_event(&mut random)]).unwrap();
            let inner = sorter.inner.lock().unwrap();
            assert!(inner.bytes <= 100_000 && inner.events.len() * size_of::<Event>() <= 100_000);
        }
        assert!(sorter.sorted().unwrap().count() > 9_000);
    }
}
