//! `findings`: one row a finding. `triage`: the story of each process, what to read first first.

use super::scene::{Desk, Scene};
use super::story::{Story, stories};
use super::world::World;
use super::{Check, Finding, Rule, Severity, Subject, crash, explain, needs, user_dump};
use crate::analysis::{Analysis, Answers, Ask, Case, Subject as Of, Switch};
use crate::error::Result;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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
    subject: Of::Processes,
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
    subject: Of::Processes,
    answers: Answers::of(run_triage).minidump(|case, _, ask, sink| run_triage(case, ask, sink)),
};

const EXPLAIN: Switch = Switch {
    name: "explain",
    value: Some("RULE"),
    about: "What a rule means, how it is fooled, and how to check its findings by hand at the offsets given",
};

const COLUMNS: [Column; 10] = [
    col("severity", Kind::Text, "info, low, medium, high or critical"),
    col("subject", Kind::Text, "The process, driver or kernel table it is about"),
    col("rule", Kind::Text, "Name of the rule (--explain)"),
    col("technique", Kind::Text, "MITRE ATT&CK technique"),
    col("what", Kind::Text, "What was found"),
    wide("explained", Kind::Text, "Why it is innocent, where it is"),
    wide("pid", Kind::Number, "Process id, of a process"),
    wide("name", Kind::Text, "Name of the process or driver"),
    wide("offset", Kind::Hex, "Address of the _EPROCESS, of a process"),
    wide("evidence", Kind::Nested, "Each field: field, value, va, pa, file (offset in the dump file), bytes"),
];

const STORY_COLUMNS: [Column; 12] = [
    col("severity", Kind::Text, "That of the heaviest finding"),
    col("subject", Kind::Text, "The process, driver or kernel table"),
    col("story", Kind::Text, "What was found, the heaviest first"),
    wide("rule", Kind::Text, "Rule of the heaviest finding"),
    wide("technique", Kind::Text, "Its MITRE ATT&CK technique"),
    wide("rules", Kind::Texts, "All rules that found something"),
    wide("techniques", Kind::Texts, "All techniques"),
    wide("findings", Kind::Number, "How many findings"),
    wide("pid", Kind::Number, "Process id, of a process"),
    wide("name", Kind::Text, "Name of the process or driver"),
    wide("offset", Kind::Hex, "Address of the _EPROCESS, of a process"),
    wide("evidence", Kind::Nested, "Of all findings, the heaviest first: field, value, va, pa, file, bytes"),
];

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

/// Process id, name and address of a subject.
fn who(subject: &Subject) -> [Cell; 3] {
    let none = || Cell::Absent(Absent::NotApplicable);
    match subject {
        Subject::Process { pid, name, offset } => [
            pid.map_or(Cell::Absent(Absent::NotRecorded), Cell::Dec),
            name.clone().into(),
            offset.map_or(Cell::Absent(Absent::NotRecorded), Cell::from),
        ],
        Subject::Driver(name) => [none(), name.clone().into(), none()],
        Subject::Kernel(_) | Subject::Crash(_) => [none(), none(), none()],
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
        let [pid, name, offset] = who(&finding.subject);
        let cells: [Cell; COLUMNS.len()] = [
            finding.severity.word().into(),
            finding.subject.to_string().into(),
            finding.rule.name.into(),
            technique_cell(finding),
            finding.what.clone().into(),
            finding.explained.clone().map_or(Cell::Absent(Absent::NotApplicable), Cell::from),
            pid,
            name,
            offset,
            evidence(std::iter::once(finding)),
        ];
        let row = Row::new(cells.into());
        sink.row(match finding.evidence.first() {
            Some(first) => row.at(first.place),
            None => row,
        })?;
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
        let mut rules: Vec<&'static str> = Vec::new();
        let mut techniques: Vec<&'static str> = Vec::new();
        for finding in &story.findings {
            for (list, item) in [(&mut rules, finding.rule.name), (&mut techniques, technique(finding))] {
                if !item.is_empty() && !list.contains(&item) {
                    list.push(item);
                }
            }
        }
        let [pid, name, offset] = who(&story.subject);
        let cells: [Cell; STORY_COLUMNS.len()] = [
            story.severity().word().into(),
            story.subject.to_string().into(),
            story.text().into(),
            first.rule.name.into(),
            technique_cell(first),
            rules.into(),
            techniques.into(),
            (story.findings.len() as u64).into(),
            pid,
            name,
            offset,
            evidence(story.findings.iter()),
        ];
        let row = Row::new(cells.into());
        sink.row(match first.evidence.first() {
            Some(first) => row.at(first.place),
            None => row,
        })?;
    }
    Ok(())
}
