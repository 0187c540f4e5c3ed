//! `findings`: one row a finding. `triage`: the story of each process, what to read first first.

use super::scene::{Desk, Scene};
use super::story::{Story, stories};
use super::world::World;
use super::{Check, Finding, Rule, Severity, Subject, crash, explain, needs, user_dump};
use crate::analysis::{Analysis, Answers, Ask, Case, Subject as About, Switch, Takes};
use crate::error::Result;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, wide};
use crate::value::{Absent, Note};
use rayon::prelude::*;

/// The register's entry.
pub static FINDINGS: Analysis = Analysis {
    name: "findings",
    about: "Findings of all rules, each with the bytes that show it",
    help: "Runs every rule in one pass and gives one row for each finding, the heaviest subject first. evidence names each field with its virtual \
           address, physical address, offset in the dump file and bytes. What looks odd and is known to be innocent has severity info and says \
           why under explained. --explain RULE tells what a rule means, how it is fooled, and how to check its findings by hand.\n\n\
           Examples:\n  dumpwalk findings memory.dmp --format json | jq '.[] | select(.severity != \"info\")'\n  \
           dumpwalk findings memory.dmp --explain replaced-image\n  \
           dumpwalk findings memory.dmp --fail-on high",
    columns: &COLUMNS,
    switches: &[EXPLAIN],
    subject: About::Processes,
    answers: Answers::of(run).minidump(|case, _, ask, sink| run(case, ask, sink)),
};

/// The register's entry.
pub static TRIAGE: Analysis = Analysis {
    name: "triage",
    about: "Where to look first: all findings as one story for each process, ranked",
    help: "Of a triage dump, says first why the machine stopped: the bug check, the driver most likely to blame and why, the process, the \
           processor, the call stack. Then runs every rule in one pass, groups the findings by process (or driver) into a story, and ranks the stories. A table shows the ten to \
           read first (--all for all); JSON and CSV have all. rule, technique and evidence are those of the heaviest finding first; rules and \
           techniques list all. `findings` has one row for each.\n\n\
           Examples:\n  dumpwalk triage memory.dmp\n  dumpwalk triage memory.dmp --fail-on high   exits with 1 if there is any\n  \
           dumpwalk triage memory.dmp --explain hidden-process",
    columns: &STORY_COLUMNS,
    switches: &[
        Switch { name: "all", value: None, about: "Tables show all stories, not only the ten to read first" },
        EXPLAIN,
    ],
    subject: About::Processes,
    answers: Answers::of(run_triage).minidump(|case, _, ask, sink| run_triage(case, ask, sink)),
};

const EXPLAIN: Switch = Switch {
    name: "explain",
    value: Some(Takes::one("RULE", |text| explain::rule(text).map(drop).map_err(|why| why.to_string()))),
    about: "What a rule means, how it is fooled, and how to check its findings by hand at the offsets given",
};

/// A finding.
struct Findings;
impl crate::report::Subject for Findings {
    type Of<'a> = Finding;
}

