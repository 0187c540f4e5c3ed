//! Pages of the kernel are lost: what is left is found, and nothing that is shown is wrong.
//!
//! A forged machine's kernel pages are zeroed by chance, as acquisition tools leave those they could not read. Each damaged dump is
//! read with the kernel's symbols and without any. In the gate a few; `DUMPWALK_LOST_PAGES=15` takes so many for each share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod program;

use common::{open, write};
use dumpwalk::addr::{PAGE_SIZE, Va};
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::report::Format;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The sample whose pages are lost: the forge's 22H2 machine.
const SAMPLE: &str = "win10-22h2-attack";
/// Percent of the kernel's pages.
const SHARES: [u64; 5] = [1, 3, 5, 10, 20];

type Rows = BTreeMap<u64, Map<String, Value>>;

/// The listed processes by the address of each.
fn processes(case: &Case) -> Rows {
    let pslist = ALL.iter().find(|a| a.name == "pslist").unwrap();
    let written = write(case, pslist, &Ask::default(), &[Format::Jsonl]).unwrap();
    let text = String::from_utf8(written.into_iter().next().unwrap().bytes).unwrap();
    let rows = text.lines().map(|line| match serde_json::from_str(line).unwrap() {
        Value::Object(row) => row,
        other => panic!("{other}"),
    });
    rows.map(|row| {
        let at = row["offset"].as_str().unwrap().trim_start_matches("0x").to_owned();
        (u64::from_str_radix(&at, 16).unwrap(), row)
    })
    .collect()
}

/// Values that are not those of the whole dump and not absent.
fn wrong(whole: &Rows, got: &Rows) -> Vec<String> {
    let mut out = Vec::new();
    for (at, row) in got {
        let Some(right) = whole.get(at) else {
            out.push(format!("a process at {at:#x}"));
            continue;
        };
        let differ =
            row.iter().filter(|(key, value)| *key != "absent" && !value.is_null() && right.get(*key) != Some(value));
        out.extend(differ.map(|(key, value)| format!("{at:#x} {key}: {value} for {}", right[key])));
    }
    out
}

/// File offsets of the kernel half's pages of data: objects, pools, stacks, tables; the image's own pages are not counted, nor are page
/// tables, without which nothing is left to be read.
fn kernel_pages(case: &Case, tables: std::ops::Range<u64>) -> Vec<u64> {
    let kernel = case.kernel.as_ref().unwrap();
    let space = kernel.space();
    let image = kernel.base.0..kernel.base.0 + u64::from(kernel.size.unwrap());
    let mut out = Vec::new();
    for region in space.regions(Va(0xffff_8000_0000_0000), Va(u64::MAX)) {
        let Ok(mapped) = region.found else { continue };
        let pages = region.size / PAGE_SIZE;
        for i in 0..pages.min(4096) {
            let va = region.va.0 + i * PAGE_SIZE;
            let full =
                |at: u64| kernel.dump.page(dumpwalk::addr::Pa(at).pfn()).is_some_and(|p| p.iter().any(|b| *b != 0));
            let pa = mapped.pa.0 + i * PAGE_SIZE;
            if !image.contains(&va) && !tables.contains(&va) && full(pa) {
                out.extend(kernel.dump.file_offset(dumpwalk::addr::Pa(pa)));
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Chance that repeats.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// The dump of a kernel whose identity no table has: what is read without symbols must be borne out by the dump.
fn unknown(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in 0..out.len() - 64 {
        if &out[at..at + 4] == b"RSDS" && out[at + 24..].starts_with(b"ntkrnlmp.pdb") {
            out[at + 4] ^= 0xff;
        }
    }
    assert!(out != bytes);
    out
}

fn damaged(bytes: &[u8], pages: &[u64], share: u64, seed: u64) -> Vec<u8> {
    let mut chance = Chance(seed.wrapping_mul(977).wrapping_add(share));
    let mut out = bytes.to_vec();
    let mut left = pages.to_vec();
    for _ in 0..(pages.len() as u64 * share / 100).max(1) {
        let at = left.swap_remove(usize::try_from(chance.below(left.len() as u64)).unwrap()) as usize;
        out[at..at + PAGE_SIZE as usize].fill(0);
    }
    out
}

#[test]
fn what_is_left_is_found_and_right() {
    let asked = std::env::var("DUMPWALK_LOST_PAGES").ok();
    let seeds = asked.as_ref().map_or(2, |n| n.parse().unwrap());
    let sample = program::own_samples().into_iter().find(|s| s.name == SAMPLE).unwrap();
    let path = sample.dumps.iter().find(|d| d.ends_with("full.dmp")).unwrap();
    let whole = open(path, &sample.store).unwrap();
    // Where the page tables appear: the slot of the topmost one that names itself.
    let slot = sample.truth["self_map_index"].as_u64().unwrap();
    let tables = 0xffff_0000_0000_0000 | slot << 39..0xffff_0000_0000_0000 | (slot + 1) << 39;
    let (truth, bytes, pages) = (processes(&whole), std::fs::read(path).unwrap(), kernel_pages(&whole, tables));
    let nowhere = tempfile::tempdir().unwrap();
    let strange = unknown(&bytes);
    println!("{} processes, {} pages of the kernel's data", truth.len(), pages.len());
    let mut all_wrong = Vec::new();
    for share in SHARES {
        for (how, store) in [("with symbols", sample.store.as_path()), ("without", nowhere.path())] {
            let bytes = if how == "without" { &strange } else { &bytes };
            let (mut found, mut refused, mut false_values) = (0, 0, 0);
            for seed in 0..seeds {
                let file = nowhere.path().join("damaged.dmp");
                std::fs::write(&file, damaged(bytes, &pages, share, seed)).unwrap();
                let (rows, why) = listed(&file, store);
                refused += u64::from(why.is_some());
                why.iter().for_each(|w| println!("    {share} % seed {seed} {how}: {w}"));
                found += rows.len();
                let wrong = wrong(&truth, &rows);
                false_values += wrong.len();
                all_wrong.extend(wrong.into_iter().map(|w| format!("{share} %, seed {seed}, {how}: {w}")));
            }
            let of = truth.len() * usize::try_from(seeds).unwrap();
            println!(
                "{share} % lost, {how}: {refused} of {seeds} refused, {found} of {of} processes, {false_values} false values"
            );
        }
    }
    assert!(all_wrong.is_empty(), "{} false values: {:#?}", all_wrong.len(), all_wrong);
}

fn listed(file: &Path, store: &Path) -> (Rows, Option<String>) {
    let case = open(file, store).unwrap();
    match &case.kernel {
        Ok(_) => (processes(&case), None),
        Err(why) => (Rows::new(), Some(why.lines().last().unwrap_or("").chars().take(300).collect())),
    }
}
