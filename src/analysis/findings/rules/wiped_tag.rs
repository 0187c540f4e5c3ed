//! A process whose pool allocation does not carry the tag of processes.

use super::super::evidence::Evidence;
use super::super::person::without_tag;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::kernel::crossview::Standing;
use crate::kernel::process::EProcess;
use crate::value::Absent;

/// The rule.
pub static RULE: Rule = Rule {
    name: "wiped-pool-tag",
    technique: "T1014",
    about: "A process object whose pool tag was wiped",
    means: "Processes are allocated from the pool with the tag `Proc`. This one was found by its dispatcher header and the pointers in it, and \
            the bytes before it are there but hold no such tag: somebody overwrote it, so that scanners which look for tags pass it by.",
    fooled: "A tag changed back after the scan, or a dispatcher header wiped too. Where the page before the object is not in the dump nothing is \
             said.",
    verify: "Look at the 128 bytes before the object for `50 72 6f 63` (`Proc`); WinDbg: !pool VA.",
    check: Check::Process(check),
};

/// Bytes before an object that hold its pool header and optional headers: 16 and, of those a process can have (`_OBJECT_HEADER`, quota,
/// handle information, process information …), less than this in every layout table.
const BEFORE: u32 = 0x80;

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    if person.ended || !person.found.as_ref().is_some_and(without_tag) {
        return;
    }
    // Where a quarter of all processes has no tag, this build or this dump keeps none, and nobody wiped it.
    let living = || scene.world.people.iter().filter(|p| !p.ended && p.found.is_some());
    let bare = living().filter(|p| p.found.as_ref().is_some_and(without_tag)).count();
    if bare > 2 && bare.saturating_mul(4) > living().count() {
        return;
    }
    let Some(at) = person.process.offset() else { return };
    let start = at.sub(BEFORE.into());
    let before = scene.desk.space.fetch(start, BEFORE);
    let Ok(bytes) = before.all() else { return };
    let tagged = bytes.chunks_exact(4).any(|c| matches!(c, b"Proc" | b"Pro\xe3"));
    if tagged {
        return;
    }
    let severity = if person.standing == Standing::Unlinked { Severity::Critical } else { Severity::High };
    let finding = scene
        .finding(&RULE, severity, "its pool tag was wiped")
        .with(Evidence::memory("pool and object headers", &scene.desk.space, at.sub(0x20), 0x20, Absent::NotApplicable))
        .with(Evidence::field(
            "_EPROCESS.Pcb.Header.Type",
            &person.process.view,
            EProcess::kind,
            person.process.view.kind(),
        ));
    out.push(finding);
}
