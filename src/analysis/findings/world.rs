//! What all rules share: every process by every way it was found, who its parent is, drivers and modules, the readers.

use super::paths;
use crate::addr::Va;
use crate::analysis::identities::{Identities, token_of};
use crate::analysis::malfind::Finder;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::callbacks::Callback;
use crate::kernel::driver::Driver;
use crate::kernel::handle_table::HandleTables;
use crate::kernel::module::Modules;
use crate::kernel::object::Objects;
use crate::kernel::object::types::ObjectTypes;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::protection::Protections;
use crate::kernel::scan::find::{By, Found};
use crate::kernel::scan::tags::Kind as Scanned;
use crate::kernel::section::Sections;
use crate::kernel::section_object::SectionObjects;
use crate::kernel::service_table::Service;
use crate::kernel::sid::Sid;
use crate::kernel::sides::Sides;
use crate::kernel::standing::Sort;
use crate::kernel::unloaded::Unloaded;
use crate::paging::Mode;
use crate::progress::Progress;
use crate::symbols::layout::Layout;
use crate::time::FileTime;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// How a process was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// On the active list.
    Listed,
    /// In memory only, and not ended.
    Unlinked,
    /// In memory only, ended.
    Ended,
}

/// One process, and what rules ask of it again and again.
#[derive(Debug)]
pub struct Person<'k> {
    /// The process.
    pub process: Process<'k>,
    /// How it was met.
    pub standing: Standing,
    /// What the scan of physical memory says of it.
    pub found: Option<Found>,
    /// Its id.
    pub pid: Value<u64>,
    /// Its parent's id.
    pub ppid: Value<u64>,
    /// Its name, whole where something tells it, as the kernel keeps it.
    pub name: String,
    /// The image's path, as security auditing saw it when the process was made.
    pub path: Value<String>,
    /// When it was made.
    pub created: Value<FileTime>,
    /// Whether it has ended.
    pub ended: bool,
    /// Its session.
    pub session: Value<u32>,
    /// What sort of process it is.
    pub sort: Value<Sort>,
    /// Its primary token.
    pub token: Value<Va>,
    /// The token's user.
    pub user: Value<Sid>,
    /// The token's integrity level.
    pub integrity: Value<u32>,
}

impl Person<'_> {
    /// The image's path without its volume, in lower case.
    ///
    /// # Errors
    /// Why there is none.
    pub fn plain_path(&self) -> Value<String> {
        self.path.as_ref().map(|p| paths::plain(p)).map_err(|why| *why)
    }
    /// Whether it is an ordinary process with an image, alive.
    #[must_use]
    pub fn lives(&self) -> bool {
        !self.ended && matches!(self.sort, Ok(Sort::User | Sort::Secure))
    }
    /// Whether it runs as `NT AUTHORITY\SYSTEM`.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.user.is_ok_and(|u| u.authority() == 5 && u.parts() == [18])
    }
    /// Whether it runs as an account of a person (of a domain or machine), not of the system or a service.
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        self.user.is_ok_and(|u| u.authority() == 5 && u.parts().first() == Some(&21))
    }
    /// `lsass.exe (pid 632)`.
    #[must_use]
    pub fn called(&self) -> String {
        let pid = self.pid.map_or_else(|_| "?".to_owned(), |p| p.to_string());
        format!("{} (pid {pid})", self.name)
    }
}

