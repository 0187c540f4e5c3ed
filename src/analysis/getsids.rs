//! `getsids`: who each process acts as, and in which groups.

use super::identities::{Identities, token_of};
use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::process::Process;
use crate::kernel::sid::Sid;
use crate::kernel::token::{Group, Token, attribute_names};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::value::{Absent, Note, Value};

/// The register's entry.
pub static GETSIDS: Analysis = Analysis {
    name: "getsids",
    about: "Users and groups of each process' token",
    help: "One row for each security identifier of a process' primary token: the user first, then the groups in the token's \
           order, then restricting SIDs, the app container and its capabilities. Names come from the well-known table, from the \
           hashes of service and capability names, and from the logon sessions of the dump.\n\n\
           Example: dumpwalk getsids memory.dmp --pid 1234",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

/// A SID in a token.
#[derive(Debug)]
pub struct SidsOf;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    identities: &'a Identities,
    token: &'a Token<'a>,
    kind: &'static str,
    /// Its number in the token's array of that kind.
    index: u32,
    group: Group,
    primary: Value<Sid>,
}
who::of_process!(SidsOf, Of);

impl Of<'_> {
    fn array(&self) -> Value<Va> {
        let view = &self.token.view;
        match self.kind {
            "restricted" => view.restricted(),
            "capability" => view.capabilities(),
            _ => view.groups(),
        }
    }
    fn sid_at(&self) -> Option<Place> {
        match self.kind {
            "package" => Some(self.space.place(self.token.view.package().ok()?)),
            _ => self.token.entry_sid_at(self.space, self.array().ok()?, self.index),
        }
    }
    fn attributes_at(&self) -> Option<Place> {
        match self.kind {
            "package" => None,
            _ => self.token.attributes_at(self.space, self.array().ok()?, self.index),
        }
    }
}

/// The columns of a token's SIDs.
pub const FIELDS: &[Field<SidsOf>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(
        col("sid", Kind::Text, "Security identifier"),
        |c| c.group.sid.map(|s| s.to_string()).into(),
        |c| c.sid_at(),
    ),
    derived(
        col("sid_name", Kind::Text, "Its name, where something tells"),
        "the SID, and what names it: well-known SIDs, logon sessions, profiles",
        |c| name_of(c.identities, c.group.sid),
    ),
    derived(
        col("kind", Kind::Text, "user, group, restricted, package or capability"),
        "the list of the token it is in",
        |c| c.kind.into(),
    ),
    placed(
        col("attributes", Kind::Texts, "SE_GROUP_… attributes without the prefix"),
        |c| c.group.attributes.map(attribute_names).into(),
        |c| c.attributes_at(),
    ),
    placed(
        wide("attributes_value", Kind::Hex, "The attributes as a number"),
        |c| Cell::hex(c.group.attributes),
        |c| c.attributes_at(),
    ),
    derived(
        wide("primary", Kind::Bool, "Whether it is the token's primary group"),
        "sid, and the SID that PrimaryGroup points at",
        |c| c.primary.and_then(|primary| Ok(c.group.sid? == primary)).into(),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let identities = Identities::gather(case.kernel()?)?;
    identities.notes.iter().for_each(|n| sink.note(n.clone()));
    each_process(case, ask, sink, |space, process, sink| rows(&identities, process, space, ask, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows(
    identities: &Identities,
    process: &Process<'_>,
    space: &Space<'_>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
    let token = match token_of(&identities.tokens, &process.kernel.space(), process) {
        Ok(token) => token,
        Err(Absent::NotApplicable) => return Ok(()),
        Err(why) => {
            sink.note(Note::loss(format!("process {pid}: its token is {why}")));
            return Ok(());
        }
    };
    let primary = token.primary_group(space);
    let send = |kind: &'static str, index: usize, group: Group, sink: &mut dyn Sink| {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let of = Of { process, space, identities, token: &token, kind, index, group, primary };
        sink.row(Row::of(FIELDS, &of, &ask.rows).at(token.view.place()))
    };
    let lists: [(&'static str, Value<Vec<Group>>); 3] = [
        ("group", token.groups(space)),
        ("restricted", token.restricted(space)),
        ("capability", token.capabilities(space)),
    ];
    for (kind, list) in lists {
        match list {
            Ok(list) => {
                for (i, group) in list.into_iter().enumerate() {
                    send(if kind == "group" && i == 0 { "user" } else { kind }, i, group, sink)?;
                }
            }
            // No kernel is without groups; capabilities came with 8.
            Err(Absent::NotInBuild) if kind == "capability" => {}
            Err(Absent::NotApplicable) => {}
            Err(why) => {
                sink.note(Note::loss(format!("process {pid}: the {kind} list of the token at {} is {why}", token.va)))
            }
        }
        if kind == "restricted"
            && let Ok(sid) = token.package(space)
        {
            send("package", 0, Group { sid: Ok(sid), attributes: Err(Absent::NotApplicable) }, sink)?;
        }
    }
    Ok(())
}

/// A SID's name as a cell.
#[must_use]
pub fn name_of(identities: &Identities, sid: Value<Sid>) -> Cell {
    match sid {
        Ok(sid) => identities.names.name(&sid).map_or(Cell::Absent(Absent::NotRecorded), Cell::from),
        Err(why) => Cell::Absent(why),
    }
}
