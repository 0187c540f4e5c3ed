//! Every way the kernel knows its processes, side by side: what one way has and another lacks is where something hides.
//!
//! `sources` asks each way for itself; `reasons` says of each miss whether it has an innocent reason. Nothing here trusts one
//! way more than another: a process is a row wherever it was met.

mod handles;
mod reasons;
mod sources;

pub use reasons::Reason;

use super::Kernel;
use super::active::Place;
use super::life::Life;
use super::process::{EProcess, Process};
use super::scan::find::By;
use crate::addr::{Pa, Va};
use crate::error::Result;
use crate::paging::Mode;
use crate::progress::Progress;
use crate::symbols::layout::Layout;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// A way the kernel, or its memory, knows a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// `PsActiveProcessHead`, followed forwards.
    List,
    /// The same, followed backwards.
    ListBack,
    /// The scan of physical memory.
    Scan,
    /// `PspCidTable`, where process ids lead.
    CidTable,
    /// Threads, of the scan and of `PspCidTable`, that belong to it.
    Threads,
    /// The list of its session.
    Session,
    /// The handles of the `csrss.exe` of its session.
    Csrss,
    /// The handles of System.
    System,
    /// The list of its job.
    Job,
}

impl View {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 9] = [
        Self::List,
        Self::ListBack,
        Self::Scan,
        Self::CidTable,
        Self::Threads,
        Self::Session,
        Self::Csrss,
        Self::System,
        Self::Job,
    ];
    /// Its column's key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::List => "pslist",
            Self::ListBack => "pslist_back",
            Self::Scan => "psscan",
            Self::CidTable => "pspcid",
            Self::Threads => "thrdscan",
            Self::Session => "session",
            Self::Csrss => "csrss",
            Self::System => "system",
            Self::Job => "job",
        }
    }
}

/// How a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// On the active list.
    Listed,
    /// On no active list, and it has ended.
    Terminated,
    /// Alive by all it says of itself, mapped, and on no active list.
    Unlinked,
    /// The active list is torn where it stands: its own links are a piece of the list, or lead nowhere.
    Torn,
    /// In physical memory that the kernel maps nowhere any more.
    Remains,
}

impl Standing {
    /// That of a process, by its place on the active list and whether it lives.
    #[must_use]
    pub fn of(process: &Process<'_>, place: Place, life: &Life) -> Self {
        if place == Place::Listed {
            Self::Listed
        } else if life.ended || (life.leaving && process.exit_time().is_ok()) {
            Self::Terminated
        } else if process.offset().is_none() {
            Self::Remains
        } else if place == Place::Off {
            Self::Unlinked
        } else {
            Self::Torn
        }
    }
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Terminated => "terminated",
            Self::Unlinked => "unlinked",
            Self::Torn => "torn",
            Self::Remains => "remains",
        }
    }
}

/// What one view says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The view.
    pub view: View,
    /// Whether it has the process; absent where the view cannot be had from this dump.
    pub has: Value<bool>,
    /// Why it lacks it; `None` where it has it or cannot tell.
    pub reason: Option<Reason>,
}

/// A process, and who knows it.
#[derive(Clone, Debug)]
pub struct Crossed<'k> {
    /// The process.
    pub process: Process<'k>,
    /// Its physical address, where its page is in the dump.
    pub pa: Option<Pa>,
    /// How the scan met it; empty where it did not.
    pub found_by: Vec<By>,
    /// How it stands; absent where the dump records no list.
    pub standing: Value<Standing>,
    /// Whether it has ended, or is being deleted, by all witnesses.
    pub ended: bool,
    /// What each view says, in the order of [`View::ALL`].
    pub seen: [Seen; View::ALL.len()],
    /// How many other processes hold a handle to it or to one of its threads.
    pub holders: Value<u32>,
}

impl Crossed<'_> {
    /// The views that lack it for no innocent reason.
    pub fn unexplained(&self) -> impl Iterator<Item = View> {
        self.seen.iter().filter(|s| s.reason == Some(Reason::Unexplained)).map(|s| s.view)
    }
}

/// All processes, by all ways.
#[derive(Debug)]
pub struct Crossview<'k> {
    /// By process id, then time of creation, then place.
    pub processes: Vec<Crossed<'k>>,
    /// How it went, and which views could not be had.
    pub notes: Vec<Note>,
}

