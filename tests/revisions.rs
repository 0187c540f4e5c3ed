//! A dump of a revision that no table is of: every value that is shown is right, or it is absent.
//!
//! Each machine is forged on one layout and read twice: with that layout and its globals, as its own PDB would give them, and with all
//! other tables but never its own. In the gate the layouts are revisions made up here, from the forge's own tables. With
//! `DUMPWALK_REVISIONS=all` (or a part of a name: `18362`) they are the layouts of real kernels in `../shared`, one machine each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod revised;

use common::write;
use dumpwalk::addr::Va;
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::dump::Dump;
use dumpwalk::kernel::find;
use dumpwalk::report::Format;
use dumpwalk::symbols::{Fallback, PdbId, SymbolSource, Symbols};
use revised::{Machine, Table};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Gives the kernel's own symbols, and nothing else.
struct Own(Symbols);

impl SymbolSource for Own {
    fn load(&self, _: &PdbId) -> dumpwalk::error::Result<Symbols> {
        Ok(self.0.clone())
    }
    fn fallbacks(&self, _: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(std::iter::empty())
    }
}

/// Gives tables of other kernels, nearest first.
struct Others(Vec<Symbols>);

impl SymbolSource for Others {
    fn load(&self, _: &PdbId) -> dumpwalk::error::Result<Symbols> {
        Err(dumpwalk::error::Error::NoSymbols("none here".into()))
    }
    fn fallbacks(&self, wanted: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        let mut near: Vec<&Symbols> = self.0.iter().filter(|s| s.machine == Some(wanted.machine)).collect();
        let (build, revision) = (wanted.build, wanted.revision);
        near.sort_by_key(|s| {
            let its = revised::version(s.version.as_deref().unwrap());
            let far = build.map_or(0, |b| b.abs_diff(its.2));
            let off = revision.map_or(0, |r| r.abs_diff(its.3));
            (far, off, std::cmp::Reverse((its.2, its.3)))
        });
        Box::new(near.into_iter().cloned())
    }
}

fn open(path: &Path, source: &dyn SymbolSource) -> Case {
    let dump = Arc::new(Dump::open(path).unwrap());
    let kernel = find::find(&dump, source);
    Case { dump, kernel, notes: Vec::new() }
}

type Rows = Vec<serde_json::Map<String, Value>>;

/// What every analysis says, by name.
fn report(case: &Case) -> BTreeMap<&'static str, Rows> {
    let mut out = BTreeMap::new();
    for analysis in ALL.iter().filter(|a| a.name != "report" && !LEFT_OUT.contains(&a.name)) {
        let Ok(written) = write(case, analysis, &Ask::default(), &[Format::Jsonl]) else { continue };
        let text = String::from_utf8(written.into_iter().next().unwrap().bytes).unwrap();
        let rows = text.lines().map(|line| match serde_json::from_str(line).unwrap() {
            Value::Object(row) => row,
            other => panic!("{other}"),
        });
        out.insert(analysis.name, rows.collect());
    }
    out
}

/// Analyses that look for names which only symbols have.
const LEFT_OUT: [&str; 1] = ["callbacks"];

/// Columns that say something else without the names of a PDB (`tests/without_symbols.rs` has the reasons), and the reasons of
/// absent values.
const NAMES: [&str; 16] = [
    "symbols",
    // The start of the system is the header's where no symbol names the kernel's own.
    "by_header",
    // Pages whose entries nobody can read without the kernel's mask are counted apart.
    "paged_out",
    "unknown",
    "entry",
    "absent",
    "symbol",
    "start_location",
    "win32_start_location",
    "load_reason",
    "wait_reason",
    // What speaks for a conclusion, in words: fewer fields, fewer reasons.
    "evidence",
    "explained",
    "confidence",
    "what",
    "story",
];

/// Whether a value is the truth's, as far as it is there: what is absent says nothing wrong.
fn agrees(truth: Option<&Value>, value: &Value) -> bool {
    match (truth, value) {
        (_, Value::Null) => true,
        // The state of a page whose entry nobody can read without the kernel's mask.
        (_, Value::String(state)) if state == "unknown" => true,
        (Some(Value::Object(truth)), Value::Object(value)) => {
            value.iter().all(|(key, value)| key == "absent" || agrees(truth.get(key), value))
        }
        (Some(Value::Array(truth)), Value::Array(value)) if truth.len() == value.len() => {
            truth.iter().zip(value).all(|(truth, value)| agrees(Some(truth), value))
        }
        (truth, value) => truth == Some(value),
    }
}

/// What a story of `triage` adds up: of fewer findings it is less.
const STORY: [&str; 6] = ["severity", "rule", "rules", "technique", "techniques", "findings"];

