//! Does a job: opens the case, runs the analysis into the report, tells the notes.

use super::exit::Exit;
use super::job::Job;
use super::output::{self, Output};
use super::progress::Bar;
use super::{docs, interrupt, logging, symbols, words};
use crate::analysis::{Ask, Case};
use crate::error::{Error, Result};
use crate::report::{Cell, Column, Finished, Pen, Report, Row, Sink, Style, guard};
use crate::value::Note;
use clap::ArgMatches;
use std::io::{self, Write};

/// Notes shown on standard error without `-v`.
const NOTES_SHOWN: usize = 25;

/// Does what was asked.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<Exit> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(Exit::Usage) };
    match name {
        "analyses" => docs::analyses(matches)?,
        "schema" => docs::schema(matches)?,
        "completions" => docs::completions(matches)?,
        "man" => docs::man(matches)?,
        "symbols" => return Ok(symbols::run(matches)?),
        name => {
            let analysis =
                words::analysis(name).ok_or_else(|| Error::Usage(format!("there is no command '{name}'")))?;
            logging::start(matches.get_count("verbose"));
            return analyse(&Job::new(analysis, matches)?);
        }
    }
    Ok(Exit::Done)
}

fn analyse(job: &Job) -> anyhow::Result<Exit> {
    interrupt::take_over(&job.dump);
    // Outputs first: an hour of work must not end at a file that exists.
    if let (Some(rows), Some(notes)) = (&job.output, &job.notes) {
        output::two_files(rows, notes)?;
    }
    let mut output = Output::open(job.output.as_deref(), job.force, &job.dump)?;
    let notes_file = job.notes.as_ref().map(|path| Output::open(Some(path), job.force, &job.dump)).transpose()?;
    let bar = Bar::start(&job.open.progress);
    let pool = pool(job.threads)?;
    let case = pool.install(|| Case::open(&job.dump, &job.open))?;
    let terminal = output.is_terminal();
    let style = Style {
        format: job.format,
        wide: job.wide,
        provenance: job.provenance,
        width: terminal.then(|| terminal_size::terminal_size().map_or(80, |(width, _)| width.0)),
        colour: terminal && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
        terminal,
    };
    let mut out = output.writer()?;
    if terminal {
        out = bar.hidden_by(out);
    }
    let told = pool.install(|| answer(job, &case, out, style));
    drop(bar);
    let (finished, worst) = match told {
        Ok(told) => told,
        Err((error, notes)) => {
            // What is known so far helps to understand the error.
            tell(&Finished { notes, ..Finished::default() }, job.verbose);
            return Err(error.into());
        }
    };
    output.keep()?;
    if let Some(mut file) = notes_file {
        write_notes(&finished.notes, file.writer()?)?;
        file.keep()?;
    }
    tell(&finished, job.verbose);
    Ok(match job.fail_on {
        Some(least) if worst.is_some_and(|w| w >= least) => Exit::Findings,
        _ if finished.loss() => Exit::Partial,
        _ => Exit::Done,
    })
}

/// Workers: fewer where the system starts no more (a limit on processes, too little memory for stacks).
fn pool(wanted: usize) -> Result<rayon::ThreadPool> {
    let mut threads = wanted;
    loop {
        match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
            Ok(pool) => {
                if threads < wanted {
                    log::warn!("{threads} of {wanted} threads could be started");
                }
                return Ok(pool);
            }
            Err(_) if threads > 1 => threads /= 2,
            Err(e) => return Err(Error::Usage(format!("cannot start a thread: {e}"))),
        }
    }
}

/// Runs the analysis into the report: what it left and the worst severity, or the error and the notes so far.
fn answer(
    job: &Job,
    case: &Case,
    out: Box<dyn Write + Send + '_>,
    style: Style,
) -> Result<(Finished, Option<usize>), (Error, Vec<Note>)> {
    let picked = job.columns.as_ref().map(|keys| Picked::of(job.analysis.columns, keys));
    let columns = picked.as_ref().map_or(job.analysis.columns, |picked| picked.columns);
    let mut watching = Watching {
        report: Report::new(out, columns, style),
        picked,
        severity: job.analysis.columns.iter().position(|c| c.key == "severity"),
        worst: None,
        names: &job.rows,
        named: job.analysis.names().collect(),
        seen: 0,
        shown: 0,
    };
    case.all_notes().for_each(|note| watching.note(note.clone()));
    let done = job.analysis.run(case, &job.ask, &mut watching);
    // What was met while pages and texts were read is known now.
    case.met().into_iter().for_each(|note| watching.note(note));
    if done.is_ok() {
        watching.tell_empty(&job.ask);
    }
    let Watching { report, worst, .. } = watching;
    match done {
        Ok(()) => Ok((report.finish().map_err(|e| (e, Vec::new()))?, worst)),
        Err(error) => Err((error, report.abandon())),
    }
}

