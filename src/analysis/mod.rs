//! One file per question an analyst asks, one register: [`ALL`].

mod answers;
mod blame;
mod callbacks;
pub mod callstacks;
mod case;
pub mod cmdline;
pub mod code;
mod copied;
mod crash;
mod crashinfo;
pub mod disassembly;
pub mod dlllist;
mod drivermodule;
mod driverscan;
pub mod envars;
pub mod family;
mod filescan;
pub mod findings;
pub mod getsids;
mod handles;
pub mod heaps;
pub mod identities;
pub mod image_facts;
pub mod images;
mod info;
pub mod joblinks;
pub mod ldrmodules;
pub mod lifecycle;
pub mod malfind;
pub mod mappedfiles;
pub mod memmap;
pub mod memory;
mod modscan;
mod modules;
pub mod page;
pub mod parallel;
mod poolscan;
pub mod privileges;
pub mod procinfo;
pub mod pslist;
mod psscan;
mod pstree;
mod psxview;
mod register;
pub mod routine;
mod scans;
pub mod sessions;
mod ssdt;
pub mod stacks;

pub mod tell;
mod thrdscan;
pub mod thread_walk;
pub mod threads;
mod timeline;
pub mod tokens;
mod unloaded;
pub mod unloadeddlls;
mod user;
pub mod vadinfo;
pub mod vadtree;
pub mod verinfo;
pub mod which_thread;
pub mod who;
pub mod workingset;

pub use answers::Answers;
pub use case::{Case, OpenOptions};
pub use register::{ALL, GROUPS, Group};

use crate::addr::Va;
use crate::progress::Progress;
use crate::report::{Column, Wanted};

/// A switch of one analysis (`--stacks`, `--tag TAG`).
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// Without the dashes.
    pub name: &'static str,
    /// Its value, of a switch that takes one.
    pub value: Option<Takes>,
    /// What it does.
    pub about: &'static str,
}

/// The value that a switch takes, judged before a dump is opened.
#[derive(Clone, Copy, Debug)]
pub struct Takes {
    /// What the help calls it.
    pub name: &'static str,
    /// Whether it is a list: separated by commas, and the switch may be given more than once.
    pub list: bool,
    /// Says what is wrong with a value, or with one of a list.
    pub check: fn(&str) -> std::result::Result<(), String>,
}

impl Takes {
    /// One value.
    #[must_use]
    pub const fn one(name: &'static str, check: fn(&str) -> std::result::Result<(), String>) -> Self {
        Self { name, list: false, check }
    }
    /// A list of values.
    #[must_use]
    pub const fn list(name: &'static str, check: fn(&str) -> std::result::Result<(), String>) -> Self {
        Self { name, list: true, check }
    }
    /// Judges what was given.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judge(&self, text: &str) -> std::result::Result<(), String> {
        if self.list { listed(text).try_for_each(self.check) } else { (self.check)(text) }
    }
}

/// The values of a list.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// What the user asked of an analysis.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// Only these process ids; empty for all.
    pub pids: Vec<u64>,
    /// Only processes whose name contains one of these, ignoring case; empty for all.
    pub names: Vec<String>,
    /// The processes whose `_EPROCESS` lies at these addresses, on a list or not, besides those asked for by id or name.
    pub offsets: Vec<Va>,
    /// What is wanted of each row: which columns, and the places of values.
    pub rows: Wanted,
    /// The analysis' own switches that were given, with their values.
    pub switches: Vec<(&'static str, String)>,
    /// A person reads the rows as a table: an analysis that ranks may give the beginning only, if it says so.
    pub brief: bool,
    /// Counts what takes long (scans).
    pub progress: Progress,
}

impl Ask {
    /// Whether a switch was given.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
    /// A switch's value.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.switches.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }
    /// The values of a switch that takes a list, each time it was given.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.switches.iter().filter(move |(n, _)| *n == name).flat_map(|(_, v)| listed(v))
    }
    /// Whether no process is named: all are asked for.
    #[must_use]
    pub fn names_none(&self) -> bool {
        self.pids.is_empty() && self.names.is_empty() && self.offsets.is_empty()
    }
    /// Whether a process is asked for, by its id, name and the address of its `_EPROCESS`.
    #[must_use]
    pub fn wants(&self, pid: Option<u64>, name: Option<&str>, offset: Option<Va>) -> bool {
        if !self.offsets.is_empty() {
            if offset.is_some_and(|va| self.offsets.contains(&va)) {
                return true;
            }
            if self.pids.is_empty() && self.names.is_empty() {
                return false;
            }
        }
        let by_pid = self.pids.is_empty() || pid.is_some_and(|p| self.pids.contains(&p));
        let by_name = self.names.is_empty()
            || name.is_some_and(|n| {
                let n = n.to_lowercase();
                self.names.iter().any(|wanted| n.contains(&wanted.to_lowercase()))
            });
        by_pid && by_name
    }
}

impl std::fmt::Debug for Analysis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What an analysis is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Processes: some can be chosen.
    Processes,
    /// The machine: which processes are asked for means nothing to it; names choose rows.
    Machine,
}

/// One question, and how it is answered.
pub struct Analysis {
    /// The subcommand, as Volatility names it where it has one.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Paragraphs for `--help`: what it shows, how to read it, an example.
    pub help: &'static str,
    /// The columns of its rows.
    pub columns: &'static [Column],
    /// Its own switches.
    pub switches: &'static [Switch],
    /// What it is about.
    pub subject: Subject,
    /// What it answers from.
    pub answers: Answers,
}
