//! `lifecycle`: what can be told of how a process came to be and how it ended, each with its evidence.

use super::family::{Family, Parent};
use super::identities::token_of;
use super::parallel::{asked_for, in_order};
use super::{Analysis, Answers, Ask, Case, Subject, copied, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::holders::Holder;
use crate::kernel::process::Process;
use crate::kernel::standing::Sort;
use crate::kernel::token::Tokens;
use crate::paging::Space;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, wide};
use crate::time::FileTime;
use crate::value::{Absent, Value};
use creation::{Identity, Origin, Other};
use ending::{Ending, Life};
use finding::Finding;
use rustc_hash::{FxHashMap, FxHashSet};

pub mod creation;
pub mod ending;
pub mod finding;

/// The register's entry.
pub static LIFECYCLE: Analysis = Analysis {
    name: "lifecycle",
    about: "Process creation, token changes and exit, with evidence and confidence",
    help: "Windows keeps no record of the call that made a process. What is told here is concluded from what is left: tokens of \
           parent and child, flags, jobs, handles, exit codes. Each finding says how sure it is (certain, likely, possible, \
           cannot_tell) and names its evidence. `changed` tells of a token that was put in another's place.\n\nExample: dumpwalk lifecycle memory.dmp --pid 4242",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).copies(|kernel, _, sink| copied::nothing(kernel, sink)),
};

/// What is concluded of a process.
struct Events;
struct Of<'a> {
    process: &'a Process<'a>,
    event: &'static str,
    found: Finding,
}
who::of_process!(Events, Of);

const FIELDS: &[Field<Events>] = &[
    who::pid(),
    who::name(),
    derived(col("event", Kind::Text, "created, changed, or ended"), "finding", |c| c.event.into()),
    derived(col("finding", Kind::Text, "What is concluded"), "what evidence names", |c| c.found.says.clone().into()),
    derived(col("confidence", Kind::Text, "certain, likely, possible, or cannot_tell"), "what evidence names", |c| {
        c.found.confidence.word().into()
    }),
    derived(
        col("actor_pid", Kind::Number, "The process that did it, where one is concluded"),
        "what evidence names",
        |c| c.found.actor.as_ref().map(|(pid, _)| *pid).ok_or(Absent::NotApplicable).into(),
    ),
    derived(col("actor", Kind::Text, "Its name"), "what evidence names", |c| {
        c.found.actor.as_ref().and_then(|(_, name)| name.clone()).ok_or(Absent::NotApplicable).into()
    }),
    derived(
        col("evidence", Kind::Texts, "What the conclusion rests on"),
        "tokens of process and parent, flags, jobs, handles and exit codes, each named",
        |c| c.found.evidence.clone().into(),
    ),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// What all processes share: who made whom, whose tokens, who holds whom.
#[derive(Debug)]
pub struct Shared<'k> {
    all: Vec<Process<'k>>,
    family: Family,
    identities: Vec<Option<Identity>>,
    by_token: FxHashMap<Va, Group>,
    /// The first process with an id.
    by_pid: FxHashMap<u64, usize>,
    /// The id of the first console host that a process made.
    consoles: FxHashMap<usize, Value<u64>>,
    holders: FxHashMap<Va, Vec<Holder>>,
}

/// The processes with one token object.
#[derive(Debug, Default)]
struct Group {
    members: Vec<usize>,
    /// When the oldest was made; `None` where one does not say.
    created: Option<FileTime>,
}

impl Group {
    fn add(&mut self, member: usize, created: Option<FileTime>) {
        self.created = if self.members.is_empty() { created } else { self.created.zip(created).map(|(a, b)| a.min(b)) };
        self.members.push(member);
    }
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
        let mut by_token: FxHashMap<Va, Group> = FxHashMap::default();
        let (mut by_pid, mut consoles) = (FxHashMap::default(), FxHashMap::default());
        for (i, process) in all.iter().enumerate() {
            if let Ok(pid) = process.pid() {
                by_pid.entry(pid).or_insert(i);
            }
            if process.name().as_deref() == Ok("conhost.exe")
                && let Parent::Found(up) = family.parent(process).parent
            {
                consoles.entry(up).or_insert(process.pid());
            }
            if let Ok(token) = process.view.token().and_then(Va::not_null) {
                by_token.entry(token).or_default().add(i, process.create_time().ok());
            }
        }
        let of: FxHashSet<Va> = of.iter().filter_map(Process::offset).collect();
        let holders = kernel.holders(&all, &of).unwrap_or_default();
        Ok(Self { all, family, identities, by_token, by_pid, consoles, holders })
    }
}

