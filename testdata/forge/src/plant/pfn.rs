//! The database of page frames: one `_MMPFN` for each frame there is.
//!
//! It is an array over all frame numbers, of which only those pages exist that describe frames of the machine. What an entry
//! says: an active page has one reference for being mapped, and one more for each that holds it in place; the share count
//! counts the entries that map it; a section's page belongs to a prototype entry, any other to the entry in the tables of
//! its only process; a page in transition is on a list and has no reference (Windows Internals, "Page frame number database").

use std::collections::BTreeMap;

use super::UserSide;
use super::globals::tables;
use crate::machine::Machine;
use crate::memory::{Mode, PAGE, Soft, Space, Use, flags, software};
use crate::truth::Json;

const ENTRY: &str = "_MMPFN";

/// Makes the pages exist that hold the entries of this machine's frames, and tells the kernel's global where the array is.
pub fn room(m: &mut Machine) {
    let (base, size) = (m.regions.pfn, m.layouts.size(ENTRY));
    for (first, n) in m.mem.plan.runs.clone() {
        m.ensure(base + first * size, n * size, flags::KERNEL | flags::NX);
    }
    m.plant_word("MmPfnDatabase", base);
}

/// What is to be said of a frame.
#[derive(Default)]
struct Page {
    /// Number in `_MMLISTS`, by its name there.
    list: &'static str,
    /// Entries that map it.
    shares: u64,
    references: u64,
    modified: bool,
    /// The prototype entry, of a section's page.
    prototype: Option<u64>,
    /// Its own entry's address and the frame of the table that holds it.
    entry: Option<(u64, u64)>,
}

/// Writes every entry, when nothing moves any more; `sections` are the frames of sections with their prototype entries. Gives,
/// of each process, how many of its valid pages are a section's, its own, and held in place by somebody.
pub fn fill(m: &mut Machine, users: &[UserSide], sections: &BTreeMap<u64, u64>) -> Vec<Json> {
    let mut pages: BTreeMap<u64, Page> = BTreeMap::new();
    for frame in m.mem.plan.runs.clone().into_iter().flat_map(|(first, n)| first..first + n) {
        let taken = m.mem.taken(frame);
        let list = if taken { "ActiveAndValid" } else { "FreePageList" };
        let prototype = sections.get(&frame).copied();
        let entry = prototype.map(|va| (va, m.kernel.pages[&(va / PAGE)]));
        let alone = u64::from(taken);
        pages.insert(frame, Page { list, references: alone, prototype, entry, ..Page::default() });
    }
    let spaces: Vec<&Space> = std::iter::once(&m.kernel).chain(users.iter().map(|u| &u.space)).collect();
    for space in spaces {
        for (number, frame) in &space.pages {
            let va = number * PAGE;
            let page = pages.get_mut(frame).expect("a frame that exists");
            let present = space.entry(&m.mem, va) & flags::P != 0;
            page.shares += u64::from(present);
            page.entry = page.entry.or_else(|| Some((entry_of(m, va), space.table_of(&m.mem, va)?)));
            if !present && m.mem.usage(*frame) == Some(Use::User) {
                (page.list, page.references) = (["StandbyPageList", "ModifiedPageList"][(number % 2) as usize], 0);
                page.modified = number % 2 == 1;
            }
        }
    }
    for (frame, page) in &mut pages {
        // Somebody reads or writes the page's memory directly: one in six, by one to three requests.
        if page.references == 1 && m.mem.usage(*frame) == Some(Use::User) && m.rng.once_in(6) {
            page.references += m.rng.within(1, 4);
        }
        page.modified |= page.references > 1;
    }
    for (frame, page) in &pages {
        write(m, *frame, page);
    }
    let none = Json::object().with("pid", 4u64).with("dtb", m.kernel.dtb());
    let system = none.with("valid", 0u64).with("shared", 0u64).with("unshared", 0u64).with("locked", 0u64);
    std::iter::once(system).chain(users.iter().map(|u| counted(m, u, &pages))).collect()
}

fn write(m: &mut Machine, frame: u64, page: &Page) {
    let lists = &m.layouts.enums["_MMLISTS"].values;
    let list = lists.iter().find(|(name, _)| name == page.list).map_or(0, |(_, n)| *n as u64);
    let original = software(&m.layouts, Soft::DemandZero, 4, 0);
    let mut e = m.obj(ENTRY);
    e.set_first(&["u3.ReferenceCount", "u3.e2.ReferenceCount"], page.references);
    e.set("u3.e1.PageLocation", list).set("u3.e1.Modified", page.modified.into());
    e.set_first(&["u4.PrototypePte", "u3.e1.PrototypePte"], page.prototype.is_some().into());
    e.set_opt("OriginalPte.u.Long", if page.prototype.is_none() && page.references > 0 { original } else { 0 });
    if page.shares > 0 {
        e.set("u2.ShareCount", page.shares);
    }
    if let Some((va, table)) = page.entry {
        e.set("PteAddress", va).set("u4.PteFrame", table);
    }
    m.write(m.regions.pfn + frame * e.bytes.len() as u64, &e.bytes.clone());
}

/// Where the last-level entry of an address appears through the self-reference.
fn entry_of(m: &Machine, va: u64) -> u64 {
    let bits = match m.kernel.mode {
        Mode::Five => 57,
        Mode::Four | Mode::Arm => 48,
        Mode::Pae | Mode::Plain => 32,
    };
    tables(m) + (va & ((1 << bits) - 1)) / PAGE * m.pte_size()
}

fn counted(m: &Machine, user: &UserSide, pages: &BTreeMap<u64, Page>) -> Json {
    let (mut shared, mut unshared, mut locked) = (0u64, 0u64, 0u64);
    for (number, frame) in &user.space.pages {
        if user.space.entry(&m.mem, number * PAGE) & flags::P == 0 {
            continue;
        }
        let page = &pages[frame];
        *if page.prototype.is_some() { &mut shared } else { &mut unshared } += 1;
        locked += u64::from(page.references > 1);
    }
    Json::object()
        .with("pid", user.pid)
        .with("dtb", user.space.dtb())
        .with("valid", shared + unshared)
        .with("shared", shared)
        .with("unshared", unshared)
        .with("locked", locked)
}
