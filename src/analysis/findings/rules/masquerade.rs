//! A process that shows another program than the one it runs.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::kernel::process::EProcess;
use crate::kernel::process::NameInformation;
use crate::kernel::sides::Side;
use crate::utf16::Text;

/// The rule.
pub static RULE: Rule = Rule {
    name: "masqueraded-path",
    technique: "T1036.005",
    about: "The path or name a process shows is not the one the kernel knows",
    means: "The kernel noted the image's path when the process was made (SeAuditProcessCreationInfo), and the process cannot change it. The path \
            and the command line in the process parameters, and the 15 bytes of ImageFileName, are what tools show. Where they name another \
            program, somebody changed what is shown.",
    fooled: "A program copied under a system name to begin with is `wrong-place` or `misspelt-name`. Innocent: command lines may begin with \
             anything the parent likes (shells and build tools do it): that alone is low. Another folder for the same file name is low too: \
             junctions, short names and renamed folders look so.",
    verify: "Read the two texts at their places (UTF-16): _RTL_USER_PROCESS_PARAMETERS.ImagePathName and \
             _EPROCESS.SeAuditProcessCreationInfo.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let (true, Ok(path)) = (person.lives(), &person.path) else { return };
    let own = paths::plain(path);
    if !own.starts_with('\\') {
        return;
    }
    short_name(scene, path, &own, out);
    let (Some(memory), sides) = (scene.memory(), scene.sides()) else { return };
    let Some(parameters) = sides.first().and_then(|s: &Side<'_>| s.parameters(&memory.space).ok()) else { return };
    // Of a text without its end nobody can say that it differs.
    if let Ok(Ok(shown)) = parameters.image_path.as_ref().map(Text::whole) {
        let there = paths::plain(shown);
        let other = paths::base(&there) != paths::base(&own);
        if !there.is_empty() && there != own && (other || there.starts_with('\\')) {
            let severity = if other { Severity::High } else { Severity::Low };
            let at = parameters.place.va.unwrap_or(parameters.address);
            out.push(
                scene
                    .finding(&RULE, severity, format!("shows the path {shown}, but runs {path}"))
                    .with(Evidence::memory("_RTL_USER_PROCESS_PARAMETERS", &memory.space, at, 32, shown.to_owned()))
                    .with(audit_name(scene, path)),
            );
            return;
        }
    }
    if let (Ok(line), Ok(at)) = (&parameters.command_line, parameters.command_line_text) {
        let first = paths::program(line);
        if line.cut_by().is_some() && line.trim_end().trim_matches('"').len() <= first.len() {
            return;
        }
        let program = paths::plain(first);
        let stem = |p: &str| paths::base(p).trim_end_matches(".exe").to_owned();
        if !program.is_empty() && stem(&program) != stem(&own) {
            out.push(
                scene
                    .finding(
                        &RULE,
                        Severity::Low,
                        format!("its command line begins with {program}, but it runs {path}"),
                    )
                    .technique("T1564.010")
                    .with(Evidence::memory("command line", &memory.space, at, 32, line.clone()))
                    .with(audit_name(scene, path)),
            );
        }
    }
}

/// `ImageFileName` is the beginning of the file's name: the kernel takes it from the path.
fn short_name(scene: &Scene<'_, '_>, path: &str, own: &str, out: &mut Vec<Finding>) {
    let view = &scene.person.process.view;
    let Ok(short) = scene.person.process.name() else { return };
    if short.contains(char::REPLACEMENT_CHARACTER) || paths::base(own).starts_with(&short.to_lowercase()) {
        return;
    }
    out.push(
        scene
            .finding(&RULE, Severity::Medium, format!("is called {short}, but runs {path}"))
            .with(Evidence::field("_EPROCESS.ImageFileName", view, EProcess::short_name, short))
            .with(audit_name(scene, path)),
    );
}

/// Where the kernel keeps the path.
pub fn audit_name(scene: &Scene<'_, '_>, path: &str) -> Evidence {
    let label = "_EPROCESS.SeAuditProcessCreationInfo.ImageFileName";
    let view = &scene.person.process.view;
    let text = view.audit_name().and_then(|at| {
        let layout = scene.world.kernel.layout::<NameInformation>().map_err(|_| crate::value::Absent::NoSymbol)?;
        Ok(scene.desk.space.view(layout, at).name()?.buffer)
    });
    match text {
        Ok(at) => Evidence::memory(label, &scene.desk.space, at, 32, path.to_owned()),
        Err(_) => Evidence::field(label, view, EProcess::audit_name, path.to_owned()),
    }
}
