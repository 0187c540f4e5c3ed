//! `lifecycle`: what can be told of how a process came to be and how it ended, each with its evidence.

use super::family::Family;
use super::identities::token_of;
use super::inference::{self, Ending, Finding, Identity, Life, Origin};
use super::parallel::{asked_for, in_order};
use super::{Analysis, Ask, Case, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::holders::Holder;
use crate::kernel::process::{Process, applicable};
use crate::kernel::standing::Sort;
use crate::kernel::token::Tokens;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::{Absent, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// The register's entry.
pub static LIFECYCLE: Analysis = Analysis {
    name: "lifecycle",
    about: "How processes came to be and how they ended, with the evidence for it",
    help: "Windows keeps no record of the call that made a process. What is told here is concluded from what is left: tokens of \
           parent and child, flags, jobs, handles, exit codes. Each finding says how sure it is (certain, likely, possible, \
           cannot_tell) and names its evidence.\n\nExample: dumpwalk lifecycle memory.dmp --pid 4242",
    columns: &COLUMNS,
    switches: &[],
    run,
};

const COLUMNS: [Column; 9] = [
    who::PID,
    who::NAME,
    col("event", Kind::Text, "created, or ended"),
    col("finding", Kind::Text, "What is concluded"),
    col("confidence", Kind::Text, "certain, likely, possible, or cannot_tell"),
    col("actor_pid", Kind::Number, "The process that did it, where one is concluded"),
    col("actor", Kind::Text, "Its name"),
    col("evidence", Kind::Texts, "What the conclusion rests on"),
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
];

/// What all processes share: who made whom, whose tokens, who holds whom.
#[derive(Debug)]
pub struct Shared<'k> {
    all: Vec<Process<'k>>,
    family: Family,
    identities: Vec<Option<Identity>>,
    holders: FxHashMap<Va, Vec<Holder>>,
}

impl<'k> Shared<'k> {
    /// Of a kernel's listed processes; handles to `of` are looked for.
    ///
    /// # Errors
    /// The symbols do not describe processes.
    pub fn of(kernel: &'k Kernel, of: &[Process<'k>]) -> Result<Self> {
        let all = kernel.processes()?.list;
        let family = Family::of(&all);
        let space = kernel.space();
        let tokens = Tokens::new(&kernel.symbols.types).ok();
        let identities = all.iter().map(|p| identity(tokens.as_ref()?, &space, p)).collect();
        let of: FxHashSet<Va> = of.iter().filter_map(Process::offset).collect();
        let holders = kernel.holders(&all, &of).unwrap_or_default();
        Ok(Self { all, family, identities, holders })
    }
}

fn identity(tokens: &Tokens, space: &Space<'_>, process: &Process<'_>) -> Option<Identity> {
    let token = token_of(tokens, space, process).ok()?;
    let buddy = token.logon_session(space).and_then(|s| s.buddy()).ok().filter(|b| *b != 0);
    let privileges = token.privileges(space).ok()?;
    Some(Identity {
        user: token.user(space).ok()?.to_string(),
        logon: token.view.logon_id().ok()?,
        buddy,
        integrity: token.integrity(space).ok(),
        package: token.package(space).is_ok(),
        restricted: token.view.restricted_count().is_ok_and(|n| n > 0),
        // SeAssignPrimaryTokenPrivilege
        may_assign: privileges.iter().any(|p| p.luid == 3 && p.present),
    })
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let processes = asked_for(case, ask, sink)?;
    let shared = Shared::of(kernel, &processes)?;
    in_order(
        processes.into_iter(),
        || kernel.space(),
        |space, process, sink| rows(&shared, &process, space, sink),
        sink,
    )
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(shared: &Shared<'k>, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> Result<()> {
    let created = inference::origin(&origin(shared, process));
    let ended = inference::ending(&ending(shared, process, space));
    for (event, found) in created.into_iter().map(|f| ("created", f)).chain(ended.into_iter().map(|f| ("ended", f))) {
        sink.row(row(process, event, found))?;
    }
    Ok(())
}

fn row(process: &Process<'_>, event: &'static str, found: Finding) -> Row {
    let [pid, name] = who::cells(process);
    let (actor, actor_name) = match found.actor {
        Some((pid, name)) => (Cell::from(pid), name.map_or(Cell::Absent(Absent::NotApplicable), Cell::from)),
        None => (Cell::Absent(Absent::NotApplicable), Cell::Absent(Absent::NotApplicable)),
    };
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        event.into(),
        found.says.into(),
        found.confidence.word().into(),
        actor,
        actor_name,
        found.evidence.into(),
        who::offset(process),
    ];
    Row::new(cells.into()).at(process.place())
}

