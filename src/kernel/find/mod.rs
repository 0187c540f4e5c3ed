//! From a dump to its kernel: a page-table root that translates, the image and where it lies, its symbols.
//!
//! There are several ways to one; each says what it saw and gives [`Candidate`]s, likeliest first. What follows is the same
//! for all: the image names its PDB, the symbols are fetched, the kernel is put together and held against the dump. It is
//! final when the System process can be read through it ([`judge`]); else the next candidate is tried.

mod copied;
mod doubts;
mod evidence;
mod exact;
mod harvest;
mod header;
mod image;
mod judge;
mod listed;
mod memory;
mod nearest;
mod processors;
mod roots;
mod settle;
mod shared_page;
mod system;
mod tables;
mod triage;

pub use copied::Copied;
pub use doubts::MOVED_BY_UPDATES;

use super::Kernel;
use super::image::Image;
use crate::addr::{Pa, Va};
use crate::dump::{Dump, Kind};
use crate::paging::Mode;
use crate::progress::Progress;
use crate::symbols::{PdbId, SymbolSource};
use judge::Judge;
use shared_page::SharedPage;
use std::sync::Arc;

/// What a road leads to.
#[derive(Clone, Debug)]
struct Candidate {
    mode: Mode,
    root: Pa,
    base: Va,
    size: Option<u32>,
    /// Its headers, where they are in the dump.
    image: Option<Image>,
    pdb: Option<PdbId>,
    shared: Option<SharedPage>,
    /// What was met on the road and no symbol or header may tell.
    met: Met,
}

impl Candidate {
    fn new(mode: Mode, root: Pa, found: image::Found, shared: Option<SharedPage>) -> Self {
        let (base, size) = (found.base, Some(found.size));
        let met = Met { module_list: found.list, ..Met::default() };
        Self { mode, root, base, size, image: found.image, pdb: found.pdb, shared, met }
    }
}

/// Objects that were found by themselves, not by a name: they serve where neither symbols nor the dump's header tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// System's `_EPROCESS`.
    pub system: Option<Va>,
    /// `PsActiveProcessHead`: the member of the ring of processes that lies in the kernel image.
    pub process_head: Option<Va>,
    /// `PsLoadedModuleList`: the list that begins with the kernel.
    pub module_list: Option<Va>,
}

/// Which road led to the kernel, and what was seen on the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Road {
    /// The road taken, in words.
    pub taken: String,
    /// How sure it is: what was checked, and what it showed.
    pub checks: Vec<String>,
    /// Checks that did not hold, which is possible on damaged dumps.
    pub doubts: Vec<String>,
    /// The roads that led nowhere, and what each saw.
    pub failed: Vec<String>,
}

impl Road {
    fn check_shared(&mut self, shared: &Result<SharedPage, String>) {
        match shared {
            Ok(page) => {
                let root = page.system_root.as_deref().map(|r| format!(", system root {r}")).unwrap_or_default();
                self.checks.push(format!("the shared page says Windows {}.{}{root}", page.major, page.minor));
            }
            Err(why) => self.doubts.push(why.clone()),
        }
    }
    /// `certain`, `likely` or `doubtful`: how much of what was checked held.
    #[must_use]
    pub fn sureness(&self) -> &'static str {
        match (self.checks.len(), self.doubts.len()) {
            (3.., 0) => "certain",
            (c, d) if c > d => "likely",
            _ => "doubtful",
        }
    }
}

/// A way to the kernel: hands its candidates to the judge until one is final.
type Way<'a> = &'a dyn Fn(&mut Judge<'_>) -> Result<Kernel, String>;

/// Finds the kernel of a dump and loads its symbols.
///
/// # Errors
/// No road led to a kernel, or there are no symbols for it: the text says what each road saw and what to do.
pub fn find(dump: &Arc<Dump>, source: &dyn SymbolSource) -> Result<Kernel, String> {
    find_with(dump, source, &Progress::default())
}

/// The same, counting what takes long.
///
/// # Errors
/// As [`find`].
pub fn find_with(dump: &Arc<Dump>, source: &dyn SymbolSource, progress: &Progress) -> Result<Kernel, String> {
    if dump.kind == Kind::UserMinidump {
        return Err("a user-mode minidump holds one process and no kernel".into());
    }
    if dump.kind == Kind::Triage {
        let mut road = Road::default();
        let candidate = triage::follow(dump, &mut road)?;
        return settle::settle(dump, candidate, road, source);
    }
    let mut judge = Judge::new(dump, source);
    let by_header = |judge: &mut Judge<'_>| header::follow(dump, judge);
    let by_processors = |judge: &mut Judge<'_>| processors::follow(dump, judge);
    let by_memory = |judge: &mut Judge<'_>| memory::follow(dump, progress, judge);
    let by_processes = |judge: &mut Judge<'_>| harvest::follow(dump, source, progress, judge);
    let mut ways: Vec<Way<'_>> = vec![&by_header, &by_memory, &by_processes];
    if !dump.roots().is_empty() {
        ways.insert(1, &by_processors);
    }
    for way in ways {
        match way(&mut judge) {
            Ok(kernel) => return Ok(kernel),
            Err(why) => judge.fail(why),
        }
        if judge.is_over() {
            break;
        }
    }
    judge.end()
}
