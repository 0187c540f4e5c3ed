//! A thread that entered the kernel from elsewhere than Windows' own stubs.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use super::thread_outside::{named, user_ip};
use crate::kernel::thread::EThread;
use crate::kernel::thread::{Thread, WAITING};
use crate::value::Absent;

/// The rule.
pub static RULE: Rule = Rule {
    name: "direct-syscall",
    technique: "T1106",
    about: "A system call made outright, not through Windows' libraries",
    means: "Programs enter the kernel through ntdll and win32u. Code that brings its own system call instruction steps past every hook a guard \
            has in these libraries. The thread's registers show where it entered the kernel from, and the instruction before that is a \
            system call.",
    fooled: "Indirect calls jump to the instruction inside ntdll: only the stack shows them. Innocent: some copy protection and anti-cheat \
             software does it.",
    verify: "Read the two bytes before the address: 0f 05 (syscall), 0f 34 (sysenter) or cd 2e.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let Some(memory) = scene.memory().filter(|_| scene.person.lives() && scene.ranges_are_whole()) else { return };
    for thread in scene.threads() {
        let ip = match user_ip(scene, thread) {
            Ok(ip) => ip,
            Err(why) => {
                unjudged(scene, thread, why);
                continue;
            }
        };
        let before = memory.space.fetch(ip.sub(2), 2);
        if !matches!(before.at(0, 2), Ok([0x0f, 0x05] | [0x0f, 0x34] | [0xcd, 0x2e])) {
            continue;
        }
        let (severity, place) = match scene.vad(ip) {
            Some(vad) if vad.is_image() => {
                let Ok(file) = scene.file_of(vad).and_then(|f| f.name?.into_whole()) else { continue };
                // Windows' own libraries have stubs: ntdll, win32u; gdi32, user32 and others before 10; those of the 32-bit side.
                if paths::plain(&file).starts_with(r"\windows\") {
                    continue;
                }
                (Severity::Medium, file)
            }
            // Compilers at run time leave system calls to the libraries.
            _ => (Severity::High, "memory that is no image".to_owned()),
        };
        let tid = named(thread);
        out.push(
            scene
                .finding(
                    &RULE,
                    severity,
                    format!("thread {tid} made a direct system call at {}, in {place}", ip.sub(2)),
                )
                .with(Evidence::memory("the instruction", &memory.space, ip.sub(2), 16, ip.sub(2)))
                .with(Evidence::field(
                    "_KTHREAD.TrapFrame",
                    &thread.view,
                    EThread::trap_frame,
                    thread.view.trap_frame(),
                )),
        );
    }
}

/// Says that where a thread entered the kernel is not known, of one that waits there and so has entered it.
fn unjudged(scene: &Scene<'_, '_>, thread: &Thread<'_>, why: Absent) {
    let waits = thread.view.state_raw() == Ok(WAITING);
    let none = why == Absent::NotApplicable && thread.view.trap_frame().is_ok_and(|at| at.is_null());
    if waits && (none || why == Absent::Implausible) {
        let tid = named(thread);
        scene.lose(format!(
            "thread {tid} waits in the kernel, but its trap frame is {why}: its last system call was not judged"
        ));
    }
}
