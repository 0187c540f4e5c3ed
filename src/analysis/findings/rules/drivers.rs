//! Drivers that hide, lie in odd places, or are gone while something still leads to them.

use super::super::evidence::Evidence;
use super::super::world::World;
use super::super::{Check, Finding, Rule, Severity, Subject, paths};
use super::kernel_tables::out_of_modules;
use crate::addr::Va;
use crate::analysis::routine::Routines;
use crate::kernel::driver::{DriverObject, MAJOR_FUNCTIONS};
use crate::kernel::image::Image;
use crate::report::Cell;
use crate::symbols::layout::Layout;

/// Off the list.
pub static UNLISTED: Rule = Rule {
    name: "unlisted-driver",
    technique: "T1014",
    about: "A driver whose image is on no list of modules",
    means: "A driver object, or a loader's entry left in the pool, names an image that is in memory and not on the list of loaded modules: the \
            driver was unlinked, or mapped past the loader.",
    fooled: "A driver without a driver object and with its loader's entry wiped: look at what hooks and callbacks lead to. Innocent: entries of \
             drivers that are being unloaded.",
    verify: "Read DriverStart of the driver object; compare with `dumpwalk modules`.",
    check: Check::Machine(unlisted),
};

/// In an odd place.
pub static PLACE: Rule = Rule {
    name: "driver-path",
    technique: "T1543.003",
    about: "A driver loaded from a folder that users write to",
    means: "Drivers lie in Windows' own folders or the programs'. One from a user's profile, a temporary or shared folder was brought by a program \
            that may load drivers; vulnerable ones are brought that way to be abused.",
    fooled: "A driver copied to System32\\drivers first. Innocent: hardware monitors and updaters unpack drivers into temporary folders.",
    verify: "Read FullDllName at the entry's place.",
    check: Check::Machine(place),
};

/// Gone, and still referred to.
pub static UNLOADED: Rule = Rule {
    name: "unloaded-driver",
    technique: "T1014",
    about: "Something still leads into a driver that was unloaded",
    means: "A driver object's image, entry point, unload or StartIo routine lies where a driver was before it was unloaded: whoever goes there runs what has been put in its place.",
    fooled: "The ring keeps the last fifty unloaded drivers only. Innocent: another driver loaded to the same place since (then it is on the list, and \
             nothing is said).",
    verify: "`dumpwalk unloaded` for the ranges; read the routine's address at its place.",
    check: Check::Machine(unloaded),
};

/// Dispatch routines.
pub static DISPATCH: Rule = Rule {
    name: "dispatch-hook",
    technique: "T1014",
    about: "A driver's dispatch routine that leads out of every module",
    means: "Requests to the driver go to code outside of every module: somebody put a routine of their own into the driver's table, to see or change \
            what passes (file system, network).",
    fooled: "A change past the routine's first instructions; a routine in another module, which is common and innocent.",
    verify: "Read the pointer at its place; `dumpwalk driverirp` shows all of them.",
    check: Check::Machine(dispatch),
};

fn unlisted(world: &World<'_>, out: &mut Vec<Finding>) {
    let Some(modules) = world.modules.as_ref().filter(|m| m.list.len() > 1) else { return };
    let space = world.kernel.space();
    let mut told: Vec<Va> = Vec::new();
    for driver in &world.drivers {
        let Ok(start) = driver.start else { continue };
        if modules.of(start).is_some() || !world.kernel.in_kernel_half(start) {
            continue;
        }
        let name = driver.name.as_ref().map_or_else(|_| driver.object.to_string(), ToString::to_string);
        let mut finding = Finding::new(
            &UNLISTED,
            Severity::High,
            Subject::Driver(name),
            format!("its image at {start} is on no list of modules"),
        );
        if let Ok(layout) = world.kernel.layout::<DriverObject>() {
            let view = space.view(layout, driver.object);
            finding = finding.with(Evidence::field("_DRIVER_OBJECT.DriverStart", &view, DriverObject::start, start));
        }
        told.push(start);
        out.push(finding.with(Evidence::memory("memory at the image's base", &space, start, 32, start)));
    }
    for found in &world.loader_entries {
        let Some(at) = found.va else { continue };
        let Ok(entry) = world.kernel.module_at(&space, at) else { continue };
        let (Ok(base), Ok(name)) = (entry.base, entry.name.as_ref().map(ToString::to_string)) else { continue };
        // The entry of a driver that was unloaded stays in the pool for a while: only an image that is still there counts.
        let there = Image::read(&space, base).is_ok_and(|i| entry.size.is_ok_and(|s| s == i.size));
        if !there || !world.kernel.in_kernel_half(base) || modules.of(base).is_some() || told.contains(&base) {
            continue;
        }
        told.push(base);
        let what = format!("its loader entry is on no list, its image is in memory at {base}");
        out.push(
            Finding::new(&UNLISTED, Severity::High, Subject::Driver(name), what)
                .with(Evidence::memory("_KLDR_DATA_TABLE_ENTRY", &space, at, 32, entry.path))
                .with(Evidence::memory("memory at the image's base", &space, base, 32, base)),
        );
    }
}

