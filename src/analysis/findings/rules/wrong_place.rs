//! A well-known process in a folder, a session or under a user where Windows does not run it.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use super::masquerade::audit_name;
use crate::kernel::process::EProcess;

/// The rule.
pub static RULE: Rule = Rule {
    name: "wrong-place",
    technique: "T1036.005",
    about: "A system process's name with another folder, session or user than Windows gives it",
    means: "Windows runs each of its own processes from one folder, some in session 0 only, some as SYSTEM only. A program of the same name \
            from elsewhere, or as somebody else, is not that process.",
    fooled: "A system program that was replaced on disk, or hollowed, is in its right place. Innocent: none known; containers (server silos) run \
             their own copies under another volume, which is not compared.",
    verify: "Read the path at its place; `dumpwalk tokens --pid PID` for the user, `dumpwalk pslist --pid PID` for the session.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let Some(known) = person.known().filter(|_| person.lives()) else { return };
    let view = &person.process.view;
    if let (Ok(plain), Ok(path)) = (person.plain_path(), &person.path) {
        let folder = paths::folder(&plain);
        if !folder.is_empty() && !known.folders.contains(&folder) {
            out.push(
                scene
                    .finding(&RULE, Severity::High, format!("runs from {}, where no {} belongs", folder, known.name))
                    .with(audit_name(scene, path)),
            );
        }
    }
    if let Ok(session) = person.session
        && known.session_zero
        && session != 0
    {
        out.push(
            scene
                .finding(
                    &RULE,
                    Severity::High,
                    format!("runs in session {session}; {} runs in session 0 only", known.name),
                )
                .with(Evidence::field("_EPROCESS.Session", view, EProcess::session, session)),
        );
    }
    if let Ok(user) = person.user
        && known.system
        && !person.is_system()
    {
        out.push(
            scene
                .finding(&RULE, Severity::High, format!("runs as {user}; {} runs as SYSTEM only", known.name))
                .with(Evidence::field("_EPROCESS.Token", view, EProcess::token, person.token)),
        );
    }
}
