//! A living process that is not on the active list.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::kernel::active::Place;
use crate::kernel::crossview::Standing;
use crate::kernel::process::EProcess;
use crate::report::Cell;

/// The rule.
pub static RULE: Rule = Rule {
    name: "hidden-process",
    technique: "T1014",
    about: "A living process that the active list, or the table of ids, does not have",
    means: "The kernel's list of active processes, walked both ways, is whole without it, or its neighbours there lead past it, but the \
            object is in memory, has not ended, and other structures of the kernel still agree on it: its threads point back to it, or the table of ids leads to it. Unlinking a process from \
            that list hides it from everything that asks Windows for processes; it goes on running. One that is on the list but not in the table of \
            ids cannot be opened by its id.",
    fooled: "A rootkit that wipes ids, threads' owners and dispatcher header too leaves nothing to agree on. Innocent: a process caught while \
             it is being made or torn down, or a dump taken while the machine ran on. The first have the exiting flag or an exit \
             time, and no thread that runs on, and are explained; the last have a creation time, and threads, later than the dump's clock, and the \
             severity is medium. One that stands where the list itself is torn (pages missing, written while the dump was \
             taken) is explained if its own links are a piece of the list; where its links lead nowhere too, the severity is medium.",
    verify: "At the place of ActiveProcessLinks read two pointers: entries of a list point to links that point back (WinDbg: dt nt!_LIST_ENTRY \
             VA); an unlinked one's neighbours do not, or it points to itself. `dumpwalk psxview` shows who else knows the process.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    match person.standing {
        Standing::Listed => return without_id(scene, out),
        Standing::Torn => without_id(scene, out),
        Standing::Unlinked => {}
        Standing::Terminated | Standing::Remains => return,
    }
    let view = &person.process.view;
    let (threads, ids) = (own_threads(scene), in_id_table(scene));
    let leaving = person.life.leaving;
    let links = view.links();
    let shown = links.map_or_else(Cell::Absent, |l| Cell::List(vec![l.flink.into(), l.blink.into()]));
    // Where only the object itself says so, it may be left over from a process or a machine that is gone.
    let alone = threads == 0 && !ids;
    let severity = match person.place {
        _ if alone => Severity::Low,
        Place::Unclear => Severity::Medium,
        _ => Severity::Critical,
    };
    let witness = match (threads, ids) {
        (0, false) => "nothing else in the kernel agrees".to_owned(),
        (0, true) => "still present in PspCidTable".to_owned(),
        (n, ids) => {
            format!(
                "{n} live thread{}{}",
                if n == 1 { "" } else { "s" },
                if ids { ", present in PspCidTable" } else { "" }
            )
        }
    };
    let what = match person.place {
        Place::Unclear => format!(
            "running, but not on the active list, which is torn here, and its own links lead nowhere: it may have been unlinked; {witness}"
        ),
        Place::Torn => format!("running, but not reached by the torn active list; {witness}"),
        _ => format!("hidden: unlinked from PsActiveProcessHead but running: {witness}"),
    };
    let finding = |severity| {
        scene
            .finding(&RULE, severity, what.clone())
            .with(Evidence::field("_EPROCESS.ActiveProcessLinks", view, EProcess::links, shown.clone()))
            .with(Evidence::field("_EPROCESS.UniqueProcessId", view, EProcess::id, person.pid))
            .with(Evidence::field("_EPROCESS.ExitTime", view, EProcess::exited, person.process.exit_time()))
    };
    out.push(if person.place == Place::Torn {
        finding(severity).explained("the active list is torn where it stood: its own links are a piece of the list")
    } else {
        match newness(scene) {
            Newness::Old if leaving => finding(severity).explained("it is being torn down: its exiting flag is set"),
            Newness::Old => finding(severity),
            // It may be innocent, and it may be a creation time that was moved, with its threads'.
            Newness::Made => {
                let mut finding = finding(severity.min(Severity::Medium));
                finding.what.push_str("; by its creation time it was made while the dump was taken");
                finding.with(Evidence::field("_EPROCESS.CreateTime", view, EProcess::created, person.created))
            }
            Newness::Forged => {
                finding(severity).with(Evidence::field("_EPROCESS.CreateTime", view, EProcess::created, person.created))
            }
        }
    });
}

/// What a time of creation after the moment that the dump's clock shows is worth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Newness {
    /// It is not after that moment.
    Old,
    /// The machine may have run on while the dump was taken: its threads were made then too.
    Made,
    /// It is too far in the future, or its own threads are older than it.
    Forged,
}

/// How long a machine runs on while its memory is written: minutes. In 100 ns.
const LONGEST_TAKING: u64 = 30 * 60 * 10_000_000;

fn newness(scene: &Scene<'_, '_>) -> Newness {
    let clock = scene.world.kernel.clock(&scene.desk.space).now;
    let (Ok(now), Ok(made)) = (clock, scene.person.created) else { return Newness::Old };
    if made <= now {
        return Newness::Old;
    }
    let later = made.0.saturating_sub(now.0) <= LONGEST_TAKING;
    let own = scene.threads().iter().filter(|t| t.belongs_to(scene.person.process.offset()) == Ok(true));
    let agree = own.filter_map(|t| t.created().ok()).all(|thread| thread >= made);
    if later && agree { Newness::Made } else { Newness::Forged }
}

/// Threads on its own list that say they belong to it, and that run.
fn own_threads(scene: &Scene<'_, '_>) -> usize {
    scene.person.life.running
}

/// Whether the table of process ids leads to it.
fn in_id_table(scene: &Scene<'_, '_>) -> bool {
    let (Some(ids), Ok(pid)) = (&scene.world.ids, scene.person.pid) else { return false };
    ids.get(&pid).copied() == scene.person.process.offset()
}

/// A process on the active list whose id leads nowhere: who opens it by its id is told there is none.
fn without_id(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view) = (scene.person, &scene.person.process.view);
    // A table that does not even have the System process is not the one in use.
    let Some(ids) = scene.world.ids.as_ref().filter(|ids| ids.contains_key(&4)) else { return };
    let leaving = person.life.leaving || view.exiting().is_err() || view.deleted().is_err();
    let Ok(pid) = person.pid else { return };
    if !person.lives() || leaving || in_id_table(scene) {
        return;
    }
    // An emptied slot is the work of somebody; one that another object has is a contradiction of another kind.
    let (severity, what) = match ids.get(&pid) {
        None => (Severity::High, "is on the active list, but the table of ids does not have its id".to_owned()),
        Some(other) => {
            (Severity::Medium, format!("is on the active list, but in the table of ids its id leads to {other}"))
        }
    };
    let links = view.links().map_or_else(Cell::Absent, |l| Cell::List(vec![l.flink.into(), l.blink.into()]));
    out.push(
        scene
            .finding(&RULE, severity, what)
            .with(Evidence::field("_EPROCESS.UniqueProcessId", view, EProcess::id, pid))
            .with(Evidence::field("_EPROCESS.ActiveProcessLinks", view, EProcess::links, links)),
    );
}
