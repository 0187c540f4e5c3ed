//! `tokens`: the access token of each process, and those its threads impersonate with.

use super::getsids::name_of;
use super::identities::{Identities, token_of};
use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, copied, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::sid_names::integrity_name;
use crate::kernel::thread::{EThread, Thread};
use crate::kernel::token::{LogonSession, Token, TokenLayout, flag_names, kind_name, level_name};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
use crate::value::{Absent, Note, Value};

/// The register's entry.
pub static TOKENS: Analysis = Analysis {
    name: "tokens",
    about: "Access tokens: user, integrity, elevation, logon session",
    help: "One row for the primary token of each process, and one for each thread that impersonates (`tid`). `elevated` follows the \
           kernel's rule for TokenElevation: the token holds a sensitive privilege or is in a sensitive group that is not for \
           denying only. `elevation_type` is Default where the logon session has no linked one, else Full or Limited.\n\n\
           Example: dumpwalk tokens memory.dmp --format json",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).copies(|kernel, ask, sink| copied::process(kernel, &COLUMNS, ask, sink)),
};

/// A token that a process or one of its threads acts with.
#[derive(Debug)]
pub struct TokensOf;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    identities: &'a Identities,
    /// The thread that impersonates with it.
    thread: Option<&'a Thread<'a>>,
    token: &'a Token<'a>,
}
who::of_process!(TokensOf, Of);

impl Of<'_> {
    /// An array; where there is none, the field that says so.
    fn array_at(&self, array: Value<Va>, count: At<TokenLayout>) -> Option<Place> {
        let array = array.ok()?;
        if array.is_null() { self.token.view.at(count) } else { Some(self.space.place(array)) }
    }
    /// The pointer to the token.
    fn pointer_at(&self) -> Option<Place> {
        match self.thread {
            None => self.process.view.at(EProcess::token),
            Some(thread) => thread.view.at(EThread::client),
        }
    }
}

