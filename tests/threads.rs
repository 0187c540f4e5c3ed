//! The same bytes at one thread and at eight: every sample, every analysis, with the place of every field.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{checksum, open, samples, write};
use dumpwalk::analysis::{ALL, Ask};
use dumpwalk::report::{Format, Wanted};

/// Length and checksum of each analysis' output and notes.
fn all_of(sample: &common::Sample, threads: usize) -> Vec<(String, usize, u64)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let case = match open(&sample.path, &sample.symbols) {
            Ok(case) => case,
            Err(error) => return vec![(error.to_string(), 0, 0)],
        };
        let ask = Ask { rows: Wanted::with_places(), ..Ask::default() };
        let of = |analysis: &&dumpwalk::analysis::Analysis| match write(&case, analysis, &ask, &[Format::Jsonl]) {
            Ok(answers) => {
                let notes: String = answers.iter().flat_map(|a| &a.finished.notes).map(|n| n.text.as_str()).collect();
                let bytes: Vec<u8> = answers.into_iter().flat_map(|a| a.bytes).collect();
                (format!("{} {notes}", analysis.name), bytes.len(), checksum(&bytes))
            }
            Err(error) => (format!("{} {error}", analysis.name), 0, 0),
        };
        ALL.iter().map(of).collect()
    })
}

#[test]
fn output_is_the_same_at_any_thread_count() {
    let all = samples();
    if all.is_empty() {
        println!("skipped: no samples under testdata/");
    }
    for sample in all {
        let one = all_of(&sample, 1);
        for (round, many) in [8, 8, 3].into_iter().enumerate() {
            let now = all_of(&sample, many);
            for (a, b) in one.iter().zip(&now) {
                assert_eq!(a, b, "{}: 1 thread against {many} (round {round})", sample.name);
            }
            assert_eq!(one.len(), now.len(), "{}", sample.name);
        }
    }
}
