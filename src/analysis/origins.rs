//! `origins`: how each process came to be and how it ended, as far as the kernel's structures tell.
//!
//! Nothing here is certain the way a field is: each conclusion names what it rests on and how well it is founded.

use super::identities::{Identities, token_of};
use super::parallel::{in_order, wanted};
use super::pstree::{Member, Parent, parents};
use super::{Analysis, Ask, Case, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::handle_table::HandleTables;
use crate::kernel::process::Process;
use crate::kernel::sid::Sid;
use crate::kernel::standing::Sort;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::time::FileTime;
use crate::value::{Absent, Value};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// The register's entry.
pub static ORIGINS: Analysis = Analysis {
    name: "origins",
    about: "How each process came to be and how it ended, with evidence and confidence",
    help: "Compares each process' token with that of the parent that can have made it (see pstree), and tells by which road it was \
           probably made: CreateProcess (a copy of the parent's token), CreateProcessAsUser or CreateProcessWithTokenW (another one), \
           CreateProcessWithLogonW (a logon of the secondary logon service), elevation (the other half of a split logon). Of ended \
           processes it tells by exit status and flags how they ended, and which handles still hold them. Where the structures do not \
           tell, it says so.\n\nExample: dumpwalk origins memory.dmp --format json",
    columns: &COLUMNS,
    switches: &[],
    run,
};

/// The columns of an origin.
pub const COLUMNS: [Column; 18] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("ppid", Kind::Number, "Id of the parent it inherited from"),
    col("parent", Kind::Text, "Name of the parent that can have made it; none where no process can"),
    wide("parent_state", Kind::Text, "found, gone, younger, ended or unknown (see pstree)"),
    col("created_by", Kind::Text, "How it probably came to be"),
    col("created_confidence", Kind::Text, "high, medium or low; none where nothing tells"),
    wide("created_evidence", Kind::Texts, "What that rests on"),
    wide(
        "owner_pid",
        Kind::Number,
        "OwnerProcessId without its low bits: the console host, or the process that made it",
    ),
    wide("owner", Kind::Text, "Name of that process, if one that can be it is listed"),
    wide("job", Kind::Hex, "Address of its job"),
    col("ended_by", Kind::Text, "How it ended; none while it runs"),
    col("ended_confidence", Kind::Text, "high, medium or low"),
    wide("ended_evidence", Kind::Texts, "What that rests on"),
    wide("threads_ended", Kind::Texts, "Ended threads still on its list: id and exit status"),
    wide("held_by", Kind::Texts, "Handles of others that still hold it: process id, handle"),
    wide(
        "token_shared_with",
        Kind::Texts,
        "Other processes with the very same token object, which the kernel never does",
    ),
];

/// What is compared of a process.
struct Facts<'k> {
    process: Process<'k>,
    name: String,
    sort: Value<Sort>,
    token: Value<TokenFacts>,
}

/// What is compared of a token.
#[derive(Clone)]
struct TokenFacts {
    at: Va,
    user: Value<Sid>,
    logon_id: Value<u64>,
    integrity: Value<u32>,
    modified_id: Value<u64>,
    source: Value<String>,
    buddy: Value<u64>,
    restricted: bool,
    package: bool,
    may_assign: bool,
    may_impersonate: bool,
}

/// A conclusion.
struct Verdict {
    what: &'static str,
    confidence: Option<&'static str>,
    evidence: Vec<String>,
}

impl Verdict {
    fn new(what: &'static str, confidence: &'static str, evidence: Vec<String>) -> Self {
        Self { what, confidence: Some(confidence), evidence }
    }
    fn unknown(evidence: Vec<String>) -> Self {
        Self { what: "cannot tell", confidence: None, evidence }
    }
}

