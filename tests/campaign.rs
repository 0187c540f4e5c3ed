//! Mutations that know what a dump means: words of kernel objects at their extremes, pointers between objects, lists torn and joined,
//! pages swapped, doubled and lost, entries of page tables, fields of the header. Each mutated dump is asked ten analyses; whatever is
//! in it, each ends soon and in bounded memory, with rows that are valid JSON and notes, or with an error that says something.
//!
//! `fuzz/campaign N` runs N mutated dumps (20,000 and more); without `DUMPWALK_CAMPAIGN` this is a sample of them. A failure names the
//! seed, which repeats it alone: `DUMPWALK_CAMPAIGN_SEED=n`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Exactly, Random, Sample, open, samples};
use dumpwalk::analysis::{ALL, Analysis, Ask, Case};
use dumpwalk::dump::Dump;
use dumpwalk::kernel::find;
use dumpwalk::report::{Format, Row, Sink, Wanted};
use dumpwalk::symbols::Symbols;
use dumpwalk::value::Note;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Mutated dumps of an ordinary test run.
const CASES: u64 = 96;
/// Analyses of each.
const COMMANDS: usize = 10;
/// Longer than any analysis of a sample takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Private memory of the whole test, at most.
const MOST_MEMORY: u64 = 2 << 30;

/// A sample, its symbols, and the objects in it: file offset and virtual address.
struct Machine {
    name: String,
    bytes: Vec<u8>,
    symbols: Option<Symbols>,
    objects: Vec<(usize, u64)>,
    wide: bool,
}

/// Keeps where rows and their fields stand.
#[derive(Default)]
struct Places(BTreeMap<usize, u64>);
impl Sink for Places {
    fn row(&mut self, row: Row) -> dumpwalk::error::Result<()> {
        for place in row.place.iter().chain(row.fields.iter().map(|(_, place)| place)) {
            if let (Some(file), true) = (place.file, self.0.len() < 50_000) {
                let file = file.dump_offset().unwrap();
                self.0.entry(usize::try_from(file).unwrap()).or_insert(place.va.map_or(0, |va| va.0));
            }
        }
        Ok(())
    }
    fn note(&mut self, _: Note) {}
}

fn machine(sample: &Sample) -> Option<Machine> {
    let bytes = std::fs::read(&sample.path).unwrap();
    let case = open(&sample.path, &sample.symbols).ok()?;
    let mut places = Places::default();
    for analysis in ALL.iter() {
        let _ = analysis.run(&case, &Ask { rows: Wanted::with_places(), ..Ask::default() }, &mut places);
    }
    let wide = case.kernel.as_ref().is_ok_and(|k| k.symbols.types.pointer_size == 8) || bytes.starts_with(b"PAGEDU64");
    let symbols = case.kernel.as_ref().ok().map(|k| k.symbols.clone());
    let objects = places.0.into_iter().chain([(0, 0), (0x1000, 0)]).collect();
    Some(Machine { name: sample.name.clone(), bytes, symbols, objects, wide })
}

