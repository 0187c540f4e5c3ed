//! Times of the machine: its start, its end, its drivers, the links in its namespace.

use super::event::{Event, Kind, Stamp};
use super::processes::built;
use crate::analysis::filescan::SymbolicLink;
use crate::analysis::{Case, modules};
use crate::bytes::Place;
use crate::kernel::Kernel;
use crate::kernel::file_object::Files;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::paging::Mode;
use crate::progress::Progress;
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};

/// Gathers them.
pub(super) fn gather(case: &Case, kernel: &Kernel, events: &mut Vec<Event>, notes: &mut Vec<Note>) {
    let space = kernel.space();
    let mut push = |time, kind, name: Value<Text>, description, place| {
        events.push(Event { time, kind, pid: None, name, description, place, stamp: Stamp::Time });
    };
    let nothing = || Err(Absent::NotApplicable);
    if let Ok(boot) = kernel.system(&space).boot {
        let place = kernel.global("KeBootTime").map(|at| space.fetch(at, 8).place(0)).unwrap_or_default();
        push(boot, Kind::Boot, nothing(), Some("KeBootTime".to_owned()), place);
    }
    if let Ok(now) = kernel.clock(&space).now {
        let place = kernel.system_time_place(&space).unwrap_or_default();
        push(now, Kind::SystemTime, nothing(), Some("system time when the dump was taken".to_owned()), place);
    }
    if let Some(header) = &case.dump.header
        && let Some(time) = header.system_time
    {
        let what = format!("crash dump header, bug check {:#x}", header.bugcheck);
        let place = Place::in_dump(header.system_time_at);
        push(time, Kind::Crash, nothing(), Some(what), place);
    }
    match kernel.unloaded_drivers() {
        Ok((list, told)) => {
            notes.extend(told);
            for driver in list {
                if let Ok(time) = driver.time {
                    let what = driver.start.ok().map(|va| format!("was at {va}"));
                    push(time, Kind::DriverUnloaded, driver.name, what, driver.place);
                }
            }
        }
        Err(e) => notes.push(Note::info(e.to_string())),
    }
    match modules::loaded(case) {
        Ok(found) => {
            notes.extend(found.notes);
            let of = |m: crate::kernel::module::Module| {
                built(m.timestamp.ok()?, Stamp::of(&space, m.base), m.path.or(m.name).ok()?.to_string(), m.place)
            };
            events.extend(found.list.into_iter().filter_map(of));
        }
        Err(e) => notes.push(Note::info(e.to_string())),
    }
    links(kernel, events, notes);
}

/// Symbolic links, by the scan.
fn links(kernel: &Kernel, events: &mut Vec<Event>, notes: &mut Vec<Note>) {
    let (Ok(layout), Ok(names)) = (kernel.layout::<SymbolicLink>(), Files::of(kernel)) else { return };
    if kernel.mode == Mode::Blocks {
        return;
    }
    let Ok(found) = kernel.scan(&[Scanned::SymbolicLink], &Progress::default(), notes) else { return };
    let space = kernel.space();
    for va in found.iter().filter_map(|f| f.va) {
        let link = space.view(layout, va);
        let (Ok(target), Ok(time)) = (link.target().and_then(|t| space.text(t)), link.created()) else { continue };
        let place = link.at(SymbolicLink::created).unwrap_or_default();
        let description = Some(format!("to {target}"));
        events.push(Event {
            time,
            kind: Kind::LinkCreated,
            pid: None,
            name: names.object_name(va),
            description,
            place,
            stamp: Stamp::Time,
        });
    }
}
