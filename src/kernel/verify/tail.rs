//! Fields that no other check rests on: what all processes have there, said field by field.
//!
//! A field behind those that a process is read by may have moved with a revision, and nothing breaks: an exit time reads as
//! zero, a protection as another field's byte. Where many processes say the same of it, that is known.

use super::tally::{Says, Tally};
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::kernel::thread::Thread;
use crate::value::Absent;

/// What the processes of a dump say of one field of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnessed {
    /// The structure.
    pub ty: &'static str,
    /// The field.
    pub path: &'static str,
    /// Whether they have there what such a field holds.
    pub holds: bool,
}

/// One object, one field: what it says, and whether that says anything (a zero that would be there anyway does not).
type AskProcess = fn(&Process<'_>) -> Option<(Says, bool)>;
type AskThread = fn(&Thread<'_>) -> Option<(Says, bool)>;

/// Each field, what every process must have in it, and how many that say something are enough: a time within a process's life is
/// not there by chance.
const FIELDS: [(&str, AskProcess, usize); 7] = [
    ("ExitTime", exit_time, 1),
    ("ExitStatus", exit_status, 2),
    ("Protection", protection, 2),
    ("CreateTime", create_time, 2),
    ("Peb", peb, 2),
    ("CommitCharge", commit, 2),
    ("InheritedFromUniqueProcessId", parent, 2),
];

/// The same of threads.
const FIELDS_OF_THREADS: [(&str, AskThread, usize); 3] = [
    ("CreateTime", thread_create_time, 2),
    ("ExitStatus", thread_exit_status, 2),
    ("CrossThreadFlags", thread_flags, 2),
];

/// Fields that the other checks rest on: where those hold, the fields are where the layouts have them.
const RESTED_ON: [&str; 9] = [
    "Pcb",
    "UniqueProcessId",
    "ActiveProcessLinks",
    "ImageFileName",
    "Token",
    "ObjectTable",
    "ThreadListHead",
    "SectionBaseAddress",
    "VadRoot",
];

/// The same of threads.
const RESTED_ON_THREADS: [&str; 3] = ["Tcb", "Cid", "ThreadListEntry"];

impl Kernel {
    /// What processes say of the fields of their structure. Only after [`Kernel::verify`] found nothing wrong.
    pub(crate) fn witnessed(&self) -> Vec<Witnessed> {
        let processes = self.first_processes();
        let space = self.space();
        let listed = processes.iter().filter_map(|p| p.thread_list(&space).ok());
        let threads: Vec<Thread<'_>> = listed.flat_map(|threads| threads.list).take(MOST_THREADS).collect();
        let mut out = Vec::new();
        for (path, ask, least) in FIELDS {
            out.extend(heard(processes.iter().filter_map(|p| ask(p)), least).map(|holds| Witnessed {
                ty: "_EPROCESS",
                path,
                holds,
            }));
        }
        for (path, ask, least) in FIELDS_OF_THREADS {
            out.extend(heard(threads.iter().filter_map(|t| ask(t)), least).map(|holds| Witnessed {
                ty: "_ETHREAD",
                path,
                holds,
            }));
        }
        out.extend(RESTED_ON.iter().map(|path| Witnessed { ty: "_EPROCESS", path, holds: true }));
        out.extend(RESTED_ON_THREADS.iter().map(|path| Witnessed { ty: "_ETHREAD", path, holds: true }));
        out
    }
}

/// Threads that are heard at most.
const MOST_THREADS: usize = 256;

/// Whether a field is where the layout has it; nothing where its witnesses do not say.
fn heard(all: impl Iterator<Item = (Says, bool)>, least: usize) -> Option<bool> {
    let mut tally = Tally::default();
    let mut telling = 0usize;
    for (says, tells) in all {
        tally.count(says);
        telling = telling.saturating_add(usize::from(tells && says == Says::Yes));
    }
    let holds = telling >= least && tally.holds(least);
    (holds || tally.fails()).then_some(holds)
}

fn ended(p: &Process<'_>) -> Option<bool> {
    p.view.signal_state().ok().map(|state| state != 0)
}

/// Only what has ended has an exit time, and none is before its start.
fn exit_time(p: &Process<'_>) -> Option<(Says, bool)> {
    let ended = ended(p)?;
    match p.view.exited() {
        Ok(at) => {
            let created = p.view.created().ok()?;
            let soon = at.0.checked_sub(created.0).is_some_and(|ticks| ticks < MOST_LIFE);
            // A process that has begun to end has its exit time before it is signalled.
            let may = ended || p.view.exiting() == Ok(1);
            Some(((may && soon).into(), true))
        }
        Err(Absent::NotApplicable) => Some(((!ended).into(), false)),
        Err(_) => None,
    }
}

/// Twenty years in FILETIME's units of 100 ns: no process runs longer.
const MOST_LIFE: u64 = 20 * 366 * 86_400 * 10_000_000;

/// `STATUS_PENDING` while it runs (documented: `STILL_ACTIVE`, 259), except for one that is ending.
fn exit_status(p: &Process<'_>) -> Option<(Says, bool)> {
    let status = p.view.exit_code().ok()?;
    let running = !ended(p)? && p.view.exiting() != Ok(1);
    running.then(|| ((status == 0x103).into(), true))
}

/// `_PS_PROTECTION`: type 0 to 2 in the low three bits, audit, signer 0 to 8 above. Without a type there is no signer.
/// (`_PS_PROTECTED_TYPE` and `_PS_PROTECTED_SIGNER` of the public PDBs end at 2 and at 8.)
fn protection(p: &Process<'_>) -> Option<(Says, bool)> {
    let byte = p.view.protection_byte().ok()?;
    let (kind, signer) = (byte & 7, byte >> 4);
    let level = (kind == 0 && signer == 0) || (matches!(kind, 1 | 2) && (1..=8).contains(&signer));
    Some((level.into(), byte != 0))
}

fn create_time(p: &Process<'_>) -> Option<(Says, bool)> {
    let at = p.view.created().ok()?;
    // FILETIMEs of 1990 and 2100.
    Some(((122_700_000_000_000_000..157_500_000_000_000_000).contains(&at.0).into(), true))
}

/// A PEB lies on a page of its own in the user's half.
fn peb(p: &Process<'_>) -> Option<(Says, bool)> {
    let at = p.view.peb_raw().ok()?;
    let user = at.0.is_multiple_of(0x1000) && at.0 < 0x8000_0000_0000;
    Some((user.into(), !at.is_null()))
}

/// What runs user code has committed pages, and never more than 16 TiB of them.
fn commit(p: &Process<'_>) -> Option<(Says, bool)> {
    let pages = p.view.commit().ok()?;
    let running = !ended(p)? && p.view.exiting() != Ok(1) && p.view.peb_raw().is_ok_and(|peb| !peb.is_null());
    running.then(|| ((1..1 << 32).contains(&pages).into(), true))
}

/// Ids are multiples of four.
fn parent(p: &Process<'_>) -> Option<(Says, bool)> {
    let id = p.view.parent().ok()?;
    Some(((id.is_multiple_of(4) && id <= u64::from(u32::MAX)).into(), id != 0))
}

fn thread_create_time(t: &Thread<'_>) -> Option<(Says, bool)> {
    let at = t.created().ok()?;
    Some(((122_700_000_000_000_000..157_500_000_000_000_000).contains(&at.0).into(), true))
}

/// Whether the scheduler is done with it (`KTHREAD_STATE` 4, `Terminated` in every PDB).
fn over(t: &Thread<'_>) -> Option<bool> {
    t.view.state_raw().ok().map(|state| state == 4)
}

/// `STATUS_PENDING` while it runs.
fn thread_exit_status(t: &Thread<'_>) -> Option<(Says, bool)> {
    let status = t.view.exit_status_raw().ok()?;
    (!over(t)?).then(|| ((status == 0x103).into(), true))
}

/// Bit 0 (`Terminated`) is set in what has ended; in what runs it may be set a little before its end.
fn thread_flags(t: &Thread<'_>) -> Option<(Says, bool)> {
    let terminated = t.view.flags().ok()? & 1 == 1;
    Some(((terminated || !over(t)?).into(), terminated && over(t)?))
}
