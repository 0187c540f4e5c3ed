//! `driverscan`: driver objects found in physical memory. `driverirp`: where their requests go.

use super::routine::{self, Lead, Routines};
use super::scans::{self, Scans};
use super::{Analysis, Answers, Ask, Case, Subject};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::driver::{Driver, DriverObject, MAJOR_FUNCTIONS};
use crate::kernel::module::Modules;
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
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

/// A driver object that the scan met.
struct Drivers;
struct Hit<'a> {
    kernel: &'a Kernel,
    space: &'a Space<'a>,
    found: &'a Found,
    driver: &'a Driver,
    modules: &'a Modules,
}
impl crate::report::Subject for Drivers {
    type Of<'a> = Hit<'a>;
}
impl Scans for Drivers {
    fn found<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Found {
        of.found
    }
}
impl Hit<'_> {
    fn at(&self, field: At<DriverObject>) -> Option<Place> {
        self.kernel.place_in(self.space, self.driver.object, field)
    }
}

/// A dispatch routine of a driver.
struct Dispatches;
struct Dispatch<'a> {
    kernel: &'a Kernel,
    space: &'a Space<'a>,
    driver: &'a Driver,
    number: u64,
    name: &'static str,
    routine: Value<Va>,
    lead: Value<Lead<'a>>,
}
impl crate::report::Subject for Dispatches {
    type Of<'a> = Dispatch<'a>;
}
impl routine::Named for Dispatches {
    fn lead<'a, 'b>(of: &'b Self::Of<'a>) -> Value<&'b Lead<'a>> {
        of.lead.as_ref().map_err(|why| *why)
    }
}
impl Dispatch<'_> {
    fn entry(&self) -> Option<Place> {
        let table = DriverObject::major.of(self.kernel.layout().ok()?, self.driver.object)?;
        Some(self.space.place(table.add(self.number.saturating_mul(self.space.pointer_size().into()))))
    }
    fn own(&self) -> Value<bool> {
        let inside = |va: Va| Some(va.0.checked_sub(self.driver.start.ok()?.0)? < u64::from(self.driver.size.ok()?));
        self.routine.map(|va| inside(va) == Some(true))
    }
}

const FIELDS: &[Field<Drivers>] = &[
    scans::address(col("offset", Kind::Hex, "Address of the _DRIVER_OBJECT")),
    scans::physical(),
    scans::found_by(),
    placed(
        col("driver_name", Kind::Text, "Name in the object manager: \\Driver\\Name"),
        |c| c.driver.name.clone().into(),
        |c| c.space.place_of(&c.driver.name),
    ),
    placed(col("start", Kind::Hex, "Where its image lies"), |c| c.driver.start.into(), |c| c.at(DriverObject::start)),
    placed(
        col("size", Kind::Hex, "Bytes of its image"),
        |c| Cell::hex(c.driver.size),
        |c| c.at(DriverObject::image_size),
    ),
    derived(
        col("module", Kind::Text, "Loaded module its image lies in; none outside of all"),
        "start, and the loaded modules",
        |c| module_of(c.modules, c.driver.start),
    ),
    placed(wide("init", Kind::Hex, "Entry point"), |c| c.driver.init.into(), |c| c.at(DriverObject::init)),
    placed(wide("unload", Kind::Hex, "Unload routine"), |c| c.driver.unload.into(), |c| c.at(DriverObject::unload)),
    placed(
        wide("start_io", Kind::Hex, "StartIo routine"),
        |c| c.driver.start_io.into(),
        |c| c.at(DriverObject::start_io),
    ),
    placed(
        wide("loader_entry", Kind::Hex, "Its loader entry"),
        |c| c.driver.section.into(),
        |c| c.at(DriverObject::section),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);
const IRP_FIELDS: &[Field<Dispatches>] = &[
    derived(
        col("offset", Kind::Hex, "Address of the _DRIVER_OBJECT"),
        "where the scan met it: it is the row's own place",
        |c| c.driver.object.into(),
    ),
    placed(
        col("driver_name", Kind::Text, "Name in the object manager"),
        |c| c.driver.name.clone().into(),
        |c| c.space.place_of(&c.driver.name),
    ),
    derived(col("irp", Kind::Text, "Major function (IRP_MJ_…)"), "the entry's place in MajorFunction", |c| {
        c.name.into()
    }),
    placed(routine::ADDRESS, |c| c.routine.into(), |c| c.entry()),
    routine::module(),
    routine::symbol(),
    routine::jumps_to(),
    routine::hook(),
    derived(
        col("own", Kind::Bool, "Whether it lies in the driver's own image"),
        "address, and DriverStart and DriverSize",
        |c| c.own().into(),
    ),
];
const IRP_COLUMNS: [Column; IRP_FIELDS.len()] = headers(IRP_FIELDS);

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
    let kernel = case.kernel()?;
    let space = kernel.space();
    for (found, driver) in &drivers(case, ask, sink)? {
        let hit = Hit { kernel, space: &space, found, driver, modules: &modules };
        sink.row(Row::of(FIELDS, &hit, &ask.rows).at(driver.place))?;
    }
    Ok(())
}

fn run_irp(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let routines = Routines::new(kernel, super::modules::loaded(case)?);
    let space = kernel.space();
    for (_, driver) in &drivers(case, ask, sink)? {
        for ((number, name), routine) in (0..).zip(MAJOR_FUNCTIONS).zip(&driver.major) {
            let lead = routine.map(|va| routines.look(&space, va));
            let of = Dispatch { kernel, space: &space, driver, number, name, routine: *routine, lead };
            sink.row(Row::of(IRP_FIELDS, &of, &ask.rows).at(driver.place))?;
        }
    }
    Ok(())
}