/// A mutation, in words.
fn mutate(machine: &Machine, file: &mut [u8], random: &mut Random) -> String {
    let width = if machine.wide { 8 } else { 4 };
    let word = |file: &[u8], at: usize| -> Option<u64> {
        let mut value = [0; 8];
        value[..width].copy_from_slice(file.get(at..at + width)?);
        Some(u64::from_le_bytes(value))
    };
    let put = |file: &mut [u8], at: usize, value: u64| {
        if let Some(place) = file.get_mut(at..at + width) {
            place.copy_from_slice(&value.to_le_bytes()[..width]);
        }
    };
    let (object, va) = random.of(&machine.objects);
    let (other, other_va) = random.of(&machine.objects);
    let field = width * random.below(0x800 / width);
    let at = (object + field) & !(width - 1);
    let kernel = if machine.wide { 1 << 63 } else { 1 << 31 };
    let page = |random: &mut Random| {
        let near = if random.below(2) == 0 { object } else { random.below(file.len()) };
        near.min(file.len().saturating_sub(0x1000)) & !0xfff
    };
    match random.below(9) {
        0 => {
            let old = word(file, at).unwrap_or(0);
            let new = random.of(&[
                0,
                1,
                u64::MAX,
                old ^ 1,
                old.wrapping_add(1),
                old.wrapping_sub(1),
                old << 1,
                kernel,
                0x7fff_0000,
                va,
            ]);
            put(file, at, new);
            format!("word at {at:#x}: {old:#x} -> {new:#x}")
        }
        1 => {
            // The same field of another object.
            let theirs = word(file, (other + field) & !(width - 1)).unwrap_or(0);
            put(file, at, theirs);
            format!("word at {at:#x} is that of {other:#x}")
        }
        2 => {
            // A pointer to another object, or to itself.
            let target = if random.below(3) == 0 { va.wrapping_add(field as u64) } else { other_va };
            put(file, at, target);
            format!("pointer at {at:#x} -> {target:#x}")
        }
        3 => {
            // Two pointers exchanged: lists are joined, trees hang elsewhere.
            let there = (other + field) & !(width - 1);
            if let (Some(a), Some(b)) = (word(file, at), word(file, there)) {
                put(file, at, b);
                put(file, there, a);
            }
            format!("words at {at:#x} and {there:#x} exchanged")
        }
        4 => {
            let (a, b) = (page(random), page(random));
            for i in 0..0x1000.min(file.len() - a.max(b)) {
                file.swap(a + i, b + i);
            }
            format!("pages at {a:#x} and {b:#x} exchanged")
        }
        5 => {
            let at = page(random);
            let fill = random.of(&[[0; 4], [0xff; 4], [0xed, 0xfe, 0xad, 0xde], [0x41; 4]]);
            file[at..].iter_mut().take(0x1000).enumerate().for_each(|(i, b)| *b = fill[i % 4]);
            format!("page at {at:#x} filled with {fill:02x?}")
        }
        6 => {
            let (a, b) = (page(random), page(random));
            let copied = file[a..].iter().take(0x1000).copied().collect::<Vec<u8>>();
            file[b..].iter_mut().zip(copied).for_each(|(to, from)| *to = from);
            format!("page at {b:#x} is that at {a:#x}")
        }
        7 => {
            // What looks like an entry of a page table: valid, with low flags and a frame.
            let from = page(random);
            let entry = |i: &usize| word(file, *i).is_some_and(|w| w & 0x21 == 0x21 && w != u64::MAX);
            let entries: Vec<usize> = (from..from + 0x1000).step_by(width).filter(entry).collect();
            if entries.is_empty() {
                return "nothing".into();
            }
            let at = random.of(&entries);
            let old = word(file, at).unwrap_or(0);
            let theirs = word(file, random.of(&entries)).unwrap_or(0);
            let bit = 12 + random.below(width * 8 - 12);
            let new = random.of(&[0, old & !1, old ^ 0x80, old ^ 1 << bit, theirs, old | 0xffff_f000]);
            put(file, at, new);
            format!("entry at {at:#x}: {old:#x} -> {new:#x}")
        }
        _ => {
            let at = 4 * random.below(0x2000 / 4);
            let value = random.of(&[0u32, 1, 2, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x1000]);
            if let Some(place) = file.get_mut(at..at + 4) {
                place.copy_from_slice(&value.to_le_bytes());
            }
            format!("header at {at:#x} := {value:#x}")
        }
    }
}

fn open_mutated(machine: &Machine, bytes: &[u8]) -> Option<Case> {
    let dump = Arc::new(Dump::from_bytes(Path::new("campaign"), bytes).ok()?);
    let kernel = match &machine.symbols {
        Some(symbols) => find::find(&dump, &Exactly(symbols.clone())),
        None => Err("a dump without a kernel".into()),
    };
    Some(Case { dump, kernel, notes: Vec::new() })
}

/// What became of the dumps and of what they were asked.
#[derive(Default)]
struct Counts {
    unopened: AtomicU64,
    /// Dumps that open, without a kernel found in them.
    without_kernel: AtomicU64,
    answers: AtomicU64,
    errors: AtomicU64,
}

