//! A thread that waits, suspended, at a system function's very beginning.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use super::thread_outside::named;
use crate::analysis::code::Location;
use crate::kernel::stack::images::{Code, CodeMap};
use crate::kernel::thread::EThread;

/// The rule.
pub static RULE: Rule = Rule {
    name: "suspended-thread",
    technique: "T1055.004",
    about: "A suspended thread that starts at a function of ntdll",
    means: "No program starts a thread at an exported function of ntdll. Injectors do, suspended: the thread exists only to have its context \
            changed or a procedure call (APC) queued to it, and shows a harmless start address meanwhile.",
    fooled: "Once resumed it looks like any other. Innocent: workers of the thread pool start inside ntdll, at functions that are not exported; a \
             debugger's break-in thread starts at one that is (left out).",
    verify: "Read SuspendCount and Win32StartAddress at their places; WinDbg: ln on the start address.",
    check: Check::Process(check),
};

/// Exported functions of ntdll that Windows itself starts threads at.
const OWN: [&str; 3] = ["DbgUiRemoteBreakin", "TpCallbackIndependent", "RtlpQueryProcessDebugInformationRemote"];

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let Some(memory) = scene.memory().filter(|_| scene.person.lives()) else { return };
    for thread in scene.threads() {
        let Ok(count) = thread.view.suspend_count() else { continue };
        // Whatever is not zero holds the thread, also what is no count (MAXIMUM_SUSPEND_COUNT is 127).
        if count == 0 {
            continue;
        }
        let Ok(start) = thread.win32_start() else { continue };
        let Some(vad) = scene.vad(start).filter(|v| v.is_image()) else { continue };
        let name = scene.image_name(vad).unwrap_or_default();
        if !name.eq_ignore_ascii_case("ntdll.dll") {
            continue;
        }
        let code = CodeMap::new(vec![Code::new(vad.start, vad.bytes(), name.as_str().into())]);
        let place = Location::of(scene.world.kernel, &memory.space, &code, start);
        let Some((function, 0)) = place.symbol.filter(|(f, _)| !OWN.contains(&f.as_str())) else { continue };
        let tid = named(thread);
        out.push(
            scene
                .finding(&RULE, Severity::Medium, format!("thread {tid} is suspended at its start, {name}!{function}"))
                .with(Evidence::field("_KTHREAD.SuspendCount", &thread.view, EThread::suspend_count, count))
                .with(Evidence::field("_ETHREAD.Win32StartAddress", &thread.view, EThread::win32_start_raw, start)),
        );
    }
}
