//! Whether a process lives, by all witnesses: no single field decides, since whoever can write to kernel memory can write any one.
//!
//! Windows ends a process in one order: its threads are marked (`Terminated`), each that leaves is taken off `ActiveThreads`, and
//! only the last of them sets `ProcessExiting`, `ExitTime` and the exit status; handles are closed after that, and the object is
//! signalled at the very end. So a process with an exit time, or on its way out, has no thread without a mark. One that has, and
//! whose other fields say that it runs, is alive, and the mark is a contradiction.

use super::process::Process;
use super::thread::Thread;
use crate::paging::Space;
use crate::time::FileTime;
use crate::value::{Absent, Value};
use rustc_hash::FxHashSet;

/// `STATUS_PENDING`, the exit status of what runs.
const PENDING: u32 = 0x103;
/// Witnesses besides its threads that must say a process runs, of four: one that really leaves keeps at most two of them.
const ENOUGH: usize = 3;

/// A field that says a process has ended or is about to, against all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `ExitTime` is set.
    ExitTime,
    /// `ProcessExiting` is set, which the last thread does.
    Exiting,
    /// `ProcessDelete` is set: there is a short time in which threads are not marked yet.
    Delete,
}

/// Whether a process lives.
#[derive(Clone, Debug)]
pub struct Life {
    /// It has ended.
    pub ended: bool,
    /// It is being torn down: it says so, and no thread of it runs on.
    pub leaving: bool,
    /// Threads of its own that bear no mark of an end.
    pub running: usize,
    /// Fewer threads than it counts could be reached.
    pub lost_threads: bool,
    /// When the oldest of its threads that are still known was made.
    pub first_thread: Value<FileTime>,
    /// What says of a living process that it ends.
    pub contradicted: Vec<Mark>,
}

impl Life {
    /// That of a process.
    #[must_use]
    pub fn of<'k>(process: &Process<'k>, space: &Space<'k>) -> Self {
        let view = &process.view;
        let threads = process.every_thread(space);
        let own: Vec<&Thread<'_>> = threads.iter().filter(|t| t.belongs_to(process.offset()) == Ok(true)).collect();
        let running = own.iter().filter(|t| t.marks() == 0).count();
        let counted = view.active_threads();
        let says = [
            counted.is_ok_and(|n| n > 0),
            process.handle_count(space).is_ok(),
            view.exit_code() == Ok(PENDING),
            view.signal_state() == Ok(0),
        ];
        let alive = running > 0 && says.iter().filter(|s| **s).count() >= ENOUGH;
        let set = |bit: Value<u64>| bit.is_ok_and(|b| b != 0);
        let marks = [
            (Mark::ExitTime, process.exit_time().is_ok()),
            (Mark::Exiting, set(view.exiting())),
            (Mark::Delete, set(view.deleted())),
        ];
        let marks: Vec<Mark> = marks.into_iter().filter(|(_, set)| *set).map(|(mark, _)| mark).collect();
        let ended = match process.exit_time() {
            Ok(_) => !alive,
            Err(Absent::NotApplicable) => {
                let signalled = view.signal_state().is_ok_and(|s| s != 0);
                signalled && counted == Ok(0) && view.handle_table().is_ok_and(|t| t.is_null())
            }
            Err(_) => false,
        };
        let unmarked = own.iter().filter(|t| !t.is_gone()).count();
        Self {
            ended,
            leaving: !alive && !marks.is_empty(),
            running,
            lost_threads: !ended && counted.is_ok_and(|n| n as usize > unmarked),
            first_thread: own.iter().filter_map(|t| t.created().ok()).min().ok_or(Absent::NotRecorded),
            contradicted: if alive { marks } else { Vec::new() },
        }
    }
}

impl Thread<'_> {
    /// How many of three fields say that it has ended: its state, the `Terminated` flag, an exit time. One that is about to has
    /// the flag alone.
    #[must_use]
    pub fn marks(&self) -> usize {
        let state = self.view.state_raw() == Ok(super::thread::TERMINATED);
        let flag = self.view.terminated() == Ok(1);
        [state, flag, self.exited().is_ok()].into_iter().filter(|m| *m).count()
    }
    /// Whether it has ended by more than one field.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.marks() > 1
    }
}

impl<'k> Process<'k> {
    /// Its threads by its own list and, where that has fewer than the process counts, by the scheduler's.
    #[must_use]
    pub fn every_thread(&self, space: &Space<'k>) -> Vec<Thread<'k>> {
        let Ok(own) = self.thread_list(space) else { return Vec::new() };
        let mut all = own.list;
        let there = all.iter().filter(|t| !t.is_gone()).count();
        if self.view.active_threads().is_ok_and(|n| n as usize > there)
            && let Ok(more) = self.scheduler_thread_list(space)
        {
            let known: FxHashSet<_> = all.iter().map(Thread::offset).collect();
            all.extend(more.list.into_iter().filter(|t| !known.contains(&t.offset())));
        }
        all
    }
}