/// All processes, so that each can be held against others.
struct Machine<'k> {
    all: Vec<Facts<'k>>,
    members: Vec<Member>,
    parents: Vec<Parent>,
    by_token: FxHashMap<Va, Vec<usize>>,
    held: FxHashMap<Va, Vec<(u64, u64)>>,
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let identities = Identities::gather(kernel)?;
    let machine = Machine::of(kernel, &identities)?;
    let space = kernel.space();
    let asked: Vec<usize> = (0..machine.all.len())
        .filter(|i| machine.all.get(*i).is_some_and(|f| wanted(ask, &f.process, &space)))
        .collect();
    let start = || kernel.space();
    in_order(asked.into_iter(), start, |space, i, sink| machine.row(i, space).map_or(Ok(()), |row| sink.row(row)), sink)
}

impl<'k> Machine<'k> {
    fn of(kernel: &'k Kernel, identities: &Identities) -> Result<Self> {
        let list = kernel.processes()?.list;
        let all: Vec<Facts<'k>> = list
            .into_par_iter()
            .map_init(
                || kernel.space(),
                |space, process| Facts {
                    name: process.name().unwrap_or_else(|_| "?".into()),
                    sort: process.sort(),
                    token: token_facts(identities, space, &process),
                    process,
                },
            )
            .collect();
        let members: Vec<Member> = all
            .iter()
            .map(|f| Member {
                pid: f.process.pid().ok(),
                ppid: f.process.ppid().ok(),
                created: f.process.create_time().ok(),
                ended: f.process.exit_time().ok(),
            })
            .collect();
        let mut by_token: FxHashMap<Va, Vec<usize>> = FxHashMap::default();
        for (i, facts) in all.iter().enumerate() {
            if let Ok(token) = &facts.token {
                by_token.entry(token.at).or_default().push(i);
            }
        }
        let held = holders(kernel, &all);
        Ok(Self { parents: parents(&members), members, all, by_token, held })
    }

    fn row(&self, i: usize, space: &Space<'k>) -> Option<Row> {
        let facts = self.all.get(i)?;
        let process = &facts.process;
        let found = self.parents.get(i).copied().unwrap_or(Parent::Unknown);
        let parent = match found {
            Parent::Found(up) => self.all.get(up),
            _ => None,
        };
        let owner = self.owner(i);
        let made = self.made(i, facts, found, parent, owner.as_ref());
        let ended = Self::ended(facts);
        let shared: Vec<String> = facts.token.as_ref().map_or_else(|_| Vec::new(), |t| self.sharing(i, t.at));
        let at = process.offset();
        let held = at.and_then(|at| self.held.get(&at)).map_or(&[][..], Vec::as_slice);
        let texts = |list: Vec<String>| Cell::List(list.into_iter().map(Cell::from).collect());
        let none = Cell::Absent(Absent::NotApplicable);
        let [pid, name] = who::cells(process);
        let confidence = |v: &Verdict| v.confidence.map_or(Cell::Absent(Absent::NotRecorded), Cell::from);
        let (how, sure, why) = match &ended {
            Some(v) => (v.what.into(), confidence(v), texts(v.evidence.clone())),
            None => (none.clone(), none.clone(), none.clone()),
        };
        let cells: [Cell; COLUMNS.len()] = [
            pid,
            name,
            who::offset(process),
            process.ppid().into(),
            parent.map_or(none.clone(), |p| p.name.clone().into()),
            found.word().into(),
            made.what.into(),
            confidence(&made),
            texts(made.evidence),
            process
                .view
                .owner()
                .map(|raw| raw & !3)
                .and_then(|pid| if pid == 0 { Err(Absent::NotApplicable) } else { Ok(pid) })
                .into(),
            owner.map_or(none, |(_, name)| name.into()),
            process.view.job().and_then(|va| if va.is_null() { Err(Absent::NotApplicable) } else { Ok(va) }).into(),
            how,
            sure,
            why,
            if ended.is_some() { texts(ended_threads(process, space)) } else { Cell::Absent(Absent::NotApplicable) },
            texts(held.iter().map(|(pid, handle)| format!("{pid}: {handle:#x}")).collect()),
            texts(shared),
        ];
        Some(Row::new(cells.into()).at(process.place()))
    }

