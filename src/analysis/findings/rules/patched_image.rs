//! Code of an image that was changed in memory.

use super::super::code::{First, first};
use super::super::evidence::{Evidence, hex};
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::addr::{PAGE_SIZE, Va};
use crate::analysis::code::Location;
use crate::kernel::image::Image;
use crate::kernel::page_state::{Grain, State, pages};
use crate::kernel::section::Subsection;
use crate::kernel::stack::images::{Code, CodeMap};
use crate::kernel::vad::Vad;
use crate::report::Cell;
use std::rc::Rc;

/// The rule.
pub static RULE: Rule = Rule {
    name: "patched-image",
    technique: "T1055",
    about: "Code of an image that differs from the page all processes share",
    means: "The executable pages of an image are shared by all processes until one writes to them; then it gets a private copy. Where a process \
            has such a copy and the shared page is in the dump, the two are compared byte by byte. A function that returns at once was switched \
            off (event tracing, AMSI); one that jumps out of all modules is hooked by injected code.",
    fooled: "A patch undone before the dump; a shared page that is not in the dump (told as low, for the libraries that matter). Innocent: \
             anti-virus and other guards hook by a jump into a module of their own, or into a trampoline that leads to one: told as \
             explained; overlays installed in a user's profile do the same, and are medium.",
    verify: "Compare the bytes at the process's place with those at the shared page's place, both given; or with the file of the same build.",
    check: Check::Process(check),
};

/// Executable pages compared in one image: 256 MB of code.
const MOST_PAGES: u64 = 1 << 16;
/// Places told of one image.
const MOST_PLACES: usize = 16;
/// Changed bytes nearer than this to each other are one change.
const GAP: usize = 8;
/// Libraries whose private copies are told even where nothing is left to compare with.
const WATCHED: [&str; 6] = ["ntdll.dll", "amsi.dll", "kernel32.dll", "kernelbase.dll", "win32u.dll", "wldp.dll"];

/// One change: where, and the bytes before and after.
struct Change {
    va: Va,
    before: Vec<u8>,
    after: Vec<u8>,
    shared: Evidence,
}

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    if !scene.person.lives() {
        return;
    }
    let Some(memory) = scene.memory() else { return };
    for vad in memory.tree.vads.iter().filter(|v| v.is_image() && !moved(scene, v)) {
        let Ok(image) = Image::read(&memory.space, vad.start) else { continue };
        let (changes, lost) = changes(scene, vad, &image);
        let name = scene.image_name(vad).unwrap_or_else(|| "an image".to_owned());
        for change in changes.iter().take(MOST_PLACES) {
            out.push(told(scene, vad, &image, &name, change));
        }
        if changes.len() > MOST_PLACES {
            let what = format!("{} more places of {name} are changed", changes.len().saturating_sub(MOST_PLACES));
            out.push(scene.finding(&RULE, Severity::Medium, what));
        }
        if let Some((at, n)) = lost
            && WATCHED.contains(&name.to_lowercase().as_str())
        {
            let what = format!("{n} pages of {name}'s code are private copies; the shared page is not in the dump");
            let evidence = Evidence::memory("the private copy", &memory.space, at, 32, at);
            out.push(scene.finding(&RULE, Severity::Low, what).with(evidence));
        }
    }
}

/// Whether the image lies elsewhere here than the section was prepared for: then this process's pages were relocated by itself, and all of
/// them differ.
fn moved(scene: &Scene<'_, '_>, vad: &Vad) -> bool {
    if vad.flags.has("private_fixup") {
        return true;
    }
    let Some(sections) = &scene.world.sections else { return false };
    let segment = sections.control_area_of(&scene.desk.space, vad).and_then(|area| area.segment);
    let based = segment.and_then(|at| sections.segment(&scene.desk.space, at).based());
    based.is_ok_and(|based| !based.is_null() && based != vad.start)
}

/// All changes of an image's code, and the private copies that cannot be compared: the first, and how many.
fn changes(scene: &Scene<'_, '_>, vad: &Vad, image: &Image) -> (Vec<Change>, Option<(Va, u64)>) {
    let (Some(memory), Some(sections)) = (scene.memory(), &scene.world.sections) else { return (Vec::new(), None) };
    let mut list: Option<Rc<[Subsection]>> = None;
    let (mut found, mut lost, mut looked) = (Vec::new(), None::<(Va, u64)>, 0u64);
    for section in image.sections.iter().filter(|s| s.executable() && !s.writable()) {
        let start = vad.start.add(section.rva.into()).page();
        let last = start.add(u64::from(section.size.max(1)).saturating_sub(1));
        if !vad.contains(start) {
            continue;
        }
        for page in pages(&memory.space, start, Va(last.0.min(vad.end.0)), Grain::Any) {
            looked = looked.saturating_add(1);
            if looked > MOST_PAGES {
                return (found, lost);
            }
            // A page of the process's own: its entry says so, not a prototype.
            if !matches!(page.state, State::Valid | State::Transition) || page.size != PAGE_SIZE {
                continue;
            }
            let prototypes = sections.prototypes_of(vad, page.va, |mapping| {
                Rc::clone(list.get_or_insert_with(|| sections.subsections(&scene.desk.space, mapping).0.into()))
            });
            let Ok(prototypes) = prototypes else { continue };
            let shared = memory.space.page_behind_prototype(prototypes.first);
            if shared.place(0).pa == page.pa && page.pa.is_some() {
                continue;
            }
            let Ok(before) = shared.all() else {
                let first = lost.map_or(page.va, |(at, _)| at);
                lost = Some((first, lost.map_or(1, |(_, n)| n.saturating_add(1))));
                continue;
            };
            let Ok(after) = memory.space.slice(page.va, PAGE_SIZE as u32) else { continue };
            for (at, len) in differences(before, after) {
                let part = |b: &[u8]| b.get(at..at.saturating_add(len)).unwrap_or_default().to_vec();
                let bytes = shared.part(u32::try_from(at).unwrap_or(u32::MAX), u32::try_from(len).unwrap_or(u32::MAX));
                found.push(Change {
                    va: page.va.add(at as u64),
                    before: part(before),
                    after: part(after),
                    shared: Evidence::bytes("the shared page", &bytes, hex(&part(before))),
                });
            }
        }
    }
    (found, lost)
}

