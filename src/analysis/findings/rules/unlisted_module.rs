//! An image in memory that the loader does not know of.

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::addr::PAGE_SIZE;
use crate::kernel::image::Image;
use crate::kernel::page_state::{Grain, State, pages};
use crate::kernel::vad::Vad;
use crate::report::Cell;

/// The rule.
pub static RULE: Rule = Rule {
    name: "unlisted-module",
    technique: "T1055.001",
    about: "An image in memory that is on none of the loader's lists",
    means: "A range maps an executable image, its code is in memory and executable, and none of the three lists of the process's loader has it: \
            it was unlinked after it was loaded, or mapped past the loader.",
    fooled: "A forged entry on the lists. Innocent: libraries mapped for their resources alone (told as explained where no page of their code is \
             executable in memory, low where they come from Windows' own folders), and the loader caught at work.",
    verify: "`dumpwalk ldrmodules --pid PID`: in_load, in_mem and in_init are all no. WinDbg: !vad for the range, !dlls for the lists.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    if !scene.person.lives() {
        return;
    }
    let (Some(memory), Some(modules)) = (scene.memory(), scene.modules()) else { return };
    // A process whose loader has not begun has nothing on its lists, and a torn list says nothing.
    if modules.unmet != [Ok(false); 3] || !modules.modules.iter().any(|m| m.listed.is_some()) {
        return;
    }
    let program = scene.person.process.view.image_base();
    let native_ntdll_on_wow64 = scene.person.process.is_wow64() == Ok(true);
    for module in modules.modules.iter().filter(|m| m.listed.is_none()) {
        let Some(vad) = module.vad.filter(|v| Ok(v.start) != program) else { continue };
        let file = scene.file_of(vad).and_then(|f| f.name);
        let plain = file.as_ref().map(|f| paths::plain(f)).unwrap_or_default();
        // The 32-bit side maps its own ntdll before its loader has lists.
        if native_ntdll_on_wow64 && paths::base(&plain) == "ntdll.dll" {
            continue;
        }
        let name = file.as_ref().map_or_else(|_| "an unnamed image".to_owned(), ToString::to_string);
        let executes = executable_code(scene, vad);
        let starts = scene.threads().iter().any(|t| t.win32_start().is_ok_and(|va| vad.contains(va)));
        let severity = match () {
            () if starts || executes && paths::user_writable(&plain) => Severity::High,
            () if executes && plain.starts_with(r"\windows\") => Severity::Low,
            () if executes => Severity::Medium,
            () => Severity::Info,
        };
        let finding = scene
            .finding(&RULE, severity, format!("{name} is mapped at {} but on no loader list", vad.start))
            .with(Evidence::memory("its header", &memory.space, vad.start, 32, file))
            .with(Evidence::memory("its _MMVAD", &scene.desk.space, vad.node, 32, Cell::from(vad.start)));
        out.push(if severity == Severity::Info {
            finding.explained("no page of its code is in memory and executable: mapped for its resources")
        } else {
            finding
        });
    }
}

/// Pages looked at of one image: 256 MiB of code. A range of a damaged tree can be as large as the address space.
const MOST_PAGES: usize = 1 << 16;

/// Whether a page of an image's code is in memory and may be executed.
fn executable_code(scene: &Scene<'_, '_>, vad: &Vad) -> bool {
    let Some(memory) = scene.memory() else { return false };
    let Ok(image) = Image::read(&memory.space, vad.start) else {
        // Without a header to say where its code is: any executable page.
        let mut first = pages(&memory.space, vad.start, vad.end, Grain::Any).take(MOST_PAGES);
        return first.any(|p| p.rights.is_some_and(|r| r.execute));
    };
    image.sections.iter().filter(|s| s.executable()).any(|s| {
        let start = vad.start.add(s.rva.into()).page();
        let last = start.add(u64::from(s.size.max(1))).0.min(vad.end.0);
        let last = crate::addr::Va(last.max(start.0.saturating_add(PAGE_SIZE).saturating_sub(1)));
        vad.contains(start)
            && pages(&memory.space, start, last, Grain::Any)
                .take(MOST_PAGES)
                .any(|p| p.state == State::Valid && p.rights.is_some_and(|r| r.execute))
    })
}
