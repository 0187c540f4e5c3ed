//! A program whose image was replaced after the process was made: hollowing and its kin.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::addr::Va;
use crate::kernel::image::Image;
use crate::kernel::peb::PebLayout;
use crate::kernel::process::EProcess;
use crate::kernel::vad::Kind as VadKind;
use crate::report::Cell;
use crate::value::Absent;

/// The rule.
pub static RULE: Rule = Rule {
    name: "replaced-image",
    technique: "T1055.012",
    about: "The program's image is not the one the process was made from",
    means: "Four witnesses should agree on the program: where the kernel mapped the section (SectionBaseAddress), where the PEB says the image \
            is, the range in the address space that lies there, and the file behind the section. Where the range is private memory, or maps \
            another file, or the PEB names another place, the program was swapped for another one: process hollowing.",
    fooled: "Code written over the pages of the right image shows as `patched-image`. A process that has just been made has no PEB yet, one that \
             ends has no address space: these say nothing.",
    verify: "Compare _EPROCESS.SectionBaseAddress with _PEB.ImageBaseAddress, then the range around it (WinDbg: !vad): it must be an image range \
             whose file is the process's own. `dumpwalk vadinfo --pid PID` shows it.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    if !person.lives() || !scene.ranges_are_whole() {
        return;
    }
    let view = &person.process.view;
    let Some(memory) = scene.memory() else { return };
    let Ok(mapped) = view.image_base() else { return };
    let sides = scene.sides();
    let peb = sides.first().and_then(|s| s.view(&memory.space).ok());
    // Where the PEB is not in the dump, the kernel's own note is all there is.
    let named = peb.as_ref().and_then(|peb| peb.image_base().ok()).filter(|va| !va.is_null());
    let field = || Evidence::field("_EPROCESS.SectionBaseAddress", view, EProcess::image_base, mapped);
    let in_peb = |finding: Finding| match (&peb, named) {
        (Some(peb), Some(named)) => {
            finding.with(Evidence::field("_PEB.ImageBaseAddress", peb, PebLayout::image_base, named))
        }
        _ => finding,
    };
    let base = named.unwrap_or(mapped);
    if base.is_null() {
        return;
    }
    if let Some(what) = not_an_image(scene, base) {
        let header = match Image::read(&memory.space, base) {
            Ok(_) => "a PE header there",
            Err(Absent::Implausible) => "no PE header there",
            Err(_) => "not to be read",
        };
        let mut finding = in_peb(
            scene
                .finding(&RULE, Severity::Critical, format!("hollowed: its image at {base} is {what}, {header}"))
                .with(field()),
        );
        finding = finding.with(Evidence::memory("memory at the image's base", &memory.space, base, 32, header));
        if let Some(vad) = scene.vad(base) {
            let kind: Cell = vad.kind.map(VadKind::key).into();
            finding = finding.with(Evidence::memory("its _MMVAD", &scene.desk.space, vad.node, 32, kind));
        }
        out.push(finding);
        return;
    }
    if let Some(named) = named.filter(|va| *va != mapped && !mapped.is_null()) {
        let finding = scene
            .finding(
                &RULE,
                Severity::High,
                format!("its PEB names an image at {named}, the kernel mapped it at {mapped}"),
            )
            .with(field());
        out.push(in_peb(finding));
        return;
    }
    other_file(scene, base, out);
}

/// What lies at a place where an image should, if not one.
fn not_an_image(scene: &Scene<'_, '_>, base: Va) -> Option<String> {
    let Some(vad) = scene.vad(base) else { return Some("in no range of its address space".into()) };
    match vad.kind {
        Ok(VadKind::Image) | Err(_) => None,
        Ok(_) if vad.private == Ok(true) => {
            let rights = vad.protection.map(|p| scene.world.protections.value(p).name());
            Some(format!("private memory, {}", rights.unwrap_or("of unknown protection".into())))
        }
        Ok(kind) => Some(format!("a {} range", kind.key())),
    }
}

/// The file of the range against the file of the section that the process was made from.
fn other_file(scene: &Scene<'_, '_>, base: Va, out: &mut Vec<Finding>) {
    let view = &scene.person.process.view;
    let (Some(vad), Some(sections), Some(objects)) =
        (scene.vad(base), &scene.world.sections, &scene.world.section_objects)
    else {
        return;
    };
    let section = view.section().and_then(Va::not_null);
    let of_section = section.and_then(|va| objects.control_area(&scene.desk.space, sections, va));
    let (Ok(of_section), Ok(of_range)) = (of_section, sections.control_area_of(&scene.desk.space, vad)) else { return };
    if of_section.address == of_range.address {
        return;
    }
    let name =
        |area: crate::kernel::section::ControlArea| area.file.and_then(|f| scene.desk.file(f)?.name?.into_whole());
    let (Ok(wanted), Ok(there)) = (name(of_section), name(of_range)) else { return };
    // One file can have several control areas: another version of the same path is told by `deleted-image`.
    if paths::plain(&wanted) == paths::plain(&there) {
        return;
    }
    let finding = scene
        .finding(&RULE, Severity::Critical, format!("its image at {base} is {there}, but it was made from {wanted}"))
        .with(Evidence::field("_EPROCESS.SectionObject", view, EProcess::section, section))
        .with(Evidence::memory("its _MMVAD", &scene.desk.space, vad.node, 32, there));
    out.push(finding);
}
