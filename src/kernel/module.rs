//! Loaded kernel modules: `PsLoadedModuleList`, and which of them an address lies in.

use super::Kernel;
use super::list::List;
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::{Error, Result};
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Counted, Layout, Link, View};
use crate::time::FileTime;
use crate::value::{Absent, Note, Value};

/// The fields that both names of the structure have at the same places.
macro_rules! loader_entry {
    ($(#[$m:meta])* $Name:ident: $ty:literal) => {
        layout! {
            $(#[$m])*
            pub struct $Name: $ty {
                /// `InLoadOrderLinks`.
                links: Link = "InLoadOrderLinks",
                /// `DllBase`.
                base: Va = "DllBase",
                /// `EntryPoint`.
                entry: Va = "EntryPoint",
                /// `SizeOfImage`.
                size: u32 = "SizeOfImage",
                /// `FullDllName`.
                path: Counted = "FullDllName",
                /// `BaseDllName`.
                name: Counted = "BaseDllName",
                /// `Flags`.
                flags: u32 = "Flags",
                /// `LoadCount`.
                load_count: u16 = "LoadCount" | "ObsoleteLoadCount",
                /// `CheckSum` of the PE header.
                checksum: u32 = "CheckSum",
                /// `TimeDateStamp` of the PE header.
                timestamp: u32 = "TimeDateStamp",
            }
        }
    };
}
loader_entry! {
    /// `_KLDR_DATA_TABLE_ENTRY`: a kernel module (described in PDBs from Windows 10 on).
    KernelEntry: "_KLDR_DATA_TABLE_ENTRY"
}
loader_entry! {
    /// `_LDR_DATA_TABLE_ENTRY`: the user-mode twin, whose fields up to `LoadCount` lie at the same offsets. Kernels before
    /// Windows 10 describe only this one; its `TimeDateStamp` is not where the kernel keeps one, so it is not read.
    UserEntry: "_LDR_DATA_TABLE_ENTRY"
}

/// More modules than any machine loads.
const MOST_MODULES: usize = 1 << 16;

/// One loaded kernel module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its loader entry; [`Absent::NotRecorded`] where it came from a list of another kind.
    pub offset: Value<Va>,
    /// Where the entry stands.
    pub place: Place,
    /// First byte of the image.
    pub base: Value<Va>,
    /// Bytes of the image.
    pub size: Value<u32>,
    /// Where it starts to run.
    pub entry: Value<Va>,
    /// File name.
    pub name: Value<String>,
    /// Path as the loader saw it: `\SystemRoot\system32\drivers\…`.
    pub path: Value<String>,
    /// The loader's flags.
    pub flags: Value<u32>,
    /// How often it is loaded.
    pub load_count: Value<u16>,
    /// The PE header's time stamp (of reproducible builds a hash).
    pub timestamp: Value<u32>,
    /// The PE header's checksum.
    pub checksum: Value<u32>,
}

impl Module {
    /// One past its last byte.
    #[must_use]
    pub fn end(&self) -> Option<Va> {
        Some(Va(self.base.ok()?.0.checked_add(self.size.ok()?.into())?))
    }
    /// Its time stamp as a time, which it is of builds that are not reproducible.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn built(&self) -> Value<FileTime> {
        match self.timestamp? {
            0 => Err(Absent::NotApplicable),
            stamp => Ok(FileTime::from_unix(stamp)),
        }
    }
}

/// All loaded kernel modules.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// In load order.
    pub list: Vec<Module>,
    /// How the walk went.
    pub notes: Vec<Note>,
    /// First byte, one past the last, index in `list`; sorted.
    ranges: Vec<(u64, u64, usize)>,
}

impl Modules {
    /// Of these modules, in this order.
    #[must_use]
    pub fn new(list: Vec<Module>, notes: Vec<Note>) -> Self {
        let range = |(i, m): (usize, &Module)| Some((m.base.ok()?.0, m.end()?.0, i));
        let mut ranges: Vec<_> = list.iter().enumerate().filter_map(range).collect();
        ranges.sort_unstable();
        Self { list, notes, ranges }
    }
    /// The module an address lies in.
    #[must_use]
    pub fn of(&self, va: Va) -> Option<&Module> {
        let before = self.ranges.partition_point(|r| r.0 <= va.0);
        let (_, end, index) = *self.ranges.get(before.checked_sub(1)?)?;
        if va.0 < end { self.list.get(index) } else { None }
    }
    /// An address as `module+0x1234`; `None` outside every module.
    #[must_use]
    pub fn name(&self, va: Va) -> Option<String> {
        let module = self.of(va)?;
        let offset = va.0.checked_sub(module.base.ok()?.0)?;
        Some(format!("{}+{offset:#x}", module.name.as_deref().unwrap_or("?")))
    }
}

