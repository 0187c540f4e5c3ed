//! A process that is being debugged.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::kernel::peb::PebLayout;
use crate::kernel::process::EProcess;

/// The rule.
pub static RULE: Rule = Rule {
    name: "debug-port",
    technique: "T1055",
    about: "A process that a debugger is attached to, or that hides one",
    means: "A debugger owns what it debugs: memory, threads, exceptions. On a developer's machine that is daily work; of a system process it is not. \
            A debug port without the PEB's BeingDebugged flag: somebody cleared the flag, so that the process does not notice.",
    fooled: "Debuggers without a debug port (injected ones, hypervisors). Innocent: developers; and debuggers that clear the flag on purpose.",
    verify: "Read _EPROCESS.DebugPort (a pointer to a DebugObject, null for none) and _PEB.BeingDebugged (one byte).",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let view = &person.process.view;
    let port = view.debug_port().ok().filter(|p| !p.is_null() && scene.world.kernel.in_kernel_half(*p));
    let Some(port) = port.filter(|_| person.lives()) else { return };
    let peb = scene
        .memory()
        .and_then(|m| scene.sides().first().and_then(|s| s.view(&m.space).ok().map(|p| p.being_debugged())));
    let hidden = peb == Some(Ok(0));
    let system = person.known().is_some_and(|k| k.system);
    let severity = match (system, hidden) {
        (true, _) => Severity::High,
        (false, true) => Severity::Medium,
        (false, false) => Severity::Low,
    };
    let flag = if hidden { ", and its PEB was made to say it is not" } else { "" };
    let mut finding = scene.finding(&RULE, severity, format!("is being debugged{flag}")).with(Evidence::field(
        "_EPROCESS.DebugPort",
        view,
        EProcess::debug_port,
        port,
    ));
    if let (Some(memory), Some(side)) = (scene.memory(), scene.sides().first())
        && let Ok(peb) = side.view(&memory.space)
    {
        finding =
            finding.with(Evidence::field("_PEB.BeingDebugged", &peb, PebLayout::being_debugged, peb.being_debugged()));
    }
    out.push(finding);
}
