//! Handles that reach into other processes.

use super::super::evidence::Evidence;
use super::super::person::Person;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::kernel::handle_table::Handle;
use crate::kernel::object::access;
use crate::report::Cell;
use crate::value::{Absent, Value};
use rustc_hash::FxHashMap;

/// Handles to lsass.
pub static LSASS: Rule = Rule {
    name: "lsass-handle",
    technique: "T1003.001",
    about: "A handle that may read the memory of lsass.exe",
    means: "lsass.exe keeps passwords' hashes and tickets in its memory; whoever holds a handle with PROCESS_VM_READ can take them.",
    fooled: "A handle closed before the dump; reading by way of a driver, a copy (PssCaptureSnapshot) or a dump made by Windows itself. \
             Innocent: csrss.exe holds handles to all processes of its session; System, and services of Windows and guards that run as SYSTEM \
             from their own folders hold such handles: told as explained.",
    verify: "`dumpwalk handles --pid PID --type Process`: granted_access has 0x10; the handle table's entry is at the place given.",
    check: Check::Process(lsass),
};

/// Handles to other users' processes.
pub static FOREIGN: Rule = Rule {
    name: "foreign-handle",
    technique: "T1055",
    about: "A handle that may change another user's, or a more trusted, process",
    means: "PROCESS_VM_WRITE, PROCESS_VM_OPERATION with it, or PROCESS_CREATE_THREAD on a process of another user or of higher integrity is what \
            an injection needs. Windows grants it only to whoever may debug others, or was handed the handle.",
    fooled: "A handle closed before the dump. Innocent: SYSTEM's own processes hold such handles to everybody's, so only holders that run as a \
             user count; leaked handles of privileged programs are a fault, and a way up for whoever finds them.",
    verify: "`dumpwalk handles --pid PID --type Process`: access names the rights.",
    check: Check::Process(foreign),
};

/// Rights of processes, `winnt.h`: `PROCESS_VM_READ`, `PROCESS_CREATE_THREAD`, `PROCESS_VM_WRITE`.
const VM_READ: u32 = 0x10;
const CREATE_THREAD: u32 = 0x2;
const VM_WRITE: u32 = 0x20;
/// Handles told of one holder.
const MOST: usize = 8;

/// A process's handles to other living processes that grant any of `rights`.
fn reaching<'w, 'k>(scene: &Scene<'w, 'k>, rights: u32) -> Vec<(Handle, &'w Person<'k>)> {
    let mut found = Vec::new();
    let (Some(tables), Ok(table)) = (&scene.world.handles, scene.person.process.view.handle_table()) else {
        return found;
    };
    let mut objects = scene.desk.objects.borrow_mut();
    let Some(objects) = objects.as_mut().filter(|_| !table.is_null() && !scene.person.ended) else { return found };
    let own = scene.person.process.offset();
    let (leaves, notes) = tables.leaves(&scene.desk.space, table);
    notes.into_iter().filter(|n| n.loss).for_each(|n| scene.lose(n.text));
    for leaf in leaves {
        let read = tables.handles(&scene.desk.space, leaf, |handle| {
            if !handle.access.is_ok_and(|access| access & rights != 0) {
                return;
            }
            let object = objects.with_header(handle.target);
            let Some(target) = scene.world.at(object.body) else { return };
            if Some(object.body) != own && !target.ended && objects.type_of(&object).as_deref() == Ok("Process") {
                found.push((handle, target));
            }
        });
        if let Err(why) = read {
            scene.lose(format!("the page {} of its handle table is {why}: handles in it are not judged", leaf.at));
        }
    }
    found
}

fn rights(mask: Value<u32>) -> String {
    let mask = match mask {
        Ok(mask) => mask,
        Err(why) => return format!("access {why}"),
    };
    let (names, _) = access::names("Process", mask);
    if mask & 0x1f_ffff == 0x1f_ffff {
        return "all rights".to_owned();
    }
    names.iter().map(|n| n.trim_start_matches("PROCESS_")).collect::<Vec<_>>().join(" ")
}

fn evidence(scene: &Scene<'_, '_>, handle: &Handle, target: &Person<'_>) -> Evidence {
    let label = format!("handle {:#x} to {}", handle.value, target.called());
    let access = handle.access.map_or_else(Cell::Absent, |a| Cell::Hex(a.into()));
    match handle.place.va {
        Some(at) => Evidence::memory(label, &scene.desk.space, at, 16, access),
        None => Evidence { field: label.into(), value: access, place: handle.place, bytes: Err(Absent::NotRecorded) },
    }
}

fn lsass(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let held: Vec<_> = reaching(scene, VM_READ)
        .into_iter()
        .filter(|(_, p)| {
            [p.name.as_str(), p.file_name()].iter().any(|n| n.eq_ignore_ascii_case("lsass.exe")) && p.is_system()
        })
        .collect();
    let Some((first, target)) = held.first() else { return };
    let plain = person.plain_path();
    let more = if held.len() > 1 { format!(" ({} handles)", held.len()) } else { String::new() };
    let mut finding = scene.finding(
        &LSASS,
        if plain.as_deref().is_ok_and(paths::user_writable) { Severity::High } else { Severity::Medium },
        format!("handle to {} with {}{more}", target.called(), rights(first.access)),
    );
    for (handle, target) in held.iter().take(MOST) {
        finding = finding.with(evidence(scene, handle, target));
    }
    // The kernel's own processes have no path.
    let safe = match &plain {
        Ok(path) => !paths::user_writable(path),
        Err(why) => *why == Absent::NotApplicable,
    };
    let of_system = person.is_system() && safe;
    out.push(if of_system {
        finding.explained(
            "the holder runs as SYSTEM from a folder that users cannot write to: it could open lsass at any time",
        )
    } else {
        finding
    });
}

fn foreign(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    if !person.lives() || !person.is_somebody() {
        return;
    }
    let above = |target: &Person<'_>| {
        let other_user = target.user.is_ok() && target.user != person.user;
        let higher = matches!((target.integrity, person.integrity), (Ok(t), Ok(p)) if t > p);
        other_user || higher
    };
    let held: Vec<_> =
        reaching(scene, VM_WRITE | CREATE_THREAD).into_iter().filter(|(_, target)| above(target)).collect();
    let Some((first, target)) = held.first() else { return };
    let mut targets: Vec<String> = held.iter().map(|(_, t)| t.called()).collect();
    targets.sort_unstable();
    targets.dedup();
    let others = match targets.len() {
        0 | 1 => String::new(),
        n => format!(" and {} more processes", n.saturating_sub(1)),
    };
    let what = format!("handle to {}{others} with {}", target.called(), rights(first.access));
    let mut finding = scene.finding(&FOREIGN, Severity::Medium, what);
    let mut told: FxHashMap<Option<u64>, ()> = FxHashMap::default();
    for (handle, target) in &held {
        if told.len() < MOST && told.insert(target.pid.ok(), ()).is_none() {
            finding = finding.with(evidence(scene, handle, target));
        }
    }
    out.push(finding);
}
