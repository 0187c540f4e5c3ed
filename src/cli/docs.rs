//! What dumpwalk says of itself: list of analyses, schemas, completions, manual pages.

use super::{job, words};
use crate::analysis::{Analysis, GROUPS};
use crate::error::{Error, Result};
use crate::report::{Cell, Column, Kind, Report, Row, Sink, Style, col, schema};
use clap::ArgMatches;
use std::io::{self, Write};

const COLUMNS: &[Column] = &[
    col("name", Kind::Text, "The subcommand."),
    col("about", Kind::Text, "What it answers."),
    col("subject", Kind::Text, "What it is about."),
    col(
        "answers_from",
        Kind::Texts,
        "Kinds of dump: memory (all of it, or the kernel's), triage (small kernel dumps), minidump (of one process).",
    ),
];

fn kinds(analysis: &Analysis) -> Cell {
    analysis.answers.kinds().collect::<Vec<_>>().into()
}

/// `dumpwalk analyses`.
pub(super) fn analyses(matches: &ArgMatches) -> Result<()> {
    let style = Style { format: job::format(matches), ..Style::default() };
    let mut report = Report::new(Box::new(io::stdout()), COLUMNS, style);
    for group in GROUPS {
        for analysis in group.analyses {
            report.row(Row::new(vec![
                analysis.name.into(),
                analysis.about.into(),
                group.name.into(),
                kinds(analysis),
            ]))?;
        }
    }
    report.finish()?;
    Ok(())
}

/// `dumpwalk schema ANALYSIS`.
pub(super) fn schema(matches: &ArgMatches) -> Result<()> {
    let name = matches.get_one::<String>("analysis").map_or("", String::as_str);
    let analysis = words::analysis(name).ok_or_else(|| Error::Usage(format!("there is no analysis '{name}'")))?;
    let schema = schema::of(analysis.name, analysis.about, analysis.columns);
    Ok(writeln!(io::stdout(), "{schema:#}")?)
}

/// `dumpwalk completions SHELL`.
pub(super) fn completions(matches: &ArgMatches) -> Result<()> {
    if let Some(shell) = matches.get_one::<clap_complete::Shell>("shell") {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut words::command(), "dumpwalk", &mut script);
        io::stdout().write_all(&script)?;
    }
    Ok(())
}

/// `dumpwalk man [COMMAND]`.
pub(super) fn man(matches: &ArgMatches) -> Result<()> {
    let mut all = words::command();
    all.build();
    let page = match matches.get_one::<String>("of") {
        None => all,
        Some(name) => {
            let found = all.get_subcommands().find(|c| c.get_name() == name).cloned();
            let found = found.ok_or_else(|| Error::Usage(format!("there is no command '{name}'")))?;
            found.display_name(format!("dumpwalk-{name}"))
        }
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(page).render(&mut roff)?;
    Ok(io::stdout().write_all(&roff)?)
}