impl Kernel {
    /// Every process by every way there is, each miss with its reason.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a process. A view that cannot be had is none: its cells are absent.
    pub fn crossview(&self, progress: &Progress) -> Result<Crossview<'_>> {
        let mut notes = Vec::new();
        if self.mode == Mode::Blocks {
            return self.recorded_only();
        }
        let sources = sources::gather(self, progress, &mut notes)?;
        let space = self.space();
        // One object met by two addresses of one physical place is one.
        let mut met: FxHashMap<Spot, usize> = FxHashMap::default();
        let mut rows: Vec<Crossed<'_>> = Vec::new();
        let mut aliases: Vec<FxHashSet<Va>> = Vec::new();
        for va in sources.addresses() {
            let process = self.process_at(&space, va)?;
            let pa = process.place().pa;
            let place = pa.map_or(Spot::Virtual(va), Spot::Physical);
            match met.get(&place) {
                Some(known) => _ = aliases.get_mut(*known).map(|a| a.insert(va)),
                None => {
                    met.insert(place, rows.len());
                    rows.push(Crossed::blank(process, pa));
                    aliases.push(FxHashSet::from_iter([va]));
                }
            }
        }
        let span = self.layout::<EProcess>().map_err(|e| self.unreadable(&e))?.span();
        for found in sources.scanned() {
            match met.get(&Spot::Physical(found.pa)).and_then(|at| rows.get_mut(*at)) {
                Some(row) => row.found_by.clone_from(&found.by),
                None => {
                    let process = self.process_of(found.bytes(self, span))?;
                    rows.push(Crossed { found_by: found.by.clone(), ..Crossed::blank(process, Some(found.pa)) });
                    aliases.push(found.va.into_iter().collect());
                }
            }
        }
        let places = sources.places(self, &space, &aliases);
        rows.par_iter_mut().zip(aliases.par_iter().zip(&places)).for_each_init(
            || self.space(),
            |space, (row, (addresses, place))| {
                row.holders = sources.holders_of(addresses);
                for seen in &mut row.seen {
                    seen.has = sources.has(seen.view, row.pa, addresses, &row.process, space);
                }
                let life = Life::of(&row.process, space);
                row.ended = life.ended || life.leaving && row.process.view.deleted() == Ok(1);
                row.standing = place.map(|place| Standing::of(&row.process, place, &life));
            },
        );
        reasons::explain(&mut rows, &sources);
        rows.sort_by_key(|r| {
            let number = |v: Value<u64>| v.unwrap_or(u64::MAX);
            (number(r.process.pid()), number(r.process.create_time().map(|t| t.0)), r.process.offset(), r.pa)
        });
        Ok(Crossview { processes: rows, notes })
    }
}

impl Kernel {
    /// Of a dump that keeps no lists: the process it holds, and no view of it.
    fn recorded_only(&self) -> Result<Crossview<'_>> {
        let found = self.processes()?;
        let mut notes = found.notes;
        notes.push(Note::info("this dump keeps one process and none of the kernel's views of its processes"));
        let processes = found.list.into_iter().map(|p| {
            let pa = p.place().pa;
            Crossed::blank(p, pa)
        });
        Ok(Crossview { processes: processes.collect(), notes })
    }
}

/// Where an object is, for telling objects apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Spot {
    Physical(Pa),
    /// Its page is not in the dump.
    Virtual(Va),
}

impl<'k> Crossed<'k> {
    fn blank(process: Process<'k>, pa: Option<Pa>) -> Self {
        let seen = View::ALL.map(|view| Seen { view, has: Err(Absent::NotRecorded), reason: None });
        Self {
            process,
            pa,
            found_by: Vec::new(),
            standing: Err(Absent::NotRecorded),
            ended: false,
            seen,
            holders: Err(Absent::NotRecorded),
        }
    }
    /// What a view says of it.
    ///
    /// # Errors
    /// Why the view cannot be asked.
    pub fn has(&self, view: View) -> Value<bool> {
        self.seen.iter().find(|s| s.view == view).map_or(Err(Absent::NotRecorded), |s| s.has)
    }
}
