//! Driver objects against loaded modules, each by every way there is: the scan, the object namespace, the loader's list.

use super::Kernel;
use super::driver::Driver;
use super::module::{Module, Modules};
use super::object::Objects;
use super::scan::find::By;
use super::scan::tags::Kind;
use crate::addr::{Pa, Va};
use crate::error::Result;
use crate::paging::Space;
use crate::progress::Progress;
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;

/// Why a way lacks a driver or a module, or why one has none of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The kernel or the HAL made the driver object for itself (`IoCreateDriver`): it has no image.
    BuiltIn,
    /// A library, the kernel, or a driver of drivers: a module needs no driver object.
    NoDriverNeeded,
    /// The object is deleted, its memory not yet used again.
    Deleted,
    /// The module was unloaded: its image is mapped no more, or the list of unloaded drivers has it.
    Unloaded,
    /// Loader entries need not carry the tag the scan looks for.
    NotRequired,
    /// None of these.
    Unexplained,
}

impl Reason {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::BuiltIn => "made by the kernel for itself",
            Self::NoDriverNeeded => "needs no driver object",
            Self::Deleted => "deleted",
            Self::Unloaded => "unloaded",
            Self::NotRequired => "need not have its tag",
            Self::Unexplained => "unexplained",
        }
    }
}

/// A way to know a driver or a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// The scan's driver objects.
    DriverScan,
    /// `\Driver` and `\FileSystem` of the object namespace.
    Directory,
    /// The list of loaded modules.
    Modules,
    /// The scan's loader entries.
    ModuleScan,
}

impl View {
    /// All of them, in the order of the columns.
    pub const ALL: [Self; 4] = [Self::DriverScan, Self::Directory, Self::Modules, Self::ModuleScan];
    /// Its column's key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::DriverScan => "driverscan",
            Self::Directory => "directory",
            Self::Modules => "modules",
            Self::ModuleScan => "modscan",
        }
    }
}

/// A driver, its module, or one of them without the other.
#[derive(Clone, Debug)]
pub struct Crossed {
    /// The driver object.
    pub driver: Option<Driver>,
    /// The object's physical address and how the scan met it, where it did.
    pub found: Option<(Pa, Vec<By>)>,
    /// The module its image lies in.
    pub module: Option<Module>,
    /// What each view says, and why where it says no; in the order of [`View::ALL`].
    pub seen: [(View, Value<bool>, Option<Reason>); View::ALL.len()],
}

impl Crossed {
    /// The views that lack it for no innocent reason.
    pub fn unexplained(&self) -> impl Iterator<Item = View> {
        self.seen.iter().filter(|s| s.2 == Some(Reason::Unexplained)).map(|s| s.0)
    }
    fn order(&self) -> (u64, u64) {
        let base = self.module.as_ref().and_then(|m| m.base.ok()).or_else(|| self.driver.as_ref()?.start.ok());
        (base.map_or(u64::MAX, |b| b.0), self.driver.as_ref().map_or(0, |d| d.object.0))
    }
}

/// A driver object, and where and how the scan met it.
type Met = (Driver, Option<(Pa, Vec<By>)>);

/// What all rows are drawn from.
struct Sources<'k> {
    kernel: &'k Kernel,
    space: Space<'k>,
    listed: Modules,
    listed_bases: FxHashSet<Va>,
    scanned: Modules,
    scanned_bases: FxHashSet<Va>,
    scan: Value<()>,
    directory: Value<Vec<Va>>,
    unloaded: Vec<Va>,
}

impl Kernel {
    /// Every driver object and every module, by every way, in the order of their images.
    ///
    /// # Errors
    /// The symbols describe neither modules nor driver objects.
    pub fn driver_crossview(&self, progress: &Progress) -> Result<(Vec<Crossed>, Vec<Note>)> {
        let mut notes = Vec::new();
        let space = self.space();
        let listed = self.modules()?;
        notes.extend(listed.notes.iter().cloned());
        let (scan, found) = match self.scan(&[Kind::Driver, Kind::Module], progress, &mut notes) {
            Ok(found) => (Ok(()), found),
            Err(e) => {
                notes.push(Note::info(format!("no scan: {e}")));
                (Err(Absent::NotRecorded), Vec::new())
            }
        };
        let mut entries = Vec::new();
        for f in found.iter().filter(|f| f.kind == Kind::Module) {
            let Some(va) = f.va else { continue };
            let module = self.module_at(&space, va)?;
            if self.can_be_module(&module) {
                entries.push(module);
            }
        }
        let directory = self.drivers_in_directories(&mut notes);
        let unloaded = self.unloaded_drivers().map(|(list, _)| list).unwrap_or_default();
        let unloaded = unloaded.into_iter().filter_map(|u| u.start.ok()).collect();
        let scanned = Modules::new(entries, Vec::new());
        let bases = |m: &Modules| m.list.iter().filter_map(|m| m.base.ok()).collect();
        let (listed_bases, scanned_bases) = (bases(&listed), bases(&scanned));
        let sources =
            Sources { kernel: self, space, listed, listed_bases, scanned, scanned_bases, scan, directory, unloaded };

        // Driver objects by address, however they were met.
        let mut drivers: BTreeMap<Va, Met> = BTreeMap::new();
        for f in found.iter().filter(|f| f.kind == Kind::Driver) {
            let Some(va) = f.va else { continue };
            if let Some(driver) = self.driver_at(&sources.space, va)? {
                drivers.insert(va, (driver, Some((f.pa, f.by.clone()))));
            }
        }
        for va in sources.directory.iter().flatten() {
            if !drivers.contains_key(va)
                && let Some(driver) = self.driver_at(&sources.space, *va)?
            {
                drivers.insert(*va, (driver, None));
            }
        }
        let mut rows: Vec<Crossed> = drivers.into_values().map(|(d, found)| sources.of_driver(d, found)).collect();
        let mut with_driver: Vec<Va> = rows.iter().filter_map(|r| r.module.as_ref()?.base.ok()).collect();
        with_driver.sort_unstable();
        let alone = |m: &&Module| m.base.is_ok_and(|b| with_driver.binary_search(&b).is_err());
        rows.extend(sources.listed.list.iter().filter(alone).map(|m| sources.of_module(m)));
        let only_scanned = |m: &&Module| alone(m) && m.base.is_ok_and(|b| !sources.listed_bases.contains(&b));
        rows.extend(sources.scanned.list.iter().filter(only_scanned).map(|m| sources.of_module(m)));
        rows.sort_by_key(Crossed::order);
        Ok((rows, notes))
    }

