//! `modules`: the kernel's loaded modules.

use super::{Analysis, Answers, Ask, Case, Subject, user};
use crate::bytes::Place;
use crate::dump::{Driver, Triage};
use crate::error::Result;
use crate::kernel::module::{KernelEntry, Module, Modules, UserEntry};
use crate::kernel::process::base_name;
use crate::kernel::stamp::Bounds;
use crate::kernel::{Kernel, triage};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::Value;

/// The register's entry.
pub static MODULES: Analysis = Analysis {
    name: "modules",
    about: "Loaded kernel modules",
    help: "Walks PsLoadedModuleList in load order; where what its head leads to does not have the kernel itself, the list is walked \
           from a loader entry found in memory, and a note says so. Of a triage dump, the driver list it holds; of a user-mode minidump, the \
           process's own modules.",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of(run).minidump(|_, dump, ask, sink| user::modules(dump, ask, &COLUMNS, sink)),
};

/// A kernel module.
#[derive(Debug)]
pub struct Loaded;
/// What is known of it.
pub struct Of<'a> {
    /// The kernel and its memory; none where a triage dump's list is all there is.
    pub kernel: Option<(&'a Kernel, &'a Space<'a>)>,
    /// The module.
    pub module: &'a Module,
    /// When it was linked.
    pub built: Value<FileTime>,
    /// Of a triage dump: its entry of the list.
    pub entry: Option<&'a Driver>,
}
impl crate::report::Subject for Loaded {
    type Of<'a> = Of<'a>;
}

impl Of<'_> {
    /// Where a field of its loader entry is, or of its entry in a triage dump (the fields of [`Driver::fields`]).
    fn at(&self, new: At<KernelEntry>, old: At<UserEntry>, triage: Option<usize>) -> Option<Place> {
        if let Some(entry) = self.entry {
            return Some(Place::in_dump(entry.file.checked_add((*entry.fields.get(triage?)?).into())?));
        }
        let (kernel, space) = self.kernel?;
        let va = self.module.offset.ok()?;
        match kernel.described::<KernelEntry>() {
            Some(layout) => Some(space.place(new.of(layout, va)?)),
            None => kernel.place_in(space, va, old),
        }
    }
    /// Where its name is; of a triage dump the last part of the path.
    pub fn name_at(&self) -> Option<Place> {
        let Some(entry) = self.entry else { return self.text_at(&self.module.name) };
        let path = entry.name.as_ref().ok()?;
        let folder = path.strip_suffix(base_name(path))?.encode_utf16().count();
        Some(Place::in_dump(entry.name_at.checked_add(u64::try_from(folder).ok()?.checked_mul(2)?)?))
    }
    /// Where a text of its loader entry is; of a triage dump the path.
    pub fn text_at(&self, text: &Value<Text>) -> Option<Place> {
        match self.entry {
            Some(entry) => entry.name.is_ok().then(|| Place::in_dump(entry.name_at)),
            None => self.kernel?.1.place_of(text),
        }
    }
}

/// The columns of a module, shared with `modscan`.
pub const FIELDS: &[Field<Loaded>] = &[
    derived(
        col("offset", Kind::Hex, "Address of the loader's entry"),
        "the links of the list: it is the row's own place",
        |c| c.module.offset.into(),
    ),
    placed(
        col("base", Kind::Hex, "First byte of the image"),
        |c| c.module.base.into(),
        |c| c.at(KernelEntry::base, UserEntry::base, Some(0)),
    ),
    placed(
        col("size", Kind::Hex, "Bytes of the image"),
        |c| Cell::hex(c.module.size),
        |c| c.at(KernelEntry::size, UserEntry::size, Some(1)),
    ),
    placed(col("name", Kind::Text, "File name"), |c| c.module.name.clone().into(), |c| c.name_at()),
    placed(
        col("path", Kind::Text, "Path as the loader saw it"),
        |c| c.module.path.clone().into(),
        |c| c.text_at(&c.module.path),
    ),
    placed(
        wide("entry", Kind::Hex, "Entry point"),
        |c| c.module.entry.into(),
        |c| c.at(KernelEntry::entry, UserEntry::entry, None),
    ),
    placed(
        wide("flags", Kind::Hex, "Loader flags"),
        |c| Cell::hex(c.module.flags),
        |c| c.at(KernelEntry::flags, UserEntry::flags, None),
    ),
    placed(
        wide("load_count", Kind::Number, "How often it is loaded"),
        |c| c.module.load_count.into(),
        |c| c.at(KernelEntry::load_count, UserEntry::load_count, None),
    ),
    placed(
        wide("timestamp", Kind::Hex, "TimeDateStamp of its PE header (a hash where the build is reproducible)"),
        |c| Cell::hex(c.module.timestamp),
        |c| c.at(KernelEntry::timestamp, UserEntry::timestamp, Some(3)),
    ),
    derived(
        wide("build_time", Kind::Time, "The same as a time, where it can be one of this machine's life"),
        "timestamp, where nothing says that it is a hash",
        |c| c.built.into(),
    ),
    placed(
        wide("checksum", Kind::Hex, "CheckSum of its PE header"),
        |c| Cell::hex(c.module.checksum),
        |c| c.at(KernelEntry::checksum, UserEntry::checksum, Some(2)),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let found = loaded(case)?;
    let bounds = bounds(case, &found);
    let kernel = case.kernel().ok();
    let space = kernel.map(Kernel::space);
    let triage = case.dump.triage();
    for module in &found.list {
        let entry = triage.as_ref().and_then(|t| entry_of(t, module));
        let built = module.built(space.as_ref(), bounds).0;
        let of = Of { kernel: kernel.zip(space.as_ref()), module, built, entry };
        sink.row(Row::of(FIELDS, &of, &ask.rows).at(module.place))?;
    }
    found.notes.into_iter().for_each(|n| sink.note(n));
    Ok(())
}

/// A module's entry in a triage dump's list.
#[must_use]
pub fn entry_of<'d>(triage: &Triage<'d>, module: &Module) -> Option<&'d Driver> {
    triage.drivers().iter().find(|driver| module.place.file == Some(driver.file.into()))
}

/// The kernel's modules. Those of a triage dump need no symbols.
///
/// # Errors
/// Why they cannot be had.
pub fn loaded(case: &Case) -> Result<Modules> {
    triage::modules(&case.dump).map_or_else(|| case.kernel()?.modules(), Ok)
}

/// What the stamps of these modules are measured by.
#[must_use]
pub fn bounds(case: &Case, modules: &Modules) -> Bounds {
    let bare = Bounds { end: case.taken(), hashes: false };
    Bounds { hashes: modules.have_hashes(bare), ..bare }
}
