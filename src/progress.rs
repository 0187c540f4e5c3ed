//! How far a long piece of work is: counters that whoever waits may look at. Nothing here draws.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is being counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    #[default]
    Count,
    /// Bytes.
    Bytes,
}

/// A task as an onlooker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// What is being done, in a few words.
    pub what: String,
    /// How much there is to do; zero where nobody knows.
    pub total: u64,
    /// How much is done.
    pub done: u64,
    /// Of what.
    pub unit: Unit,
    /// Counts the tasks begun, so that an onlooker sees a new one.
    pub number: u64,
}

/// A handle to the counters of one run. Cheap to clone; without an onlooker it costs an atomic addition.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    done: AtomicU64,
    task: Mutex<Option<Task>>,
    begun: AtomicU64,
}

impl Progress {
    /// A new task replaces the one before.
    pub fn begin(&self, what: impl Into<String>, total: u64, unit: Unit) {
        let number = self.0.begun.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.0.done.store(0, Ordering::Relaxed);
        let task = Task { what: what.into(), total, done: 0, unit, number };
        *self.0.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
    /// So much more is done. Call it per page or object at most, better per batch.
    pub fn add(&self, more: u64) {
        self.0.done.fetch_add(more, Ordering::Relaxed);
    }
    /// So much is done in all, of so much where that is known by now.
    pub fn set(&self, done: u64, total: Option<u64>) {
        self.0.done.store(done, Ordering::Relaxed);
        if let Some(total) = total
            && let Some(task) = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            task.total = total;
        }
    }
    /// The task is over.
    pub fn end(&self) {
        *self.0.task.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    /// The task under way.
    #[must_use]
    pub fn look(&self) -> Option<Task> {
        let task = self.0.task.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Task { done: self.0.done.load(Ordering::Relaxed), ..task })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_seen_until_it_ends() {
        let progress = Progress::default();
        assert_eq!(progress.look(), None);
        progress.begin("scan", 10, Unit::Bytes);
        progress.add(3);
        let seen = progress.look().unwrap();
        assert_eq!((seen.done, seen.total, seen.number), (3, 10, 1));
        progress.begin("other", 0, Unit::Count);
        assert_eq!(progress.look().unwrap().done, 0);
        progress.end();
        assert_eq!(progress.look(), None);
    }
}