    /// The process that `OwnerProcessId` names, if one with that id was there in time.
    fn owner(&self, i: usize) -> Option<(u64, String)> {
        let raw = self.all.get(i)?.process.view.owner().ok()?;
        let pid = raw & !3;
        let created = self.members.get(i)?.created?;
        let there = |m: &Member| m.pid == Some(pid) && m.created.is_some_and(|c| c <= created || raw & 3 != 0);
        let at = (0..self.members.len()).find(|j| *j != i && self.members.get(*j).is_some_and(there))?;
        Some((pid, self.all.get(at)?.name.clone()))
    }

    /// Other processes whose primary token is the very same object.
    fn sharing(&self, i: usize, token: Va) -> Vec<String> {
        let others = self.by_token.get(&token).into_iter().flatten().filter(|j| **j != i);
        others
            .filter_map(|j| {
                let other = self.all.get(*j)?;
                Some(format!("{} {}", other.process.pid().ok()?, other.name))
            })
            .collect()
    }

    /// Whether no other process with this token was created before.
    fn is_oldest(&self, i: usize, token: Va) -> bool {
        let created = |j: usize| self.members.get(j).and_then(|m| m.created);
        let others = self.by_token.get(&token).into_iter().flatten().filter(|j| **j != i);
        others.copied().all(|j| created(i).is_some() && created(j).is_some() && created(i) <= created(j))
    }

    fn made(
        &self,
        i: usize,
        facts: &Facts<'k>,
        found: Parent,
        parent: Option<&Facts<'k>>,
        owner: Option<&(u64, String)>,
    ) -> Verdict {
        if let Ok(sort) = facts.sort
            && sort != Sort::User
            && sort != Sort::Secure
        {
            return Verdict::new("made by the kernel", "high", vec![format!("it is a {} process", sort.word())]);
        }
        let Ok(own) = &facts.token else {
            return Verdict::unknown(vec!["its token cannot be read".into()]);
        };
        let shared = self.sharing(i, own.at);
        // The oldest of those that share a token is the one it was made for.
        if !shared.is_empty() && !self.is_oldest(i, own.at) {
            let evidence = vec![
                format!("its token object {} is also that of {}", own.at, shared.join(", ")),
                "the kernel gives each process a token of its own: one was put in place of another".into(),
            ];
            return Verdict::new("cannot tell: its token was replaced", "high", evidence);
        }
        let Some(parent) = parent else {
            return Verdict::unknown(vec![format!("the parent it names is not there: {}", found.word())]);
        };
        let Ok(above) = &parent.token else {
            return Verdict::unknown(vec![format!("the token of its parent {} cannot be read", parent.name)]);
        };
        let mut verdict = compare(own, above);
        if !shared.is_empty() {
            verdict.evidence.push(format!("its token object {} was put into {} too", own.at, shared.join(", ")));
        }
        // Low two bits set: a console was attached and the field names its host.
        if let Some((pid, name)) = owner
            && facts.process.view.owner().is_ok_and(|raw| raw & 3 == 0)
            && facts.process.ppid() != Ok(*pid)
        {
            verdict.evidence.push(format!("OwnerProcessId names {name} ({pid}), not the parent: that process may have made it in the parent's name"));
        }
        verdict
    }

