//! What a process says of itself, and each program has: a user and an integrity label in its token, parameters in its PEB. What leads
//! nowhere would silence the rules that read it.

use super::super::super::Severity;
use super::super::thread_outside::named;
use super::{Evidence, Finding, RULE, Scene, wild};
use crate::analysis::identities::token_of;
use crate::kernel::peb::PebLayout;
use crate::kernel::thread::EThread;
use crate::kernel::token::TokenLayout;
use crate::value::{Absent, Value};

/// The user, first of the token's groups, and the label that it names among them.
pub(super) fn token(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (Some(identities), space) = (&scene.world.identities, &scene.desk.space) else { return };
    let Ok(token) = token_of(&identities.tokens, space, &scene.person.process) else { return };
    if !token.plausible() {
        return;
    }
    let user = token.user(space).map(drop);
    // Without its groups it has no label either: one finding.
    let label = user.and_then(|()| token.integrity(space).map(drop));
    for (what, read, field, at) in [
        ("user", user, "_TOKEN.UserAndGroups", TokenLayout::groups),
        ("integrity label", label, "_TOKEN.IntegrityLevelIndex", TokenLayout::integrity_index),
    ] {
        let Err(why) = read else { continue };
        if matches!(why, Absent::NotInBuild | Absent::NoSymbol) {
            continue;
        }
        scene.lose(format!("the {what} of its token is {why}: rules that compare it did not judge"));
        if wild(&read) {
            let what = format!("its threads run, but its token has no {what} that can be read");
            let evidence = Evidence::field(field, &token.view, at, why);
            out.push(scene.finding(&RULE, Severity::High, what).with(evidence));
        }
        return;
    }
}

/// The parameters that every program is started with: the path and command line it shows.
pub(super) fn parameters(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (Some(memory), sides) = (scene.memory(), scene.sides()) else { return };
    let Some(side) = sides.first() else { return };
    // Of a dump without user memory, the PEB is not there either; that is said elsewhere.
    let Ok(peb) = side.view(&memory.space) else { return };
    let Ok(at) = peb.parameters() else { return };
    let read: Value<()> = side.parameters(&memory.space).and_then(|p| p.image_path.map(drop));
    let Err(why) = read else { return };
    scene.lose(format!("its parameters at {at} are {why}: the path and command line it shows were not judged"));
    if wild(&read) {
        let evidence = Evidence::field("_PEB.ProcessParameters", &peb, PebLayout::parameters, at);
        let what = "its threads run, but its PEB leads to no parameters";
        out.push(scene.finding(&RULE, Severity::High, what).with(evidence));
    }
}

/// Where its threads start: a page that its tables map there, and no range of its tree has, was taken out of the tree.
pub(super) fn starts(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let Some(memory) = scene.memory().filter(|_| scene.ranges_are_whole()) else { return };
    for thread in scene.threads() {
        let starts = [
            ("_ETHREAD.Win32StartAddress", EThread::win32_start_raw, thread.win32_start()),
            ("_ETHREAD.StartAddress", EThread::start, thread.view.start()),
        ];
        for (field, at, start) in starts {
            let Ok(va) = start else { continue };
            let user = !va.is_null() && !scene.world.kernel.in_kernel_half(va);
            if !user || scene.vad(va).is_some() || memory.space.translate(va).is_err() {
                continue;
            }
            let tid = named(thread);
            let what =
                format!("thread {tid} starts at {va}, which is mapped, but lies in no range of its address space");
            out.push(
                scene
                    .finding(&RULE, Severity::High, what)
                    .with(Evidence::field(field, &thread.view, at, va))
                    .with(Evidence::memory("code there", &memory.space, va, 32, va)),
            );
            break;
        }
    }
}