/// The columns of a token.
pub const FIELDS: &[Field<TokensOf>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(
        col("tid", Kind::Number, "Of an impersonation token the thread that uses it; none for the process' own"),
        |c| c.thread.map_or(Cell::Absent(Absent::NotApplicable), |thread| thread.tid().into()),
        |c| c.thread?.view.at(EThread::tid),
    ),
    placed(col("token", Kind::Hex, "Address of the _TOKEN"), |c| c.token.va.into(), |c| c.pointer_at()),
    placed(
        col("user", Kind::Text, "The user's SID"),
        |c| c.token.user(c.space).map(|s| s.to_string()).into(),
        |c| c.token.sid_at(c.space, 0),
    ),
    derived(
        col("user_name", Kind::Text, "The user's name, where something tells"),
        "the SID, and what names it: well-known SIDs, logon sessions, profiles",
        |c| name_of(c.identities, c.token.user(c.space)),
    ),
    placed(
        col("integrity", Kind::Text, "Mandatory level"),
        |c| c.token.integrity(c.space).map(integrity_name).into(),
        |c| c.token.label_at(c.space),
    ),
    placed(
        wide("integrity_level", Kind::Hex, "Mandatory level as a number (0x3000 is high)"),
        |c| Cell::hex(c.token.integrity(c.space)),
        |c| c.token.label_at(c.space),
    ),
    derived(
        col("elevated", Kind::Bool, "Whether the kernel would call it elevated (TokenElevation)"),
        "groups and privileges, by the kernel's rule",
        |c| c.token.elevated(c.space).into(),
    ),
    derived(
        wide("elevation_type", Kind::Text, "Default, Full or Limited (TokenElevationType)"),
        "linked_logon_id, and elevated",
        |c| c.token.elevation_type(c.space).into(),
    ),
    placed(
        col("session", Kind::Number, "Terminal session (SessionId)"),
        |c| c.token.view.session_id().into(),
        |c| c.token.view.at(TokenLayout::session_id),
    ),
    placed(
        col("logon_id", Kind::Hex, "LUID of the logon session (AuthenticationId); 0x3e7 is the system's"),
        |c| Cell::hex(c.token.view.logon_id()),
        |c| c.token.view.at(TokenLayout::logon_id),
    ),
    derived(
        wide("logon_account", Kind::Text, "Account the logon session was made for"),
        "AuthorityName and AccountName of the logon session",
        |c| c.identities.account(c.token).into(),
    ),
    placed(
        wide("linked_logon_id", Kind::Hex, "LUID of the other half of a split logon (BuddyLogonId)"),
        |c| link(c.token.logon_session(c.space).and_then(|s| s.buddy())),
        |c| c.token.logon_session(c.space).ok()?.at(LogonSession::buddy),
    ),
    derived(
        wide("linked_token", Kind::Hex, "Token of the other half of a split logon"),
        "the logon session with linked_logon_id",
        |c| c.identities.linked(c.token, c.space).into(),
    ),
    placed(
        wide("origin_logon_id", Kind::Hex, "LUID of the session that made this one with explicit credentials"),
        |c| link(c.token.view.origin()),
        |c| c.token.view.at(TokenLayout::origin),
    ),
    placed(
        wide("type", Kind::Text, "Primary or Impersonation"),
        |c| c.token.view.kind().and_then(|k| kind_name(k).ok_or(Absent::Implausible)).into(),
        |c| c.token.view.at(TokenLayout::kind),
    ),
    placed(
        wide(
            "impersonation_level",
            Kind::Text,
            "Anonymous, Identification, Impersonation or Delegation; none for primary tokens",
        ),
        |c| impersonation_level(c.token).into(),
        |c| c.token.view.at(TokenLayout::level),
    ),
    placed(
        wide("primary_group", Kind::Text, "SID of the primary group"),
        |c| c.token.primary_group(c.space).map(|s| s.to_string()).into(),
        |c| Some(c.space.place(c.token.view.primary_group().ok()?)),
    ),
    derived(wide("primary_group_name", Kind::Text, "Its name"), "the SID, and what names it", |c| {
        name_of(c.identities, c.token.primary_group(c.space))
    }),
    placed(
        wide("owner", Kind::Text, "SID that owns what is made with this token (DefaultOwnerIndex)"),
        |c| owner(c.token, c.space).into(),
        |c| c.token.sid_at(c.space, c.token.view.owner_index().ok()?),
    ),
    placed(
        wide("app_container", Kind::Text, "SID of the app container (Package)"),
        |c| c.token.package(c.space).map(|s| s.to_string()).into(),
        |c| Some(c.space.place(c.token.view.package().ok()?)),
    ),
    placed(
        wide("trust", Kind::Text, "Process trust label (TrustLevelSid)"),
        |c| {
            c.token.trust(c.space).map(|s| c.identities.names.name(&s).map_or_else(|| s.to_string(), Into::into)).into()
        },
        |c| Some(c.space.place(c.token.view.trust().ok()?)),
    ),
    placed(
        wide("groups", Kind::Number, "Number of groups, the user among them"),
        |c| c.token.view.group_count().into(),
        |c| c.token.view.at(TokenLayout::group_count),
    ),
    placed(
        wide("restricted_sids", Kind::Texts, "Restricting SIDs"),
        |c| sids(c.token.restricted(c.space), |s| s.to_string()),
        |c| c.array_at(c.token.view.restricted(), TokenLayout::restricted_count),
    ),
    placed(
        wide("capabilities", Kind::Texts, "Capabilities by name, else by SID"),
        |c| {
            sids(c.token.capabilities(c.space), |s| {
                c.identities.names.name(s).map_or_else(|| s.to_string(), Into::into)
            })
        },
        |c| c.array_at(c.token.view.capabilities(), TokenLayout::capability_count),
    ),
    placed(
        wide("privileges_enabled", Kind::Texts, "Privileges that are switched on"),
        |c| enabled(c.token, c.space),
        |c| c.token.privileges_at(c.space, TokenLayout::enabled),
    ),
    placed(
        wide("flags", Kind::Texts, "TokenFlags by name (TOKEN_… without the prefix)"),
        |c| c.token.view.flags().map(flag_names).into(),
        |c| c.token.view.at(TokenLayout::flags),
    ),
    placed(
        wide("mandatory_policy", Kind::Hex, "1 no write up, 2 new process minimum"),
        |c| Cell::hex(c.token.view.mandatory_policy()),
        |c| c.token.view.at(TokenLayout::mandatory_policy),
    ),
    placed(
        wide("source", Kind::Text, "Who made it (TokenSource)"),
        |c| c.token.source().into(),
        |c| c.token.view.at(TokenLayout::source_name),
    ),
    placed(
        wide("token_id", Kind::Hex, "The token's own LUID"),
        |c| Cell::hex(c.token.view.token_id()),
        |c| c.token.view.at(TokenLayout::token_id),
    ),
    placed(
        wide("parent_token_id", Kind::Hex, "LUID of the token it was restricted from"),
        |c| link(c.token.view.parent_id()),
        |c| c.token.view.at(TokenLayout::parent_id),
    ),
    placed(
        wide("modified_id", Kind::Hex, "LUID that changes with every change"),
        |c| Cell::hex(c.token.view.modified_id()),
        |c| c.token.view.at(TokenLayout::modified_id),
    ),
    placed(
        wide("logon_session", Kind::Hex, "Address of the _SEP_LOGON_SESSION_REFERENCES"),
        |c| c.token.view.logon_session().into(),
        |c| c.token.view.at(TokenLayout::logon_session),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let identities = Identities::gather(case.kernel()?)?;
    identities.notes.iter().for_each(|n| sink.note(n.clone()));
    each_process(case, ask, sink, |space, process, sink| rows(&identities, process, space, ask, sink))
}

/// The rows of a process: its own token, then those of its threads.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    identities: &'k Identities,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
    let give = |thread: Option<&Thread<'_>>, token: &Token<'_>, sink: &mut dyn Sink| {
        sink.row(Row::of(FIELDS, &Of { process, space, identities, thread, token }, &ask.rows).at(token.view.place()))
    };
    match token_of(&identities.tokens, space, process) {
        Ok(token) => give(None, &token, sink)?,
        Err(Absent::NotApplicable) => {}
        Err(why) => sink.note(Note::loss(format!("process {pid}: its token is {why}"))),
    }
    for thread in process.thread_list(space)?.list {
        if let Ok(client) = thread.impersonation(space) {
            let token = identities.tokens.at(space, client.token);
            give(Some(&thread), &token, sink)?;
        }
    }
    Ok(())
}

