//! `privileges`: what each process may do beside what access lists allow.

use super::identities::token_of;
use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::error::Result;
use crate::kernel::privilege::{self, Privilege};
use crate::kernel::process::Process;
use crate::kernel::token::{Token, TokenLayout, Tokens};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
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

/// A privilege of a token.
#[derive(Debug)]
pub struct PrivilegesOf;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    token: &'a Token<'a>,
    each: Privilege,
}
who::of_process!(PrivilegesOf, Of);

/// The columns of a token's privileges.
pub const FIELDS: &[Field<PrivilegesOf>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    derived(col("privilege", Kind::Text, "Name of the privilege"), "value", |c| {
        privilege::name(c.each.luid).map_or(Cell::Absent(Absent::Implausible), Cell::from)
    }),
    derived(
        col("value", Kind::Number, "Its number (the low part of its LUID)"),
        "which bit of the masks it is; up to Server 2003 the LUID of an array's entry",
        |c| c.each.luid.into(),
    ),
    placed(
        col("present", Kind::Bool, "Whether the token holds it"),
        |c| c.each.present.into(),
        |c| c.token.privileges_at(c.space, TokenLayout::present),
    ),
    placed(
        col("enabled", Kind::Bool, "Whether it is switched on"),
        |c| c.each.enabled.into(),
        |c| c.token.privileges_at(c.space, TokenLayout::enabled),
    ),
    placed(
        col("default", Kind::Bool, "Whether it was switched on when the token was made"),
        |c| c.each.default.into(),
        |c| c.token.privileges_at(c.space, TokenLayout::default),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let tokens = Tokens::new(&kernel.symbols.types).map_err(|e| kernel.unreadable(&e))?;
    each_process(case, ask, sink, |space, process, sink| rows(&tokens, process, space, ask, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows(tokens: &Tokens, process: &Process<'_>, space: &Space<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
    let token = token_of(tokens, &process.kernel.space(), process);
    let privileges = match &token {
        Ok(token) => token.privileges(space).map(|list| (list, token)),
        Err(why) => Err(*why),
    };
    match privileges {
        Ok((list, token)) => list.into_iter().try_for_each(|each| {
            let of = Of { process, space, token, each };
            sink.row(Row::of(FIELDS, &of, &ask.rows).at(token.view.place()))
        }),
        Err(Absent::NotApplicable) => Ok(()),
        Err(why) => {
            sink.note(Note::loss(format!("process {pid}: the privileges of its token are {why}")));
            Ok(())
        }
    }
}
