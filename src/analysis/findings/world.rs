//! What all rules share: every process by every way it was found, who its parent is, drivers and modules, the readers.

use super::person::{Person, people};
use crate::addr::Va;
use crate::analysis::family::MOST_CONSIDERED;
use crate::analysis::identities::Identities;
use crate::analysis::malfind::Finder;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::active::Active;
use crate::kernel::callbacks::Callback;
use crate::kernel::client_ids::Numbered;
use crate::kernel::driver::Driver;
use crate::kernel::handle_table::HandleTables;
use crate::kernel::module::Modules;
use crate::kernel::object::Objects;
use crate::kernel::object::types::ObjectTypes;
use crate::kernel::process::Processes;
use crate::kernel::protection::Protections;
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::kernel::section::Sections;
use crate::kernel::section_object::SectionObjects;
use crate::kernel::service_table::Service;
use crate::kernel::sides::Sides;
use crate::kernel::unloaded::Unloaded;
use crate::paging::Mode;
use crate::progress::Progress;
use crate::value::Note;
use rustc_hash::FxHashMap;
use std::cmp::{Ordering, Reverse};
use std::sync::OnceLock;

/// The machine as the rules see it.
pub struct World<'k> {
    /// The kernel.
    pub kernel: &'k Kernel,
    /// Object types.
    pub types: &'k ObjectTypes,
    /// Every process: those of the active list in its order, then those only the scan met.
    pub people: Vec<Person<'k>>,
    /// The processes of each id by index, the youngest first.
    by_pid: FxHashMap<u64, Vec<usize>>,
    /// Processes by their `_EPROCESS`.
    by_offset: FxHashMap<Va, usize>,
    /// The table of process and thread ids: each with what it stands for. None where it is not known whole.
    pub ids: Option<FxHashMap<u64, Va>>,
    /// Users and names.
    pub identities: Option<Identities>,
    /// Suspect memory.
    pub finder: Finder<'k>,
    /// What pages may be used for.
    pub protections: Protections,
    /// Sections.
    pub sections: Option<Sections<'k>>,
    /// Section objects.
    pub section_objects: Option<SectionObjects<'k>>,
    /// PEBs of both widths.
    pub sides: Option<Sides<'k>>,
    /// Handle tables.
    pub handles: Option<HandleTables<'k>>,
    /// The kernel's modules.
    pub modules: Option<Modules>,
    /// Driver objects.
    pub drivers: Vec<Driver>,
    /// Loader entries of kernel modules the scan met.
    pub loader_entries: Vec<Found>,
    /// Unloaded drivers.
    pub unloaded: Vec<Unloaded>,
    /// System calls.
    pub services: Vec<Service>,
    /// Notification routines.
    pub callbacks: Vec<Callback>,
    maps_kernel: OnceLock<bool>,
}

