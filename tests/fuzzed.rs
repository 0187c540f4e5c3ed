//! The bodies of the fuzz targets (`fuzz/src/`) on their seeds and on seeded mutations of them, with every test run and on any
//! toolchain. libFuzzer, which looks for new ways through the code, runs by `fuzz/run`; what it finds is put among the seeds.
//!
//! `DUMPWALK_HOSTILE=10` runs ten times as many cases. A failure names target, seed and case, which repeat it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "../fuzz/src/containers.rs"]
mod containers;
#[path = "../fuzz/src/machine.rs"]
mod machine;
#[path = "../fuzz/src/mapped.rs"]
mod mapped;
#[path = "../fuzz/src/paged.rs"]
mod paged;
#[path = "../fuzz/src/symbols.rs"]
mod symbols;

use common::Random;
use containers::{Container, container};
use std::path::Path;
use std::time::Instant;

/// Changes some bytes: bits, extremes, words of the same file elsewhere, pieces cut out or doubled, the end.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(6) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes[at..end].fill([0, 0xff][random.below(2)]),
            3 => {
                let from = random.below(bytes.len() - (end - at) + 1);
                bytes.copy_within(from..from + (end - at), at);
            }
            4 => bytes.truncate(at),
            5 => _ = bytes.drain(at..end),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// A target's name, its body, and the mutations of each seed.
type Target = (&'static str, fn(&[u8]), u64);

const TARGETS: [Target; 19] = [
    ("xpress", paged::compressed, 2000),
    ("dump_full", |b| container(Container::Full, b), 200),
    ("dump_bitmap", |b| container(Container::Bitmap, b), 200),
    ("dump_summary", |b| container(Container::Summary, b), 200),
    ("dump_ranges", |b| container(Container::Ranges, b), 200),
    ("dump_triage", |b| container(Container::Triage, b), 200),
    ("dump_minidump", |b| container(Container::Minidump, b), 200),
    ("dump_raw_image", |b| container(Container::Raw, b), 200),
    ("dump_lime", |b| container(Container::Lime, b), 200),
    ("dump_elf", |b| container(Container::Elf, b), 200),
    ("dump_vmware", |b| container(Container::Vmware, b), 200),
    ("pdb", symbols::program_database, 60),
    ("isf", symbols::volatility, 400),
    ("table", symbols::layouts, 200),
    ("cab", symbols::archive, 200),
    ("cache", symbols::cache, 200),
    ("paging", mapped::tables, 60),
    ("pe", mapped::image, 100),
    ("machine", machine::machine, 4),
];

#[test]
fn targets_stand_their_seeds_and_mutations() {
    let times: u64 = std::env::var("DUMPWALK_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut cases = 0;
    for (name, body, mutations) in TARGETS {
        let start = Instant::now();
        let mut files: Vec<_> = std::fs::read_dir(seeds.join(name)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has seeds");
        for file in &files {
            let seed = std::fs::read(file).unwrap();
            for case in 0..=mutations * times {
                let mut bytes = seed.clone();
                if case > 0 {
                    mutate(&mut bytes, &mut Random(0x9e37_79b9_7f4a_7c15 ^ (case << 20 | seed.len() as u64)));
                }
                let ended = std::panic::catch_unwind(|| body(&bytes));
                assert!(ended.is_ok(), "{name} fails on {} case {case}", file.display());
                cases += 1;
            }
        }
        println!("{name}: {} seeds, {} s", files.len(), start.elapsed().as_secs());
    }
    println!("{cases} cases");
}

/// Every target of `fuzz/` is run here.
#[test]
fn every_target_is_run() {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml")).unwrap();
    let mut declared: Vec<&str> =
        manifest.lines().filter_map(|l| l.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\"")).collect();
    let mut run: Vec<&str> = TARGETS.iter().map(|t| t.0).collect();
    declared.sort_unstable();
    run.sort_unstable();
    assert_eq!(declared, run);
}