    /// Whether a loader entry can be one: a page-aligned base in the kernel's half, a size, a name.
    #[must_use]
    pub fn can_be_module(&self, module: &Module) -> bool {
        module.base.is_ok_and(|b| self.in_kernel_half(b) && b.offset_in_page() == 0)
            && module.size.is_ok_and(|s| s != 0)
            && module.name.as_ref().is_ok_and(|n| !n.is_empty())
    }

    /// The driver objects in `\Driver` and `\FileSystem`.
    fn drivers_in_directories(&self, notes: &mut Vec<Note>) -> Value<Vec<Va>> {
        let root = self.global("ObpRootDirectoryObject").ok_or(Absent::NoSymbol)?;
        let root = self.space().pointer(root)?;
        let types = self.object_types();
        let mut objects = Objects::of(self, &types).map_err(|_| Absent::NoSymbol)?;
        let (top, told) = objects.entries(root)?;
        notes.extend(told);
        let mut out = Vec::new();
        for body in top {
            let object = objects.with_body(body);
            let name = objects.own_name(&object);
            if !name.is_ok_and(|n| n == "Driver" || n == "FileSystem") {
                continue;
            }
            let (inside, told) = objects.entries(body)?;
            notes.extend(told);
            for body in inside {
                let object = objects.with_body(body);
                if objects.type_of(&object).is_ok_and(|t| t == "Driver") {
                    out.push(body);
                }
            }
        }
        out.sort_unstable();
        out.dedup();
        // A namespace without a driver is one that could not be read, or that the dump was made without.
        if out.is_empty() { Err(Absent::NotRecorded) } else { Ok(out) }
    }
}

impl Sources<'_> {
    fn of_driver(&self, driver: Driver, found: Option<(Pa, Vec<By>)>) -> Crossed {
        let image = driver.start.ok();
        let listed = image.and_then(|va| self.listed.of(va));
        let scanned = image.and_then(|va| self.scanned.of(va));
        let deleted = self.deleted(&driver);
        let built_in =
            driver.start == Err(Absent::NotApplicable) && driver.init.is_ok_and(|init| self.listed.of(init).is_some());
        let no = |otherwise: Reason| {
            if deleted {
                Reason::Deleted
            } else if built_in {
                Reason::BuiltIn
            } else {
                otherwise
            }
        };
        let module = listed.or(scanned).cloned();
        let by = [
            (self.scan.map(|()| found.is_some()), Reason::Unexplained),
            (
                self.directory.as_ref().map(|d| d.binary_search(&driver.object).is_ok()).map_err(|w| *w),
                no(Reason::Unexplained),
            ),
            (Ok(listed.is_some()), no(Reason::Unexplained)),
            (self.scan.map(|()| scanned.is_some()), no(Reason::NotRequired)),
        ];
        Crossed { driver: Some(driver), found, module, seen: seen(by) }
    }
    fn of_module(&self, module: &Module) -> Crossed {
        let within = |bases: &FxHashSet<Va>| module.base.is_ok_and(|b| bases.contains(&b));
        let (listed, scanned) = (within(&self.listed_bases), within(&self.scanned_bases));
        let gone =
            module.base.is_ok_and(|b| self.unloaded.contains(&b) || self.space.slice(b, 2) == Err(Absent::NotMapped));
        let by = [
            (self.scan.map(|()| false), Reason::NoDriverNeeded),
            (self.directory.as_ref().map(|_| false).map_err(|w| *w), Reason::NoDriverNeeded),
            (Ok(listed), if gone { Reason::Unloaded } else { Reason::Unexplained }),
            (self.scan.map(|()| scanned), Reason::NotRequired),
        ];
        Crossed { driver: None, found: None, module: Some(module.clone()), seen: seen(by) }
    }
    /// Whether nothing refers to a driver object any more.
    fn deleted(&self, driver: &Driver) -> bool {
        let Ok(headers) = super::object::header::Headers::of(self.kernel) else { return false };
        let header = headers.at(&self.space, driver.object.sub(headers.body()));
        header.view.pointer_count().is_ok_and(|n| n <= 0)
    }
}

fn seen(by: [(Value<bool>, Reason); View::ALL.len()]) -> [(View, Value<bool>, Option<Reason>); View::ALL.len()] {
    let mut all = View::ALL.iter();
    by.map(|(has, reason)| {
        let view = all.next().copied().unwrap_or(View::Modules);
        (view, has, if has == Ok(false) { Some(reason) } else { None })
    })
}
