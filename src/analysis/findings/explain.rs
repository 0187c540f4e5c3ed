//! `--explain RULE`: what a rule means, and how to check its findings by hand at the places given.

use super::{Finding, RULES, Rule, crash};
use crate::error::{Error, Result};
use crate::place::At;
use crate::report::{Cell, Column, Kind, Row, Sink, col};
use crate::value::Absent;

const RULE: [Column; 6] = [
    col("rule", Kind::Text, "Name of the rule"),
    col("technique", Kind::Text, "MITRE ATT&CK technique"),
    col("about", Kind::Text, "What it looks for"),
    col("means", Kind::Text, "What a finding means"),
    col("fooled", Kind::Text, "What escapes it, and what innocent things set it off"),
    col("verify", Kind::Text, "How to check a finding by hand"),
];
const BY_HAND: [Column; 8] = [
    col("level", Kind::Text, "Severity of the finding"),
    col("subject", Kind::Text, "What it is about"),
    col("field", Kind::Text, "Where to look"),
    col("value", Kind::Text, "What dumpwalk read there"),
    col("va", Kind::Hex, "Virtual address"),
    col(
        "file",
        Kind::Text,
        "Offset in the dump file; in a page file with its name; behind a > the byte of the page decoded from there",
    ),
    col("bytes", Kind::Text, "The bytes there"),
    col("command", Kind::Text, "Shows them"),
];

/// The rule of that name.
///
/// # Errors
/// There is none: lists all.
pub fn rule(name: &str) -> Result<&'static Rule> {
    let all = || RULES.iter().copied().chain([&crash::RULE]);
    all().find(|r| r.name == name).ok_or_else(|| {
        let names: Vec<&str> = all().map(|r| r.name).collect();
        Error::Usage(format!("there is no rule '{name}'; the rules are: {}", names.join(", ")))
    })
}

/// Tells a rule, and every piece of evidence of its findings with a command that shows the bytes.
///
/// # Errors
/// The sink's.
pub fn tell(rule: &'static Rule, findings: &[Finding], dump: &std::path::Path, sink: &mut dyn Sink) -> Result<()> {
    sink.section("rule", &RULE)?;
    let texts = [rule.name, rule.technique, rule.about, rule.means, rule.fooled, rule.verify];
    sink.row(Row::new(texts.into_iter().map(Cell::from).collect()).upright())?;
    sink.section("by hand", &BY_HAND)?;
    let name = dump.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    for finding in findings.iter().filter(|f| f.rule.name == rule.name) {
        for evidence in &finding.evidence {
            let address = |a: Option<u64>| a.map_or(Cell::Absent(Absent::NotRecorded), Cell::Hex);
            let bytes = evidence.bytes.as_ref().map_err(|why| *why);
            let command = match (evidence.place.file.and_then(At::dump_offset), &bytes) {
                (Some(at), Ok(bytes)) => Cell::from(format!("xxd -s {at:#x} -l {} {name}", bytes.len())),
                (_, Err(why)) => Cell::Absent(*why),
                (None, _) => Cell::Absent(Absent::NotRecorded),
            };
            let mut value = String::new();
            evidence.value.write_text(&mut value);
            let value = evidence.value.absent().map_or_else(|| value.into(), Cell::Absent);
            let cells: [Cell; BY_HAND.len()] = [
                finding.severity.word().into(),
                finding.subject.to_string().into(),
                evidence.field.clone().into(),
                value,
                address(evidence.place.va.map(|v| v.0)),
                evidence.place.file.map_or(Cell::Absent(Absent::NotRecorded), Cell::from),
                bytes.map_or_else(Cell::Absent, |b| super::evidence::hex(b).into()),
                command,
            ];
            sink.row(Row::new(cells.into()).at(evidence.place))?;
        }
    }
    Ok(())
}