/// Where two pages differ: start and length, near ones joined.
fn differences(a: &[u8], b: &[u8]) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for (i, _) in a.iter().zip(b).enumerate().filter(|(_, (x, y))| x != y) {
        match out.last_mut() {
            Some((start, len)) if i < start.saturating_add(*len).saturating_add(GAP) => {
                *len = i.saturating_add(1).saturating_sub(*start);
            }
            _ => out.push((i, 1)),
        }
    }
    out
}

fn told(scene: &Scene<'_, '_>, vad: &Vad, image: &Image, name: &str, change: &Change) -> Finding {
    let world = scene.world;
    // Only called with the process's memory at hand.
    let Some(memory) = scene.memory() else { return scene.finding(&RULE, Severity::Info, "") };
    let code = CodeMap::new(vec![Code::new(vad.start, vad.bytes(), name.into())]);
    let place = Location::of(world.kernel, &memory.space, &code, change.va);
    let place = place.text().unwrap_or_else(|_| change.va.to_string());
    let narrow = !image.wide;
    let (severity, what, why) = match first(world.kernel.arch, narrow, &memory.space, change.va) {
        First::Return => (Severity::High, "returns at once: switched off".to_owned(), None),
        First::Jump(target) => hook(scene, narrow, vad, target),
        First::Other => (Severity::Medium, format!("{} bytes are changed", change.after.len()), None),
    };
    let finding = scene
        .finding(&RULE, severity, format!("{place} was patched: {what}"))
        .technique(technique(&place, severity))
        .with(Evidence::memory(
            "the process's own page",
            &memory.space,
            change.va,
            u32::try_from(change.after.len()).unwrap_or(32),
            Cell::from(hex(&change.after)),
        ))
        .with(change.shared.clone());
    debug_assert_eq!(change.before.len(), change.after.len());
    match why {
        Some(why) => finding.explained(why),
        None => finding,
    }
}

/// What a jump out of a patched function leads to.
fn hook(scene: &Scene<'_, '_>, narrow: bool, own: &Vad, target: Va) -> (Severity, String, Option<String>) {
    let Some(memory) = scene.memory() else { return (Severity::Medium, format!("jumps to {target}"), None) };
    // Hooking engines go by way of a trampoline: private memory that jumps on.
    let mut at = target;
    for _ in 0..2 {
        let Some(vad) = scene.vad(at) else { break };
        if vad.is_image() {
            let module = scene.image_name(vad).unwrap_or_else(|| "an image".to_owned());
            let folder = scene.file_of(vad).and_then(|f| f.name).map(|n| paths::plain(&n));
            let via = if at == target { String::new() } else { format!(" by way of {target}") };
            if vad.start == own.start {
                return (Severity::Low, format!("jumps to {at} in {module} itself{via}"), None);
            }
            let text = format!("jumps to {at} in {module}{via}");
            return if folder.is_ok_and(|f| paths::user_writable(&f)) {
                (Severity::Medium, text, None)
            } else {
                (Severity::Info, text, Some(format!("a guard's hook: it leads into {module}, an installed module")))
            };
        }
        match first(scene.world.kernel.arch, narrow, &memory.space, at) {
            First::Jump(next) => at = next,
            _ => break,
        }
    }
    (Severity::High, format!("jumps to {target}, out of every module"), None)
}

/// The technique a patched function speaks for.
fn technique(place: &str, severity: Severity) -> &'static str {
    let function = place.split_once('!').map_or("", |(_, f)| f);
    let lower = place.to_lowercase();
    if function.starts_with("Etw") || function.starts_with("NtTraceEvent") || function.starts_with("NtTraceControl") {
        "T1562.006"
    } else if lower.starts_with("amsi.dll") || lower.starts_with("wldp.dll") {
        "T1562.001"
    } else if severity == Severity::High {
        "T1562"
    } else {
        "T1056.004"
    }
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn near_changes_are_one() {
        let a = vec![0u8; 64];
        let mut b = a.clone();
        (b[3], b[5], b[40]) = (1, 1, 1);
        assert_eq!(differences(&a, &b), [(3, 3), (40, 1)]);
        assert!(differences(&a, &a).is_empty());
    }
}