impl Kernel {
    /// The loaded modules, in load order.
    ///
    /// # Errors
    /// The symbols lack the loader's entry, or nothing says where the list is.
    pub fn modules(&self) -> Result<Modules> {
        if let Some(modules) = super::triage::modules(&self.dump) {
            return Ok(modules);
        }
        match self.described::<KernelEntry>() {
            Some(layout) => self.modules_by(layout, read_kernel),
            None => self.modules_by(self.layout::<UserEntry>().map_err(|e| self.unreadable(&e))?, read_user),
        }
    }

    /// The loader's entry at `va`, whether or not any list has it.
    ///
    /// # Errors
    /// The symbols lack the loader's entry.
    pub fn module_at(&self, space: &Space<'_>, va: Va) -> Result<Module> {
        match self.described::<KernelEntry>() {
            Some(layout) => Ok(read_kernel(space, space.view(layout, va))),
            None => {
                let layout = self.layout::<UserEntry>().map_err(|e| self.unreadable(&e))?;
                Ok(read_user(space, space.view(layout, va)))
            }
        }
    }

    fn modules_by<L: Layout>(&self, layout: &L, read: fn(&Space<'_>, View<'_, L>) -> Module) -> Result<Modules> {
        let head = self.global("PsLoadedModuleList").ok_or_else(|| {
            Error::NotAvailable("the list of kernel modules was not found: no symbol PsLoadedModuleList".into())
        })?;
        let links = layout.field("links").map_err(|why| {
            Error::NotAvailable(format!(
                "the list of kernel modules cannot be walked: {}.InLoadOrderLinks is {why}",
                L::TYPE
            ))
        })?;
        let offset = links.offset.into();
        let space = self.space();
        let list = List { what: "kernel module list", head, width: space.pointer_size(), limit: MOST_MODULES };
        let read_at = |link: Va| read(&space, space.view(layout, link.sub(offset)));
        // A module's base is page-aligned; what is not is no module.
        let walked =
            list.walk(&space, |link| read_at(link).base.is_ok_and(|b| !b.is_null() && b.offset_in_page() == 0));
        Ok(Modules::new(walked.links.iter().map(|l| read_at(*l)).collect(), walked.notes))
    }
}

macro_rules! reader {
    ($name:ident, $L:ty, $timestamp:expr) => {
        fn $name(space: &Space<'_>, view: View<'_, $L>) -> Module {
            let timestamp: fn(&View<'_, $L>) -> Value<u32> = $timestamp;
            Module {
                offset: view.va().ok_or(Absent::NotRecorded),
                place: view.place(),
                base: view.base(),
                size: view.size(),
                entry: view.entry(),
                name: view.name().and_then(|n| space.text(n)),
                path: view.path().and_then(|n| space.text(n)),
                flags: view.flags(),
                load_count: view.load_count(),
                timestamp: timestamp(&view),
                checksum: view.checksum(),
            }
        }
    };
}
reader!(read_kernel, KernelEntry, |v| v.timestamp());
reader!(read_user, UserEntry, |_| Err(Absent::NotInBuild));

#[cfg(test)]
mod tests {
    use super::*;

    fn module(base: u64, size: u32, name: &str) -> Module {
        let no = Err(Absent::NotRecorded);
        Module {
            offset: Err(Absent::NotRecorded),
            place: Place::default(),
            base: Ok(Va(base)),
            size: Ok(size),
            entry: Err(Absent::NotRecorded),
            name: Ok(name.into()),
            path: Err(Absent::NotRecorded),
            flags: no,
            load_count: Err(Absent::NotRecorded),
            timestamp: no,
            checksum: no,
        }
    }

    #[test]
    fn every_known_kernel_describes_its_modules() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let user = UserEntry::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            if symbols.types.get(KernelEntry::TYPE).is_none() {
                continue;
            }
            let kernel = KernelEntry::resolve(&symbols.types).unwrap();
            for field in ["links", "base", "entry", "size", "path", "name", "flags", "load_count"] {
                assert_eq!(user.field(field), kernel.field(field), "{name}: {field}");
            }
        }
    }

    #[test]
    fn an_address_belongs_to_the_module_around_it() {
        let list = vec![module(0x9000, 0x1000, "b.sys"), module(0x4000, 0x2000, "a.sys")];
        let modules = Modules::new(list, Vec::new());
        assert_eq!(modules.name(Va(0x4000)).as_deref(), Some("a.sys+0x0"));
        assert_eq!(modules.name(Va(0x5fff)).as_deref(), Some("a.sys+0x1fff"));
        assert_eq!(modules.name(Va(0x6000)), None);
        assert_eq!(modules.name(Va(0x3fff)), None);
        assert_eq!(modules.name(Va(0x9800)).as_deref(), Some("b.sys+0x800"));
    }
}
