//! `tokens`: the access token of each process, and those its threads impersonate with.

use super::getsids::name_of;
use super::identities::{Identities, token_of};
use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, copied, who};
use crate::error::Result;
use crate::kernel::process::Process;
use crate::kernel::sid_names::integrity_name;
use crate::kernel::token::{Token, flag_names, kind_name, level_name};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

/// The columns of a token.
pub const COLUMNS: [Column; 35] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("tid", Kind::Number, "Of an impersonation token the thread that uses it; none for the process' own"),
    col("token", Kind::Hex, "Address of the _TOKEN"),
    col("user", Kind::Text, "The user's SID"),
    col("user_name", Kind::Text, "The user's name, where something tells"),
    col("integrity", Kind::Text, "Mandatory level"),
    wide("integrity_level", Kind::Hex, "Mandatory level as a number (0x3000 is high)"),
    col("elevated", Kind::Bool, "Whether the kernel would call it elevated (TokenElevation)"),
    wide("elevation_type", Kind::Text, "Default, Full or Limited (TokenElevationType)"),
    col("session", Kind::Number, "Terminal session (SessionId)"),
    col("logon_id", Kind::Hex, "LUID of the logon session (AuthenticationId); 0x3e7 is the system's"),
    wide("logon_account", Kind::Text, "Account the logon session was made for"),
    wide("linked_logon_id", Kind::Hex, "LUID of the other half of a split logon (BuddyLogonId)"),
    wide("linked_token", Kind::Hex, "Token of the other half of a split logon"),
    wide("origin_logon_id", Kind::Hex, "LUID of the session that made this one with explicit credentials"),
    wide("type", Kind::Text, "Primary or Impersonation"),
    wide(
        "impersonation_level",
        Kind::Text,
        "Anonymous, Identification, Impersonation or Delegation; none for primary tokens",
    ),
    wide("primary_group", Kind::Text, "SID of the primary group"),
    wide("primary_group_name", Kind::Text, "Its name"),
    wide("owner", Kind::Text, "SID that owns what is made with this token (DefaultOwnerIndex)"),
    wide("app_container", Kind::Text, "SID of the app container (Package)"),
    wide("trust", Kind::Text, "Process trust label (TrustLevelSid)"),
    wide("groups", Kind::Number, "Number of groups, the user among them"),
    wide("restricted_sids", Kind::Texts, "Restricting SIDs"),
    wide("capabilities", Kind::Texts, "Capabilities by name, else by SID"),
    wide("privileges_enabled", Kind::Texts, "Privileges that are switched on"),
    wide("flags", Kind::Texts, "TokenFlags by name (TOKEN_… without the prefix)"),
    wide("mandatory_policy", Kind::Hex, "1 no write up, 2 new process minimum"),
    wide("source", Kind::Text, "Who made it (TokenSource)"),
    wide("token_id", Kind::Hex, "The token's own LUID"),
    wide("parent_token_id", Kind::Hex, "LUID of the token it was restricted from"),
    wide("modified_id", Kind::Hex, "LUID that changes with every change"),
    wide("logon_session", Kind::Hex, "Address of the _SEP_LOGON_SESSION_REFERENCES"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let identities = Identities::gather(case.kernel()?)?;
    identities.notes.iter().for_each(|n| sink.note(n.clone()));
    each_process(case, ask, sink, |space, process, sink| rows(&identities, process, space, sink))
}

/// The rows of a process: its own token, then those of its threads.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    identities: &'k Identities,
    process: &Process<'k>,
    space: &Space<'k>,
    sink: &mut dyn Sink,
) -> Result<()> {
    let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
    match token_of(&identities.tokens, space, process) {
        Ok(token) => sink.row(row(identities, process, None, &token, space))?,
        Err(Absent::NotApplicable) => {}
        Err(why) => sink.note(Note::loss(format!("process {pid}: its token is {why}"))),
    }
    for thread in process.thread_list(space)?.list {
        if let Ok(client) = thread.impersonation(space) {
            let token = identities.tokens.at(space, client.token);
            sink.row(row(identities, process, Some(thread.tid()), &token, space))?;
        }
    }
    Ok(())
}

fn row(
    identities: &Identities,
    process: &Process<'_>,
    tid: Option<Value<u64>>,
    token: &Token<'_>,
    space: &Space<'_>,
) -> Row {
    let view = &token.view;
    let user = token.user(space);
    let integrity = token.integrity(space);
    let primary_group = token.primary_group(space);
    let session = token.logon_session(space);
    let luid = |value: Value<u64>| value.map_or_else(Cell::Absent, Cell::Hex);
    // A LUID of zero names nothing.
    let link = |value: Value<u64>| luid(value.and_then(|id| if id == 0 { Err(Absent::NotApplicable) } else { Ok(id) }));
    let [pid, name] = who::cells(process);
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        who::offset(process),
        tid.map_or(Cell::Absent(Absent::NotApplicable), Cell::from),
        token.va.into(),
        user.map(|s| s.to_string()).into(),
        name_of(identities, user),
        integrity.map(integrity_name).into(),
        integrity.map_or_else(Cell::Absent, |level| Cell::Hex(level.into())),
        token.elevated(space).into(),
        token.elevation_type(space).into(),
        view.session_id().into(),
        luid(view.logon_id()),
        identities.account(token).into(),
        link(session.as_ref().map_err(|why| *why).and_then(|s| s.buddy())),
        identities.linked(token, space).into(),
        link(view.origin()),
        view.kind().and_then(|k| kind_name(k).ok_or(Absent::Implausible)).into(),
        impersonation_level(token).into(),
        primary_group.map(|s| s.to_string()).into(),
        name_of(identities, primary_group),
        owner(token, space).into(),
        token.package(space).map(|s| s.to_string()).into(),
        token.trust(space).map(|s| identities.names.name(&s).map_or_else(|| s.to_string(), Into::into)).into(),
        view.group_count().into(),
        sids(token.restricted(space), |s| s.to_string()),
        sids(token.capabilities(space), |s| identities.names.name(s).map_or_else(|| s.to_string(), Into::into)),
        enabled(token, space),
        view.flags().map(flag_names).into(),
        view.mandatory_policy().map_or_else(Cell::Absent, |p| Cell::Hex(p.into())),
        token.source().into(),
        luid(view.token_id()),
        link(view.parent_id()),
        luid(view.modified_id()),
        view.logon_session().into(),
    ];
    Row::new(cells.into()).at(view.place())
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
