//! A thread that starts or runs outside of every module.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::addr::Va;
use crate::kernel::stack::thread::entry_frame;
use crate::kernel::standing::Sort;
use crate::kernel::thread::EThread;
use crate::kernel::thread::Thread;
use crate::value::{Absent, Value};

/// The rule.
pub static RULE: Rule = Rule {
    name: "thread-outside",
    technique: "T1055",
    about: "A thread that starts, or executes, outside of every module",
    means: "Threads of programs start in an image: the program or a library. This one was started at, or was executing at, an address in no \
            image: in private memory, or where nothing is mapped any more. Of the System process: outside of every kernel module.",
    fooled: "A start address is what the creator asked for, and can be any harmless function; gadgets in images hide a start. Innocent: code a \
             compiler made at run time executes outside of modules (told as low, unless it starts there too).",
    verify: "Read Win32StartAddress at its place, and find the address in `dumpwalk vadinfo --pid PID` or `dumpwalk modules`.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    if scene.person.sort == Ok(Sort::System) {
        for thread in scene.threads() {
            kernel_thread(scene, thread, out);
        }
        return;
    }
    if !scene.person.lives() || !scene.ranges_are_whole() {
        return;
    }
    for thread in scene.threads() {
        user_thread(scene, thread, out);
    }
}

fn kernel_thread(scene: &Scene<'_, '_>, thread: &Thread<'_>, out: &mut Vec<Finding>) {
    let Some(modules) = &scene.world.modules else { return };
    let Ok(start) = thread.view.start() else { return };
    // Threads of the System process that user mode programs made there (in its address space) are none of the kernel's.
    if modules.list.len() < 2 || !scene.world.kernel.in_kernel_half(start) || modules.of(start).is_some() {
        return;
    }
    let tid = named(thread);
    out.push(
        scene
            .finding(&RULE, Severity::High, format!("system thread {tid} starts at {start}, in no kernel module"))
            .technique("T1014")
            .with(Evidence::field("_ETHREAD.StartAddress", &thread.view, EThread::start, start))
            .with(Evidence::memory("code there", &scene.desk.space, start, 32, start)),
    );
}

fn user_thread(scene: &Scene<'_, '_>, thread: &Thread<'_>, out: &mut Vec<Finding>) {
    let Some(memory) = scene.memory() else { return };
    let tid = named(thread);
    let start = thread.win32_start().ok().filter(|va| !va.is_null() && !scene.world.kernel.in_kernel_half(*va));
    let outside = |va: Va| scene.vad(va).is_none_or(|v| !v.is_image());
    let started = start.filter(|va| outside(*va));
    if let Some(va) = started {
        let (severity, place) = match scene.vad(va) {
            None => (Severity::Medium, "where nothing is mapped any more"),
            Some(vad) if vad.private == Ok(true) => (Severity::High, "in private memory"),
            // Mapped, it says, but no section is behind it: that flag is one field.
            Some(vad)
                if scene.file_of(vad).is_err_and(|why| matches!(why, Absent::NotMapped | Absent::Implausible)) =>
            {
                (Severity::High, "in a range without a section")
            }
            Some(_) => (Severity::Medium, "in a range that is no image"),
        };
        out.push(
            scene
                .finding(&RULE, severity, format!("thread {tid} starts {place}, at {va}"))
                .with(Evidence::field("_ETHREAD.Win32StartAddress", &thread.view, EThread::win32_start_raw, va))
                .with(Evidence::memory("code there", &memory.space, va, 32, va)),
        );
    }
    if let Ok(va) = user_ip(scene, thread)
        && started.is_none()
        && outside(va)
    {
        out.push(
            scene
                .finding(&RULE, Severity::Low, format!("thread {tid} was executing at {va}, in no image"))
                .with(Evidence::field(
                    "_KTHREAD.TrapFrame",
                    &thread.view,
                    EThread::trap_frame,
                    thread.view.trap_frame(),
                ))
                .with(Evidence::memory("code there", &memory.space, va, 32, va)),
        );
    }
}

/// Where a thread was in user mode when it last entered the kernel.
pub fn user_ip(scene: &Scene<'_, '_>, thread: &Thread<'_>) -> Value<Va> {
    let ip = Va(entry_frame(thread, &scene.desk.space)?.registers()?.ip);
    if ip.is_null() || scene.world.kernel.in_kernel_half(ip) { Err(Absent::NotApplicable) } else { Ok(ip) }
}

/// A thread's id, as text.
pub fn named(thread: &Thread<'_>) -> String {
    thread.tid().map_or_else(|_| "?".to_owned(), |t| t.to_string())
}