    fn ended(facts: &Facts<'k>) -> Option<Verdict> {
        let process = &facts.process;
        let view = &process.view;
        let flag = |value: Value<u64>| value.is_ok_and(|v| v != 0);
        let exited: Value<FileTime> = process.exit_time();
        if exited.is_err() && !flag(view.exiting()) && !flag(view.deleted()) {
            return None;
        }
        let mut evidence = Vec::new();
        let status = view.exit_code();
        if let Ok(status) = status {
            evidence.push(match status_name(status) {
                Some(name) => format!("exit status {status:#x} ({name})"),
                None => format!("exit status {status:#x}"),
            });
        }
        for (name, value) in [
            ("ProcessExiting", view.exiting()),
            ("ProcessDelete", view.deleted()),
            ("ProcessSelfDelete", view.self_deleted()),
            ("Crashed", view.crashed()),
        ] {
            if flag(value) {
                evidence.push(format!("{name} is set"));
            }
        }
        let active = view.active_threads().unwrap_or(0);
        if exited.is_err() {
            evidence.push(format!("no exit time yet, {active} threads active"));
            return Some(Verdict::new("is ending", "high", evidence));
        }
        if let Ok(last) = view.last_thread_exit() {
            evidence.push(format!("its last thread ended with {last:#x}"));
        }
        // 0xC… are errors: a program that ends itself seldom chooses one, the exception dispatcher does.
        let failed = status.is_ok_and(|s| s >> 30 == 3 && s != CONTROL_C);
        Some(if flag(view.crashed()) || failed {
            Verdict::new(
                "ended by an unhandled exception or error",
                if flag(view.crashed()) { "high" } else { "medium" },
                evidence,
            )
        } else if status == Ok(CONTROL_C) {
            Verdict::new("ended by Ctrl+C or the closing of its console", "medium", evidence)
        } else if status == Ok(DBG_TERMINATE_PROCESS) {
            Verdict::new("ended at logoff or shutdown", "medium", evidence)
        } else if flag(view.self_deleted()) {
            Verdict::new("ended itself (ExitProcess, or TerminateProcess on itself)", "medium", evidence)
        } else if flag(view.deleted()) && view.self_deleted().is_ok() {
            Verdict::new("terminated by another process (TerminateProcess, a job, a debugger)", "low", evidence)
        } else {
            Verdict::unknown(evidence)
        })
    }
}

/// `STATUS_CONTROL_C_EXIT` and `DBG_TERMINATE_PROCESS` of `ntstatus.h`.
const CONTROL_C: u32 = 0xc000_013a;
const DBG_TERMINATE_PROCESS: u32 = 0x4001_0004;

/// What people know some exit statuses by (`ntstatus.h`).
fn status_name(status: u32) -> Option<&'static str> {
    Some(match status {
        0 => "success",
        0x103 => "STATUS_PENDING: still running",
        CONTROL_C => "STATUS_CONTROL_C_EXIT",
        DBG_TERMINATE_PROCESS => "DBG_TERMINATE_PROCESS",
        0x8000_0003 => "STATUS_BREAKPOINT",
        0xc000_0005 => "STATUS_ACCESS_VIOLATION",
        0xc000_0017 => "STATUS_NO_MEMORY",
        0xc000_001d => "STATUS_ILLEGAL_INSTRUCTION",
        0xc000_0094 => "STATUS_INTEGER_DIVIDE_BY_ZERO",
        0xc000_00fd => "STATUS_STACK_OVERFLOW",
        0xc000_0135 => "STATUS_DLL_NOT_FOUND",
        0xc000_0139 => "STATUS_ENTRYPOINT_NOT_FOUND",
        0xc000_0142 => "STATUS_DLL_INIT_FAILED",
        0xc000_0374 => "STATUS_HEAP_CORRUPTION",
        0xc000_0409 => "STATUS_STACK_BUFFER_OVERRUN: fail fast",
        0xc000_041d => "STATUS_FATAL_USER_CALLBACK_EXCEPTION",
        0xe043_4352 => "unhandled .NET exception",
        0xe06d_7363 => "unhandled C++ exception",
        _ => return None,
    })
}

