//! `driverscan`: driver objects found in physical memory. `driverirp`: where their requests go.

use super::routine::{self, Routines};
use super::{Analysis, Answers, Ask, Case, Subject, scans};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::driver::{Driver, MAJOR_FUNCTIONS};
use crate::kernel::module::Modules;
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::report::{Cell, Column, Kind, Row, Sink, col, joined, wide};
use crate::value::Value;

/// The register's entry.
pub static DRIVERSCAN: Analysis = Analysis {
    name: "driverscan",
    about: "Driver objects found in physical memory",
    help: "Finds driver objects by their pool tag. `module` is the loaded module the driver's image lies in: a driver that lies in none \
           has no entry on the list of modules.\n\nExample: dumpwalk driverscan memory.dmp",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run),
};

/// The register's entry.
pub static DRIVERIRP: Analysis = Analysis {
    name: "driverirp",
    about: "Dispatch routines of each driver, and the module each lies in",
    help: "One row for each of the 28 major functions of each driver object. `hook` says so where a routine lies in no loaded module, \
           or begins with a jump out of all modules, as a rootkit's would; one in another module is normal for drivers that share code (miniport and class drivers).\n\n\
           Example: dumpwalk driverirp memory.dmp --format csv",
    columns: &IRP_COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run_irp),
};

const COLUMNS: [Column; 11] = [
    col("offset", Kind::Hex, "Address of the _DRIVER_OBJECT"),
    scans::PHYSICAL,
    scans::FOUND_BY,
    col("driver_name", Kind::Text, "Name in the object manager: \\Driver\\Name"),
    col("start", Kind::Hex, "Where its image lies"),
    col("size", Kind::Hex, "Bytes of its image"),
    col("module", Kind::Text, "Loaded module its image lies in; none outside of all"),
    wide("init", Kind::Hex, "Entry point"),
    wide("unload", Kind::Hex, "Unload routine"),
    wide("start_io", Kind::Hex, "StartIo routine"),
    wide("loader_entry", Kind::Hex, "Its loader entry"),
];
const IRP_FIRST: [Column; 3] = [
    col("offset", Kind::Hex, "Address of the _DRIVER_OBJECT"),
    col("driver_name", Kind::Text, "Name in the object manager"),
    col("irp", Kind::Text, "Major function (IRP_MJ_…)"),
];
const IRP_BOTH: [Column; IRP_FIRST.len() + routine::COLUMNS.len()] = joined(IRP_FIRST, routine::COLUMNS);
const IRP_COLUMNS: [Column; IRP_BOTH.len() + 1] =
    joined(IRP_BOTH, [col("own", Kind::Bool, "Whether it lies in the driver's own image")]);

/// Every driver object of the scan, with where it was met.
///
/// # Errors
/// No kernel, or the symbols do not describe driver objects.
pub fn drivers(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<Vec<(Found, Driver)>> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::Driver)?;
    let space = kernel.space();
    let mut all = Vec::new();
    for f in found {
        let Some(va) = f.va else { continue };
        if let Some(driver) = kernel.driver_at(&space, va)? {
            all.push((f, driver));
        }
    }
    Ok(all)
}

fn module_of(modules: &Modules, va: Value<Va>) -> Cell {
    match va {
        Ok(va) => modules.of(va).map_or(Cell::Absent(crate::value::Absent::NotApplicable), |m| m.name.clone().into()),
        Err(why) => Cell::Absent(why),
    }
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let modules = super::modules::loaded(case)?;
    for (f, d) in drivers(case, ask, sink)? {
        let [physical, by] = scans::cells(&f);
        let module = module_of(&modules, d.start);
        let cells: [Cell; COLUMNS.len()] = [
            d.object.into(),
            physical,
            by,
            d.name.into(),
            d.start.into(),
            d.size.map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
            module,
            d.init.into(),
            d.unload.into(),
            d.start_io.into(),
            d.section.into(),
        ];
        sink.row(Row::new(cells.into()).at(d.place))?;
    }
    Ok(())
}

fn run_irp(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let routines = Routines::new(kernel, super::modules::loaded(case)?);
    let space = kernel.space();
    for (_, d) in drivers(case, ask, sink)? {
        for (name, routine) in MAJOR_FUNCTIONS.iter().zip(&d.major) {
            let inside = |va: Va| Some(va.0.checked_sub(d.start.ok()?.0)? < u64::from(d.size.ok()?));
            let mut cells: Vec<Cell> = vec![d.object.into(), d.name.clone().into(), (*name).into()];
            cells.extend(routine::cells(&routines, &space, *routine));
            cells.push(routine.map(|va| inside(va) == Some(true)).into());
            sink.row(Row::new(cells).at(d.place))?;
        }
    }
    Ok(())
}
