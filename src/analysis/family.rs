//! Who made whom: each process's parent, by its id and by whether that one can have been there.

use crate::addr::Va;
use crate::kernel::life::Life;
use crate::kernel::process::Process;
use crate::time::FileTime;
use crate::value::Value;
use std::collections::{HashMap, HashSet};

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
    /// One of the times needed is absent, the id is its own, or too many processes share it.
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
        // One field does not end a process whose threads run.
        let ended = p.exit_time().ok().filter(|_| Life::of(p, &p.kernel.space()).ended);
        Self { pid: p.pid().ok(), ppid: p.ppid().ok(), created: p.create_time().ok(), ended }
    }
}

/// Processes with one id that are considered as one's parent: the youngest of those that are older than it.
pub const MOST_CONSIDERED: usize = 256;

/// The parent of each member: of those with the right id the youngest that was there when the member was created.
#[must_use]
pub fn parents(members: &[Member]) -> Vec<Parent> {
    // Of each id, by the time of their creation.
    let mut by_pid: HashMap<u64, Vec<(FileTime, usize)>> = HashMap::new();
    let mut timeless: HashSet<u64> = HashSet::new();
    for (i, m) in members.iter().enumerate() {
        match (m.pid, m.created) {
            (Some(pid), Some(created)) => by_pid.entry(pid).or_default().push((created, i)),
            (Some(pid), None) => _ = timeless.insert(pid),
            (None, _) => {}
        }
    }
    by_pid.values_mut().for_each(|same| same.sort_unstable());
    let parent = |(i, m): (usize, &Member)| {
        let Some(ppid) = m.ppid else { return Parent::Unknown };
        if ppid == 0 {
            return Parent::Gone; // System, and what the idle process is said to have made
        }
        match by_pid.get(&ppid) {
            Some(same) => parent_of(i, m, members, same),
            None if timeless.contains(&ppid) => Parent::Unknown,
            None => Parent::Gone,
        }
    };
    members.iter().enumerate().map(parent).collect()
}

/// The parent among those with its id, in the order of their creation.
fn parent_of(i: usize, m: &Member, members: &[Member], same: &[(FileTime, usize)]) -> Parent {
    let Some(created) = m.created else { return Parent::Unknown };
    let (older, younger) = same.split_at(same.partition_point(|(born, _)| *born <= created));
    let mut others = older.iter().rev().map(|(_, c)| *c).filter(|c| *c != i).take(MOST_CONSIDERED).peekable();
    let any = others.peek().is_some();
    let there = |c: &usize| members.get(*c).is_some_and(|p| p.ended.is_none_or(|ended| ended >= created));
    match others.find(there) {
        Some(parent) => Parent::Found(parent),
        // More were there than are considered: an older one may live.
        None if older.len() > MOST_CONSIDERED => Parent::Unknown,
        None if any => Parent::Ended,
        None if younger.iter().any(|(_, c)| *c != i) => Parent::Younger,
        None => Parent::Unknown,
    }
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
