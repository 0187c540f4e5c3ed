//! Machines that nobody thought of: one pass of `report` over a forged dump tells what was forged.
//!
//! Seeds are fixed; `DUMPWALK_RANDOM_SEEDS` (a count, or `FROM-TO`) tries others. A failure names its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod facts;
mod program;

use facts::{COMPARISONS, Facts, OWN};
use serde_json::Value;

/// The seeds asked for.
fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("DUMPWALK_RANDOM_SEEDS").unwrap_or_else(|_| "16".into());
    match asked.split_once('-') {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => 0..asked.parse().unwrap(),
    }
}

#[test]
fn the_report_of_a_random_machine_is_its_truth() {
    let folder = tempfile::tempdir().unwrap();
    let store = program::root().join("symbols");
    let all: Vec<_> = COMPARISONS.iter().chain(OWN).collect();
    let (mut wrong, mut compared, mut rows) = (Vec::new(), 0, vec![0; all.len()]);
    for seed in seeds() {
        let (bytes, truth) = forge::random(seed);
        let dump = folder.path().join(format!("{seed}.dmp"));
        std::fs::write(&dump, bytes).unwrap();
        let truth: Value = serde_json::from_str(&truth.to_string()).unwrap();
        let sections = program::report(&dump, &store);
        std::fs::remove_file(&dump).unwrap();
        for (c, rows) in all.iter().zip(&mut rows) {
            let got: Facts = sections.get(c.analysis).into_iter().flatten().filter_map(c.of_row).collect();
            let want = (c.of_truth)(&truth);
            compared += 1;
            *rows += got.len();
            if got != want {
                let missing: Vec<_> = want.difference(&got).take(3).collect();
                let extra: Vec<_> = got.difference(&want).take(3).collect();
                wrong.push(format!("seed {seed}, {}: missing {missing:?}, extra {extra:?}", c.analysis));
            }
        }
    }
    println!("{compared} comparisons of {} rows, {} differ", rows.iter().sum::<usize>(), wrong.len());
    // Comparing nothing with nothing proves nothing.
    if seeds().count() >= 16 {
        let empty: Vec<_> = all.iter().zip(&rows).filter(|(_, n)| **n == 0).map(|(c, _)| c.analysis).collect();
        assert!(empty.is_empty(), "no rows at all of {empty:?}");
    }
    assert!(compared > 0 && wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
}
