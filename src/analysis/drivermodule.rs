//! `drivermodule`: driver objects against loaded modules.

use super::{Analysis, Answers, Ask, Case, Subject, scans};
use crate::error::Result;
use crate::kernel::driver_cross::{Crossed, Reason};
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

const COLUMNS: [Column; 14] = [
    col("driver_name", Kind::Text, "Name of the driver object; none of a module without one"),
    col("driver", Kind::Hex, "Address of the _DRIVER_OBJECT"),
    col("module", Kind::Text, "Module the image lies in; none outside of all"),
    col("base", Kind::Hex, "Where the image lies"),
    wide("size", Kind::Hex, "Bytes of the image"),
    wide("path", Kind::Text, "The module's path as the loader saw it"),
    col("driverscan", Kind::Bool, "Met by the scan for driver objects"),
    col("directory", Kind::Bool, "In \\Driver or \\FileSystem"),
    col("modules", Kind::Bool, "On the list of loaded modules"),
    col("modscan", Kind::Bool, "Met by the scan for loader entries"),
    col("unexplained", Kind::Texts, "Views that ought to have it and do not"),
    wide("explained", Kind::Texts, "Views that lack it, each with the innocent reason"),
    wide("physical", Kind::Hex, "Physical address of the driver object"),
    scans::FOUND_BY,
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (found, notes) = case.kernel()?.driver_crossview(&ask.progress)?;
    notes.into_iter().for_each(|n| sink.note(n));
    for crossed in &found {
        sink.row(row(crossed))?;
    }
    Ok(())
}

fn row(c: &Crossed) -> Row {
    let nothing = || Cell::Absent(Absent::NotApplicable);
    let (driver, module) = (c.driver.as_ref(), c.module.as_ref());
    let base = module.map(|m| m.base).or_else(|| driver.map(|d| d.start));
    let size = module.map(|m| m.size).or_else(|| driver.map(|d| d.size));
    let explained = c.seen.iter().filter_map(|(view, _, reason)| match reason {
        None | Some(Reason::Unexplained) => None,
        Some(reason) => Some(Cell::from(format!("{}: {}", view.key(), reason.words()))),
    });
    let [driverscan, directory, modules, modscan] = c.seen.map(|(_, has, _)| Cell::from(has));
    let cells: [Cell; COLUMNS.len()] = [
        driver.map_or_else(nothing, |d| d.name.clone().into()),
        driver.map_or_else(nothing, |d| d.object.into()),
        module.map_or_else(nothing, |m| m.name.clone().into()),
        base.map_or_else(nothing, Cell::from),
        size.map_or_else(nothing, |s| s.map_or_else(Cell::Absent, |s| Cell::Hex(s.into()))),
        module.map_or_else(nothing, |m| m.path.clone().into()),
        driverscan,
        directory,
        modules,
        modscan,
        Cell::List(c.unexplained().map(|v| v.key().into()).collect()),
        Cell::List(explained.collect()),
        c.found.as_ref().map_or_else(nothing, |(pa, _)| (*pa).into()),
        c.found.as_ref().map_or_else(nothing, |(_, by)| Cell::List(by.iter().map(|b| b.word().into()).collect())),
    ];
    let row = Row::new(cells.into());
    match driver.map(|d| d.place).or_else(|| module.map(|m| m.place)) {
        Some(place) => row.at(place),
        None => row,
    }
}
