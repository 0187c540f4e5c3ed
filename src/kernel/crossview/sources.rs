//! Each way by itself: the addresses of the processes it has, or why it cannot be asked.

use super::View;
use super::handles::{self, Reached};
use crate::addr::{Pa, Va};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::list::List;
use crate::kernel::process::{EProcess, MOST_PROCESSES, Process};
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind;
use crate::kernel::thread::EThread;
use crate::paging::Space;
use crate::progress::Progress;
use crate::symbols::layout::Layout;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

type Addresses = FxHashSet<Va>;

/// All ways.
#[derive(Debug)]
pub(super) struct Sources {
    forwards: Value<Addresses>,
    backwards: Value<Addresses>,
    /// Physical addresses of what the scan found.
    scan: Value<FxHashSet<Pa>>,
    found: Vec<Found>,
    cid: Value<Addresses>,
    threads: Value<Addresses>,
    /// By what `_EPROCESS.Session` holds.
    sessions: FxHashMap<Va, Value<Addresses>>,
    /// By what `_EPROCESS.Job` holds.
    jobs: FxHashMap<Va, Value<Addresses>>,
    /// What System's handles lead to.
    system: Value<Addresses>,
    /// What the handles of every `csrss.exe` lead to; where one has a table that cannot be read, why not.
    held_by_csrss: (Addresses, Option<Absent>),
    /// How many other processes hold a handle that leads to a process.
    holders: Value<FxHashMap<Va, u32>>,
    /// Every `csrss.exe`, with what `_EPROCESS.Session` holds.
    pub csrss: FxHashMap<Va, Va>,
    /// Every address any way gave.
    all: BTreeSet<Va>,
}

/// Asks them all.
pub(super) fn gather(kernel: &Kernel, progress: &Progress, notes: &mut Vec<Note>) -> Result<Sources> {
    let space = kernel.space();
    let layout = kernel.layout::<EProcess>().map_err(|e| kernel.unreadable(&e))?;
    let is_process = |va: &Va| {
        let process = kernel.process_at(&space, *va);
        process.is_ok_and(|p| p.looks_alive() && p.pid() != Ok(0))
    };
    let [forwards, backwards] = active(kernel, &space, layout, notes);
    let (found, scanned_threads) = match scan(kernel, progress, notes) {
        Ok((processes, threads)) => (Ok(processes), Ok(threads)),
        Err(why) => (Err(why), Err(why)),
    };
    let cid = client_ids(kernel, &space, notes);
    let (cid, cid_threads) = match cid {
        Ok((processes, threads)) => (Ok(processes), Ok(threads)),
        Err(why) => (Err(why), Err(why)),
    };
    // Either kind of thread tells; the scan's absence is the reason where there is neither.
    let threads = match (scanned_threads, cid_threads) {
        (Ok(mut a), Ok(b)) => {
            a.extend(b);
            Ok(a)
        }
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
        (Err(why), Err(_)) => Err(why),
    };
    let threads = threads.map(|t| t.into_iter().filter(is_process).collect::<Addresses>());

    // What is listed is a process even where its page is not in the dump; all else must look like one.
    let mut all: BTreeSet<Va> = forwards.iter().chain(&backwards).flatten().copied().collect();
    all.extend(found.iter().flatten().filter_map(|f| f.va));
    all.extend(cid.iter().chain(&threads).flatten().copied());
    let known: Vec<Process<'_>> = all.iter().map(|va| kernel.process_at(&space, *va)).collect::<Result<_>>()?;

    let sessions = lists(&known, |p| p.view.session().ok(), |session| kernel.session_processes(&space, session));
    let jobs = lists(&known, |p| p.view.job().ok(), |job| kernel.job_processes(&space, job));
    let reached = handles::reached(kernel, &known, notes);
    let more = sessions.values().chain(jobs.values()).chain(reached.iter().flat_map(|r| r.values()));
    let more: Vec<Va> = more.flatten().flatten().copied().filter(is_process).collect();
    all.extend(more);
    let system = known.iter().find(|p| p.pid() == Ok(4)).and_then(Process::offset).or(kernel.system);
    let csrss: FxHashMap<Va, Va> = known
        .iter()
        .filter(|p| p.name().is_ok_and(|n| n.eq_ignore_ascii_case("csrss.exe")) && p.exit_time().is_err())
        .filter_map(|p| Some((p.offset()?, p.view.session().ok()?)))
        .collect();
    let scan = found.as_ref().map(|f| f.iter().map(|f| f.pa).collect()).map_err(|e| *e);
    let found = found.unwrap_or_default();
    let system = held_by(&reached, system);
    let held_by_csrss = union(&reached, csrss.keys());
    let holders = reached.map(|r| count(&r));
    Ok(Sources {
        forwards,
        backwards,
        scan,
        found,
        cid,
        threads,
        sessions,
        jobs,
        system,
        held_by_csrss,
        holders,
        csrss,
        all,
    })
}