/// A LUID of zero names nothing.
fn link(value: Value<u64>) -> Cell {
    Cell::hex(value.and_then(|id| if id == 0 { Err(Absent::NotApplicable) } else { Ok(id) }))
}

fn impersonation_level(token: &Token<'_>) -> Value<&'static str> {
    if token.view.kind()? != 2 {
        return Err(Absent::NotApplicable);
    }
    level_name(token.view.level()?).ok_or(Absent::Implausible)
}

fn owner(token: &Token<'_>, space: &Space<'_>) -> Value<String> {
    let index = usize::try_from(token.view.owner_index()?).map_err(|_| Absent::Implausible)?;
    let groups = token.groups(space)?;
    Ok(groups.get(index).ok_or(Absent::Implausible)?.sid?.to_string())
}

fn sids(list: Value<Vec<crate::kernel::token::Group>>, text: impl Fn(&crate::kernel::sid::Sid) -> String) -> Cell {
    match list {
        Ok(list) => Cell::List(list.iter().map(|g| g.sid.map(|s| text(&s)).into()).collect()),
        Err(why) => Cell::Absent(why),
    }
}

fn enabled(token: &Token<'_>, space: &Space<'_>) -> Cell {
    match token.privileges(space) {
        Ok(list) => Cell::List(
            list.iter()
                .filter(|p| p.enabled)
                .map(|p| crate::kernel::privilege::name(p.luid).map_or_else(|| p.luid.to_string().into(), Cell::from))
                .collect(),
        ),
        Err(why) => Cell::Absent(why),
    }
}
