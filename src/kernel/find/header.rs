//! The road by the crash-dump header: its page-table root translates, its list heads lie in the kernel image.

use super::judge::Judge;
use super::{Candidate, Road, image, listed, shared_page};
use crate::addr::Va;
use crate::dump::{Arch, Dump, Header};
use crate::kernel::Kernel;
use crate::paging::{Mode, Space};

/// Addresses of the header that lie inside the kernel image.
pub(super) fn hints(header: &Header) -> [(&'static str, Option<Va>); 3] {
    [
        ("PsActiveProcessHead", header.process_head),
        ("PsLoadedModuleList", header.module_list),
        ("KdDebuggerDataBlock", header.kdbg),
    ]
}

/// Follows the header's values, each checked: the kernel by its page-table root, in each mode that the processor has.
///
/// # Errors
/// What was wrong with them.
pub(super) fn follow(dump: &Dump, judge: &mut Judge<'_>) -> Result<Kernel, String> {
    let header = dump.header.as_ref().ok_or("crash-dump header: the file has none")?;
    let root = header.dtb.ok_or("crash-dump header: its DirectoryTableBase is zero")?;
    let modes: &[Mode] = match (dump.arch, header.pae) {
        (Some(Arch::X86), Some(false)) => &[Mode::X86, Mode::Pae],
        (Some(Arch::X86), _) => &[Mode::Pae, Mode::X86],
        (Some(Arch::Arm64), _) => &[Mode::Arm64],
        (Some(Arch::X64) | None, _) => &[Mode::X64, Mode::La57],
    };
    let mut seen = Vec::new();
    for &mode in modes {
        let space = Space::new(dump, mode, root);
        match candidate(&space, header, &mut seen) {
            Some((found, mut road)) => {
                let shared = shared_page::read(&space);
                road.check_shared(&shared);
                let told =
                    format!("the kernel image at {} is mapped by page-table root {root} ({})", found.base, mode.name());
                match judge.hear(Candidate::new(mode, root, found, shared.ok()), road) {
                    Some(kernel) => return Ok(kernel),
                    None => seen.push(format!("{told}, and System is not reached through it")),
                }
            }
            None if hints(header).iter().all(|(_, h)| h.is_none()) => {
                seen.push("it names no address inside the kernel".into());
                break;
            }
            None => {}
        }
    }
    seen.dedup();
    Err(format!("crash-dump header: {}", seen.join("; ")))
}

/// The kernel image that one of the header's addresses lies in, in one space.
fn candidate(space: &Space<'_>, header: &Header, seen: &mut Vec<String>) -> Option<(image::Found, Road)> {
    let mut road = Road { taken: "crash-dump header".into(), ..Road::default() };
    for (name, hint) in hints(header) {
        let Some(hint) = hint else { continue };
        if let Err(why) = space.pointer(hint) {
            seen.push(format!(
                "{name} {hint} is {why} from page-table root {} ({})",
                space.root(),
                space.mode().name()
            ));
            continue;
        }
        match image::around(space, hint) {
            Ok(found) => {
                let text = format!("{name} {hint} lies in the kernel image at {}: {}", found.base, found.told_by);
                road.checks.push(text);
                return Some((found, road));
            }
            Err(why) => seen.push(why),
        }
    }
    // The page of the image's headers may be missing where all else is there.
    match listed::first(space, header.module_list?) {
        Ok(found) => {
            road.checks.push(format!("the kernel lies at {}: {}", found.base, found.told_by));
            road.doubts.push(format!("the kernel's own headers are not to be had: {}", seen.join("; ")));
            Some((found, road))
        }
        Err(why) => {
            seen.push(why);
            None
        }
    }
}
