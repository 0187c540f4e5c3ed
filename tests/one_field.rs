//! Nobody hides by one field. Each field that a `layout!` declares of what a planted process consists of is written over with its
//! extremes, one at a time, and every rule runs again: what was found before is found with no less weight, or a contradiction of at
//! least that weight takes its place, or a note of loss says what could not be judged.
//!
//! What is written over comes from the declarations in the sources, not from a list. Fields in which a technique itself lies (a token
//! that is another's no longer shows once it is none) are in `one_field.known`, each with its reason. The table rule, field, outcome
//! is written to `one_field.tsv` in the folder of the tests' files (`target/tmp`).
//!
//! A run tries a part of all cases, the same each time; `DUMPWALK_ONE_FIELD=all` tries all of them, and any other value those whose
//! `subject type.field` contains it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
mod sources;

use dumpwalk::addr::Va;
use dumpwalk::analysis::findings::FINDINGS;
use dumpwalk::analysis::{Ask, Case};
use dumpwalk::dump::Dump;
use dumpwalk::error::Result;
use dumpwalk::kernel::{Kernel, find};
use dumpwalk::paging::Space;
use dumpwalk::report::{Cell, Row, Sink};
use dumpwalk::symbols::Symbols;
use dumpwalk::symbols::store::{Options, Store};
use dumpwalk::value::Note;
use rayon::prelude::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const SAMPLE: &str = "testdata/win10-22h2-attack/full.dmp";
/// Cases of a run that does not try all.
const CASES: usize = 160;
/// Severities, least first; findings from medium on must not be lost.
const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];
const MEDIUM: usize = 2;

/// What was found: subject and rule, with the heaviest severity; and the notes of loss.
#[derive(Default)]
struct Found {
    all: BTreeMap<(String, String), usize>,
    loss: BTreeSet<String>,
}
impl Sink for Found {
    fn row(&mut self, row: Row) -> Result<()> {
        let column = |key: &str| &row.cells[FINDINGS.columns.iter().position(|c| c.key == key).unwrap()];
        let text = |key: &str| match column(key) {
            Cell::Text(text) => text.to_string(),
            other => panic!("{key}: {other:?}"),
        };
        let subject = match column("offset") {
            Cell::Absent(_) => text("subject"),
            at => format!("{at:?}"),
        };
        let severity = SEVERITIES.iter().position(|s| *s == text("severity")).unwrap();
        let weight = self.all.entry((subject, text("rule"))).or_default();
        *weight = severity.max(*weight);
        Ok(())
    }
    fn note(&mut self, note: Note) {
        if note.loss {
            self.loss.insert(note.text.to_string());
        }
    }
}

/// Runs every rule over these bytes.
fn findings(bytes: &[u8], symbols: &Symbols) -> Result<Found> {
    let dump = Arc::new(Dump::from_bytes(Path::new("one_field"), bytes)?);
    let kernel = find::find(&dump, &common::Exactly(symbols.clone()));
    let case = Case { dump, kernel, notes: Vec::new() };
    let mut found = Found::default();
    FINDINGS.run(&case, &Ask::default(), &mut found)?;
    case.all_notes().for_each(|n| found.note(n.clone()));
    Ok(found)
}

/// One value written over one field.
struct Change {
    /// Whose.
    subject: String,
    /// `_TYPE.Path`.
    field: String,
    what: &'static str,
    at: usize,
    bytes: Vec<u8>,
}

