//! By the processors' own registers: the kernel under the page-table root that each one had.

use super::judge::Judge;
use super::roots::Seen;
use super::{Candidate, Road, memory, shared_page};
use crate::dump::{Arch, Dump};
use crate::kernel::Kernel;
use crate::paging::{Mode, Space};

/// Follows the roots that the container kept.
///
/// # Errors
/// It kept none, or what was seen under each.
pub(super) fn follow(dump: &Dump, judge: &mut Judge<'_>) -> Result<Kernel, String> {
    let modes: &[Mode] = match dump.arch {
        Some(Arch::Arm64) => &[Mode::Arm64],
        _ => &[Mode::X64, Mode::La57, Mode::Pae, Mode::X86],
    };
    let mut seen = Vec::new();
    for &root in dump.roots() {
        for &mode in modes {
            let space = Space::new(dump, mode, root);
            // A user's root, or the wrong mode, maps no shared page of the kernel's.
            let Ok(shared) = shared_page::read(&space) else { continue };
            match memory::kernel_under(&space, &[], &Seen::default()) {
                Ok((found, how)) => {
                    let mut road = Road { taken: "the processors' registers".into(), ..Road::default() };
                    road.checks.push(format!(
                        "the kernel image at {} is mapped by page-table root {root} ({}), found by {how}",
                        found.base,
                        mode.name()
                    ));
                    road.check_shared(&Ok(shared.clone()));
                    if let Some(kernel) = judge.hear(Candidate::new(mode, root, found, Some(shared)), road) {
                        return Ok(kernel);
                    }
                    seen.push(format!("root {root} ({}) does not lead to System", mode.name()));
                }
                Err(why) => seen.push(format!("root {root} ({}): {why}", mode.name())),
            }
        }
    }
    let seen = if seen.is_empty() { "no root maps the shared page".to_owned() } else { seen.join("; ") };
    Err(format!("the processors' registers: {seen}"))
}