/// The columns that are shown, where only some are.
struct Picked {
    columns: &'static [Column],
    /// Their places among the cells of a row.
    cells: Vec<usize>,
}

impl Picked {
    fn of(all: &'static [Column], keys: &[&'static str]) -> Self {
        let cells: Vec<usize> = keys.iter().filter_map(|key| all.iter().position(|c| c.key == *key)).collect();
        let shown = cells.iter().filter_map(|i| all.get(*i)).map(|column| Column { table: true, ..*column });
        // A run shows one set of columns, which writers keep to its end.
        Self { columns: Vec::leak(shown.collect()), cells }
    }
    fn row(&self, mut row: Row) -> Row {
        let take = |i: &usize| row.cells.get(*i).cloned().unwrap_or_default();
        row.cells = self.cells.iter().map(take).collect();
        row.fields.retain(|(key, _)| self.columns.iter().any(|column| column.key == *key));
        row
    }
}

/// A report that remembers the worst severity that went by, and lets by only rows with the names asked for.
struct Watching<'w> {
    report: Report<'w>,
    picked: Option<Picked>,
    severity: Option<usize>,
    worst: Option<usize>,
    /// In lower case.
    names: &'w [String],
    /// The columns they are sought in.
    named: Vec<usize>,
    /// Rows made, and let by.
    seen: u64,
    shown: u64,
}

/// The text of a cell, also where its end is missing.
fn text(cell: &Cell) -> Option<&str> {
    match cell {
        Cell::Text(text) => Some(text),
        Cell::Cut(text, _) => Some(text),
        _ => None,
    }
}

impl Watching<'_> {
    fn is_named(&self, row: &Row) -> bool {
        let cells = self.named.iter().filter_map(|i| row.cells.get(*i));
        self.names.is_empty()
            || cells.filter_map(text).any(|text| {
                let text = text.to_lowercase();
                self.names.iter().any(|name| text.contains(name.as_str()))
            })
    }
    /// Leaves a note when a filter matched no row: an empty table alone would read as if nothing of the kind existed.
    fn tell_empty(&mut self, ask: &Ask) {
        if self.shown > 0 {
            return;
        }
        // A switch with a value chooses; the others add.
        let filters = ask.switches.iter().filter(|(_, value)| !value.is_empty());
        let filters = filters.map(|(name, value)| format!("--{name} {value}"));
        let asked: Vec<String> = self.names.iter().map(|name| format!("--name {name}")).chain(filters).collect();
        if !asked.is_empty() {
            let all = if self.seen > 0 { format!(" ({} rows without it)", self.seen) } else { String::new() };
            self.note(Note::info(format!("no row matches {}{all}", asked.join(" "))));
        }
    }
}

impl Sink for Watching<'_> {
    fn row(&mut self, row: Row) -> Result<()> {
        self.seen = self.seen.saturating_add(1);
        if !self.is_named(&row) {
            return Ok(());
        }
        self.shown = self.shown.saturating_add(1);
        if let Some(Cell::Text(text)) = self.severity.and_then(|i| row.cells.get(i)) {
            self.worst = self.worst.max(words::SEVERITIES.iter().position(|s| s == text));
        }
        let row = match &self.picked {
            Some(picked) => picked.row(row),
            None => row,
        };
        self.report.row(row)
    }
    fn note(&mut self, note: Note) {
        self.report.note(note);
    }
    fn pen(&self) -> Option<Pen> {
        // Whoever watches needs the rows.
        let plain = self.severity.is_none() && self.names.is_empty() && self.picked.is_none();
        if plain { self.report.pen() } else { None }
    }
    fn penned(&mut self, rows: u64, text: &[u8]) -> Result<()> {
        self.shown = self.shown.saturating_add(rows);
        self.report.penned(rows, text)
    }
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        // A section has columns of its own.
        self.picked = None;
        self.report.section(title, columns)
    }
}

/// Legend and notes, on standard error.
fn tell(finished: &Finished, verbose: bool) {
    let mut err = io::stderr().lock();
    // Nobody is left to tell if standard error is closed.
    if let Some(legend) = &finished.legend {
        let _ = writeln!(err, "legend: {legend}");
    }
    let shown = if verbose { finished.notes.len() } else { NOTES_SHOWN };
    for note in finished.notes.iter().take(shown) {
        let kind = if note.loss { "loss" } else { "note" };
        let _ = writeln!(err, "{kind}: {}", guard::visible(&note.text));
    }
    let more = finished.notes.len().saturating_sub(shown);
    if more > 0 {
        let _ = writeln!(err, "note: {more} more notes (-v shows them, --notes FILE keeps them)");
    }
}

/// One JSON object a line: `{"loss":true,"text":"…"}`.
fn write_notes(notes: &[Note], mut out: Box<dyn Write + Send + '_>) -> Result<()> {
    for note in notes {
        writeln!(out, "{}", serde_json::json!({"loss": note.loss, "text": note.text}))?;
    }
    Ok(out.flush()?)
}