const FIELDS: &[Field<Findings>] = &[
    derived(col("severity", Kind::Text, "info, low, medium, high or critical"), "what, and explained", |c| {
        c.severity.word().into()
    }),
    derived(col("subject", Kind::Text, "The process, driver or kernel table it is about"), "evidence", |c| {
        c.subject.to_string().into()
    }),
    derived(col("rule", Kind::Text, "Name of the rule (--explain)"), "evidence", |c| c.rule.name.into()),
    derived(col("technique", Kind::Text, "MITRE ATT&CK technique"), "rule", |c| technique_cell(c)),
    derived(col("what", Kind::Text, "What was found"), "evidence", |c| c.what.clone().into()),
    derived(wide("explained", Kind::Text, "Why it is innocent, where it is"), "evidence", |c| {
        c.explained.clone().map_or_else(Cell::default, Cell::from)
    }),
    derived(wide("pid", Kind::Number, "Process id, of a process"), "evidence", |c| pid(&c.subject)),
    derived(wide("name", Kind::Text, "Name of the process or driver"), "evidence", |c| name(&c.subject)),
    derived(wide("offset", Kind::Hex, "Address of the _EPROCESS, of a process"), "evidence", |c| offset(&c.subject)),
    derived(
        wide("evidence", Kind::Nested, "Each field: field, value, va, pa, file (offset in the dump file), bytes"),
        "fields, each with its own place",
        |c| evidence(std::iter::once(c)),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// The findings of one subject.
struct Stories;
struct Of<'a> {
    story: &'a Story,
    /// The heaviest.
    first: &'a Finding,
}
impl crate::report::Subject for Stories {
    type Of<'a> = Of<'a>;
}

impl Of<'_> {
    /// Words of all findings, each once.
    fn all(&self, get: fn(&Finding) -> &'static str) -> Vec<&'static str> {
        let mut all = Vec::new();
        for word in self.story.findings.iter().map(get) {
            if !word.is_empty() && !all.contains(&word) {
                all.push(word);
            }
        }
        all
    }
}

const STORY_FIELDS: &[Field<Stories>] = &[
    derived(col("severity", Kind::Text, "That of the heaviest finding"), "the findings", |c| {
        c.story.severity().word().into()
    }),
    derived(col("subject", Kind::Text, "The process, driver or kernel table"), "evidence", |c| {
        c.story.subject.to_string().into()
    }),
    derived(col("story", Kind::Text, "What was found, the heaviest first"), "the findings", |c| c.story.text().into()),
    derived(wide("rule", Kind::Text, "Rule of the heaviest finding"), "evidence", |c| c.first.rule.name.into()),
    derived(wide("technique", Kind::Text, "Its MITRE ATT&CK technique"), "rule", |c| technique_cell(c.first)),
    derived(wide("rules", Kind::Texts, "All rules that found something"), "the findings", |c| {
        c.all(|f| f.rule.name).into()
    }),
    derived(wide("techniques", Kind::Texts, "All techniques"), "the findings", |c| c.all(technique).into()),
    derived(wide("findings", Kind::Number, "How many findings"), "the findings", |c| {
        (c.story.findings.len() as u64).into()
    }),
    derived(wide("pid", Kind::Number, "Process id, of a process"), "evidence", |c| pid(&c.story.subject)),
    derived(wide("name", Kind::Text, "Name of the process or driver"), "evidence", |c| name(&c.story.subject)),
    derived(wide("offset", Kind::Hex, "Address of the _EPROCESS, of a process"), "evidence", |c| {
        offset(&c.story.subject)
    }),
    derived(
        wide("evidence", Kind::Nested, "Of all findings, the heaviest first: field, value, va, pa, file, bytes"),
        "fields, each with its own place",
        |c| evidence(c.story.findings.iter()),
    ),
];
const STORY_COLUMNS: [Column; STORY_FIELDS.len()] = headers(STORY_FIELDS);

/// Stories a table shows.
const READ_FIRST: usize = 10;

/// Runs every rule: the stories of what was asked for, the heaviest first.
fn found(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<Vec<Story>> {
    if let Some(user) = case.dump.minidump() {
        return Ok(stories(user_dump::findings(&case.dump, user, ask, sink)?));
    }
    let kernel = case.kernel()?;
    let types = kernel.object_types();
    let mut notes = types.notes.clone();
    let world = World::gather(kernel, &types, &ask.progress, &mut notes)?;
    let (rules, unjudged) = needs::judging(&kernel.symbols.types);
    notes.extend(unjudged);
    notes.into_iter().for_each(|n| sink.note(n));
    let of_people: Vec<(Vec<Finding>, Vec<Note>)> = world
        .people
        .par_iter()
        .map_init(|| Desk::of(&world), |desk, person| look(&Scene::new(&world, desk, person), &rules))
        .collect();
    let mut all = Vec::new();
    for (findings, notes) in of_people {
        all.extend(findings);
        notes.into_iter().for_each(|n| sink.note(n));
    }
    for rule in &rules {
        if let Check::Machine(check) = rule.check {
            check(&world, &mut all);
        }
    }
    all.retain(|f| match &f.subject {
        Subject::Process { pid, name, offset } => ask.wants(*pid, Some(name), *offset),
        _ => ask.names_none(),
    });
    let mut told = stories(all);
    // A triage dump was written for its crash: that comes first, whatever else is found.
    let crash = case.dump.triage().filter(|_| ask.names_none()).and_then(|_| crash::finding(case));
    told.splice(0..0, crash.map(|finding| Story { subject: finding.subject.clone(), findings: vec![finding] }));
    Ok(told)
}

/// Every rule on one process.
fn look(scene: &Scene<'_, '_>, rules: &[&Rule]) -> (Vec<Finding>, Vec<Note>) {
    let mut out = Vec::new();
    for rule in rules {
        if let Check::Process(check) = rule.check {
            check(scene, &mut out);
        }
    }
    let pid = scene.person.pid.map_or_else(|_| "?".to_owned(), |p| p.to_string());
    let notes = scene.memory().map(|m| m.tree.notes.clone()).unwrap_or_default();
    let lost = scene.lost().into_iter().map(Note::loss);
    let told =
        notes.into_iter().chain(lost).map(|n| Note { text: format!("process {pid}: {}", n.text), ..n }).collect();
    (out, told)
}

/// What `--explain` asks for, told.
fn explained(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<bool> {
    let Some(name) = ask.value("explain") else { return Ok(false) };
    let rule = explain::rule(name)?;
    let findings: Vec<Finding> = found(case, ask, sink)?.into_iter().flat_map(|s| s.findings).collect();
    explain::tell(rule, &findings, case.dump.path(), sink)?;
    Ok(true)
}

fn pid(subject: &Subject) -> Cell {
    match subject {
        Subject::Process { pid, .. } => pid.map_or(Cell::Absent(Absent::NotRecorded), Cell::Dec),
        _ => Cell::default(),
    }
}
fn name(subject: &Subject) -> Cell {
    match subject {
        Subject::Process { name, .. } | Subject::Driver(name) => name.clone().into(),
        Subject::Kernel(_) | Subject::Crash(_) => Cell::default(),
    }
}
fn offset(subject: &Subject) -> Cell {
    match subject {
        Subject::Process { offset, .. } => offset.map_or(Cell::Absent(Absent::NotRecorded), Cell::from),
        _ => Cell::default(),
    }
}

fn evidence<'f>(findings: impl Iterator<Item = &'f Finding>) -> Cell {
    Cell::List(findings.flat_map(|f| &f.evidence).map(super::Evidence::cell).collect())
}

fn technique(finding: &Finding) -> &'static str {
    finding.technique.unwrap_or(finding.rule.technique)
}

/// A technique, where there is one: a crash is none.
fn technique_cell(finding: &Finding) -> Cell {
    match technique(finding) {
        "" => Cell::Absent(Absent::NotApplicable),
        id => id.into(),
    }
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if explained(case, ask, sink)? {
        return Ok(());
    }
    for finding in found(case, ask, sink)?.iter().flat_map(|s| &s.findings) {
        let place = finding.evidence.first().map(|e| e.place);
        sink.row(Row { place, ..Row::of(FIELDS, finding, &ask.rows) })?;
    }
    Ok(())
}

fn run_triage(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if explained(case, ask, sink)? {
        return Ok(());
    }
    let all = found(case, ask, sink)?;
    let shown = if ask.brief && !ask.has("all") { READ_FIRST } else { all.len() };
    if let Some(rest) = all.len().checked_sub(shown).filter(|n| *n > 0) {
        sink.note(Note::info(format!("{rest} more stories weigh less: --all shows them")));
    }
    if all.iter().all(|s| s.severity() == Severity::Info) {
        let whom = if ask.names_none() { "" } else { " in what was asked for" };
        sink.note(Note::info(format!("nothing found{whom} that does not fit; what cannot be read was not judged")));
    }
    for story in all.iter().take(shown) {
        let Some(first) = story.findings.first() else { continue };
        let place = first.evidence.first().map(|e| e.place);
        sink.row(Row { place, ..Row::of(STORY_FIELDS, &Of { story, first }, &ask.rows) })?;
    }
    Ok(())
}
