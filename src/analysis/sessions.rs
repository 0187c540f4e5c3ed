//! `sessions`: who is logged on, and what runs for them.

use super::identities::{Identities, environment_name, token_of};
use super::{Analysis, Answers, Ask, Case, Subject, copied};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::logon::Session;
use crate::kernel::sid::Sid;
use crate::kernel::sid_names::by_environment;
use crate::kernel::sides::Sides;
use crate::kernel::token::{LogonSession, Token, TokenLayout};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
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

/// A logon session.
#[derive(Debug)]
pub struct Logons;
/// What is known of it.
pub struct Of<'a> {
    kernel: &'a Kernel,
    /// Kernel memory.
    space: &'a Space<'a>,
    id: u64,
    session: Value<&'a Session>,
    used: Used,
    user: Value<Sid>,
    user_name: Cell,
    /// Whether tokens name their sessions.
    named: Value<()>,
}
impl crate::report::Subject for Logons {
    type Of<'a> = Of<'a>;
}

impl Of<'_> {
    fn at(&self, field: At<LogonSession>) -> Option<Place> {
        self.kernel.place_in(self.space, self.session.ok()?.at, field)
    }
}

fn texts(list: Vec<String>) -> Cell {
    Cell::List(list.into_iter().map(Cell::from).collect())
}

/// The columns of a logon session.
pub const FIELDS: &[Field<Logons>] = &[
    placed(
        col("logon_id", Kind::Hex, "LUID of the session; 0x3e7 system, 0x3e5 local service, 0x3e4 network service"),
        |c| Cell::Hex(c.id),
        |c| c.at(LogonSession::logon_id).or(c.used.id_at),
    ),
    derived(col("account", Kind::Text, "Account it was made for"), "AuthorityName and AccountName", |c| {
        c.session.and_then(|s| s.full_name()).into()
    }),
    derived(
        col("user", Kind::Text, "SID of the user, by the session's own token or a process'"),
        "the session's own token, or one of a process",
        |c| c.user.map(|s| s.to_string()).into(),
    ),
    derived(
        col(
            "user_name",
            Kind::Text,
            "Name of that SID, where something tells; if only USERNAME in a process's environment does, it says so",
        ),
        "the SID, and what names it; for want of that USERNAME in a process's environment",
        |c| c.user_name.clone(),
    ),
    derived(
        col("session", Kind::Texts, "Terminal sessions of its processes"),
        "SessionId of the processes' tokens",
        |c| texts(c.used.terminals.iter().map(u32::to_string).collect()),
    ),
    derived(
        col("processes", Kind::Number, "Listed processes that belong to it"),
        "AuthenticationId of the processes' tokens",
        |c| c.named.map(|()| c.used.pids.len() as u64).into(),
    ),
    derived(wide("pids", Kind::Texts, "Their ids"), "AuthenticationId of the processes' tokens", |c| {
        c.named.map_or_else(Cell::Absent, |()| texts(c.used.pids.iter().map(u64::to_string).collect()))
    }),
    placed(
        col("linked_logon_id", Kind::Hex, "LUID of the other half of a split logon"),
        |c| {
            Cell::hex(
                c.session.and_then(|s| s.buddy).and_then(|b| if b == 0 { Err(Absent::NotApplicable) } else { Ok(b) }),
            )
        },
        |c| c.at(LogonSession::buddy),
    ),
    placed(
        wide("token", Kind::Hex, "Address of the session's own token"),
        |c| c.session.and_then(|s| s.token).into(),
        |c| c.at(LogonSession::token),
    ),
    placed(
        wide("flags", Kind::Hex, "Flags"),
        |c| Cell::hex(c.session.and_then(|s| s.flags)),
        |c| c.at(LogonSession::flags),
    ),
    derived(
        col("offset", Kind::Hex, "Address of the _SEP_LOGON_SESSION_REFERENCES; none where only tokens tell of it"),
        "SepLogonSessions, or a token that points there: it is the row's own place",
        |c| c.session.map(|s| s.at).into(),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// What the tokens of processes tell of a session.
#[derive(Default)]
pub struct Used {
    pids: Vec<u64>,
    /// Where the first of them names the session.
    id_at: Option<Place>,
    terminals: BTreeSet<u32>,
    user: Option<Sid>,
    /// What the environment of one of them calls the user, where its SID cannot be read.
    called: Option<String>,
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
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
        entry.id_at = entry.id_at.or_else(|| token.view.at(TokenLayout::logon_id));
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
        let user: Value<Sid> = own
            .as_ref()
            .map_err(|why| *why)
            .and_then(|t: &Token<'_>| if t.plausible() { t.user(&space) } else { Err(Absent::Implausible) })
            .or_else(|why| used.user.ok_or(why));
        let user_name = match (super::getsids::name_of(&identities, user), &used.called) {
            (Cell::Absent(_), Some(name)) => by_environment(name).into(),
            (name, _) => name,
        };
        let place = session.ok().map(|s| s.place);
        let of = Of { kernel, space: &space, id, session, used, user, user_name, named };
        sink.row(Row { place, ..Row::of(FIELDS, &of, &ask.rows) })?;
    }
    Ok(())
}