/// What one process's handles lead to.
fn held_by(reached: &Value<Reached>, holder: Option<Va>) -> Value<Addresses> {
    let reached = reached.as_ref().map_err(|why| *why)?;
    reached.get(&holder.ok_or(Absent::NotRecorded)?).cloned().unwrap_or(Err(Absent::NotRecorded))
}
/// What the handles of some processes lead to, and why one of their tables cannot be read.
fn union<'a>(reached: &Value<Reached>, holders: impl Iterator<Item = &'a Va>) -> (Addresses, Option<Absent>) {
    let Ok(reached) = reached else { return (Addresses::default(), reached.as_ref().err().copied()) };
    let (mut all, mut unread) = (Addresses::default(), None);
    let mut holders: Vec<&Va> = holders.collect();
    holders.sort_unstable(); // the reason must not depend on a hash
    for holder in holders {
        match reached.get(holder) {
            Some(Ok(to)) => all.extend(to),
            Some(Err(why)) => unread = Some(*why),
            None => unread = Some(Absent::NotRecorded),
        }
    }
    (all, unread)
}
/// How many others hold each process. One that holds itself is no witness.
fn count(reached: &Reached) -> FxHashMap<Va, u32> {
    let mut out: FxHashMap<Va, u32> = FxHashMap::default();
    for (holder, to) in reached {
        for target in to.iter().flatten().filter(|t| *t != holder) {
            let n = out.entry(*target).or_default();
            *n = n.saturating_add(1);
        }
    }
    out
}

/// The active list, each way by itself.
fn active<'k>(
    kernel: &'k Kernel,
    space: &Space<'k>,
    layout: &EProcess,
    notes: &mut Vec<Note>,
) -> [Value<Addresses>; 2] {
    let Some(head) = kernel.global("PsActiveProcessHead") else {
        notes.push(Note::loss("the active process list was not found: no symbol PsActiveProcessHead"));
        return [Err(Absent::NoSymbol), Err(Absent::NoSymbol)];
    };
    if let Err(why) = space.pointer(head) {
        notes.push(Note::loss(format!("the active process list at {head} is {why}")));
        return [Err(why), Err(why)];
    }
    let offset = layout.links_offset();
    let list = List { what: "active process list", head, width: space.pointer_size(), limit: MOST_PROCESSES };
    let member = |link: Va| kernel.process_at(space, link.sub(offset)).is_ok_and(|p| p.looks_alive());
    notes.extend(list.walk(space, member).notes);
    list.each_way(space, member).map(|links| Ok(links.into_iter().map(|l| l.sub(offset)).collect()))
}

/// The scan's processes, and the processes that the scan's threads belong to.
fn scan(kernel: &Kernel, progress: &Progress, notes: &mut Vec<Note>) -> Value<(Vec<Found>, Addresses)> {
    let all = match kernel.scan(&[Kind::Process, Kind::Thread], progress, notes) {
        Ok(all) => all,
        Err(e) => {
            notes.push(Note::info(format!("no scan: {e}")));
            return Err(Absent::NoSymbol);
        }
    };
    let (processes, threads): (Vec<Found>, Vec<Found>) = all.into_iter().partition(|f| f.kind == Kind::Process);
    let span = kernel.layout::<EThread>().map_err(|_| Absent::NoSymbol)?.span();
    let owner = |f: &Found| kernel.thread_of(f.bytes(kernel, span)).ok()?.view.owner().ok();
    Ok((processes, threads.par_iter().filter_map(owner).collect()))
}

