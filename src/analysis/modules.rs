//! `modules`: the kernel's loaded modules.

use super::{Analysis, Answers, Ask, Case, Subject, user};
use crate::error::Result;
use crate::kernel::module::{Module, Modules};
use crate::kernel::stamp::Bounds;
use crate::kernel::{Kernel, triage};
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::time::FileTime;
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
    answers: Answers::of(run).minidump(|_, dump, _, sink| user::modules(dump, &COLUMNS, sink)),
};

/// The columns of a module, shared with `modscan`.
pub const COLUMNS: [Column; 11] = [
    col("offset", Kind::Hex, "Address of the loader's entry"),
    col("base", Kind::Hex, "First byte of the image"),
    col("size", Kind::Hex, "Bytes of the image"),
    col("name", Kind::Text, "File name"),
    col("path", Kind::Text, "Path as the loader saw it"),
    wide("entry", Kind::Hex, "Entry point"),
    wide("flags", Kind::Hex, "Loader flags"),
    wide("load_count", Kind::Number, "How often it is loaded"),
    wide("timestamp", Kind::Hex, "TimeDateStamp of its PE header (a hash where the build is reproducible)"),
    wide("build_time", Kind::Time, "The same as a time, where it can be one of this machine's life"),
    wide("checksum", Kind::Hex, "CheckSum of its PE header"),
];

fn run(case: &Case, _: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let found = loaded(case)?;
    let bounds = bounds(case, &found);
    let space = case.kernel().ok().map(Kernel::space);
    for module in &found.list {
        sink.row(row(module, module.built(space.as_ref(), bounds).0))?;
    }
    found.notes.into_iter().for_each(|n| sink.note(n));
    Ok(())
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

/// The row of a module.
#[must_use]
pub fn row(m: &Module, built: Value<FileTime>) -> Row {
    let cells: [Cell; COLUMNS.len()] = [
        m.offset.into(),
        m.base.into(),
        m.size.map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
        m.name.clone().into(),
        m.path.clone().into(),
        m.entry.into(),
        m.flags.map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
        m.load_count.into(),
        m.timestamp.map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
        built.into(),
        m.checksum.map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
    ];
    Row::new(cells.into()).at(m.place)
}