/// Rows that no row of the truth agrees with, each with the columns that differ from the nearest.
fn wrong(name: &str, truth: &Rows, got: &Rows) -> Vec<String> {
    let words = |key: &str| NAMES.contains(&key) || (name == "triage" && STORY.contains(&key));
    let differ = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| -> Vec<String> {
        let wrong = b.iter().filter(|(key, value)| !words(key) && !agrees(a.get(*key), value));
        wrong.map(|(key, value)| format!("{key}={value} for {}", a.get(key).unwrap_or(&Value::Null))).collect()
    };
    let mut out = Vec::new();
    // A question that cannot be answered is left open in words.
    let open = |row: &serde_json::Map<String, Value>| row.get("finding").is_some_and(|f| f == "cannot be told");
    for (i, row) in got.iter().enumerate().filter(|(_, row)| !open(row)) {
        if truth.get(i).is_some_and(|t| differ(t, row).is_empty()) {
            continue;
        }
        let nearest = truth.iter().map(|t| differ(t, row)).min_by_key(Vec::len);
        match nearest {
            Some(fields) if fields.is_empty() => {}
            Some(fields) => out.push(fields.join(" ")),
            None => out.push(format!("a row that is not there: {row:?}")),
        }
    }
    out
}

/// What became of one machine.
#[derive(Default)]
struct Outcome {
    refused: Option<String>,
    wrong: Vec<String>,
    values: usize,
    absent: usize,
    missing: usize,
    notes: Vec<String>,
}

fn measure(machine: &Machine, others: Vec<Symbols>) -> Outcome {
    let mut out = Outcome::default();
    let with = open(&machine.dump, &Own(machine.own.clone()));
    let kernel = with.kernel.as_ref().unwrap_or_else(|e| panic!("{}: {e}", machine.name));
    assert!(kernel.system.is_some_and(|va| va != Va(0)), "{}", machine.name);
    assert_eq!(kernel.verify().failed, [""; 0], "{}", machine.name);
    assert_eq!(kernel.verify().misfits, [], "{}", machine.name);
    let without = open(&machine.dump, &Others(others));
    match &without.kernel {
        Err(why) => {
            out.refused = Some(why.clone());
            return out;
        }
        Ok(kernel) => out.notes.extend(kernel.notes.iter().map(|n| n.text.clone())),
    }
    let (truth, got) = (report(&with), report(&without));
    for (name, rows) in &got {
        let right = truth.get(name).cloned().unwrap_or_default();
        let absent = |rows: &Rows| rows.iter().flat_map(|r| r.values()).filter(|v| v.is_null()).count();
        out.values += rows.iter().map(serde_json::Map::len).sum::<usize>();
        out.absent += absent(rows).saturating_sub(absent(&right));
        out.missing += right.len().saturating_sub(rows.len());
        out.wrong.extend(wrong(name, &right, rows).into_iter().map(|w| format!("{name}: {w}")));
    }
    out
}

fn say(name: &str, outcome: &Outcome) {
    let Outcome { refused, wrong, values, absent, missing, .. } = outcome;
    match refused {
        Some(why) => println!("{name}: refused: {}", why.lines().last().unwrap_or("")),
        None => println!("{name}: {values} values, {} wrong, {absent} more absent, {missing} rows fewer", wrong.len()),
    }
    outcome.notes.iter().for_each(|n| println!("    note: {n}"));
    let mut shown = BTreeMap::new();
    wrong.iter().for_each(|w| *shown.entry(w).or_insert(0) += 1);
    shown.iter().take(12).for_each(|(w, n)| println!("    {n} x {w}"));
}

/// Revisions that do not exist, each with a field moved as updates have moved them: none may be shown from its old place.
#[test]
fn made_up_revisions_give_no_wrong_value() {
    let folder = tempfile::tempdir().unwrap();
    for made in revised::MADE_UP {
        let machine = revised::made_up(made, folder.path());
        let outcome = measure(&machine, revised::tables_of_forge());
        say(&machine.name, &outcome);
        assert_eq!(outcome.refused, None, "{}", machine.name);
        assert!(outcome.wrong.is_empty(), "{}: {:#?}", machine.name, outcome.wrong);
        assert!(outcome.values > 300, "{}", machine.name);
        assert!(
            outcome.notes.iter().any(|n| n.contains("may be of another revision")),
            "{}: {:?}",
            machine.name,
            outcome.notes
        );
    }
}

/// The layouts of real kernels, each offered all other tables and never its own.
#[test]
fn no_real_revision_gives_a_wrong_value() {
    let Some(wanted) = std::env::var_os("DUMPWALK_REVISIONS") else {
        println!("skipped: DUMPWALK_REVISIONS=all or a part of a table's name");
        return;
    };
    let wanted = wanted.to_string_lossy().into_owned();
    let Some(tables) = revised::tables_of_shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (mut bad, mut read, mut refused, mut skipped) = (Vec::new(), 0, 0, Vec::new());
    let mut seen = BTreeSet::new();
    for table in tables.iter().filter(|t| wanted == "all" || t.name.contains(&wanted)) {
        let Some(machine) = revised::machine(table, folder.path()) else {
            skipped.push(table.name.clone());
            continue;
        };
        if !seen.insert(table.name.clone()) {
            continue;
        }
        let others = tables.iter().filter(|t| !t.same_kernel(table)).map(Table::symbols).collect();
        let outcome = measure(&machine, others);
        say(&table.name, &outcome);
        if outcome.refused.is_some() {
            refused += 1
        } else {
            read += 1
        }
        if !outcome.wrong.is_empty() {
            bad.push(table.name.clone());
        }
        std::fs::remove_file(&machine.dump).unwrap();
    }
    println!("{read} read, {refused} refused, {} with a wrong value: {bad:?}; no machine for {skipped:?}", bad.len());
    assert!(bad.is_empty());
}
