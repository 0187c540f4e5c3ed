//! `sessions`: who is logged on, and what runs for them.

use super::identities::{Identities, environment_name, token_of};
use super::{Analysis, Answers, Ask, Case, Subject, copied};
use crate::error::Result;
use crate::kernel::sid_names::by_environment;
use crate::kernel::sides::Sides;
use crate::kernel::token::Token;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::{Absent, Note, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The register's entry.
pub static SESSIONS: Analysis = Analysis {
    name: "sessions",
    about: "Logon sessions: accounts, terminal sessions, processes",
    help: "One row for each logon session, by LUID: those in the kernel's own chains (SepLogonSessions), and those that the tokens of processes \
           name. A session that no process uses any more may still hold credentials. Both halves of a split administrator's logon \
           name each other (linked_logon_id).\n\nExample: dumpwalk sessions memory.dmp",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of(run).copies(|kernel, _, sink| copied::nothing(kernel, sink)),
};

/// The columns of a logon session.
pub const COLUMNS: [Column; 11] = [
    col("logon_id", Kind::Hex, "LUID of the session; 0x3e7 system, 0x3e5 local service, 0x3e4 network service"),
    col("account", Kind::Text, "Account it was made for"),
    col("user", Kind::Text, "SID of the user, by the session's own token or a process'"),
    col(
        "user_name",
        Kind::Text,
        "Name of that SID, where something tells; if only USERNAME in a process's environment does, it says so",
    ),
    col("session", Kind::Texts, "Terminal sessions of its processes"),
    col("processes", Kind::Number, "Listed processes that belong to it"),
    wide("pids", Kind::Texts, "Their ids"),
    col("linked_logon_id", Kind::Hex, "LUID of the other half of a split logon"),
    wide("token", Kind::Hex, "Address of the session's own token"),
    wide("flags", Kind::Hex, "Flags"),
    col("offset", Kind::Hex, "Address of the _SEP_LOGON_SESSION_REFERENCES; none where only tokens tell of it"),
];

/// What the tokens of processes tell of a session.
#[derive(Default)]
struct Used {
    pids: Vec<u64>,
    terminals: BTreeSet<u32>,
    user: Option<crate::kernel::sid::Sid>,
    /// What the environment of one of them calls the user, where its SID cannot be read.
    called: Option<String>,
}

fn run(case: &Case, _: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let identities = Identities::gather(kernel)?;
    identities.sessions.notes.iter().for_each(|n| sink.note(n.clone()));
    let space = kernel.space();
    let sides = Sides::of(kernel).ok();
    let mut used: BTreeMap<u64, Used> = BTreeMap::new();
    for process in kernel.processes()?.list {
        let pid = process.pid();
        let token = match token_of(&identities.tokens, &space, &process) {
            Ok(token) => token,
            Err(why) => {
                let pid = pid.map_or_else(|_| "?".into(), |p| p.to_string());
                sink.note(Note::loss(format!("process {pid}: its token is {why}")));
                continue;
            }
        };
        let Ok(id) = token.view.logon_id() else { continue };
        let entry = used.entry(id).or_default();
        entry.pids.extend(pid);
        entry.terminals.extend(token.view.session_id());
        entry.user = entry.user.or(token.user(&space).ok());
        if entry.user.is_none() && entry.called.is_none() {
            entry.called = sides.as_ref().and_then(|sides| environment_name(sides, &process, &space));
        }
    }
    let ids: BTreeSet<u64> = identities.sessions.list.keys().chain(used.keys()).copied().collect();
    // What no token names is not known to be in use by none.
    let named = identities.tokens.names_sessions();
    for id in ids {
        let session = identities.sessions.list.get(&id).ok_or(Absent::NotRecorded);
        let used = used.remove(&id).unwrap_or_default();
        let own = session.and_then(|s| s.token).map(|at| identities.tokens.at(&space, at));
        let user: Value<crate::kernel::sid::Sid> = own
            .as_ref()
            .map_err(|why| *why)
            .and_then(|t: &Token<'_>| if t.plausible() { t.user(&space) } else { Err(Absent::Implausible) })
            .or_else(|why| used.user.ok_or(why));
        let texts = |list: Vec<String>| Cell::List(list.into_iter().map(Cell::from).collect());
        let cells: [Cell; COLUMNS.len()] = [
            Cell::Hex(id),
            session.and_then(|s| s.full_name()).into(),
            user.map(|s| s.to_string()).into(),
            match (super::getsids::name_of(&identities, user), used.called) {
                (Cell::Absent(_), Some(name)) => by_environment(&name).into(),
                (name, _) => name,
            },
            texts(used.terminals.iter().map(u32::to_string).collect()),
            named.map(|_| used.pids.len() as u64).into(),
            named.map_or_else(Cell::Absent, |_| texts(used.pids.iter().map(u64::to_string).collect())),
            session
                .and_then(|s| s.buddy)
                .and_then(|b| if b == 0 { Err(Absent::NotApplicable) } else { Ok(b) })
                .map_or_else(Cell::Absent, Cell::Hex),
            session.and_then(|s| s.token).into(),
            session.and_then(|s| s.flags).map_or_else(Cell::Absent, |f| Cell::Hex(f.into())),
            session.map(|s| s.at).into(),
        ];
        let row = Row::new(cells.into());
        sink.row(match session {
            Ok(session) => row.at(session.place),
            Err(_) => row,
        })?;
    }
    Ok(())
}