/// The processes of `PspCidTable`, and those its threads belong to.
fn client_ids<'k>(kernel: &'k Kernel, space: &Space<'k>, notes: &mut Vec<Note>) -> Value<(Addresses, Addresses)> {
    let (ids, told) = match kernel.client_ids(space) {
        Ok(read) => read,
        Err(why) => {
            notes.push(Note::info(format!("PspCidTable: {why}")));
            return Err(why);
        }
    };
    notes.extend(told);
    let (mut processes, mut threads, mut unread) = (Addresses::default(), Addresses::default(), 0usize);
    for id in ids {
        let process = kernel.process_at(space, id.target).map_err(|_| Absent::NoSymbol)?;
        // _KOBJECTS: 3 a process, 6 a thread.
        match process.view.kind() {
            Ok(3) if process.pid() == Ok(id.value) && process.looks_alive() => _ = processes.insert(id.target),
            Ok(6) => {
                let thread = kernel.thread_at(space, id.target).map_err(|_| Absent::NoSymbol)?;
                threads.extend(thread.view.owner());
            }
            Ok(_) => {}
            Err(_) => unread = unread.saturating_add(1),
        }
    }
    if unread > 0 {
        notes.push(Note::loss(format!("PspCidTable: {unread} ids stand for objects whose memory cannot be read")));
    }
    Ok((processes, threads))
}

/// The lists that processes say they are on, each once.
fn lists(
    known: &[Process<'_>],
    of: impl Fn(&Process<'_>) -> Option<Va>,
    walk: impl Fn(Va) -> Value<Vec<Va>>,
) -> FxHashMap<Va, Value<Addresses>> {
    let heads: BTreeSet<Va> = known.iter().filter_map(of).filter(|va| !va.is_null()).collect();
    heads.into_iter().map(|at| (at, walk(at).map(|list| list.into_iter().collect()))).collect()
}

impl Sources {
    /// Every virtual address any way gave, lowest first.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Va> {
        self.all.iter().copied()
    }
    /// What the scan found.
    pub(super) fn scanned(&self) -> &[Found] {
        &self.found
    }
    /// How many other processes hold a handle that leads to one of these addresses.
    pub(super) fn holders_of(&self, addresses: &Addresses) -> Value<u32> {
        let holders = self.holders.as_ref().map_err(|why| *why)?;
        Ok(addresses.iter().filter_map(|a| holders.get(a)).copied().fold(0, u32::saturating_add))
    }
    /// Whether a view has the process at these addresses.
    pub(super) fn has(
        &self,
        view: View,
        pa: Option<Pa>,
        addresses: &Addresses,
        process: &Process<'_>,
        space: &Space<'_>,
    ) -> Value<bool> {
        let within = |set: &Addresses| addresses.iter().any(|a| set.contains(a));
        let of = |set: &Value<Addresses>| set.as_ref().map(within).map_err(|why| *why);
        // Of the lists a process names itself: it is on none where it names none.
        let named = |lists: &FxHashMap<Va, Value<Addresses>>, at: Value<Va>| match at? {
            at if at.is_null() => Ok(false),
            at => lists.get(&at).map_or_else(|| space.pointer(at).map(|_| false), of),
        };
        match view {
            View::List => of(&self.forwards),
            View::ListBack => of(&self.backwards),
            View::Scan => match (&self.scan, pa) {
                (Ok(found), Some(pa)) => Ok(found.contains(&pa)),
                (Ok(_), None) => Err(process.view.kind().err().unwrap_or(Absent::NotInDump)),
                (Err(why), _) => Err(*why),
            },
            View::CidTable => of(&self.cid),
            View::Threads => of(&self.threads),
            View::Session => named(&self.sessions, process.view.session()),
            View::Job => named(&self.jobs, process.view.job()),
            View::System => of(&self.system),
            // Any of them may hold it; one whose table cannot be read leaves the question open.
            View::Csrss => match &self.held_by_csrss {
                (held, _) if within(held) => Ok(true),
                (_, Some(why)) => Err(*why),
                (_, None) => Ok(false),
            },
        }
    }
}
