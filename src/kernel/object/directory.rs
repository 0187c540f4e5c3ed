//! `_OBJECT_DIRECTORY`: a directory of the object namespace, and what is in it.

use super::{Fact, Facts, Objects};
use crate::addr::Va;
use crate::layout;
use crate::symbols::layout::Here;
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashSet;

layout! {
    /// `_OBJECT_DIRECTORY`.
    pub struct Directory: "_OBJECT_DIRECTORY" {
        /// `HashBuckets`: 37 chains of entries.
        buckets: Here = "HashBuckets",
        /// `SessionId`.
        session: u32 = "SessionId",
    }
}
layout! {
    /// `_OBJECT_DIRECTORY_ENTRY`.
    pub struct DirectoryEntry: "_OBJECT_DIRECTORY_ENTRY" {
        /// `ChainLink`.
        next: Va = "ChainLink",
        /// `Object`: the object's body.
        object: Va = "Object",
    }
}

/// What a directory of no session has as its session.
const NO_SESSION: u32 = u32::MAX;
/// Chains of a directory, the same in every known kernel (`HashBuckets` is an array of 37).
const BUCKETS: u64 = 37;
/// More entries than a directory holds.
const MOST_ENTRIES: usize = 1 << 20;

/// Its session.
pub(super) fn facts(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let layout = objects.kernel.layout::<Directory>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, body);
    let session = v.session().and_then(|s| if s == NO_SESSION { Err(Absent::NotApplicable) } else { Ok(s) });
    Ok(vec![("session", Fact::from(session))])
}

impl Objects<'_> {
    /// The bodies of the objects in a directory, chain by chain, and notes on what could not be followed.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn entries(&self, directory: Va) -> Value<(Vec<Va>, Vec<Note>)> {
        let layout = self.kernel.layout::<Directory>().map_err(|_| Absent::NoSymbol)?;
        let entry = self.kernel.layout::<DirectoryEntry>().map_err(|_| Absent::NoSymbol)?;
        let buckets = self.space.view(layout, directory).buckets()?;
        let width = u64::from(self.space.pointer_size());
        let (mut out, mut notes, mut seen) = (Vec::new(), Vec::new(), FxHashSet::default());
        for bucket in 0..BUCKETS {
            let at = buckets.add(bucket.saturating_mul(width));
            let mut next = self.space.pointer(at)?;
            while !next.is_null() {
                if !seen.insert(next) || out.len() >= MOST_ENTRIES {
                    notes.push(Note::loss(format!("object directory at {directory}: chain {bucket} loops at {next}")));
                    break;
                }
                let v = self.space.view(entry, next);
                match (v.object(), v.next()) {
                    (Ok(object), Ok(link)) => {
                        out.push(object);
                        next = link;
                    }
                    (Err(why), _) | (_, Err(why)) => {
                        notes
                            .push(Note::loss(format!("object directory at {directory}: the entry at {next} is {why}")));
                        break;
                    }
                }
            }
        }
        Ok((out, notes))
    }
}
