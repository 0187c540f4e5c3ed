//! Protection that was taken from a process, or given to one that cannot have it.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::analysis::identities::token_of;
use crate::kernel::process::EProcess;
use crate::kernel::token::TokenLayout;
use crate::report::Cell;
use crate::value::Absent;

/// Taken away.
pub static REMOVED: Rule = Rule {
    name: "protection-removed",
    technique: "T1562.001",
    about: "A process that lost its protection",
    means: "A protected process (PP, PPL) is protected from its first moment to its last. Here the level is zero, but what Windows set together with \
            it is still there (the trust label of its token, the signature level), or every comparable process of this machine is protected \
            and this one is not: a driver cleared the level, as is done to read lsass.",
    fooled: "Clearing the other traces too, in every comparable process. Innocent: none known; releases before 8.1 have no such protection and say \
             nothing.",
    verify: "Read _EPROCESS.Protection (one byte; 0x61 is PPL-WinTcb, 0x41 PPL-Lsa), SignatureLevel before it, and the token's TrustLevelSid.",
    check: Check::Process(removed),
};

/// Given.
pub static ADDED: Rule = Rule {
    name: "protection-added",
    technique: "T1562.001",
    about: "A protected process whose program cannot have been signed for it",
    means: "Protection needs a signature of Microsoft's for that level, on the program and on every library. A protected program from a folder that \
            users write to got its level from a driver: it cannot be killed or scanned any more.",
    fooled: "A program in Windows' own folder. Innocent: guards' services run as PPL-Antimalware from the programs' folders, which do not count.",
    verify: "Read _EPROCESS.Protection (one byte: type in bits 0 to 2, signer in bits 4 to 7) and the path.",
    check: Check::Process(added),
};

/// Processes that Windows has protected on every release that protects any (PPL-WinTcb, 8.1 and later).
const ALWAYS: [&str; 4] = ["smss.exe", "csrss.exe", "wininit.exe", "services.exe"];
/// `SE_SIGNING_LEVEL_…` of winnt.h: from `ANTIMALWARE` (7) on, no ordinary signature gives it.
const NO_ORDINARY_LEVEL: u8 = 7;

fn removed(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let view = &person.process.view;
    if !person.lives() || view.protection_byte() != Ok(0) {
        return;
    }
    let field = || Evidence::field("_EPROCESS.Protection", view, EProcess::protection_byte, 0u8);
    let trust = scene.world.identities.as_ref().ok_or(Absent::NoSymbol).and_then(|identities| {
        let token = token_of(&identities.tokens, &scene.desk.space, &person.process)?;
        Ok((
            token.trust(&scene.desk.space)?,
            Evidence::field("_TOKEN.TrustLevelSid", &token.view, TokenLayout::trust, token.view.trust()),
        ))
    });
    // The level's low four bits; higher ones tell how it was checked.
    let signature = view.signature_level().ok().filter(|l| l & 0xf >= NO_ORDINARY_LEVEL && person.is_system());
    let name = person.file_name().to_lowercase();
    let always = ALWAYS.contains(&name.as_str());
    // lsass.exe is protected where it is configured so; its label may be its parent's.
    if !always && name != "lsass.exe" {
        return;
    }
    if let Ok((label, evidence)) = trust
        && label.authority() == 19
    {
        let severity = if always { Severity::High } else { Severity::Medium };
        let what = format!("protection removed: its token still has the trust label {label}");
        out.push(scene.finding(&REMOVED, severity, what).with(field()).with(evidence));
        return;
    }
    if !always {
        return;
    }
    let peers = || scene.world.people.iter().filter(|p| p.lives() && ALWAYS.contains(&p.name.to_lowercase().as_str()));
    let protected = peers().filter(|p| p.process.view.protection_byte().is_ok_and(|b| b != 0)).count();
    if let Some(level) = signature {
        let what = format!("protection removed: its signature level is still {level:#x}");
        let evidence =
            Evidence::field("_EPROCESS.SignatureLevel", view, EProcess::signature_level, Cell::Hex(level.into()));
        out.push(scene.finding(&REMOVED, Severity::High, what).with(field()).with(evidence));
    } else if protected > 0 {
        let what = format!("is not protected, though {protected} of its kind on this machine are");
        out.push(scene.finding(&REMOVED, Severity::Medium, what).with(field()));
    }
}

fn added(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let (true, Ok(protection), Ok(plain)) = (person.lives(), person.process.protection(), person.plain_path()) else {
        return;
    };
    if !paths::user_writable(&plain) {
        return;
    }
    let what = format!("is protected ({protection}), but its program lies in {}", paths::folder(&plain));
    out.push(scene.finding(&ADDED, Severity::High, what).with(Evidence::field(
        "_EPROCESS.Protection",
        &person.process.view,
        EProcess::protection_byte,
        Cell::Hex(protection.level.into()),
    )));
}
