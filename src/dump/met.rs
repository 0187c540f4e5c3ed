//! What readers of a dump met that cost them values: kept while they read, said once at the end of a run.
//!
//! Nothing here is touched by a reader whose memory is all there.

use super::filler::{Filled, Pattern};
use crate::addr::{Pfn, Va};
use crate::value::Note;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// More are not told apart; a note then says "at least".
const MOST: usize = 1 << 18;

/// Distinct things that were met, by any thread.
#[derive(Debug, Default)]
pub(super) struct Met {
    filled: Mutex<BTreeSet<Filled>>,
    cut: Mutex<BTreeSet<Va>>,
}

fn keep<T: Ord>(set: &Mutex<BTreeSet<T>>, one: T) {
    let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
    if set.len() < MOST {
        set.insert(one);
    }
}

/// A number of things, and whether there may be more.
fn number(len: usize) -> String {
    if len < MOST { len.to_string() } else { format!("at least {len}") }
}

impl Met {
    /// A page filled with a pattern.
    #[cold]
    pub(super) fn filled(&self, pattern: Pattern, pfn: Pfn) {
        keep(&self.filled, (pattern, pfn));
    }
    /// A text whose end is not there.
    #[cold]
    pub(super) fn cut(&self, va: Va) {
        keep(&self.cut, va);
    }
    /// One note for each kind.
    pub(super) fn notes(&self) -> Vec<Note> {
        let filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        filled_note(&filled).into_iter().chain(cut_note(&cut)).collect()
    }
}

fn filled_note(filled: &BTreeSet<Filled>) -> Option<Note> {
    let (_, first) = filled.iter().min_by_key(|(_, pfn)| *pfn)?;
    let mut by_pattern: BTreeMap<Pattern, usize> = BTreeMap::new();
    for (pattern, _) in filled {
        let count = by_pattern.entry(*pattern).or_default();
        *count = count.saturating_add(1);
    }
    let parts: Vec<String> = by_pattern.iter().map(|(pattern, count)| format!("{count} with {pattern}")).collect();
    Some(Note::loss(format!(
        "{} pages that were read hold no memory of the machine: the dump's writer filled them with a pattern in place of memory that it \
         could not read ({}; the first is page {:#x}); what they held is not in the dump",
        number(filled.len()),
        parts.join(", "),
        first.0
    )))
}

fn cut_note(cut: &BTreeSet<Va>) -> Option<Note> {
    let first = cut.first()?;
    Some(Note::loss(format!(
        "{} texts go on in memory that cannot be read (the first at {first}): they are shown as far as they are there, and marked as cut",
        number(cut.len())
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_once() {
        let met = Met::default();
        assert!(met.notes().is_empty());
        let debugger = Pattern::of(&[0xed, 0xfe, 0xad, 0xde].repeat(1024).try_into().unwrap()).unwrap();
        for pfn in [7, 9, 7] {
            met.filled(debugger, Pfn(pfn));
        }
        met.cut(Va(0x1000));
        met.cut(Va(0x1000));
        let notes = met.notes();
        assert!(notes.iter().all(|n| n.loss));
        assert!(notes[0].text.contains("2 pages") && notes[0].text.contains("2 with 0xdeadfeed"), "{notes:?}");
        assert!(notes[0].text.contains("page 0x7"), "{notes:?}");
        assert!(notes[1].text.starts_with("1 texts"), "{notes:?}");
    }
}
