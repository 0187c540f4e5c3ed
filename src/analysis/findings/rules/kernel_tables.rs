//! Tables of the kernel that lead out of every module: system calls, notification routines.

use super::super::evidence::Evidence;
use super::super::world::World;
use super::super::{Check, Finding, Rule, Severity, Subject};
use super::drivers::was_unloaded;
use crate::addr::Va;
use crate::analysis::routine::{Hook, Lead, Routines};
use crate::bytes::Place;
use crate::kernel::service_table::Table;
use crate::paging::Space;
use crate::report::Cell;

/// System calls.
pub static SERVICES: Rule = Rule {
    name: "service-hook",
    technique: "T1014",
    about: "A system call that leads out of the kernel's modules",
    means: "The system service table says where each system call goes: into the kernel, or into win32k. An entry that lies in no module, or in code \
            that begins with a jump out of all modules, was put there to see or change what programs ask of Windows.",
    fooled: "A change inside the routine, past its first instructions; hooks by hypervisors. Innocent: guards on 32-bit Windows of old put their own \
             drivers' routines there (told as medium: the routine lies in a module).",
    verify: "`dumpwalk ssdt`; read the entry at its place: on x64 a signed distance from the table, times sixteen, with the number of arguments below.",
    check: Check::Machine(services),
};

/// Notification routines.
pub static CALLBACKS: Rule = Rule {
    name: "callback-hook",
    technique: "T1014",
    about: "A notification routine of the kernel that lies in no module",
    means: "The kernel calls such routines when a process, thread or image appears, a key or handle is opened, the machine stops. One in no module, or \
            whose first instructions jump out of all modules, belongs to a driver that hides, or to code that was loaded without one.",
    fooled: "A routine inside another driver that leads on later. Innocent: a driver that is being unloaded.",
    verify: "`dumpwalk callbacks`; read the entry at its place, and the routine's first bytes.",
    check: Check::Machine(callbacks),
};

/// Findings told of one table.
const MOST: usize = 16;

/// Says where a routine leads, if out of every module.
pub fn out_of_modules(world: &World<'_>, lead: &Lead<'_>) -> Option<String> {
    let at = lead.at;
    let gone =
        |va: Va| was_unloaded(world, va).map(|n| format!(", where {n} was before it was unloaded")).unwrap_or_default();
    match lead.hook? {
        Hook::Outside => Some(format!("goes to {at}, in no module{}", gone(at))),
        Hook::JumpsOutside => {
            let end = lead.jumps_to?;
            Some(format!("goes to {at}, which jumps to {end}, in no module{}", gone(end)))
        }
    }
}

/// The entry that leads there, and the code.
fn shown(finding: Finding, space: &Space<'_>, label: &'static str, place: Place, lead: &Lead<'_>) -> Finding {
    let width = space.pointer_size();
    let entry = match place.va {
        Some(at) => Evidence::memory(label, space, at, width, Cell::from(lead.at)),
        None => Evidence {
            field: label.into(),
            value: lead.at.into(),
            place,
            bytes: Err(crate::value::Absent::NotRecorded),
        },
    };
    let code = lead.jumps_to.unwrap_or(lead.at);
    finding.with(entry).with(Evidence::memory("code there", space, code, 32, code))
}

fn services(world: &World<'_>, out: &mut Vec<Finding>) {
    let (Some(modules), services) = (world.modules.clone(), &world.services) else { return };
    // The kernel alone on the list: nothing tells what is outside.
    if modules.list.len() < 2 {
        return;
    }
    let routines = Routines::new(world.kernel, modules);
    let space = world.kernel.space();
    let mut odd = Vec::new();
    for service in services {
        let Ok(at) = service.routine else { continue };
        let lead = routines.look(&space, at);
        let foreign = lead.module.filter(|m| service.table == Table::Kernel && m.base != Ok(world.kernel.base));
        if let Some(text) = out_of_modules(world, &lead) {
            odd.push((service, lead, Severity::High, text));
        } else if let Some(module) = foreign {
            let name =
                module.name.as_ref().map_or_else(|why| format!("a module whose name is {why}"), ToString::to_string);
            let text = format!("goes to {at}, in {name}, not in the kernel");
            odd.push((service, lead, Severity::Medium, text));
        }
    }
    // Nobody hooks half of all system calls: such a table was not read as it is meant.
    if odd.len().saturating_mul(2) > services.len() {
        return;
    }
    for (service, lead, severity, text) in odd.into_iter().take(MOST) {
        let subject = Subject::Kernel(service.table.name());
        let what = format!("system call {:#x} {text}", service.call());
        let finding = Finding::new(&SERVICES, severity, subject, what);
        out.push(shown(finding, &space, "entry of the service table", service.place, &lead));
    }
}

fn callbacks(world: &World<'_>, out: &mut Vec<Finding>) {
    let Some(modules) = world.modules.clone() else { return };
    if modules.list.len() < 2 {
        return;
    }
    let routines = Routines::new(world.kernel, modules);
    let space = world.kernel.space();
    for callback in &world.callbacks {
        let Some(at) = callback.routine.ok().filter(|va| !va.is_null()) else { continue };
        let lead = routines.look(&space, at);
        let Some(text) = out_of_modules(world, &lead) else { continue };
        let what = format!("{} notification {} {text}", callback.kind.word(), callback.index);
        let finding = Finding::new(&CALLBACKS, Severity::High, Subject::Kernel(callback.list), what);
        out.push(shown(finding, &space, "entry of the list", callback.place, &lead));
    }
}
