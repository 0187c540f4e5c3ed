//! Processes: System, the ring, what each says of itself, page-table roots.

use super::End::{self, Failed, Passed, Unknown};
use super::tally::{Says, Tally, blank};
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::list::List;
use crate::kernel::process::{EProcess, Process};
use crate::paging::{Mode, Space};
use crate::symbols::layout::Layout as _;
use crate::value::Absent;

/// Processes looked at.
const SOME: usize = 64;

/// FILETIMEs of 1990 and 2100.
const ERA: std::ops::Range<u64> = 122_700_000_000_000_000..157_500_000_000_000_000;

impl Kernel {
    /// System is process 4. Where its page is lost, two others that the list leads to say as much.
    pub(super) fn check_system(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        match self.system.map(|va| (va, self.process_at(space, va))) {
            Some((va, Ok(system))) => match (system.view.kind(), system.dtb()) {
                (Ok(3), Ok(_)) => Passed(format!("System at {va} is process 4")),
                (Err(why), _) | (_, Err(why)) => Failed(format!("System's own fields are {why}")),
                (Ok(kind), _) => Failed(format!("System's dispatcher type is {kind}, not 3")),
            },
            _ if self.lost_system(space) && processes.len() >= 2 => Unknown("System (its page is lost)".into()),
            _ => Failed("nothing that is process 4 and called System was found".into()),
        }
    }
    /// Whether what `PsInitialSystemProcess` (or else the active list's first link) points to is empty.
    fn lost_system(&self, space: &Space<'_>) -> bool {
        let initial = self.global("PsInitialSystemProcess").and_then(|at| space.pointer(at).ok());
        let first = || self.global("PsActiveProcessHead").and_then(|head| space.pointer(head).ok());
        initial.or_else(first).is_none_or(|va| blank(space, va, 0x40))
    }
    /// The first processes of the active list, from System on. What the list leads to and is empty is none of them.
    pub(crate) fn first_processes(&self) -> Vec<Process<'_>> {
        let space = &self.space();
        let Ok(layout) = self.layout::<EProcess>() else { return Vec::new() };
        let offset = layout.field("links").map_or(0, |f| u64::from(f.offset));
        let head = self.global("PsActiveProcessHead");
        let ring = |from: Va| {
            let list = List { what: "active process list", head: from, width: space.pointer_size(), limit: SOME };
            list.walk(space, |_| true).links.into_iter()
        };
        let links: Vec<Va> = match self.system.map(|va| va.add(offset)) {
            Some(system) => std::iter::once(system).chain(ring(system)).filter(|link| Some(*link) != head).collect(),
            None => head.into_iter().flat_map(ring).collect(),
        };
        let at = links.into_iter().map(|link| link.sub(offset)).filter(|va| !blank(space, va.add(offset), 8));
        at.filter_map(|va| self.process_at(space, va).ok()).collect()
    }
    /// Links lead back: of each entry, the next one's previous is the entry.
    pub(super) fn check_list(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let Ok(layout) = self.layout::<EProcess>() else { return Failed("no layout of processes".into()) };
        let offset = layout.field("links").map_or(0, |f| u64::from(f.offset));
        let width = space.pointer_size();
        let tally: Tally = processes
            .iter()
            .filter_map(|p| Some((p.view.links().ok()?, p.offset()?)))
            .map(|(links, va)| match space.pointer(links.flink.add(width.into())) {
                Ok(back) if back == va.add(offset) => Says::Yes,
                Ok(back) if back.is_null() && blank(space, links.flink, width.saturating_mul(2)) => Says::Empty,
                Ok(_) => Says::No,
                Err(_) => Says::Lost,
            })
            .collect();
        tally.verdict(2, "links of processes lead back")
    }
    /// Names are printable, ids multiples of 4, times of this era.
    pub(super) fn check_processes(&self, processes: &[Process<'_>]) -> End {
        let tally: Tally = processes.iter().map(|p| speaks_for_itself(p)).collect();
        tally.verdict(2, "processes have printable names, ids and times")
    }
    /// Each process's root maps this kernel.
    pub(super) fn check_roots(&self, processes: &[Process<'_>]) -> End {
        if self.mode == Mode::Blocks {
            return Unknown("page-table roots (the dump has no page tables)".into());
        }
        let here = self.space().translate(self.base);
        // Processes that have ended have given theirs back.
        let alive = processes.iter().filter(|p| p.view.signal_state() == Ok(0));
        let tally: Tally = alive
            .map(|p| {
                let Ok(root) = p.dtb() else { return Says::No };
                let there = self.space_of(root).translate(self.base);
                let empty = || self.dump.page(root.pfn()).is_some_and(|page| page.iter().all(|b| *b == 0));
                match there == here {
                    true => Says::Yes,
                    false if there.is_err() && empty() => Says::Empty,
                    false => Says::No,
                }
            })
            .collect();
        tally.verdict(1, "page-table roots of processes map this kernel")
    }
}

/// Whether a process's own fields are such as a process has.
fn speaks_for_itself(p: &Process<'_>) -> Says {
    let (Ok(pid), Ok(ppid), Ok(name), Ok(kind)) = (p.pid(), p.ppid(), p.name(), p.view.kind()) else {
        return Says::Lost;
    };
    let plain = !name.is_empty() && name.chars().all(|c| !c.is_control() && c != '\u{fffd}');
    let id = |id: u64| id.is_multiple_of(4) && id <= u64::from(u32::MAX);
    // Absent where none was set.
    let era = match p.view.created() {
        Ok(t) => ERA.contains(&t.0),
        Err(why) => why == Absent::NotApplicable,
    };
    (plain && id(pid) && id(ppid) && kind == 3 && era).into()
}
