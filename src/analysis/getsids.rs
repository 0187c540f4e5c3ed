//! `getsids`: who each process acts as, and in which groups.

use super::identities::{Identities, token_of};
use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::error::Result;
use crate::kernel::process::Process;
use crate::kernel::sid::Sid;
use crate::kernel::token::{Group, attribute_names};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

/// The columns of a token's SIDs.
pub const COLUMNS: [Column; 9] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("sid", Kind::Text, "Security identifier"),
    col("sid_name", Kind::Text, "Its name, where something tells"),
    col("kind", Kind::Text, "user, group, restricted, package or capability"),
    col("attributes", Kind::Texts, "SE_GROUP_… attributes without the prefix"),
    wide("attributes_value", Kind::Hex, "The attributes as a number"),
    wide("primary", Kind::Bool, "Whether it is the token's primary group"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let identities = Identities::gather(case.kernel()?)?;
    identities.notes.iter().for_each(|n| sink.note(n.clone()));
    each_process(case, ask, sink, |space, process, sink| rows(&identities, process, space, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows(identities: &Identities, process: &Process<'_>, space: &Space<'_>, sink: &mut dyn Sink) -> Result<()> {
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
    let send = |kind: &'static str, group: Group, sink: &mut dyn Sink| {
        let [pid, name] = who::cells(process);
        let cells: [Cell; COLUMNS.len()] = [
            pid,
            name,
            who::offset(process),
            group.sid.map(|s| s.to_string()).into(),
            name_of(identities, group.sid),
            kind.into(),
            group.attributes.map(attribute_names).into(),
            group.attributes.map_or_else(Cell::Absent, |a| Cell::Hex(a.into())),
            match primary {
                Err(why) => Cell::Absent(why),
                Ok(primary) => group.sid.map(|sid| sid == primary).into(),
            },
        ];
        sink.row(Row::new(cells.into()).at(token.view.place()))
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
                    send(if kind == "group" && i == 0 { "user" } else { kind }, group, sink)?;
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
            send("package", Group { sid: Ok(sid), attributes: Err(Absent::NotApplicable) }, sink)?;
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
