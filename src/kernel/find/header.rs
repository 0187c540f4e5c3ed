//! The road by the crash-dump header: its page-table root translates, its list heads lie in the kernel image.

use super::{Candidate, Road, image, listed, shared_page};
use crate::addr::Va;
use crate::dump::{Arch, Dump, Header};
use crate::paging::{Mode, Space};

/// Addresses of the header that lie inside the kernel image.
pub(super) fn hints(header: &Header) -> [(&'static str, Option<Va>); 3] {
    [
        ("PsActiveProcessHead", header.process_head),
        ("PsLoadedModuleList", header.module_list),
        ("KdDebuggerDataBlock", header.kdbg),
    ]
}

/// Follows the header's values, each checked.
///
/// # Errors
/// What was wrong with them.
pub(super) fn follow(dump: &Dump, road: &mut Road) -> Result<Candidate, String> {
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
        let shared = shared_page::read(&space);
        for (name, hint) in hints(header) {
            let Some(hint) = hint else { continue };
            if let Err(why) = space.pointer(hint) {
                seen.push(format!("{name} {hint} is {why} from page-table root {root} ({})", mode.name()));
                continue;
            }
            match image::around(&space, hint) {
                Ok(found) => {
                    road.taken = "crash-dump header".into();
                    road.checks
                        .push(format!("{name} {hint} lies in the kernel image at {}: {}", found.base, found.told_by));
                    road.check_shared(&shared);
                    return Ok(Candidate::new(mode, root, found, shared.ok()));
                }
                Err(why) => seen.push(why),
            }
        }
        // The page of the image's headers may be missing where all else is there.
        if let Some(list) = header.module_list {
            match listed::first(&space, list) {
                Ok(found) => {
                    road.taken = "crash-dump header".into();
                    road.checks.push(format!("the kernel lies at {}: {}", found.base, found.told_by));
                    road.doubts.push(format!("the kernel's own headers are not to be had: {}", seen.join("; ")));
                    road.check_shared(&shared);
                    return Ok(Candidate::new(mode, root, found, shared.ok()));
                }
                Err(why) => seen.push(why),
            }
        }
        if hints(header).iter().all(|(_, h)| h.is_none()) {
            seen.push("it names no address inside the kernel".into());
            break;
        }
    }
    seen.dedup();
    Err(format!("crash-dump header: {}", seen.join("; ")))
}