/// How a process was made, by its token and its parent's.
fn compare(own: &TokenFacts, above: &TokenFacts) -> Verdict {
    let (Ok(logon), Ok(logon_above)) = (own.logon_id, above.logon_id) else {
        return Verdict::unknown(vec!["the logon sessions of the tokens cannot be read".into()]);
    };
    let mut evidence = Vec::new();
    if logon == logon_above && own.user == above.user {
        evidence.push(format!("same user and logon session ({logon:#x}) as the parent"));
        let lower = matches!((own.integrity, above.integrity), (Ok(a), Ok(b)) if a < b);
        if own.package || own.restricted || lower {
            for (has, what) in [
                (own.package, "it is an app container's"),
                (own.restricted, "it is restricted"),
                (lower, "its integrity is lower"),
            ] {
                if has {
                    evidence.push(format!("its token differs: {what}"));
                }
            }
            if (own.package, own.restricted, lower) != (above.package, above.restricted, false) {
                return Verdict::new(
                    "CreateProcessAsUser with a lesser copy of its parent's token",
                    "medium",
                    evidence,
                );
            }
        }
        if own.modified_id.is_ok() && own.modified_id == above.modified_id {
            evidence.push("same ModifiedId: an unchanged copy of the parent's token".into());
            return Verdict::new("CreateProcess (a copy of the parent's token)", "high", evidence);
        }
        return Verdict::new("CreateProcess (a copy of the parent's token)", "medium", evidence);
    }
    evidence.push(format!("another logon session ({logon:#x}) than the parent's ({logon_above:#x})"));
    if own.buddy == Ok(logon_above) || above.buddy == Ok(logon) {
        evidence.push("the two are halves of one split logon".into());
        return Verdict::new(
            "elevation: made by the Application Information service in the parent's name",
            "high",
            evidence,
        );
    }
    if let Ok(source) = &own.source {
        evidence.push(format!("its token was made by {source}"));
        // TokenSource of logons that the secondary logon service asks for.
        if source.eq_ignore_ascii_case("seclogo") {
            return Verdict::new("CreateProcessWithLogonW (secondary logon service, runas)", "high", evidence);
        }
    }
    if above.may_assign {
        evidence.push("the parent holds SeAssignPrimaryTokenPrivilege".into());
        return Verdict::new("CreateProcessAsUser with another user's token", "medium", evidence);
    }
    if above.may_impersonate {
        evidence.push("the parent holds SeImpersonatePrivilege but may not assign tokens".into());
        return Verdict::new("CreateProcessWithTokenW (secondary logon service)", "low", evidence);
    }
    evidence.push("the parent holds no privilege to start a process with another user's token: another process made it, or its token was changed".into());
    Verdict::unknown(evidence)
}

fn token_facts<'k>(identities: &Identities, space: &Space<'k>, process: &Process<'k>) -> Value<TokenFacts> {
    let token = token_of(&identities.tokens, space, process)?;
    if !token.plausible() {
        return Err(Absent::Implausible);
    }
    let privileges = token.privileges(space);
    // SeAssignPrimaryTokenPrivilege is 3, SeTcbPrivilege 7, SeImpersonatePrivilege 29.
    let holds = |luid: u64| privileges.as_ref().is_ok_and(|list| list.iter().any(|p| p.luid == luid && p.present));
    Ok(TokenFacts {
        at: token.va,
        user: token.user(space),
        logon_id: token.view.logon_id(),
        integrity: token.integrity(space),
        modified_id: token.view.modified_id().and_then(|id| if id == 0 { Err(Absent::NotRecorded) } else { Ok(id) }),
        source: token.source().and_then(|s| if s.is_empty() { Err(Absent::NotRecorded) } else { Ok(s) }),
        buddy: token
            .logon_session(space)
            .and_then(|s| s.buddy())
            .and_then(|b| if b == 0 { Err(Absent::NotApplicable) } else { Ok(b) }),
        restricted: token.view.restricted_count().is_ok_and(|n| n > 0),
        package: token.package(space).is_ok(),
        may_assign: holds(3),
        may_impersonate: holds(29),
    })
}

/// Ended threads that are still on a process' list, with what they ended with.
fn ended_threads<'k>(process: &Process<'k>, space: &Space<'k>) -> Vec<String> {
    let Ok(found) = process.thread_list(space) else { return Vec::new() };
    found.list.iter().filter_map(|t| Some(format!("{}: {:#x}", t.tid().ok()?, t.exit_status().ok()?))).collect()
}

