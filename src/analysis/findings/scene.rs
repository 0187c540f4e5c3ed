//! One process as a rule sees it: read once, when a rule first asks.

use super::person::Person;
use super::world::World;
use super::{Finding, Rule, Severity, Subject};
use crate::addr::Va;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::{File, Files};
use crate::kernel::object::Objects;
use crate::kernel::process_modules::{self, ProcessModules};
use crate::kernel::sides::Side;
use crate::kernel::thread::Thread;
use crate::kernel::vad::Vad;
use crate::kernel::vad_tree;
use crate::paging::Space;
use crate::value::{Absent, Value};
use rustc_hash::FxHashMap;
use std::cell::{OnceCell, RefCell};

/// What a worker keeps from one process to the next.
pub struct Desk<'k> {
    /// The kernel's memory.
    pub space: Space<'k>,
    files: RefCell<Option<Files<'k>>>,
    names: RefCell<FxHashMap<Va, Value<File>>>,
    /// Objects behind handles.
    pub objects: RefCell<Option<Objects<'k>>>,
}

impl<'k> Desk<'k> {
    /// A worker's own.
    #[must_use]
    pub fn of(world: &World<'k>) -> Self {
        Self {
            space: world.kernel.space(),
            files: RefCell::new(Files::of(world.kernel).ok()),
            names: RefCell::default(),
            objects: RefCell::new(Objects::of(world.kernel, world.types).ok()),
        }
    }
    /// A file object.
    ///
    /// # Errors
    /// Unreadable, or no file object.
    pub fn file(&self, object: Va) -> Value<File> {
        if let Some(known) = self.names.borrow().get(&object) {
            return known.clone();
        }
        let file = self.files.borrow_mut().as_mut().ok_or(Absent::NoSymbol)?.read(object);
        self.names.borrow_mut().insert(object, file.clone());
        file
    }
}

/// One process.
pub struct Scene<'w, 'k> {
    /// The machine.
    pub world: &'w World<'k>,
    /// The worker's own.
    pub desk: &'w Desk<'k>,
    /// The process.
    pub person: &'w Person<'k>,
    memory: OnceCell<Value<AddressSpace<'k>>>,
    threads: OnceCell<Vec<Thread<'k>>>,
    lost: RefCell<Vec<String>>,
}

impl<'w, 'k> Scene<'w, 'k> {
    /// A process to look at.
    #[must_use]
    pub fn new(world: &'w World<'k>, desk: &'w Desk<'k>, person: &'w Person<'k>) -> Self {
        Self { world, desk, person, memory: OnceCell::new(), threads: OnceCell::new(), lost: RefCell::default() }
    }
    /// What findings on it are about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        subject(self.person)
    }
    /// A finding on it.
    pub fn finding(&self, rule: &'static Rule, severity: Severity, what: impl Into<String>) -> Finding {
        Finding::new(rule, severity, self.subject(), what)
    }
    /// Says what could not be judged, once.
    pub fn lose(&self, what: impl Into<String>) {
        let (mut lost, what) = (self.lost.borrow_mut(), what.into());
        if !lost.contains(&what) {
            lost.push(what);
        }
    }
    /// What could not be judged.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        self.lost.borrow().clone()
    }
    /// Why its memory cannot be opened.
    #[must_use]
    pub fn no_memory(&self) -> Option<Absent> {
        _ = self.memory();
        self.memory.get().and_then(|m| m.as_ref().err().copied())
    }
    /// Its user memory; none for a process that has ended.
    #[must_use]
    pub fn memory(&self) -> Option<&AddressSpace<'k>> {
        let memory = self.memory.get_or_init(|| {
            if self.person.ended {
                return Err(Absent::NotApplicable);
            }
            AddressSpace::of(&self.person.process, &self.desk.space)
        });
        memory.as_ref().ok()
    }
    /// Its range around an address.
    #[must_use]
    pub fn vad(&self, va: Va) -> Option<&Vad> {
        vad_tree::find(&self.memory()?.tree.vads, va)
    }
    /// Whether its ranges are all known: then an address in none is in no memory of the process.
    #[must_use]
    pub fn ranges_are_whole(&self) -> bool {
        self.memory().is_some_and(|m| !m.tree.vads.is_empty() && !m.tree.notes.iter().any(|n| n.loss))
    }
    /// The file a range maps.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] for private memory; else why it cannot be told.
    pub fn file_of(&self, vad: &Vad) -> Value<File> {
        let sections = self.world.sections.as_ref().ok_or(Absent::NoSymbol)?;
        self.desk.file(sections.file_of(&self.desk.space, vad)?)
    }
    /// The base name of the file a range maps.
    #[must_use]
    pub fn image_name(&self, vad: &Vad) -> Option<String> {
        let name = self.file_of(vad).ok()?.name.ok()?;
        Some(super::paths::base(&name).to_owned())
    }
    /// Its threads that have not ended.
    #[must_use]
    pub fn threads(&self) -> &[Thread<'k>] {
        self.threads.get_or_init(|| {
            let all = self.person.process.every_thread(&self.desk.space);
            all.into_iter().filter(|t| t.ended().is_ok() && !t.is_gone()).collect()
        })
    }
    /// Its PEBs: the native one, and the 32-bit one where there is one.
    #[must_use]
    pub fn sides(&self) -> Vec<Side<'w>> {
        let sides: Option<&'w crate::kernel::sides::Sides<'k>> = self.world.sides.as_ref();
        sides.map(|s| s.of_process(&self.person.process, &self.desk.space)).unwrap_or_default()
    }
    /// Its modules by the loader's lists and by its ranges. None for processes without a loader.
    #[must_use]
    pub fn modules(&self) -> Option<ProcessModules<'_>> {
        self.person.process.peb().ok()?;
        let modules = process_modules::modules(self.memory()?, &self.sides());
        // A page that the dump does not have is told by what it is; a pointer to nowhere is not.
        let wild = modules.unmet.iter().find_map(|u| u.err().filter(|why| why.is_wild()));
        if let Some(why) = wild.filter(|_| self.person.life.running > 0) {
            self.lose(format!("a loader list is {why}: modules that it lacks are not judged"));
        }
        Some(modules)
    }
    /// Whether its program's image lies here, by the kernel's word or by the PEB's.
    #[must_use]
    pub fn is_program(&self, va: Va) -> bool {
        if self.person.process.view.image_base() == Ok(va) {
            return true;
        }
        let (Some(memory), sides) = (self.memory(), self.sides()) else { return false };
        sides.first().and_then(|s| s.view(&memory.space).ok()).is_some_and(|peb| peb.image_base() == Ok(va))
    }
}

/// What findings on a process are about.
#[must_use]
pub fn subject(person: &Person<'_>) -> Subject {
    Subject::Process { pid: person.pid.ok(), name: person.name.clone(), offset: person.process.offset() }
}
