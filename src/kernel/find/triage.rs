//! The road of a triage dump: no memory to search, but a driver list that begins with the kernel, and the debugger block.

use super::{Candidate, Met, Road};
use crate::addr::{Pa, Va};
use crate::dump::Dump;
use crate::kernel::image::Image;
use crate::kernel::kdbg::Kdbg;
use crate::kernel::pe;
use crate::paging::{Mode, Space};
use crate::symbols::PdbId;

/// Follows it.
///
/// # Errors
/// The dump names no kernel.
pub(super) fn follow(dump: &Dump, road: &mut Road) -> Result<Candidate, String> {
    let triage = dump.triage().ok_or("not a triage dump")?;
    let space = Space::new(dump, Mode::Blocks, Pa(0));
    let driver = triage.drivers().first();
    let block = triage.kdbg().and_then(|part| part.va).and_then(|va| Kdbg::plain(&space, va).ok());
    let by_block = block.as_ref().and_then(|b| b.address("KernBase"));
    let base = match (driver.map(|d| d.base), by_block) {
        (Some(listed), Some(told)) if listed == told => {
            road.checks.push(format!("the first driver is the kernel at {listed}, as the debugger block says"));
            listed
        }
        (Some(listed), None) => {
            road.doubts.push("there is no debugger block to confirm where the kernel is".into());
            listed
        }
        (Some(listed), Some(told)) => {
            road.doubts.push(format!("the first driver is at {listed}, the debugger block has the kernel at {told}"));
            told
        }
        (None, Some(told)) => {
            road.doubts.push("the driver list is empty".into());
            told
        }
        (None, None) => return Err("triage dump: neither a driver list nor a debugger block names the kernel".into()),
    };
    if let Some(name) = driver.and_then(|d| d.name.as_ref().ok()) {
        road.checks.push(format!("the first driver is {name}"));
    }
    road.taken = "driver list of the triage dump".into();
    // The image's own pages are kept by chance only.
    let image = Image::read(&space, base).ok();
    let pdb = image.as_ref().and_then(|i| i.pdb(&space).ok()).or_else(|| record(&space, base, driver.map(|d| d.size)));
    let root = dump.header.as_ref().and_then(|h| h.dtb).unwrap_or_default();
    Ok(Candidate {
        mode: Mode::Blocks,
        root,
        base,
        size: driver.map(|d| d.size),
        image,
        pdb,
        shared: None,
        met: Met::default(),
    })
}

/// A CodeView record of a kernel among the kept blocks that lie in the image.
fn record(space: &Space<'_>, base: Va, size: Option<u32>) -> Option<PdbId> {
    let end = base.add(size?.into());
    let triage = space.dump().triage()?;
    triage.blocks().iter().filter(|b| b.va >= base && b.va < end).find_map(|block| {
        let bytes = space.fetch(block.va, u32::try_from(block.len).ok()?);
        let raw = bytes.prefix();
        let mut at = 0usize;
        while let Some(found) = raw.get(at..)?.windows(4).position(|w| w == b"RSDS") {
            at = at.checked_add(found)?;
            let start = u32::try_from(at).ok()?;
            // "RSDS", GUID, age and a file name.
            if let Ok(id) = pe::code_view(&bytes.part(start, 24 + 260))
                && super::image::is_kernel_pdb(&id.name)
            {
                return Some(id);
            }
            at = at.checked_add(4)?;
        }
        None
    })
}
