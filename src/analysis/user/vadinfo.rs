//! `vadinfo` of a user-mode minidump: its memory-info list, the view that `VirtualQuery` gives.

use super::{asked, at, placed, row_of, tell_missing, whose, whose_at};
use crate::addr::{PAGE_SIZE, Va};
use crate::analysis::Ask;
use crate::analysis::vadinfo::COLUMNS;
use crate::bytes::Place;
use crate::dump::user::{List, Region, UserDump};
use crate::error::Result;
use crate::kernel::protection::Protection;
use crate::report::{Cell, Row, Sink};
use crate::value::{Absent, Value};

// winnt.h.
const MEM_COMMIT: u32 = 0x1000;
const MEM_RESERVE: u32 = 0x2000;
const MEM_FREE: u32 = 0x1_0000;
const MEM_PRIVATE: u32 = 0x2_0000;
const MEM_MAPPED: u32 = 0x4_0000;
const MEM_IMAGE: u32 = 0x100_0000;

/// The rows: one for each region that is not free.
pub(in crate::analysis) fn vadinfo(user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    tell_missing(user, List::Regions, "memory regions", sink);
    user.regions().iter().filter(|r| r.state != MEM_FREE).try_for_each(|r| sink.row(row(user, r, ask)))
}

fn row(user: &UserDump<'_>, region: &Region, ask: &Ask) -> Row {
    let [pid, name] = whose(user);
    let end = region.size.checked_sub(1).and_then(|n| region.base.0.checked_add(n)).ok_or(Absent::Implausible);
    let kind: Value<&str> = match region.kind {
        MEM_PRIVATE => Ok("private"),
        MEM_MAPPED => Ok("mapped"),
        MEM_IMAGE => Ok("image"),
        _ => Err(Absent::Implausible),
    };
    let state: Value<&str> = match region.state {
        MEM_COMMIT => Ok("committed"),
        MEM_RESERVE => Ok("reserved"),
        _ => Err(Absent::Implausible),
    };
    let commit = state.map(|_| if region.state == MEM_COMMIT { region.size / PAGE_SIZE } else { 0 });
    // What is only reserved has no protection of its own.
    let protection = if region.protection == 0 { region.allocation_protection } else { region.protection };
    let known = vec![
        ("pid", pid),
        ("name", name),
        ("start", region.base.into()),
        ("end", end.map_or_else(Cell::Absent, Cell::Hex)),
        ("type", kind.into()),
        ("protection", Protection(protection).name().into()),
        ("private", kind.map(|k| k == "private").into()),
        ("commit", commit.into()),
        ("usage", end.map(|end| usage(user, region.base, Va(end))).into()),
        ("flags", state.map(|s| vec![s]).into()),
    ];
    let [pid, name] = whose_at(user);
    let places = [
        pid,
        name,
        ("start", at(region.file, 0)),
        ("end", at(region.file, 24)),
        ("type", at(region.file, 40)),
        ("protection", at(region.file, if region.protection == 0 { 16 } else { 36 })),
        ("private", at(region.file, 40)),
        ("commit", at(region.file, 24)),
        ("flags", at(region.file, 32)),
    ];
    placed(row_of(&COLUMNS, known, Place::in_dump(region.file)), ask, &places)
}

/// What the other streams say lies in a region.
fn usage(user: &UserDump<'_>, start: Va, end: Va) -> Vec<String> {
    let inside = |va: Va| start <= va && va <= end;
    let module = |m: &crate::dump::user::Module| {
        let last = m.base.0.saturating_add(u64::from(m.size).saturating_sub(1));
        let name = m.name.as_ref().ok()?;
        (m.base <= end && start.0 <= last).then(|| format!("module {}", super::base_name(name)))
    };
    let modules = user.modules().iter().filter_map(module);
    let of_thread = |t: &crate::dump::user::Thread| {
        let stack = t.stack.filter(|(at, _)| inside(*at)).map(|_| format!("stack {}", t.id));
        [stack, inside(t.teb).then(|| format!("teb {}", t.id))]
    };
    modules.chain(user.threads().iter().flat_map(of_thread).flatten()).collect()
}
