//! The events of a machine, as they are gathered.

use super::event::{Bounds, Event};
use super::sorter::{Sorted, Sorter};
use crate::error::Result;
use crate::time::FileTime;
use std::sync::atomic::{AtomicBool, Ordering};

/// Events, in no order yet, and what they show of the machine's time stamps.
pub(super) struct Gathered {
    sorter: Sorter,
    end: Option<FileTime>,
    hashes: AtomicBool,
}

impl Gathered {
    /// Of a dump that was taken then.
    pub(super) fn until(end: Option<FileTime>) -> Self {
        Self { sorter: Sorter::default(), end, hashes: AtomicBool::new(false) }
    }
    /// Takes these events and leaves the list empty.
    ///
    /// # Errors
    /// As [`Sorter::take`].
    pub(super) fn take(&self, events: &mut Vec<Event>) -> Result<()> {
        if !self.hashes.load(Ordering::Relaxed) && events.iter().any(|e| e.shows_hashes(self.end)) {
            self.hashes.store(true, Ordering::Relaxed);
        }
        self.sorter.take(events)
    }
    /// What times are measured by, once all are gathered.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { end: self.end, hashes: self.hashes.load(Ordering::Relaxed) }
    }
    /// All in order.
    ///
    /// # Errors
    /// As [`Sorter::sorted`].
    pub(super) fn sorted(self) -> Result<Sorted> {
        self.sorter.sorted()
    }
}