fn identity(tokens: &Tokens, space: &Space<'_>, process: &Process<'_>) -> Option<Identity> {
    let token = token_of(tokens, space, process).ok()?;
    let buddy = token.logon_session(space).and_then(|s| s.buddy()).ok().filter(|b| *b != 0);
    let privileges = token.privileges(space).ok()?;
    let holds = |luid: u64| privileges.iter().any(|p| p.luid == luid && p.present);
    Some(Identity {
        user: token.user(space).ok()?.to_string(),
        logon: token.view.logon_id().ok()?,
        buddy,
        modified: token.view.modified_id().ok().filter(|id| *id != 0),
        source: token.source().ok().filter(|s| !s.is_empty()),
        integrity: token.integrity(space).ok(),
        package: token.package(space).is_ok(),
        restricted: token.view.restricted_count().is_ok_and(|n| n > 0),
        // SE_ASSIGNPRIMARYTOKEN_PRIVILEGE and SE_IMPERSONATE_PRIVILEGE of wdm.h.
        may_assign: holds(3),
        may_impersonate: holds(29),
    })
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let processes = asked_for(case, ask, sink)?;
    let shared = Shared::of(kernel, &processes)?;
    in_order(
        processes.into_iter(),
        || kernel.space(),
        |space, process, sink| rows(&shared, &process, space, ask, sink),
        sink,
    )
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    shared: &Shared<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let beginning = origin(shared, process);
    let created = creation::origin(&beginning).into_iter().map(|f| ("created", f));
    let changed = creation::replaced(&beginning).into_iter().map(|f| ("changed", f));
    let ended = ending::ending(&ending(shared, process, space)).into_iter().map(|f| ("ended", f));
    for (event, found) in created.chain(changed).chain(ended) {
        sink.row(Row::of(FIELDS, &Of { process, event, found }, &ask.rows).at(process.place()))?;
    }
    Ok(())
}

/// What is known of how a process came to be.
fn origin(shared: &Shared<'_>, process: &Process<'_>) -> Origin {
    let known = shared.family.parent(process);
    let of = |p: &Process<'_>| shared.identities.get(shared.family.place(p.offset()?)?)?.clone();
    let parent = match known.parent {
        Parent::Found(up) => shared.all.get(up),
        _ => None,
    };
    let job = |p: &Process<'_>| p.view.job().and_then(Va::not_null).ok();
    let named = |pid: u64| shared.by_pid.get(&pid).and_then(|i| shared.all.get(*i)?.name().ok());
    let owner = process.view.owner().unwrap_or(0);
    let console = process.offset().and_then(|at| shared.consoles.get(&shared.family.place(at)?));
    let (same_token, more_with_token, oldest) = same_token(shared, process);
    Origin {
        sort: process.sort().unwrap_or(Sort::User),
        pid: process.pid().ok(),
        ppid: process.ppid().ok(),
        state: known.parent,
        parent_name: known.name,
        own: of(process),
        parent: parent.and_then(of),
        same_token,
        more_with_token,
        oldest,
        same_job: match (job(process), parent.and_then(job)) {
            (Some(own), Some(parents)) => Some(own == parents),
            _ => None,
        },
        // Ids count in fours: the low two bits are flags.
        owner: Some(owner & !3).filter(|pid| *pid != 0).map(|pid| (pid, named(pid))),
        owner_is_host: owner & 3 != 0,
        console_host: console.and_then(|pid| pid.ok()),
        full_holders: process
            .offset()
            .and_then(|at| shared.holders.get(&at))
            .into_iter()
            .flatten()
            .filter(|h| h.access.is_ok_and(creation::is_full) && h.pid != process.pid())
            .filter_map(|h| Some((h.pid.ok()?, h.name.clone().ok(), h.handle)))
            .collect(),
    }
}

/// Some of the other processes with the very token object of this one, how many more there are, and whether none of all is older.
fn same_token(shared: &Shared<'_>, process: &Process<'_>) -> (Vec<Other>, usize, bool) {
    let token = process.view.token().and_then(Va::not_null).ok();
    let Some(group) = token.and_then(|t| shared.by_token.get(&t)) else { return (Vec::new(), 0, true) };
    // Told apart by their addresses: a copy of a process in a triage dump has none, and is the only one.
    let others = group.members.iter().filter_map(|i| shared.all.get(*i)).filter(|p| p.offset() != process.offset());
    let some: Vec<Other> = others.filter_map(|p| Some((p.pid().ok()?, p.name().ok()))).take(creation::NAMED).collect();
    let is_in = process.offset().is_none_or(|at| shared.family.place(at).is_some());
    let count = group.members.len().saturating_sub(is_in.into());
    let oldest = count == 0 || group.created.is_some_and(|first| process.create_time().is_ok_and(|own| own <= first));
    let more = count.saturating_sub(some.len());
    (some, more, oldest)
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
    let holders = process.offset().and_then(|at| shared.holders.get(&at)).cloned().unwrap_or_default();
    Ending {
        life,
        sort: process.sort().unwrap_or(Sort::User),
        active_threads: process.threads().ok(),
        status: process.exit_status().ok(),
        itself: set(v.self_deleted()),
        asked: set(v.deleted()),
        crashed: set(v.crashed()),
        threads: threads.iter().filter_map(|t| Some((t.tid().ok()?, t.exit_status().ok()))).collect(),
        last_thread: v.last_thread_exit().ok(),
        holders: holders.iter().filter(|h| h.pid != process.pid()).filter_map(held_by).collect(),
    }
}

fn held_by(holder: &Holder) -> Option<String> {
    let pid = holder.pid.ok()?;
    Some(format!("{} {pid} by handle {:#x}", holder.name.as_deref().unwrap_or("?"), holder.handle))
}