impl<'k> World<'k> {
    /// Gathers everything once. What cannot be had costs the rules that need it, and is told in a note.
    ///
    /// # Errors
    /// The symbols do not describe processes.
    pub fn gather(
        kernel: &'k Kernel,
        types: &'k ObjectTypes,
        progress: &Progress,
        notes: &mut Vec<Note>,
    ) -> Result<Self> {
        // A triage dump of a kernel without a known layout: one note says so, below, for all that hangs on structures.
        let readable = kernel.has_structures();
        let identities = match Identities::gather(kernel) {
            Ok(identities) => Some(identities),
            Err(e) => {
                notes.extend(readable.then(|| Note::loss(format!("no tokens: {e}"))));
                None
            }
        };
        let listed = match kernel.processes() {
            Ok(mut listed) => {
                notes.append(&mut listed.notes);
                listed
            }
            Err(e) => {
                notes.push(Note::loss(format!("the active list cannot be walked: {e}")));
                Processes { list: Vec::new(), notes: Vec::new(), active: None }
            }
        };
        let scanned = if kernel.mode == Mode::Blocks {
            notes.push(Note::info(
                "the dump keeps blocks of memory only: nothing is scanned, and what hides in memory is not sought",
            ));
            Vec::new()
        } else {
            let kinds = [Scanned::Process, Scanned::Driver, Scanned::Module];
            kernel.scan(&kinds, progress, notes).unwrap_or_else(|e| {
                notes.push(Note::loss(format!("memory cannot be scanned: {e}")));
                Vec::new()
            })
        };
        let numbered = client_ids(kernel, listed.active.as_ref(), notes);
        let people = match people(kernel, listed, &scanned, numbered.as_ref(), identities.as_ref()) {
            Ok(people) => people,
            Err(e) => {
                notes.extend(readable.then(|| Note::loss(format!("no process is judged: {e}"))));
                Vec::new()
            }
        };
        if people.is_empty() && kernel.listed_modules().is_err() {
            return Err(crate::error::Error::NotAvailable("neither processes nor kernel modules can be read".into()));
        }
        let mut by_pid: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        let mut by_offset = FxHashMap::default();
        for (i, person) in people.iter().enumerate() {
            if let Ok(pid) = person.pid {
                by_pid.entry(pid).or_default().push(i);
            }
            if let Some(va) = person.process.offset() {
                by_offset.entry(va).or_insert(i);
            }
        }
        // The youngest first: of a crowd with one id, only so many are considered.
        by_pid.values_mut().for_each(|same| same.sort_by_key(|i| Reverse(people.get(*i).and_then(|p| p.created.ok()))));
        let space = kernel.space();
        // What is left of an object that was deleted still looks like one; nothing refers to it any more.
        let objects = Objects::of(kernel, types).ok();
        let alive = |va: Va| {
            objects.as_ref().is_none_or(|o| o.with_body(va).header.view.pointer_count().map_or(true, |n| n > 0))
        };
        let drivers = scanned
            .iter()
            .filter(|f| f.kind == Scanned::Driver && f.va.is_some_and(alive))
            .filter_map(|f| kernel.driver_at(&space, f.va?).ok()?)
            .collect();
        let ids = kernel.client_ids(&space).ok().filter(|(_, notes)| !notes.iter().any(|n| n.loss));
        let ids = ids.map(|(all, _)| all.into_iter().map(|h| (h.value, h.target)).collect());
        let unloaded = match kernel.unloaded_drivers() {
            Ok((list, more)) => {
                notes.extend(more);
                list
            }
            Err(_) => Vec::new(),
        };
        Ok(Self {
            kernel,
            types,
            people,
            by_pid,
            by_offset,
            ids,
            identities,
            finder: Finder::of(kernel),
            protections: Protections::of(kernel).0,
            sections: Sections::of(kernel).ok(),
            section_objects: SectionObjects::of(kernel).ok(),
            sides: Sides::of(kernel).ok(),
            handles: HandleTables::of(kernel).ok(),
            modules: kernel_modules(kernel, notes),
            drivers,
            services: judged("system calls", kernel.services(), notes),
            callbacks: judged("notification routines", kernel.callbacks(), notes),
            loader_entries: scanned.into_iter().filter(|f| f.kind == Scanned::Module).collect(),
            unloaded,
            maps_kernel: OnceLock::new(),
        })
    }
    /// The process at an `_EPROCESS`.
    #[must_use]
    pub fn at(&self, offset: Va) -> Option<&Person<'k>> {
        self.people.get(*self.by_offset.get(&offset)?)
    }
    /// The process that has the parent's id and was there when `child` was made. A younger one took the id over later.
    #[must_use]
    pub fn parent_of(&self, child: &Person<'_>) -> Option<&Person<'k>> {
        let same = self.by_pid.get(&child.ppid.ok()?)?;
        // One field alone makes no process younger; but of a crowd with one id, it says where to begin.
        let young = |i: &usize| self.people.get(*i).is_some_and(|p| p.created.ok() > child.created.ok());
        let from = if same.len() > MOST_CONSIDERED { same.partition_point(young) } else { 0 };
        let considered = same.iter().skip(from).take(MOST_CONSIDERED);
        considered
            .filter_map(|i| self.people.get(*i))
            .filter(|p| p.age_against(child).is_some_and(Ordering::is_le))
            .filter(|p| match (p.ended, p.process.exit_time(), child.created) {
                (true, Ok(exit), Ok(created)) => exit >= created,
                _ => true,
            })
            .max_by_key(|p| p.created.ok())
    }
    /// A younger process that has the parent's id now.
    #[must_use]
    pub fn usurper_of(&self, child: &Person<'_>) -> Option<&Person<'k>> {
        let same = self.of_id(child.ppid.ok()?).take(MOST_CONSIDERED);
        same.filter(|p| p.age_against(child) == Some(Ordering::Greater)).max_by_key(|p| p.created.ok())
    }
    /// The processes of an id, the youngest first.
    fn of_id(&self, pid: u64) -> impl Iterator<Item = &Person<'k>> {
        self.by_pid.get(&pid).into_iter().flatten().filter_map(|i| self.people.get(*i))
    }
    /// Whether the page tables of some living program map the kernel: not where user mode has tables of its own (ARM64), or the
    /// dump lacks the pages of all.
    #[must_use]
    pub fn processes_map_the_kernel(&self) -> bool {
        let maps = |p: &Person<'_>| p.process.whole_space().is_ok_and(|s| s.translate(self.kernel.base).is_ok());
        *self.maps_kernel.get_or_init(|| self.people.iter().any(|p| p.lives() && maps(p)))
    }
    /// Another living process with the same id, whose threads run.
    #[must_use]
    pub fn namesake_of(&self, person: &Person<'_>) -> Option<&Person<'k>> {
        let same = self.of_id(person.pid.ok()?);
        let mut others = same.filter(|p| p.process.offset() != person.process.offset());
        others.find(|p| !p.ended && p.life.running > 0)
    }
}

/// The table of client ids. Where it cannot be used, a note says which rules that costs.
fn client_ids(kernel: &Kernel, active: Option<&Active>, notes: &mut Vec<Note>) -> Option<Numbered> {
    if kernel.mode == Mode::Blocks {
        return None;
    }
    let space = kernel.space();
    match kernel.numbered(&space) {
        Ok(numbered) => {
            let more = numbered.notes.iter().cloned().chain(kernel.lost_of(&space, &numbered, active));
            let new: Vec<Note> = more.filter(|n| !notes.contains(n)).collect();
            notes.extend(new);
            Some(numbered)
        }
        Err(why) => {
            notes.push(Note::loss(format!(
                "PspCidTable, the table of process ids, cannot be used ({why}): whether a listed process was taken out of it is not judged"
            )));
            None
        }
    }
}

/// The kernel's modules, with a note where they cannot be had.
fn kernel_modules(kernel: &Kernel, notes: &mut Vec<Note>) -> Option<Modules> {
    match kernel.modules() {
        Ok(modules) => {
            notes.extend(modules.notes.iter().cloned());
            Some(modules)
        }
        Err(e) => {
            notes.push(Note::loss(format!("hooks and unlisted drivers are not judged: {e}")));
            None
        }
    }
}

/// A table of the kernel's, or a note that it could not be judged.
fn judged<T>(what: &str, read: Result<(Vec<T>, Vec<Note>)>, notes: &mut Vec<Note>) -> Vec<T> {
    match read {
        Ok((list, more)) => {
            notes.extend(more);
            list
        }
        Err(e) => {
            notes.push(Note::info(format!("{what} not checked: {e}")));
            Vec::new()
        }
    }
}