/// What is known of how a process came to be.
fn origin(shared: &Shared<'_>, process: &Process<'_>) -> Origin {
    let known = shared.family.parent(process);
    let of = |p: &Process<'_>| shared.identities.get(shared.family.place(p.offset()?)?)?.clone();
    let ppid = process.ppid().ok();
    let parent = match known.parent {
        super::family::Parent::Found(up) => shared.all.get(up),
        _ => None,
    };
    let job = |p: &Process<'_>| p.view.job().and_then(applicable).ok();
    let pid = process.pid().ok();
    let named = |pid: u64| shared.all.iter().find(|p| p.pid() == Ok(pid)).and_then(|p| p.name().ok());
    // The low two bits are flags: ids count in fours.
    let owner = process.view.owner().ok().map(|o| o & !3).filter(|o| *o != 0);
    let console = shared.all.iter().find(|p| {
        p.name().as_deref() == Ok("conhost.exe")
            && matches!(shared.family.parent(p).parent, super::family::Parent::Found(up) if shared.all.get(up).and_then(Process::offset) == process.offset())
    });
    Origin {
        sort: process.sort().unwrap_or(Sort::User),
        pid,
        ppid,
        state: known.parent,
        parent_name: known.name,
        own: of(process),
        parent: parent.and_then(of),
        same_job: match (job(process), parent.and_then(job)) {
            (Some(own), Some(parents)) => Some(own == parents),
            _ => None,
        },
        owner: owner.map(|pid| (pid, named(pid))),
        console_host: console.and_then(|p| p.pid().ok()),
        full_holders: process
            .offset()
            .and_then(|at| shared.holders.get(&at))
            .into_iter()
            .flatten()
            .filter(|h| inference::is_full(h.access) && h.pid != process.pid())
            .filter_map(|h| Some((h.pid.ok()?, h.name.clone().ok(), h.handle)))
            .collect(),
    }
}

/// What is known of how a process ended.
fn ending<'k>(shared: &Shared<'k>, process: &Process<'k>, space: &Space<'k>) -> Ending {
    let v = &process.view;
    let set = |bit: Value<u64>| bit.ok().map(|b| b != 0);
    let life = match process.exit_time() {
        Ok(time) => Life::Ended(time),
        Err(Absent::NotApplicable) if set(v.exiting()) == Some(true) || set(v.deleted()) == Some(true) => Life::Ending,
        Err(Absent::NotApplicable) => Life::Running,
        Err(_) => Life::Unknown,
    };
    let threads = match life {
        Life::Ended(_) => process.thread_list(space).map(|t| t.list).unwrap_or_default(),
        _ => Vec::new(),
    };
    let statuses: Vec<u32> = threads.iter().filter_map(|t| t.exit_status().ok()).collect();
    let holders = process.offset().and_then(|at| shared.holders.get(&at)).cloned().unwrap_or_default();
    Ending {
        life,
        sort: process.sort().unwrap_or(Sort::User),
        active_threads: process.threads().ok(),
        status: process.exit_status().ok(),
        itself: set(v.self_deleted()),
        crashed: set(v.crashed()),
        threads: threads.len(),
        thread_statuses: statuses,
        holders: holders.iter().filter(|h| h.pid != process.pid()).filter_map(held_by).collect(),
    }
}

fn held_by(holder: &Holder) -> Option<String> {
    let pid = holder.pid.ok()?;
    Some(format!("{} {pid} by handle {:#x}", holder.name.as_deref().unwrap_or("?"), holder.handle))
}