fn place(world: &World<'_>, out: &mut Vec<Finding>) {
    let Some(modules) = &world.modules else { return };
    let space = world.kernel.space();
    for module in &modules.list {
        let Ok(path) = &module.path else { continue };
        let plain = paths::plain(path);
        // A bare name is a driver the boot loader or a debugger named; paths of other volumes are not compared.
        if !paths::user_writable(&plain) {
            continue;
        }
        let name = module.name.as_ref().map_or_else(|_| paths::base(path).to_owned(), ToString::to_string);
        let mut finding =
            Finding::new(&PLACE, Severity::Medium, Subject::Driver(name), format!("was loaded from {path}"));
        finding = match module.offset {
            Ok(at) => finding.with(Evidence::memory("_KLDR_DATA_TABLE_ENTRY", &space, at, 32, path.clone())),
            Err(why) => finding.with(Evidence {
                field: "path".into(),
                value: path.clone().into(),
                place: module.place,
                bytes: Err(why),
            }),
        };
        out.push(finding);
    }
}

/// The unloaded driver that was at an address, if no module is there now.
pub fn was_unloaded(world: &World<'_>, va: Va) -> Option<String> {
    if world.modules.as_ref().is_none_or(|m| m.of(va).is_some()) {
        return None;
    }
    let at = |u: &&crate::kernel::unloaded::Unloaded| matches!((u.start, u.end), (Ok(start), Ok(end)) if start <= va && va < end);
    world.unloaded.iter().find(at).map(|u| u.name.as_ref().map_or_else(|_| "a driver".to_owned(), ToString::to_string))
}

fn unloaded(world: &World<'_>, out: &mut Vec<Finding>) {
    let space = world.kernel.space();
    for driver in &world.drivers {
        // The dispatch routines are `dispatch-hook`'s, which says the same of them.
        let routines = [driver.start, driver.init, driver.unload, driver.start_io];
        let gone = routines.into_iter().filter_map(|r| r.ok()).find_map(|va| Some((va, was_unloaded(world, va)?)));
        let Some((va, name)) = gone else { continue };
        let subject =
            Subject::Driver(driver.name.as_ref().map_or_else(|_| driver.object.to_string(), ToString::to_string));
        let what = format!("leads to {va}, where {name} was before it was unloaded");
        let mut finding = Finding::new(&UNLOADED, Severity::High, subject, what);
        if let Ok(layout) = world.kernel.layout::<DriverObject>() {
            let view = space.view(layout, driver.object);
            finding =
                finding.with(Evidence::field("_DRIVER_OBJECT.DriverStart", &view, DriverObject::start, driver.start));
        }
        out.push(finding);
    }
}

fn dispatch(world: &World<'_>, out: &mut Vec<Finding>) {
    let Some(modules) = world.modules.as_ref().filter(|m| m.list.len() > 1) else { return };
    let space = world.kernel.space();
    let table = world.kernel.layout::<DriverObject>().ok().and_then(|l| l.field("major").ok());
    let routines = Routines::new(world.kernel, modules.clone());
    for driver in &world.drivers {
        // A driver that is off the list has all its routines out of every module: `unlisted-driver` says so once.
        if driver.start.is_ok_and(|va| modules.of(va).is_none()) {
            continue;
        }
        for (i, (major, routine)) in MAJOR_FUNCTIONS.iter().zip(&driver.major).enumerate() {
            let Some(va) = routine.ok().filter(|va| !va.is_null()) else { continue };
            let lead = routines.look(&space, va);
            let Some(text) = out_of_modules(world, &lead) else { continue };
            let name = driver.name.as_ref().map_or_else(|_| driver.object.to_string(), ToString::to_string);
            let what = format!("IRP_MJ_{major} {text}");
            let mut finding = Finding::new(&DISPATCH, Severity::High, Subject::Driver(name), what);
            if let Some(table) = table {
                let width = space.pointer_size();
                let at = u64::from(table.offset).saturating_add((i as u64).saturating_mul(width.into()));
                let label = format!("_DRIVER_OBJECT.MajorFunction[{i}]");
                finding = finding.with(Evidence::memory(label, &space, driver.object.add(at), width, Cell::from(va)));
            }
            let code = lead.jumps_to.unwrap_or(va);
            out.push(finding.with(Evidence::memory("code there", &space, code, 32, code)));
        }
    }
}