/// The machine as the rules see it.
pub struct World<'k> {
    /// The kernel.
    pub kernel: &'k Kernel,
    /// Object types.
    pub types: &'k ObjectTypes,
    /// Every process: those of the active list in its order, then those only the scan met.
    pub people: Vec<Person<'k>>,
    /// The first living process of each id, by index.
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
        let identities = Identities::gather(kernel).map_err(|e| notes.push(Note::loss(format!("no tokens: {e}")))).ok();
        let listed = match kernel.processes() {
            Ok(listed) => {
                notes.extend(listed.notes);
                listed.list
            }
            Err(e) => {
                notes.push(Note::loss(format!("the active list cannot be walked: {e}")));
                Vec::new()
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
        let people = match people(kernel, listed, &scanned, identities.as_ref()) {
            Ok(people) => people,
            Err(e) => {
                notes.push(Note::loss(format!("no process is judged: {e}")));
                Vec::new()
            }
        };
        if people.is_empty() && kernel.modules().is_err() {
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
            modules: kernel.modules().ok(),
            drivers,
            services: judged("system calls", kernel.services(), notes),
            callbacks: judged("notification routines", kernel.callbacks(), notes),
            loader_entries: scanned.into_iter().filter(|f| f.kind == Scanned::Module).collect(),
            unloaded,
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
        let created = child.created.ok()?;
        self.by_pid
            .get(&child.ppid.ok()?)?
            .iter()
            .filter_map(|i| self.people.get(*i))
            .filter(|p| p.created.is_ok_and(|c| c <= created))
            .filter(|p| p.process.exit_time().map_or(true, |exit| exit >= created))
            .max_by_key(|p| p.created.ok())
    }
    /// A younger process that has the parent's id now.
    #[must_use]
    pub fn usurper_of(&self, child: &Person<'_>) -> Option<&Person<'k>> {
        let created = child.created.ok()?;
        let same = self.by_pid.get(&child.ppid.ok()?)?.iter().filter_map(|i| self.people.get(*i));
        same.filter(|p| p.created.is_ok_and(|c| c > created)).max_by_key(|p| p.created.ok())
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
            notes.push(Note::info(format!("{what} were not judged: {e}")));
            Vec::new()
        }
    }
}

/// Every process, and what is asked of it again and again.
fn people<'k>(
    kernel: &'k Kernel,
    listed: Vec<Process<'k>>,
    scanned: &[Found],
    identities: Option<&Identities>,
) -> Result<Vec<Person<'k>>> {
    let span = kernel.layout::<EProcess>().map_err(|e| kernel.unreadable(&e))?.span();
    let on_list: FxHashSet<Va> = listed.iter().filter_map(Process::offset).collect();
    let met: FxHashMap<Va, &Found> =
        scanned.iter().filter(|f| f.kind == Scanned::Process).filter_map(|f| Some((f.va?, f))).collect();
    let mut all: Vec<(Process<'k>, Standing, Option<Found>)> = listed
        .into_iter()
        .map(|p| {
            let found = p.offset().and_then(|va| met.get(&va)).map(|f| (*f).clone());
            (p, Standing::Listed, found)
        })
        .collect();
    for found in scanned.iter().filter(|f| f.kind == Scanned::Process) {
        // What nothing maps any more cannot be followed: its pointers may lead anywhere by now.
        let Some(va) = found.va.filter(|va| !on_list.contains(va)) else { continue };
        let process = kernel.process_of(kernel.space().fetch(va, span))?;
        let standing = if process.exit_time().is_ok() { Standing::Ended } else { Standing::Unlinked };
        all.push((process, standing, Some(found.clone())));
    }
    Ok(all
        .into_par_iter()
        .map_init(
            || kernel.space(),
            |space, (process, standing, found)| {
                let token = process.view.token().and_then(crate::kernel::process::applicable);
                let ended = process.exit_time().is_ok();
                let read = identities.and_then(|i| token_of(&i.tokens, space, &process).ok());
                let read = read.filter(|t| t.plausible());
                let (user, integrity) = match &read {
                    Some(token) => (token.user(space), token.integrity(space)),
                    None => (Err(Absent::NotApplicable), Err(Absent::NotApplicable)),
                };
                Person {
                    standing,
                    found,
                    pid: process.pid(),
                    ppid: process.ppid(),
                    name: process.long_name(space).unwrap_or_else(|_| "?".to_owned()),
                    path: process.image_path(space),
                    created: process.create_time(),
                    ended,
                    session: process.session(space),
                    sort: process.sort(),
                    token,
                    user,
                    integrity,
                    process,
                }
            },
        )
        .collect())
}

/// Whether the scan met an object by its dispatcher header alone: no pool header with its tag stood before it.
#[must_use]
pub fn without_tag(found: &Found) -> bool {
    !found.by.contains(&By::PoolTag)
}
