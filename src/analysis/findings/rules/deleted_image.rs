//! Code that runs from a file which is deleted, or never was a file anybody could open.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::kernel::file_object::{File, FileLayout};
use crate::value::Absent;

/// The rule.
pub static RULE: Rule = Rule {
    name: "deleted-image",
    technique: "T1055.013",
    about: "An image whose file is deleted or nameless: ghosting, doppelgänging",
    means: "The file object behind an executable image is marked for deletion, or has no name. Windows refuses to delete a file that is mapped \
            as an image; one that was mapped *after* it was marked (process ghosting), or inside a transaction that is rolled back \
            (doppelgänging), runs code that no scanner can open.",
    fooled: "Herpaderping (the file is overwritten after it was mapped) leaves name and flags in order: compare the image with the file on disk. \
             Innocent: none known for the program itself; for libraries, installers that map a library of a file opened to be deleted on close.",
    verify: "Read _FILE_OBJECT.DeletePending (one byte) and FileName at the places given; WinDbg: dt nt!_FILE_OBJECT VA.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let Some(memory) = scene.memory().filter(|_| person.lives()) else { return };
    let Some(sections) = &scene.world.sections else { return };
    for vad in memory.tree.vads.iter().filter(|v| v.is_image()) {
        let Ok(area) = sections.control_area_of(&scene.desk.space, vad) else { continue };
        let own = scene.is_program(vad.start);
        let file = area.file.and_then(|va| scene.desk.file(va));
        let gone = match &file {
            Ok(File { delete_pending: Ok(true), .. }) => "is deleted",
            Ok(File { name: Ok(name), .. }) if name.is_empty() => "has no name",
            _ if area.delete_on_close == Ok(true) => "goes when it is closed",
            _ => continue,
        };
        let called = match &file {
            Ok(File { name: Ok(name), .. }) if !name.is_empty() => format!(", {},", paths::base(name)),
            _ => String::new(),
        };
        let severity = if own { Severity::Critical } else { Severity::Medium };
        let what = if own { "its program's file" } else { "the file of a mapped image" };
        let mut finding = scene.finding(&RULE, severity, format!("{what}{called} {gone} (mapped at {})", vad.start));
        if let (Ok(file), Ok(layout)) = (&file, scene.world.kernel.layout::<FileLayout>()) {
            let view = scene.desk.space.view(layout, file.object);
            finding = finding
                .with(Evidence::field(
                    "_FILE_OBJECT.DeletePending",
                    &view,
                    FileLayout::delete_pending,
                    file.delete_pending,
                ))
                .with(Evidence::field("_FILE_OBJECT.FileName", &view, FileLayout::name, file.name.clone()));
        }
        out.push(finding.with(Evidence::memory(
            "_CONTROL_AREA",
            &scene.desk.space,
            area.address,
            32,
            area.delete_on_close.map_err(|_| Absent::NotApplicable),
        )));
    }
}
