//! Each way by itself: the addresses of the processes it has, or why it cannot be asked.

use super::View;
use super::handles::{self, Reached};
use crate::addr::{Pa, Va};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::active::{Active, Place};
use crate::kernel::list::OneWay;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind;
use crate::kernel::thread::EThread;
use crate::paging::Space;
use crate::progress::Progress;
use crate::symbols::layout::Layout as _;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

type Addresses = FxHashSet<Va>;

/// All ways.
#[derive(Debug)]
pub(super) struct Sources {
    /// The active list.
    list: Value<Active>,
    /// Whether each direction of it ends before the head.
    torn: [bool; 2],
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
    kernel.layout::<EProcess>().map_err(|e| kernel.unreadable(&e))?;
    let is_process = |va: &Va| {
        let process = kernel.process_at(&space, *va);
        process.is_ok_and(|p| p.may_be_one() && !kernel.in_image(*va))
    };
    let (list, ways) = active(kernel, &space, notes);
    let (found, scanned_threads) = match scan(kernel, progress, notes) {
        Ok((processes, threads)) => (Ok(processes), Ok(threads)),
        Err(why) => (Err(why), Err(why)),
    };
    let (cid, others, cid_threads) = match client_ids(kernel, &space, list.as_ref().ok(), notes) {
        Ok(ids) => (Ok(ids.own), ids.others, Ok(ids.owners)),
        Err(why) => (Err(why), Addresses::default(), Err(why)),
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
    let mut all: BTreeSet<Va> = ways.iter().flatten().flat_map(|w| &w.links).copied().collect();
    all.extend(others);
    all.extend(found.iter().flatten().filter_map(|f| f.va));
    all.extend(cid.iter().chain(&threads).flatten().copied());
    let known: Vec<Process<'_>> = all.iter().map(|va| kernel.process_at(&space, *va)).collect::<Result<_>>()?;

    let sessions = lists(&known, |p| p.view.session().ok(), |session| kernel.session_processes(&space, session));
    let jobs = lists(&known, |p| p.view.job().ok(), |job| kernel.job_processes(&space, job).map(|(list, _)| list));
    let reached = handles::reached(kernel, &known, notes);
    let more = sessions.values().chain(jobs.values()).chain(reached.iter().flat_map(|r| r.values()));
    let more: Vec<Va> = more.flatten().flatten().copied().filter(is_process).collect();
    all.extend(more);
    let system = kernel.system.or_else(|| known.iter().find(|p| p.pid() == Ok(4)).and_then(Process::offset));
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
    let torn = ways.each_ref().map(|w| w.as_ref().is_ok_and(|w| !w.whole));
    let [forwards, backwards] = ways.map(|way| way.map(|w| w.links.into_iter().collect()));
    Ok(Sources {
        list,
        torn,
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

/// The active list, and each way of it by itself.
fn active<'k>(kernel: &'k Kernel, space: &Space<'k>, notes: &mut Vec<Note>) -> (Value<Active>, [Value<OneWay>; 2]) {
    match kernel.active_list() {
        Ok(active) => {
            // What the table of client ids says is told by the view of its own.
            notes.extend(active.notes.iter().cloned());
            let ways = kernel.active_each_way(space, &active).map(Ok);
            (Ok(active), ways)
        }
        Err(why) => {
            notes.push(Note::loss(why.to_string()));
            (Err(Absent::NoSymbol), [Err(Absent::NoSymbol), Err(Absent::NoSymbol)])
        }
    }
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

/// What `PspCidTable` leads to.
struct ByIds {
    /// Processes by their own ids.
    own: Addresses,
    /// Processes by ids that are not the ones they say.
    others: Addresses,
    /// Processes that its threads belong to.
    owners: Addresses,
}

/// The processes of `PspCidTable`.
fn client_ids<'k>(
    kernel: &'k Kernel,
    space: &Space<'k>,
    active: Option<&Active>,
    notes: &mut Vec<Note>,
) -> Value<ByIds> {
    let numbered = kernel.numbered(space).inspect_err(|why| {
        let loss = *why != Absent::NoSymbol;
        notes.push(Note { loss, text: format!("PspCidTable, the table of process ids, cannot be used: {why}") });
    })?;
    let loss = numbered.notes.iter().cloned().chain(kernel.lost_of(space, &numbered, active));
    let new: Vec<Note> = loss.filter(|n| !notes.contains(n)).collect();
    notes.extend(new);
    let is_own = |(id, at): &&(u64, Va)| kernel.process_at(space, *at).is_ok_and(|p| p.pid() == Ok(*id));
    let (own, others): (Vec<_>, Vec<_>) = numbered.processes.iter().partition(is_own);
    let addresses = |of: Vec<&(u64, Va)>| of.into_iter().map(|(_, at)| *at).collect();
    Ok(ByIds { own: addresses(own), others: addresses(others), owners: numbered.owners.into_iter().collect() })
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
    /// Where each process, known by these addresses, stands to the active list.
    pub(super) fn places(&self, kernel: &Kernel, space: &Space<'_>, all: &[Addresses]) -> Vec<Value<Place>> {
        let list = match &self.list {
            Ok(list) => list,
            Err(why) => return vec![Err(*why); all.len()],
        };
        let mut places = list.places(kernel, space);
        // Of several addresses of one object, that of its list entry; of an object without any, none is listed.
        let of = |addresses: &Addresses| addresses.iter().map(|at| places.of(*at)).min().unwrap_or(Place::Off);
        all.iter().map(of).map(Ok).collect()
    }
    /// Whether a view is a direction of the active list that is torn.
    pub(super) const fn is_torn(&self, view: View) -> bool {
        match view {
            View::List => self.torn[0],
            View::ListBack => self.torn[1],
            _ => false,
        }
    }
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
