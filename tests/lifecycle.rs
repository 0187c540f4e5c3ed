//! What `lifecycle` concludes on the samples, against what was planted: no more and no less than the evidence carries.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{number, rows};
use serde_json::Value;
use std::collections::BTreeSet;

/// The processes, by the address of their `_EPROCESS` (ids may be given again).
fn with<'v>(rows: &'v [Value], event: &str, finding: &str) -> BTreeSet<u64> {
    let told = |r: &&'v Value| r["event"] == event && r["finding"].as_str().unwrap().contains(finding);
    rows.iter().filter(told).map(|r| number(&r["offset"]).unwrap()).collect()
}

#[test]
fn beginnings_and_ends() {
    let (mut stolen, mut ended, mut contained) = (0, 0, 0);
    for sample in program::own_samples() {
        // The one process of a triage dump is not taken for another one with its own token.
        for triage in sample.dumps.iter().filter(|d| d.file_name().is_some_and(|n| n == "triage.dmp")) {
            let found =
                rows("lifecycle", triage, Some(&sample.store)).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
            assert!(!found.is_empty() && with(&found, "changed", "").is_empty(), "{}", sample.name);
        }
        let full = |d: &&std::path::PathBuf| d.file_name().is_some_and(|n| n == "full.dmp");
        let Some(dump) = sample.dumps.iter().find(full) else { continue };
        let name = &sample.name;
        let found = rows("lifecycle", dump, Some(&sample.store)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let processes = sample.truth["processes"].as_array().unwrap();
        let planted = |test: &dyn Fn(&Value) -> bool| -> BTreeSet<u64> {
            processes
                .iter()
                .filter(|p| p["linked"] == true && test(p))
                .map(|p| number(&p["eprocess"]).unwrap())
                .collect()
        };
        // Every listed process came to be somehow, and each conclusion has its evidence.
        assert_eq!(with(&found, "created", ""), planted(&|_| true), "{name}");
        assert!(found.iter().all(|r| !r["evidence"].as_array().unwrap().is_empty()), "{name}");
        assert_eq!(with(&found, "ended", ""), planted(&|p| number(&p["exit"]) != Some(0)), "{name}");
        assert_eq!(with(&found, "changed", "replaced"), planted(&|p| p["why"] == "stolen-token"), "{name}");
        let package = planted(&|p| p["token"]["package"].is_string());
        assert_eq!(with(&found, "created", "app container"), package, "{name}");
        let system = found.iter().find(|r| r["pid"] == 4).unwrap();
        assert_eq!(system["confidence"], "certain", "{name}");
        stolen += with(&found, "changed", "replaced").len();
        ended += with(&found, "ended", "").len();
        contained += package.len();
    }
    assert!(stolen > 0 && ended > 0 && contained > 0, "the samples plant none of it: {stolen} {ended} {contained}");
}
