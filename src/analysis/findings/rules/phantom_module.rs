//! An entry on the loader's lists that no image stands behind.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::addr::Va;
use crate::kernel::ldr::Module;
use crate::kernel::vad::Kind as VadKind;

/// The rule.
pub static RULE: Rule = Rule {
    name: "phantom-module",
    technique: "T1036.005",
    about: "A module on the loader's lists that is not in memory, or is another file",
    means: "The loader's lists are the process's own memory: it can write there what it likes. Here an entry names a place where no image is mapped, \
            private memory (a forged entry for injected code), or another file than the range maps.",
    fooled: "Nothing on the lists at all is `unlisted-module`. Innocent: a library being loaded or unloaded while the dump was taken; such \
             entries name a place where nothing is mapped any more, and weigh little.",
    verify: "Compare DllBase and FullDllName of the entry with the range at that address (`dumpwalk vadinfo --pid PID`).",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    if !scene.person.lives() || !scene.ranges_are_whole() {
        return;
    }
    let (Some(memory), Some(modules)) = (scene.memory(), scene.modules()) else { return };
    let program = scene.person.process.view.image_base();
    for module in modules.modules.iter().filter_map(|m| m.listed.as_ref()) {
        let Ok(base) = module.base else { continue };
        // The program itself is `replaced-image`'s.
        if Ok(base) == program || base.is_null() {
            continue;
        }
        let Some((severity, what)) = wrong(scene, module, base) else { continue };
        let name = module.name.as_ref().map_or_else(|_| "?".to_owned(), ToString::to_string);
        let at = module.entry_address;
        out.push(
            scene
                .finding(&RULE, severity, format!("{name} is on the loader's lists at {base}, {what}"))
                .with(Evidence::memory("_LDR_DATA_TABLE_ENTRY", &memory.space, at, 32, module.path.clone()))
                .with(Evidence::memory("memory at its base", &memory.space, base, 32, base)),
        );
    }
}

fn wrong(scene: &Scene<'_, '_>, module: &Module, base: Va) -> Option<(Severity, String)> {
    let Some(vad) = scene.vad(base) else { return Some((Severity::Low, "where nothing is mapped".to_owned())) };
    match vad.kind {
        Ok(VadKind::Image) => {
            let there = scene.file_of(vad).ok()?.name.ok()?.into_whole().ok()?;
            let listed = module.path.as_ref().ok()?.whole().ok()?;
            let (a, b) = (paths::plain(&there), paths::plain(listed));
            // The two sides of a 32-bit process call the same folder by two names; only the file's name is compared.
            let same = paths::base(&a) == paths::base(&b);
            (!same && !a.is_empty() && !b.is_empty()).then(|| (Severity::Medium, format!("where {there} is mapped")))
        }
        Ok(VadKind::Private) => Some((Severity::High, "which is private memory".to_owned())),
        _ => None,
    }
}
