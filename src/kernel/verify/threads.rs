//! Threads of the first processes.

use super::End::{self, Failed};
use super::tally::{Says, Tally, blank};
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::paging::Space;

/// Processes whose threads are looked at: System has some, and so do those that follow it.
const SOME: usize = 8;

impl Kernel {
    /// The threads on a process's list say they are that process's.
    pub(super) fn check_threads(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let mut tally = Tally::default();
        for process in processes.iter().filter(|p| p.view.signal_state() == Ok(0)).take(SOME) {
            let Ok(list) = process.thread_list(&self.space()) else { return Failed("no layout of threads".into()) };
            for t in &list.list {
                let owner = t.belongs_to(process.offset());
                let tid = t.tid().is_ok_and(|t| t != 0 && t.is_multiple_of(4) && t <= u64::from(u32::MAX));
                // DISPATCHER_HEADER.Type of a thread is 6 (ThreadObject in the kernel's _KOBJECTS): it tells where a thread
                // begins, which the distance between its links and its ids does not.
                let thread = t.view.kind().is_ok_and(|kind| kind == 6);
                tally.count(if owner.is_err() { Says::Lost } else { (owner == Ok(true) && tid && thread).into() });
            }
            // The walk leaves out what belongs to another process and says so.
            if list.list.is_empty() && !list.notes.is_empty() {
                let first = process.view.thread_list().and_then(|head| space.pointer(head));
                let lost = first.is_ok_and(|link| !link.is_null() && blank(space, link, 0x10));
                tally.count(if lost { Says::Lost } else { Says::No });
            }
        }
        tally.verdict(1, "threads name the process that lists them")
    }
}
