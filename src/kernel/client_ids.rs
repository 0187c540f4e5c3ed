//! What the table of client ids (`PspCidTable`) says of processes: a witness of its own, and cheap to ask. It has every
//! process and thread that was given an id, whatever the lists say.

use super::Kernel;
use super::scan::checks::{PROCESS_OBJECT, THREAD_OBJECT};
use crate::addr::Va;
use crate::paging::Space;
use crate::value::{Absent, Note, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Ids named in a note at most; the count is always whole.
const MOST_NAMED: usize = 32;

/// The processes that the table of client ids knows.
#[derive(Clone, Debug, Default)]
pub struct Numbered {
    /// Ids that lead to processes, with the `_EPROCESS`, in order of the ids.
    pub processes: Vec<(u64, Va)>,
    /// Processes that the table's threads name as theirs.
    pub owners: BTreeSet<Va>,
    /// Ids whose object cannot be read, or holds nothing that a process or a thread could be: its page is not in the dump,
    /// or is empty.
    pub lost: BTreeMap<u64, Va>,
    /// Processes among the lost ones, by what their threads say: id and `_EPROCESS`.
    pub lost_processes: BTreeMap<u64, Va>,
    /// How the walk over the table went.
    pub notes: Vec<Note>,
}

impl Kernel {
    /// Asks the table of client ids for its processes.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`]: nothing says where the table is or what it looks like; [`Absent::Implausible`]: its pointer is
    /// null or the table has not one process; or why it cannot be read.
    pub fn numbered(&self, space: &Space<'_>) -> Value<Numbered> {
        let (ids, notes) = self.client_ids(space)?;
        let mut out = Numbered { notes, ..Numbered::default() };
        for id in ids {
            let process = self.process_at(space, id.target).map_err(|_| Absent::NoSymbol)?;
            match process.view.kind() {
                Ok(PROCESS_OBJECT) if process.may_be_one() => out.processes.push((id.value, id.target)),
                Ok(THREAD_OBJECT) => {
                    let thread = self.thread_at(space, id.target).map_err(|_| Absent::NoSymbol)?;
                    let Ok(owner) = thread.view.owner() else { continue };
                    out.owners.insert(owner);
                    if let (Ok(pid), true) = (thread.view.pid(), self.process_is_gone(space, owner)) {
                        out.lost_processes.insert(pid, owner);
                    }
                }
                _ => _ = out.lost.insert(id.value, id.target),
            }
        }
        out.lost_processes.retain(|pid, _| *pid != 0);
        if out.processes.is_empty() && out.lost.is_empty() { Err(Absent::Implausible) } else { Ok(out) }
    }
}

impl Numbered {
    /// Every process the table leads to, by its own id or by a thread.
    pub fn addresses(&self) -> impl Iterator<Item = Va> {
        self.processes.iter().map(|(_, at)| *at).chain(self.owners.iter().copied())
    }
    /// The note that names what is lost; `None` where nothing is. `listed` are processes that other structures know:
    /// a lost object at one of these addresses is a process.
    pub fn loss(&self, listed: impl Fn(Va) -> bool) -> Option<Note> {
        let mut processes: BTreeSet<u64> = self.lost_processes.keys().copied().collect();
        processes.extend(self.lost.iter().filter(|(_, at)| listed(**at)).map(|(id, _)| *id));
        let others: BTreeSet<u64> = self.lost.keys().copied().filter(|id| !processes.contains(id)).collect();
        if processes.is_empty() && others.is_empty() {
            return None;
        }
        let all = processes.len().saturating_add(others.len());
        let kinds = [("process", "processes", &processes), ("process or thread", "processes or threads", &others)];
        let told: Vec<String> = kinds
            .iter()
            .filter(|(.., ids)| !ids.is_empty())
            .map(|(one, more, ids)| format!("{} {}", if ids.len() == 1 { one } else { more }, named(ids)))
            .collect();
        Some(Note::loss(format!(
            "PspCidTable: {all} id{} for objects whose memory cannot be read: {}",
            if all == 1 { " stands" } else { "s stand" },
            told.join("; ")
        )))
    }
}

/// The first ids, and how many more there are.
fn named(ids: &BTreeSet<u64>) -> String {
    let first: Vec<String> = ids.iter().take(MOST_NAMED).map(u64::to_string).collect();
    match ids.len().saturating_sub(first.len()) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
