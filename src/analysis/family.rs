//! Who made whom: each process's parent, by its id and by whether that one can have been there.

use crate::addr::Va;
use crate::kernel::process::Process;
use crate::time::FileTime;
use crate::value::Value;
use std::collections::HashMap;

/// Why a process stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Its parent, by index.
    Found(usize),
    /// No listed process has the id.
    Gone,
    /// The process with the id was created later.
    Younger,
    /// The process with the id had ended before.
    Ended,
    /// One of the times needed is absent, or the id is its own.
    Unknown,
}
impl Parent {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::Gone => "gone",
            Self::Younger => "younger",
            Self::Ended => "ended",
            Self::Unknown => "unknown",
        }
    }
}

/// What the tree needs of a process.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its id.
    pub pid: Option<u64>,
    /// Its parent's id.
    pub ppid: Option<u64>,
    /// When it was created.
    pub created: Option<FileTime>,
    /// When it ended.
    pub ended: Option<FileTime>,
}

impl Member {
    /// Of a process.
    #[must_use]
    pub fn of(p: &Process<'_>) -> Self {
        Self { pid: p.pid().ok(), ppid: p.ppid().ok(), created: p.create_time().ok(), ended: p.exit_time().ok() }
    }
}

/// The parent of each member: of those with the right id the youngest that was there when the member was created.
#[must_use]
pub fn parents(members: &[Member]) -> Vec<Parent> {
    let mut by_pid: HashMap<u64, Vec<usize>> = HashMap::new();
    for (i, m) in members.iter().enumerate() {
        if let Some(pid) = m.pid {
            by_pid.entry(pid).or_default().push(i);
        }
    }
    members.iter().enumerate().map(|(i, m)| parent_of(i, m, members, &by_pid)).collect()
}

fn parent_of(i: usize, m: &Member, members: &[Member], by_pid: &HashMap<u64, Vec<usize>>) -> Parent {
    let Some(ppid) = m.ppid else { return Parent::Unknown };
    if ppid == 0 {
        return Parent::Gone; // System, and what the idle process is said to have made
    }
    let Some(candidates) = by_pid.get(&ppid) else { return Parent::Gone };
    let mut best: Option<(FileTime, usize)> = None;
    let mut why_not = Parent::Unknown;
    for &c in candidates {
        let Some(other) = members.get(c) else { continue };
        let (Some(created), Some(born)) = (m.created, other.created) else { continue };
        if c == i {
            continue;
        }
        if born > created {
            why_not = Parent::Younger;
        } else if other.ended.is_some_and(|ended| ended < created) {
            why_not = Parent::Ended;
        } else if best.is_none_or(|(b, _)| born > b) {
            best = Some((born, c));
        }
    }
    best.map_or(why_not, |(_, c)| Parent::Found(c))
}

/// All listed processes and who made whom, by the address of the `_EPROCESS`.
#[derive(Debug, Default)]
pub struct Family {
    members: Vec<(Member, Value<String>)>,
    parents: Vec<Parent>,
    places: HashMap<Va, usize>,
}

/// A process's parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whether it can be its parent.
    pub parent: Parent,
    /// The parent's name, where it can.
    pub name: Option<String>,
}

impl Family {
    /// Of these processes.
    #[must_use]
    pub fn of(list: &[Process<'_>]) -> Self {
        let members: Vec<Member> = list.iter().map(Member::of).collect();
        let parents = parents(&members);
        let places = list.iter().enumerate().filter_map(|(i, p)| Some((p.offset()?, i))).collect();
        let members = members.into_iter().zip(list.iter().map(Process::name)).collect();
        Self { members, parents, places }
    }
    /// What is known of a process's parent.
    #[must_use]
    pub fn parent(&self, process: &Process<'_>) -> Known {
        let place = process.offset().and_then(|at| self.places.get(&at));
        let parent = place.and_then(|i| self.parents.get(*i)).copied().unwrap_or(Parent::Unknown);
        let name = match parent {
            Parent::Found(up) => self.members.get(up).and_then(|(_, name)| name.clone().ok()),
            _ => None,
        };
        Known { parent, name }
    }
    /// The place of a process in the list this was made of.
    #[must_use]
    pub fn place(&self, eprocess: Va) -> Option<usize> {
        self.places.get(&eprocess).copied()
    }
}
