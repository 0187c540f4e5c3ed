//! A process that has ended and is still known.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::kernel::crossview::Standing;
use crate::kernel::process::EProcess;

/// The rule.
pub static RULE: Rule = Rule {
    name: "ended-process",
    technique: "T1057",
    about: "A process that has ended; something still refers to it, or its memory was not used again",
    means: "Not a suspicion: a trace of what ran before. The object stays as long as anybody holds a handle to it, and its bytes stay until \
            the memory is used again. Programs that ran for a moment (loaders, commands of an intruder) are seen here.",
    fooled: "A rootkit can write an exit time into a living process to have it passed over: such a one still has threads that run, and is \
             `contradiction`'s.",
    verify: "Read ExitTime (FILETIME, UTC) at its place; WinDbg: !process VA 0.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    // An exit time on a living process is `contradiction`'s.
    let (true, Ok(exit)) = (person.ended, person.process.exit_time()) else { return };
    let view = &person.process.view;
    let listed = if person.standing == Standing::Listed { "still on the active list" } else { "on no list any more" };
    out.push(
        scene
            .finding(&RULE, Severity::Info, format!("ended {exit}, {listed}"))
            .with(Evidence::field("_EPROCESS.ExitTime", view, EProcess::exited, exit))
            .with(Evidence::field("_EPROCESS.ExitStatus", view, EProcess::exit_code, person.process.exit_status()))
            .explained("processes that have ended stay known while something refers to them"),
    );
}
