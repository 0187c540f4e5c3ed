//! Private memory that runs code.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::analysis::malfind::Suspect;

/// The rule.
pub static RULE: Rule = Rule {
    name: "injected-code",
    technique: "T1055",
    about: "Executable memory that is no image: injected code",
    means: "A range that is no mapped image can be executed, and what it holds speaks for an injection: a PE header (or where one was wiped), a \
            thread that starts in it, code that looks for the PEB by itself or makes system calls outright. `malfind` shows the bytes and \
            their disassembly.",
    fooled: "Code in image ranges (module stomping) shows as `patched-image`; memory that was made inaccessible while its code sleeps (gadget \
             chains) shows only by its threads. Innocent: compilers at run time (.NET, Java, browsers) make ranges full of functions in rows, \
             without header or thread: told as explained. Copy protection and some guards do make such memory.",
    verify: "`dumpwalk malfind --pid PID`; or disassemble the bytes at the place given (WinDbg: u VA).",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let Some(memory) = scene.memory() else { return };
    for suspect in scene.world.finder.suspects(&scene.person.process, &scene.desk.space, memory) {
        let vad = &suspect.vad;
        let rights = vad.protection.map(|p| scene.world.protections.value(p));
        let rwx = rights.is_ok_and(|r| r.executable() && r.writable());
        let kind = match (&suspect.header, rwx) {
            (Some(_), true) => "RWX private PE",
            (Some(_), false) => "executable private PE",
            (None, true) => "RWX private memory",
            (None, false) => "executable private memory",
        };
        let threads = match suspect.threads.as_slice() {
            [] => String::new(),
            [(tid, _), ..] => format!(", thread {tid} starts there"),
        };
        // Of what malfind notes, what is not said otherwise here: threads and header are, the PEB's word is `replaced-image`'s.
        let other = |n: &&String| {
            !n.starts_with("thread ") && !n.contains("a PE header: ") && !n.starts_with("the PEB names it")
        };
        let said = suspect.notes.iter().filter(other).cloned().collect::<Vec<_>>().join(", ");
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let name = rights.map(|r| r.name().into_owned());
        let finding = scene
            .finding(&RULE, weight(&suspect, rwx), format!("{kind} at {}{threads}{said}", vad.start))
            .with(Evidence::memory("code", &memory.space, suspect.code_at, 32, suspect.code_at))
            .with(Evidence::memory("first bytes of the range", &memory.space, vad.start, 32, vad.start))
            .with(Evidence::memory("its _MMVAD", &scene.desk.space, vad.node, 32, name));
        out.push(if suspect.explained {
            finding.explained("functions in rows, no header, no thread: as a compiler at run time makes them")
        } else {
            finding
        });
    }
}

/// How much a range weighs: what code at run time never has weighs most.
fn weight(suspect: &Suspect, rwx: bool) -> Severity {
    let said = |what: &str| suspect.notes.iter().any(|n| n.contains(what));
    // Among functions in rows the bytes of a system call can be chance.
    let calls = said("system call") && !said("functions in rows");
    let loaded = suspect.header.is_some() || said("header was wiped");
    if loaded || !suspect.threads.is_empty() || said("reads the PEB") || calls {
        Severity::High
    } else if said("system call") || said("where it lies") || said("wiped or left out") {
        Severity::Medium
    } else if rwx {
        Severity::Low
    } else {
        Severity::Info
    }
}
