//! Processes too large for a sample: 300,000 handles in a table of three levels, and 20,000 address ranges in one chain, told whole
//! by one `report`, the same at one thread and at eight.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod facts;
mod program;

use facts::{COMPARISONS, Facts, OWN};
use forge::scenario::{Handle, Private, Scenario};
use serde_json::Value;

const HANDLES: u64 = 300_000;
const RANGES: usize = 20_000;

fn machine() -> (Vec<u8>, Value) {
    let mut s = Scenario::load("win10-2004");
    s.name = "whole".into();
    s.containers = vec!["full".into()];
    let process = |s: &mut Scenario, name: &str| s.processes.iter().position(|p| p.name == name).expect("a process");
    let explorer = process(&mut s, "explorer.exe");
    s.processes[explorer].handles = vec![Handle {
        ty: "Event".into(),
        name: "\\BaseNamedObjects\\Many".into(),
        access: 0x1f_0003,
        attributes: 2,
        count: HANDLES,
        ..Handle::default()
    }];
    let lsass = process(&mut s, "lsass.exe");
    s.processes[lsass].vads = vec![Private { pages: 16, protection: 4, ..Private::default() }; RANGES];
    s.processes[lsass].deep = true;
    let (dumps, truth) = forge::build(&s);
    (dumps.into_iter().next().expect("a dump").1, serde_json::from_str(&truth.to_string()).unwrap())
}

fn report(dump: &std::path::Path, threads: &str) -> String {
    let store = program::root().join("symbols");
    let sections = "pslist,handles,vadinfo,threads,tokens";
    let (dump, store) = (dump.to_str().unwrap(), store.to_str().unwrap());
    let args =
        ["report", dump, "-f", "jsonl", "--offline", "--symbols", store, "--threads", threads, "--sections", sections];
    let ran = program::dumpwalk(&args);
    assert!(matches!(ran.code, 0 | 4), "exit code {}: {}", ran.code, ran.stderr);
    ran.stdout
}

#[test]
fn every_handle_and_every_range() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("whole.dmp");
    let (bytes, truth) = machine();
    std::fs::write(&dump, bytes).unwrap();
    let text = report(&dump, "8");
    let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |section: &str| rows.iter().filter(|r| r["section"] == section).collect::<Vec<_>>();
    assert!(of("handles").len() as u64 >= HANDLES && of("vadinfo").len() >= RANGES);
    for c in COMPARISONS.iter().chain(OWN).filter(|c| ["handles", "vadinfo"].contains(&c.analysis)) {
        let got: Facts = of(c.analysis).into_iter().filter_map(c.of_row).collect();
        let want = (c.of_truth)(&truth);
        assert!(got == want, "{}: {} rows, {} in the truth", c.analysis, got.len(), want.len());
    }
    assert!(report(&dump, "1") == text, "one thread and eight say different things");
}
