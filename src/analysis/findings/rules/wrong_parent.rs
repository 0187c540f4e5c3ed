//! A parent that does not fit.

use super::super::evidence::Evidence;
use super::super::known;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::kernel::process::EProcess;

/// The rule.
pub static RULE: Rule = Rule {
    name: "wrong-parent",
    technique: "T1134.004",
    about: "A process whose parent Windows does not start it from",
    means: "Windows starts each of its own processes from a known parent, and some processes start no others at all. The parent's id in a process \
            is whatever its creator asked for: an intruder names a harmless one (parent spoofing), or starts a system program from the wrong \
            place because only the name mattered. The id is followed only to a process that was there when the child was made.",
    fooled: "A parent that has ended says nothing; a spoofed parent that fits is not seen. Innocent: the id was used again by a younger process \
             (told as explained); administrators starting system tools by hand.",
    verify: "Compare InheritedFromUniqueProcessId of the child with UniqueProcessId of the parent, and both CreateTimes.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (world, person) = (scene.world, scene.person);
    if !person.lives() {
        return;
    }
    let view = &person.process.view;
    let inherited = || Evidence::field("_EPROCESS.InheritedFromUniqueProcessId", view, EProcess::parent, person.ppid);
    let created = || Evidence::field("_EPROCESS.CreateTime", view, EProcess::created, person.created);
    let Some(parent) = world.parent_of(person) else {
        if let Some(younger) = world.usurper_of(person) {
            let what = format!("its parent's id belongs to {}, which was made later", younger.called());
            let other = &younger.process.view;
            out.push(
                scene
                    .finding(&RULE, Severity::Low, what)
                    .with(inherited())
                    .with(created())
                    .with(Evidence::field(
                        "the other's _EPROCESS.CreateTime",
                        other,
                        EProcess::created,
                        younger.created,
                    ))
                    .explained("ids are used again once a process has ended"),
            );
        }
        return;
    };
    let theirs = || {
        Evidence::field(
            "the parent's _EPROCESS.ImageFileName",
            &parent.process.view,
            EProcess::short_name,
            parent.name.clone(),
        )
    };
    let with = |finding: Finding| finding.with(inherited()).with(created()).with(theirs());
    let called = parent.file_name().to_lowercase();
    if let Some(known) = person.known()
        && !known.parents.is_empty()
        && !known.parents.contains(&called.as_str())
    {
        let what =
            format!("its parent is {}; {} is started by {}", parent.called(), known.name, known.parents.join(" or "));
        // What users' programs start under such a name is none of Windows' own; the system's may have reasons.
        let severity = if parent.is_somebody() { Severity::High } else { Severity::Medium };
        out.push(with(scene.finding(&RULE, severity, what)));
        return;
    }
    let childless = parent.known().is_some_and(|k| k.childless);
    if childless && !known::CHILDREN_OF_CHILDLESS.contains(&person.name.to_lowercase().as_str()) {
        let what = format!("claims {} as its parent, which starts no processes", parent.called());
        out.push(with(scene.finding(&RULE, Severity::High, what)));
        return;
    }
    // Services and sign-in start processes in other sessions; programs of a user do not.
    if let (Ok(own), Ok(theirs)) = (person.session, parent.session)
        && own != theirs
        && parent.is_somebody()
    {
        let what = format!("is in session {own}, its parent {} in session {theirs}", parent.called());
        out.push(with(scene.finding(&RULE, Severity::Medium, what)));
    }
}