/// Where the objects of a process are: type and address, with the space that maps it.
fn objects<'k>(kernel: &'k Kernel, process: &Value) -> Vec<(&'static str, Va, Space<'k>)> {
    let member = |path: &str| u64::from(kernel.symbols.types.member("_EPROCESS", path).unwrap().offset);
    let at = Va(process["eprocess"].as_u64().unwrap());
    let space = kernel.space();
    let pointer = |path: &str| space.pointer(at.add(member(path))).ok().map(|va| Va(va.0 & !15));
    let mut out = vec![("_EPROCESS", at, kernel.space())];
    let threads = process["threads"].as_array().into_iter().flatten().filter_map(|t| t["et"].as_u64());
    out.extend(threads.map(|va| ("_ETHREAD", Va(va), kernel.space())));
    let owned = [("_HANDLE_TABLE", "ObjectTable"), ("_TOKEN", "Token"), ("_MMVAD", "VadRoot")];
    out.extend(owned.into_iter().filter_map(|(ty, path)| Some((ty, pointer(path)?, kernel.space()))));
    if let (Some(peb), Ok(space)) = (pointer("Peb"), kernel.process_at(&space, at).unwrap().space()) {
        out.push(("_PEB", peb, space));
    }
    out.retain(|(_, va, _)| !va.is_null());
    out
}

/// Fields of a type that the sources ask for.
fn declared(ty: &str) -> BTreeSet<String> {
    let of = sources::layouts().into_iter().filter(|d| d.ty == ty || (ty == "_MMVAD" && d.ty == "_MMVAD_SHORT"));
    of.flat_map(|d| {
        let core = ty == "_MMVAD" && d.ty == "_MMVAD_SHORT";
        let paths = d.lines.into_iter().flat_map(|l| l.paths);
        paths.map(move |p| if core { format!("Core.{p}") } else { p }).collect::<Vec<_>>()
    })
    .collect()
}

/// Every case.
fn changes(kernel: &Kernel, bytes: &[u8], truth: &Value) -> Vec<Change> {
    let planted = |p: &&Value| p["exit"].as_u64() == Some(0) && !matches!(p["pid"].as_u64(), Some(0..=1000));
    let system = kernel.system.unwrap().0;
    let mut out = Vec::new();
    for process in truth["processes"].as_array().unwrap().iter().filter(planted) {
        let mut seen = BTreeSet::new();
        for (ty, va, space) in objects(kernel, process) {
            for path in declared(ty) {
                let Some(member) = kernel.symbols.types.member(ty, &path) else { continue };
                let place = space.translate(va.add(member.offset.into())).ok();
                let Some(at) = place.and_then(|pa| kernel.dump.file_offset(pa)) else { continue };
                let (at, size) = (at as usize, member.size.clamp(1, 8) as usize);
                // A structure may end with the page that holds it.
                let Some(old) = bytes.get(at..at + size) else { continue };
                let mut word = [0; 8];
                word[..size].copy_from_slice(old);
                let old = u64::from_le_bytes(word);
                let ones = |bits: u32| 1u64.checked_shl(bits).map_or(u64::MAX, |b| b - 1);
                let (shift, mask) = member.bits.map_or((0, ones(8 * size as u32)), |(s, l)| (s, ones(l.into())));
                let now = old >> shift & mask;
                let values = [
                    ("zero", 0),
                    ("ones", u64::MAX),
                    ("next", now.wrapping_add(1)),
                    ("before", now.wrapping_sub(1)),
                    ("kernel address", system),
                    ("user address", 0x7ff6_1234_0000),
                ];
                for (what, value) in values.into_iter().filter(|(_, v)| v & mask != now) {
                    let new = old & !(mask << shift) | (value & mask) << shift;
                    if seen.insert((at, new)) {
                        out.push(Change {
                            subject: format!("pid {} {}", process["pid"], process["name"].as_str().unwrap()),
                            field: format!("{ty}.{path}"),
                            what,
                            at,
                            bytes: new.to_le_bytes()[..size].to_vec(),
                        });
                    }
                }
            }
        }
    }
    out
}

/// What became of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Kept,
    Replaced,
    Noted,
    Lost,
}
impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Replaced => "another finding of that weight",
            Self::Noted => "note of loss",
            Self::Lost => "lost",
        }
    }
}