/// Handles that hold ended processes: by the process' address, whose handle it is and which.
fn holders(kernel: &Kernel, all: &[Facts<'_>]) -> FxHashMap<Va, Vec<(u64, u64)>> {
    let mut out: FxHashMap<Va, Vec<(u64, u64)>> = FxHashMap::default();
    let Some(body) = kernel.symbols.types.member("_OBJECT_HEADER", "Body") else { return out };
    let ended: FxHashMap<Va, Va> = all
        .iter()
        .filter(|f| f.process.exit_time().is_ok())
        .filter_map(|f| f.process.offset())
        .map(|at| (at.sub(body.offset.into()), at))
        .collect();
    let Ok(tables) = HandleTables::of(kernel) else { return out };
    if ended.is_empty() {
        return out;
    }
    // Pointers in handle entries are cut to 48 bits on some builds; the tables' reader has put them right.
    let found: Vec<(Va, u64, u64)> = all
        .par_iter()
        .map_init(
            || kernel.space(),
            |space, facts| {
                let mut list = Vec::new();
                let (Ok(table), Ok(pid)) = (facts.process.view.handle_table(), facts.process.pid()) else {
                    return list;
                };
                if table.is_null() {
                    return list;
                }
                for leaf in tables.leaves(space, table).0 {
                    let _ = tables.handles(space, leaf, |handle| {
                        if let Some(at) = ended.get(&handle.target) {
                            list.push((*at, pid, handle.value));
                        }
                    });
                }
                list
            },
        )
        .flatten()
        .collect();
    for (at, pid, handle) in found {
        out.entry(at).or_default().push((pid, handle));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(logon_id: u64, user: u32) -> TokenFacts {
        TokenFacts {
            at: Va(0x1000),
            user: Ok(Sid::new(5, &[21, user]).unwrap()),
            logon_id: Ok(logon_id),
            integrity: Ok(0x2000),
            modified_id: Ok(7),
            source: Ok("User32".into()),
            buddy: Err(Absent::NotApplicable),
            restricted: false,
            package: false,
            may_assign: false,
            may_impersonate: false,
        }
    }

    #[test]
    fn roads() {
        let parent = token(0x100, 1);
        let road = |own: &TokenFacts, above: &TokenFacts| (compare(own, above).what, compare(own, above).confidence);
        assert_eq!(road(&token(0x100, 1), &parent), ("CreateProcess (a copy of the parent's token)", Some("high")));
        let changed = TokenFacts { modified_id: Ok(9), ..token(0x100, 1) };
        assert_eq!(road(&changed, &parent).1, Some("medium"));
        let sandbox = TokenFacts { package: true, integrity: Ok(0x1000), ..token(0x100, 1) };
        assert_eq!(road(&sandbox, &parent).0, "CreateProcessAsUser with a lesser copy of its parent's token");
        let elevated = TokenFacts { buddy: Ok(0x100), ..token(0x200, 1) };
        assert!(road(&elevated, &parent).0.starts_with("elevation"));
        let runas = TokenFacts { source: Ok("seclogo".into()), ..token(0x300, 2) };
        assert_eq!(road(&runas, &parent).1, Some("high"));
        let service = TokenFacts { may_assign: true, ..token(0x3e7, 0) };
        assert_eq!(road(&token(0x100, 1), &service).0, "CreateProcessAsUser with another user's token");
        let network = TokenFacts { may_impersonate: true, ..token(0x3e4, 0) };
        assert_eq!(road(&token(0x100, 1), &network).1, Some("low"));
        // A parent that may not: somebody else made it.
        assert_eq!(road(&token(0x3e7, 0), &parent), ("cannot tell", None));
    }
    /// A child of a sandboxed process is an ordinary child of it.
    #[test]
    fn a_sandbox_begets_sandboxes() {
        let sandbox = TokenFacts { package: true, integrity: Ok(0x1000), ..token(0x100, 1) };
        assert_eq!(compare(&sandbox, &sandbox).what, "CreateProcess (a copy of the parent's token)");
    }
}
