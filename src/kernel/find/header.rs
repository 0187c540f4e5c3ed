//! The road by the crash-dump header: its page-table root translates, its list heads lie in the kernel image.

use super::{Candidate, Road, image_below};
use crate::dump::{Arch, Dump};
use crate::paging::{Mode, Space};

/// Follows the header's values, each checked.
pub(super) fn follow(dump: &Dump, road: &mut Road) -> Result<Candidate, String> {
    let header = dump.header.as_ref().ok_or("the file has no crash-dump header")?;
    let root = header.dtb.ok_or("the header's DirectoryTableBase is zero")?;
    let hints = [("PsActiveProcessHead", header.process_head), ("PsLoadedModuleList", header.module_list)];
    let modes: &[Mode] = match (dump.arch, header.pae) {
        (Some(Arch::X86), Some(false)) => &[Mode::X86],
        (Some(Arch::X86), Some(true)) => &[Mode::Pae],
        (Some(Arch::X86), None) => &[Mode::Pae, Mode::X86],
        (Some(Arch::Arm64), _) => &[Mode::Arm64],
        (Some(Arch::X64) | None, _) => &[Mode::X64, Mode::La57],
    };
    let mut seen = Vec::new();
    for &mode in modes {
        let space = Space::new(dump, mode, root);
        for (name, hint) in hints {
            let Some(hint) = hint else {
                seen.push(format!("{name} is zero"));
                continue;
            };
            if let Err(why) = space.pointer(hint) {
                seen.push(format!("{name} {hint} is {why} from page-table root {root} ({mode:?})"));
                continue;
            }
            if let Some((image, pdb)) = image_below(&space, hint) {
                road.taken = "crash-dump header".into();
                road.checks.push(format!("{name} {hint} is mapped and lies in the kernel image at {}", image.base));
                return Ok(Candidate { mode, root, image, pdb });
            }
            seen.push(format!("no kernel image within 64 MiB below {name} {hint}"));
        }
    }
    Err(format!("crash-dump header: {}", seen.join(", ")))
}