/// Whether one analysis has an answer, or why what it says is wrong.
fn ask(case: &Case, analysis: &Analysis) -> Result<bool, String> {
    let ask = Ask {
        switches: analysis
            .switches
            .iter()
            .filter(|s| s.value.is_none() && s.name != "body")
            .map(|s| (s.name, String::new()))
            .collect(),
        ..Ask::default()
    };
    let start = Instant::now();
    let written = match common::write(case, analysis, &ask, &[Format::Jsonl]) {
        Ok(written) => written,
        Err(error) if error.to_string().is_empty() => return Err("an error without words".into()),
        Err(_) => Vec::new(),
    };
    for written in &written {
        let text = std::str::from_utf8(&written.bytes).map_err(|e| e.to_string())?;
        if let Some(bad) = text.chars().find(|c| c.is_control() && *c != '\n') {
            return Err(format!("the control character {bad:?} is in the output"));
        }
        for line in text.lines() {
            serde_json::from_str::<serde::de::IgnoredAny>(line).map_err(|e| format!("{e}: {line}"))?;
        }
        if written.finished.notes.iter().any(|note| note.text.is_empty()) {
            return Err("a note without words".into());
        }
    }
    if start.elapsed() > PATIENCE { Err(format!("took {:?}", start.elapsed())) } else { Ok(!written.is_empty()) }
}

/// One mutated dump: what was wrong.
fn run(machines: &[Machine], seed: u64, counts: &Counts, slowest: &Mutex<(Duration, String)>) -> Vec<String> {
    let count = |of: &AtomicU64| of.fetch_add(1, Ordering::Relaxed);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let machine = &machines[usize::try_from(seed).unwrap() % machines.len()];
    let mut file = machine.bytes.clone();
    let done: Vec<String> = (0..1 + random.below(4)).map(|_| mutate(machine, &mut file, &mut random)).collect();
    let what = format!("seed {seed}, {}: {}", machine.name, done.join("; "));
    let mut wrong = Vec::new();
    let case = match catch_unwind(AssertUnwindSafe(|| open_mutated(machine, &file))) {
        Ok(Some(case)) => case,
        Ok(None) => {
            count(&counts.unopened);
            return wrong;
        }
        Err(_) => return vec![format!("{what}: opening it panics")],
    };
    if case.kernel.is_err() {
        count(&counts.without_kernel);
    }
    for _ in 0..COMMANDS {
        let analysis = random.of(&ALL);
        let start = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| ask(&case, analysis))) {
            Ok(Ok(true)) => _ = count(&counts.answers),
            Ok(Ok(false)) => _ = count(&counts.errors),
            Ok(Err(why)) => wrong.push(format!("{what}: {}: {why}", analysis.name)),
            Err(_) => wrong.push(format!("{what}: {} panics", analysis.name)),
        }
        let mut slowest = slowest.lock().unwrap();
        if start.elapsed() > slowest.0 {
            *slowest = (start.elapsed(), format!("{} of {what}", analysis.name));
        }
    }
    wrong
}

/// Private memory now; 0 where the system does not tell.
fn private_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

#[test]
fn mutated_dumps_are_answered() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("DUMPWALK_CAMPAIGN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DUMPWALK_CAMPAIGN").unwrap_or(CASES),
    };
    let machines: Vec<Machine> = samples().par_iter().filter_map(machine).collect();
    assert!(machines.len() > 20, "the samples are not there");
    let (start, peak, slowest) = (Instant::now(), AtomicU64::new(0), Mutex::new((Duration::ZERO, String::new())));
    let (count, counts) = (seeds.end - seeds.start, Counts::default());
    let wrong: Vec<String> = seeds
        .into_par_iter()
        .flat_map_iter(|seed| {
            let wrong = run(&machines, seed, &counts, &slowest);
            wrong.iter().for_each(|line| println!("{line}"));
            if seed % 16 == 0 {
                peak.fetch_max(private_memory(), Ordering::Relaxed);
            }
            wrong
        })
        .collect();
    let (slowest, peak) = (slowest.into_inner().unwrap(), peak.into_inner());
    println!(
        "{count} mutated dumps of {} samples, {} do not open, in {} more no kernel is found; {COMMANDS} analyses of each: {} answers, {} errors, \
         {} wrong, {:.0} s, slowest {:.1} s ({}), {} MiB private",
        machines.len(),
        counts.unopened.into_inner(),
        counts.without_kernel.into_inner(),
        counts.answers.into_inner(),
        counts.errors.into_inner(),
        wrong.len(),
        start.elapsed().as_secs_f64(),
        slowest.0.as_secs_f64(),
        slowest.1,
        peak >> 20
    );
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(peak < MOST_MEMORY, "{} MiB of private memory", peak >> 20);
}
