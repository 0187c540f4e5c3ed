//! `drivermodule`: driver objects against loaded modules.

use super::{Analysis, Answers, Ask, Case, Subject, modules};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::driver::Driver;
use crate::kernel::driver_cross::{Crossed, Reason};
use crate::kernel::module::Module;
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::value::Absent;

/// The register's entry.
pub static DRIVERMODULE: Analysis = Analysis {
    name: "drivermodule",
    about: "Cross-check driver objects, loaded modules and scanned loader entries",
    help: "One row for each driver object, with the module its image lies in, and one for each module without a driver object. A driver whose \
           image is on no list of modules was hidden, or loaded by something else than the loader. `unexplained` names the views that ought \
           to have it and do not, `explained` those that lack it for an innocent reason: libraries have no driver object, the kernel's own \
           drivers no image, unloaded ones leave remains.\n\nExample: dumpwalk drivermodule memory.dmp",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of(run),
};

/// A driver object and the module its image lies in, or either.
struct Both;
struct Of<'a> {
    kernel: &'a Kernel,
    space: &'a Space<'a>,
    crossed: &'a Crossed,
}
impl crate::report::Subject for Both {
    type Of<'a> = Of<'a>;
}

fn nothing() -> Cell {
    Cell::Absent(Absent::NotApplicable)
}

impl Of<'_> {
    /// Where something of the module is.
    fn listed(&self, get: fn(&modules::Of<'_>) -> Option<Place>) -> Option<Place> {
        let module = self.crossed.module.as_ref()?;
        let triage = self.kernel.dump.triage();
        let entry = triage.as_ref().and_then(|triage| modules::entry_of(triage, module));
        let built = Err(Absent::NotApplicable);
        get(&modules::Of { kernel: Some((self.kernel, self.space)), module, built, entry })
    }
    fn of_driver(&self, get: fn(&Driver) -> Cell) -> Cell {
        self.crossed.driver.as_ref().map_or_else(nothing, get)
    }
    fn of_module(&self, get: fn(&Module) -> Cell) -> Cell {
        self.crossed.module.as_ref().map_or_else(nothing, get)
    }
    fn base(&self) -> Cell {
        let by_driver = || self.of_driver(|d| d.start.into());
        self.crossed.module.as_ref().map_or_else(by_driver, |m| m.base.into())
    }
    fn size(&self) -> Cell {
        let by_driver = || self.of_driver(|d| Cell::hex(d.size));
        self.crossed.module.as_ref().map_or_else(by_driver, |m| Cell::hex(m.size))
    }
}

fn explained(crossed: &Crossed) -> Cell {
    let explained = crossed.seen.iter().filter_map(|(view, _, reason)| match reason {
        None | Some(Reason::Unexplained) => None,
        Some(reason) => Some(Cell::from(format!("{}: {}", view.key(), reason.words()))),
    });
    Cell::List(explained.collect())
}

const FIELDS: &[Field<Both>] = &[
    placed(
        col("driver_name", Kind::Text, "Name of the driver object; none of a module without one"),
        |c| c.of_driver(|d| d.name.clone().into()),
        |c| c.space.place_of(&c.crossed.driver.as_ref()?.name),
    ),
    derived(
        col("driver", Kind::Hex, "Address of the _DRIVER_OBJECT"),
        "where scan or directory met it: it is the row's own place",
        |c| c.of_driver(|d| d.object.into()),
    ),
    placed(
        col("module", Kind::Text, "Module the image lies in; none outside of all"),
        |c| c.of_module(|m| m.name.clone().into()),
        |c| c.listed(|of| of.name_at()),
    ),
    derived(
        col("base", Kind::Hex, "Where the image lies"),
        "DllBase of the module, else DriverStart of the driver object",
        |c| c.base(),
    ),
    derived(
        wide("size", Kind::Hex, "Bytes of the image"),
        "SizeOfImage of the module, else DriverSize of the driver object",
        |c| c.size(),
    ),
    placed(
        wide("path", Kind::Text, "The module's path as the loader saw it"),
        |c| c.of_module(|m| m.path.clone().into()),
        |c| c.listed(|of| of.text_at(&of.module.path)),
    ),
    derived(col("driverscan", Kind::Bool, "Met by the scan for driver objects"), "the scan of physical memory", |c| {
        c.crossed.seen[0].1.into()
    }),
    derived(col("directory", Kind::Bool, "In \\Driver or \\FileSystem"), "the entries of the directories", |c| {
        c.crossed.seen[1].1.into()
    }),
    derived(
        col("modules", Kind::Bool, "On the list of loaded modules"),
        "PsLoadedModuleList and the links of its members",
        |c| c.crossed.seen[2].1.into(),
    ),
    derived(col("modscan", Kind::Bool, "Met by the scan for loader entries"), "the scan of physical memory", |c| {
        c.crossed.seen[3].1.into()
    }),
    derived(col("unexplained", Kind::Texts, "Views that ought to have it and do not"), "all views", |c| {
        Cell::List(c.crossed.unexplained().map(|v| v.key().into()).collect())
    }),
    derived(wide("explained", Kind::Texts, "Views that lack it, each with the innocent reason"), "all views", |c| {
        explained(c.crossed)
    }),
    derived(wide("physical", Kind::Hex, "Physical address of the driver object"), "where the scan met it", |c| {
        c.crossed.found.as_ref().map_or_else(nothing, |(pa, _)| (*pa).into())
    }),
    derived(
        col("found_by", Kind::Texts, "pool_tag, dispatcher_header: how the scan met it"),
        "how the scan met it",
        |c| {
            c.crossed
                .found
                .as_ref()
                .map_or_else(nothing, |(_, by)| Cell::List(by.iter().map(|b| b.word().into()).collect()))
        },
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let (found, notes) = kernel.driver_crossview(&ask.progress)?;
    notes.into_iter().for_each(|n| sink.note(n));
    let space = kernel.space();
    for crossed in &found {
        let row = Row::of(FIELDS, &Of { kernel, space: &space, crossed }, &ask.rows);
        let place = crossed.driver.as_ref().map(|d| d.place).or_else(|| crossed.module.as_ref().map(|m| m.place));
        sink.row(Row { place, ..row })?;
    }
    Ok(())
}