/// What became of each finding of the undamaged sample.
fn outcomes(before: &Found, after: &Found) -> Vec<(String, Outcome)> {
    let heavy = before.all.iter().filter(|(_, weight)| **weight >= MEDIUM);
    heavy
        .map(|(key, weight)| {
            let new = |(other, w): (&(String, String), &usize)| {
                w >= weight && before.all.get(other).is_none_or(|old| old < w)
            };
            let outcome = if after.all.get(key).is_some_and(|w| w >= weight) {
                Outcome::Kept
            } else if after.all.iter().any(new) {
                Outcome::Replaced
            } else if after.loss.iter().any(|l| !before.loss.contains(l)) {
                Outcome::Noted
            } else {
                Outcome::Lost
            };
            (key.1.clone(), outcome)
        })
        .collect()
}

/// `rule _TYPE.Path reason` by line.
fn known() -> BTreeSet<(String, String)> {
    let text = include_str!("one_field.known");
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|l| {
            let mut words = l.splitn(3, ' ');
            let key = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            assert!(words.next().is_some_and(|reason| reason.len() > 10), "no reason: {l}");
            key
        })
        .collect()
}

/// The cases of this run.
fn chosen(all: Vec<Change>) -> Vec<Change> {
    match std::env::var("DUMPWALK_ONE_FIELD").ok().as_deref() {
        Some("all") => all,
        Some(part) => all.into_iter().filter(|c| format!("{} {}", c.subject, c.field).contains(part)).collect(),
        None => {
            let name = |c: &Change| common::checksum(format!("{} {} {}", c.subject, c.field, c.what).as_bytes());
            let every = (all.len() / CASES).max(1) as u64;
            all.into_iter().filter(|c| name(c) % every == 0).collect()
        }
    }
}

#[test]
fn nobody_hides_by_one_field() {
    let root = common::root();
    let bytes = std::fs::read(root.join(SAMPLE)).unwrap();
    let truth = std::fs::read(root.join(SAMPLE).with_file_name("truth.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let options = Options { folders: vec![root.join("symbols")], offline: true, ..Options::default() };
    let dump = Arc::new(Dump::from_bytes(Path::new("one_field"), &bytes).unwrap());
    let kernel = find::find(&dump, &Store::new(options)).unwrap();
    let before = findings(&bytes, &kernel.symbols).unwrap();
    assert!(before.all.values().filter(|w| **w >= MEDIUM).count() > 30, "the sample's findings are not there");
    let all = changes(&kernel, &bytes, &truth);
    let whole = all.len();
    let cases = chosen(all);
    println!("{} cases of {whole}", cases.len());
    let known = known();
    let results: Vec<(String, String, Outcome, String)> = cases
        .par_iter()
        .flat_map_iter(|case| {
            let mut damaged = bytes.clone();
            damaged[case.at..case.at + case.bytes.len()].copy_from_slice(&case.bytes);
            let after = findings(&damaged, &kernel.symbols);
            let all = match after {
                Ok(after) => outcomes(&before, &after),
                Err(e) => panic!("{} of {} := {}: {e}", case.field, case.subject, case.what),
            };
            let how = format!("{} := {}", case.subject, case.what);
            all.into_iter().map(move |(rule, outcome)| (rule, case.field.clone(), outcome, how.clone()))
        })
        .collect();
    let mut table: BTreeMap<(String, String), (Outcome, String)> = BTreeMap::new();
    let mut lost = Vec::new();
    for (rule, field, outcome, how) in results {
        if outcome == Outcome::Lost && !known.contains(&(rule.clone(), field.clone())) {
            lost.push(format!("{rule} {field} {how}"));
        }
        let worst = table.entry((rule, field)).or_insert((Outcome::Kept, String::new()));
        if outcome > worst.0 {
            *worst = (outcome, how);
        }
    }
    let mut text = String::from("rule\tfield\toutcome\twhere\n");
    for ((rule, field), (outcome, how)) in &table {
        let is_known = *outcome == Outcome::Lost && known.contains(&(rule.clone(), field.clone()));
        let word = if is_known { "known" } else { outcome.word() };
        text.push_str(&format!("{rule}\t{field}\t{word}\t{how}\n"));
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one_field.tsv");
    std::fs::write(&path, text).unwrap();
    println!("table of {} rules and fields: {}", table.len(), path.display());
    assert!(lost.is_empty(), "{} lost:\n{}", lost.len(), lost.join("\n"));
}
