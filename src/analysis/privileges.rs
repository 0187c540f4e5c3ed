//! `privileges`: what each process may do beside what access lists allow.

use super::identities::token_of;
use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::error::Result;
use crate::kernel::privilege;
use crate::kernel::process::Process;
use crate::kernel::token::Tokens;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::{Absent, Note};

/// The register's entry.
pub static PRIVILEGES: Analysis = Analysis {
    name: "privileges",
    about: "Privileges of each process' token",
    help: "One row for each privilege that a process' primary token holds, or that is switched on in it. A privilege that is \
           enabled without being present is a token somebody wrote to.\n\nExample: dumpwalk privileges memory.dmp --name lsass",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

/// The columns of a token's privileges.
pub const COLUMNS: [Column; 8] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("privilege", Kind::Text, "Name of the privilege"),
    col("value", Kind::Number, "Its number (the low part of its LUID)"),
    col("present", Kind::Bool, "Whether the token holds it"),
    col("enabled", Kind::Bool, "Whether it is switched on"),
    col("default", Kind::Bool, "Whether it was switched on when the token was made"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let tokens = Tokens::new(&kernel.symbols.types).map_err(|e| kernel.unreadable(&e))?;
    each_process(case, ask, sink, |space, process, sink| rows(&tokens, process, space, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows(tokens: &Tokens, process: &Process<'_>, space: &Space<'_>, sink: &mut dyn Sink) -> Result<()> {
    let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
    let privileges = match token_of(tokens, &process.kernel.space(), process) {
        Ok(token) => token.privileges(space).map(|list| (list, token.view.place())),
        Err(why) => Err(why),
    };
    match privileges {
        Ok((list, place)) => list.into_iter().try_for_each(|each| {
            let [pid, name] = who::cells(process);
            let cells: [Cell; COLUMNS.len()] = [
                pid,
                name,
                who::offset(process),
                privilege::name(each.luid).map_or(Cell::Absent(Absent::Implausible), Cell::from),
                each.luid.into(),
                each.present.into(),
                each.enabled.into(),
                each.default.into(),
            ];
            sink.row(Row::new(cells.into()).at(place))
        }),
        Err(Absent::NotApplicable) => Ok(()),
        Err(why) => {
            sink.note(Note::loss(format!("process {pid}: the privileges of its token are {why}")));
            Ok(())
        }
    }
}
