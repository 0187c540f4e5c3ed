//! Without network and without PDB a sample answers as with it: every analysis on every sample, but for what only a
//! PDB can tell, which is written down here.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{open, samples, write};
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::report::Format;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Analysis, column, and why it needs the PDB.
const NEED_PDB: &[(&str, &str, &str)] = &[
    ("info", "symbols", "says where symbols came from"),
    ("info", "pdb", OF_TRIAGE),
    ("info", "pdb_guid", OF_TRIAGE),
    ("info", "pdb_age", OF_TRIAGE),
    ("info", "found_by", OF_TRIAGE),
    ("info", "boot_time", "KeBootTime: a global that neither header nor debugger block names"),
    ("callstacks", "symbol", "names of functions inside the kernel"),
    ("threads", "start_location", "names of functions inside the kernel"),
    ("crashinfo", "stack", "names of functions inside the kernel"),
    ("info", "by_header", "KeBootTime has no other name than its symbol: the start is the header's then"),
    ("threads", "win32_start_location", "names of functions inside the kernel"),
    (
        "getsids",
        "sid_name",
        "CmpHiveListHead, from which the list of profiles in the registry is reached, has no other name",
    ),
    ("dlllist", "load_reason", "the table of Windows 11 24H2 has no enumerations: a number instead of its name"),
    // On win10-2004-x86, where no entry in transition carries a mask.
    ("memmap", "state", NO_MASK),
    ("memmap", "page_file", NO_MASK),
    ("memmap", "page_file_offset", NO_MASK),
    ("memmap", "entry", NO_MASK),
    ("workingset", "demand_zero", NO_MASK),
    ("workingset", "paged_out", NO_MASK),
    ("workingset", "unknown", NO_MASK),
    ("procinfo", "working_set", MOVED),
    ("procinfo", "working_set_peak", MOVED),
    ("workingset", "kernel_count", MOVED),
    ("workingset", "kernel_peak", MOVED),
];

/// Samples of kernels whose identity nobody knows, of a build with layouts of several revisions.
const UNKNOWN_REVISION: &[&str] = &["winxp-sp3-x86"];

/// Analyses of globals that only symbols name.
const NEED_GLOBALS: &[(&str, &str)] = &[("callbacks", "the lists of callbacks have no other name than their symbols'")];

const OF_TRIAGE: &str = "a triage dump does not name its PDB: the symbols that its own pointers agree with do";
const MOVED: &str = "an update moved fields of _MMSUPPORT in 8.1: in the 8.0 and 8.1 of a revision that nobody knows they may lie elsewhere";
const NO_MASK: &str =
    "MiState tells the mask of entries that are not valid; where no entry shows it, offsets are not told";

fn rows(case: &Case, analysis: &dumpwalk::analysis::Analysis) -> Result<Vec<Value>, String> {
    let written = write(case, analysis, &Ask::default(), &[Format::Jsonl]).map_err(|e| e.to_string())?;
    let text = String::from_utf8(written.into_iter().next().unwrap().bytes).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // One row of the timeline is KeBootTime itself.
    Ok(rows.filter(|r| analysis.name != "timeline" || r["kind"] != "boot").collect())
}

/// Of a kernel whose own revision nobody knows: what has moved between revisions of its build is left out, and nothing else is said.
/// Findings rest on such fields: there are fewer, and none that was not there.
fn says_more(with: &[Value], without: &[Value], analysis: &str) -> Vec<String> {
    let mut out = Vec::new();
    if matches!(analysis, "findings" | "triage") {
        let key = |r: &Value| {
            [r["subject"].to_string(), if analysis == "findings" { r["rule"].to_string() } else { String::new() }]
        };
        let known: BTreeSet<_> = with.iter().map(key).collect();
        out.extend(without.iter().map(key).filter(|k| !known.contains(k)).map(|k| k.join(" ")));
        return out;
    }
    if with.len() != without.len() {
        out.push(format!("{} rows instead of {}", without.len(), with.len()));
    }
    // Words of several fields: fewer of them.
    let words = ["description"];
    for (a, b) in with.iter().zip(without) {
        let wrong = b.as_object().unwrap().iter().filter(|(key, value)| {
            let less = value.is_null() || value.as_str().is_some_and(|v| v.starts_with("0x"));
            !less
                && without_reasons(value) != without_reasons(&a[key.as_str()])
                && *key != "absent"
                && !words.contains(&key.as_str())
        });
        out.extend(wrong.map(|(key, value)| format!("{key} {value} for {}", a[key.as_str()])));
    }
    out
}

/// An object of a cell without the reasons of what it lacks: they may be others.
fn without_reasons(value: &Value) -> Value {
    let mut value = value.clone();
    value.as_object_mut().map(|object| object.remove("absent"));
    value
}

/// Columns that differ, with the number of rows.
fn differences(with: &[Value], without: &[Value]) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for (a, b) in with.iter().zip(without) {
        let keys: BTreeSet<&String> = [a, b].iter().flat_map(|v| v.as_object().unwrap().keys()).collect();
        // The reasons of absent values stand beside them; a column that differs is one whose value does.
        for key in keys.into_iter().filter(|k| *k != "absent" && a[k.as_str()] != b[k.as_str()]) {
            *out.entry(key.clone()).or_default() += 1;
        }
    }
    if with.len() != without.len() {
        out.insert(format!("{} rows instead of {}", without.len(), with.len()), 1);
    }
    out
}

#[test]
fn samples_answer_the_same_without_symbols() {
    let nowhere = tempfile::tempdir().unwrap();
    let (mut compared, mut wrong, mut used) = (0, Vec::new(), BTreeSet::new());
    for sample in samples() {
        let with = open(&sample.path, &sample.symbols).unwrap();
        let without = open(&sample.path, nowhere.path()).unwrap();
        // A report holds the others' answers.
        for analysis in ALL.iter().filter(|a| a.name != "report" && NEED_GLOBALS.iter().all(|(n, _)| a.name != *n)) {
            let (Ok(with), got) = (rows(&with, analysis), rows(&without, analysis)) else { continue };
            let got = match got {
                Ok(rows) => rows,
                Err(why) => {
                    wrong.push(format!("{} {}: {why}", sample.name, analysis.name));
                    continue;
                }
            };
            compared += 1;
            if UNKNOWN_REVISION.iter().any(|s| sample.name.starts_with(s)) {
                let expected =
                    |line: &String| NEED_PDB.iter().any(|(a, c, _)| *a == analysis.name && line.starts_with(c));
                let more = says_more(&with, &got, analysis.name);
                wrong.extend(
                    more.into_iter()
                        .filter(|l| !expected(l))
                        .map(|l| format!("{} {}: {l}", sample.name, analysis.name)),
                );
                continue;
            }
            for (column, count) in differences(&with, &got) {
                match NEED_PDB.iter().find(|(a, c, _)| *a == analysis.name && *c == column) {
                    Some(known) => _ = used.insert(known),
                    None => wrong.push(format!("{} {}: {column} differs in {count}", sample.name, analysis.name)),
                }
            }
        }
    }
    println!("{compared} answers compared");
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    let unused: Vec<_> = NEED_PDB.iter().filter(|known| !used.contains(known)).collect();
    assert!(compared == 0 || unused.is_empty(), "written down and not so: {unused:?}");
}
