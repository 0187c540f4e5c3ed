//! A dump comes from an attacker's machine: whatever is in it, every analysis ends, soon, in bounded memory, with rows,
//! notes or a clear error, and never with a panic.
//!
//! Every sample is damaged in seeded ways and put through every analysis, in this process: truncations, flipped bits,
//! pointers bent to themselves, to each other, into user space, to addresses that cannot be, to the end of the file, counts
//! of 2³²−1, fields of the header and at the end of the file at their extremes, pages lost. Damage aims at the objects themselves: where they stand is
//! learned from the places of an undamaged run's rows. `DUMPWALK_HOSTILE=10` runs ten times as many cases; a failure names
//! sample, case and analysis, which repeat it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Random, Sample, open, samples};
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::error::{Error, Result};
use dumpwalk::report::{Row, Sink, Wanted};
use dumpwalk::value::Note;
use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Damaged dumps per sample.
const CASES: u64 = 7;
/// All analyses of a damaged sample that take longer hang, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(600);
/// More rows than any sample can hold many times over.
const MOST_ROWS: u64 = 20_000_000;
/// Private memory of the whole test, at most: samples are a few megabytes.
const MOST_MEMORY: u64 = 1 << 30;

/// The numbers of one case.
fn numbers(seed: &str, case: u64) -> Random {
    Random(common::checksum(seed.as_bytes()) ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

/// Counts rows, keeps file offsets of what they show.
#[derive(Default)]
struct Counting {
    rows: u64,
    places: Option<BTreeSet<Spot>>,
}
/// Where an object stands in the file, and its virtual address (0 where it has none).
type Spot = (u64, u64);

impl Sink for Counting {
    fn row(&mut self, row: Row) -> Result<()> {
        self.rows += 1;
        if let Some(places) = &mut self.places
            && places.len() < 20_000
        {
            let all = row.place.iter().chain(row.fields.iter().map(|(_, p)| p));
            places.extend(all.filter_map(|p| Some((p.file?.dump_offset()?, p.va.map_or(0, |va| va.0)))));
        }
        if self.rows > MOST_ROWS {
            return Err(Error::Output(std::io::Error::other("far too many rows")));
        }
        Ok(())
    }
    fn note(&mut self, _: Note) {}
}

/// What is overwritten in the file, and what stood there.
struct Damage<'f> {
    file: &'f mut std::fs::File,
    before: Vec<(u64, Vec<u8>)>,
}
impl Damage<'_> {
    fn read(&mut self, at: u64, len: usize) -> Option<Vec<u8>> {
        let mut out = vec![0; len];
        self.file.seek(SeekFrom::Start(at)).unwrap();
        self.file.read_exact(&mut out).ok()?;
        Some(out)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) {
        if let Some(before) = self.read(at, bytes.len()) {
            self.before.push((at, before));
            self.put(at, bytes);
        }
    }
    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.file.seek(SeekFrom::Start(at)).unwrap();
        self.file.write_all(bytes).unwrap();
    }
    fn undo(mut self) {
        while let Some((at, bytes)) = self.before.pop() {
            self.put(at, &bytes);
        }
    }
}

/// The kinds of damage, in the order cases take them.
const KINDS: [&str; 7] = ["truncated", "bits", "pointers", "counts", "header", "cycles", "pages"];

/// Damages the file; a truncation is told by its length.
fn damage(kind: &str, random: &mut Random, places: &[Spot], len: u64, on: &mut Damage<'_>) -> Option<u64> {
    let many = 1 + random.below64(24);
    // A word of an object, up to half a page behind a place that a row names.
    let word = |random: &mut Random| (random.of(places).0 + 8 * random.below64(256)) & !7;
    // The last byte but seven of the file that an address leads to: an object there ends past the end.
    let end = places.iter().max().map_or(0, |(_, va)| va | 0xff8);
    match kind {
        "truncated" => {
            let near = random.of(&[0, 1, 0x20, 0xfff, 0x1000, 0x1001, 0x2000, 0x2038]);
            let length = if random.below64(2) == 0 { near } else { random.below64(len) };
            return Some(length.min(len));
        }
        "bits" => {
            for _ in 0..many {
                let at = if random.below64(2) == 0 { word(random) + random.below64(8) } else { random.below64(len) };
                if let Some(old) = on.read(at, 1) {
                    on.write(at, &[old[0] ^ (1 << random.below64(8))]);
                }
            }
        }
        "pointers" => {
            let mut bent = 0;
            for _ in 0..many * 16 {
                let (place, va) = random.of(places);
                let inside = 8 * random.below64(256);
                let at = (place + inside) & !7;
                let itself = va.wrapping_add(at.wrapping_sub(place));
                let Some(old) = on.read(at, 8) else { continue };
                let old = u64::from_le_bytes(old.try_into().unwrap());
                if old >> 47 == 0x1_ffff || (0x1_0000..1 << 47).contains(&old) {
                    let new = random.of(&[
                        0,
                        1,
                        old ^ 0x1000,
                        old.wrapping_add(1),
                        old & !0xfff,
                        0x0000_7fff_ffff_fff8,
                        0x8000_0000_0000_0000,
                        0x4141_4141_4141_4141,
                        0xffff_ffff_ffff_fff8,
                        u64::MAX,
                        0x0000_0000_7ffe_0000,
                        itself,
                        end,
                    ]);
                    on.write(at, &new.to_le_bytes());
                    bent += 1;
                } else if old & 0x8000_0000 != 0 {
                    // A pointer of a 32-bit kernel.
                    let low = u32::try_from(old & 0xffff_ffff).unwrap();
                    let new = random.of(&[
                        0,
                        low ^ 0x1000,
                        low.wrapping_add(1),
                        0x7fff_fff8,
                        0xffff_fff8,
                        u32::MAX,
                        u32::try_from(itself & 0xffff_ffff).unwrap(),
                        u32::try_from(end & 0xffff_ffff).unwrap(),
                    ]);
                    on.write(at, &new.to_le_bytes());
                    bent += 1;
                }
                if bent == many {
                    break;
                }
            }
        }
        "counts" => {
            for _ in 0..many {
                let at = word(random) + 4 * random.below64(2);
                if on.read(at, 4).is_some_and(|old| old[2..] == [0, 0]) {
                    on.write(at, &u32::MAX.to_le_bytes());
                }
            }
        }
        "header" => {
            // At the end lie a triage dump's strings and copies, and what bug-check callbacks added.
            for _ in 0..1 + random.below64(6) {
                let at = 4 * random.below64(0x2000 / 4);
                let at = if random.below64(2) == 0 { at } else { (len & !3).saturating_sub(0x4000 - at) };
                let value = random.of(&[0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x1000]);
                on.write(at, &value.to_le_bytes());
            }
        }
        "cycles" => {
            // The same field of two objects, and objects that point at themselves.
            for _ in 0..many {
                let (a, b) = (random.of(places).0, random.of(places).0);
                let field = 8 * random.below64(256);
                if let Some(old) = on.read((b + field) & !7, 8) {
                    on.write((a + field) & !7, &old);
                }
            }
        }
        "pages" => {
            for _ in 0..1 + random.below64(6) {
                let at = if random.below64(3) == 0 { random.below64(len) } else { random.of(places).0 } & !0xfff;
                // The last two are what writers of dumps leave where they could not read.
                let fill =
                    random.of(&[[0x00; 4], [0xff; 4], [0x41; 4], [0x63; 4], [0xed, 0xfe, 0xad, 0xde], [0xfe; 4]]);
                on.write(at, &fill.repeat(0x400));
            }
        }
        other => panic!("{other}"),
    }
    None
}

/// Everything that can be asked, provenance included.
fn ask_everything(case: &Case, what: &str, now: &Mutex<&'static str>) {
    for analysis in ALL.iter() {
        *now.lock().unwrap() = analysis.name;
        let start = Instant::now();
        let ask = Ask {
            rows: Wanted::with_places(),
            switches: analysis.switches.iter().filter(|s| s.value.is_none()).map(|s| (s.name, String::new())).collect(),
            ..Ask::default()
        };
        let mut sink = Counting::default();
        if let Err(error) = analysis.run(case, &ask, &mut sink) {
            assert!(!matches!(error, Error::Output(_)), "{what}: {}: {error}", analysis.name);
            assert!(!error.to_string().is_empty());
        }
        if start.elapsed() > Duration::from_secs(5) {
            println!("{what}: {} took {:.1} s", analysis.name, start.elapsed().as_secs_f64());
        }
    }
}

/// Runs in a thread of its own, so that a hang is told and not suffered.
fn within_patience(what: &str, path: &Path, symbols: &Path) {
    let (done, wait) = mpsc::channel();
    let (label, path, symbols) = (what.to_owned(), path.to_path_buf(), symbols.to_path_buf());
    let now = Arc::new(Mutex::new("opening"));
    let of_worker = Arc::clone(&now);
    let worker = std::thread::spawn(move || {
        if let Ok(case) = open(&path, &symbols) {
            ask_everything(&case, &label, &of_worker);
        }
        let _ = done.send(());
    });
    match wait.recv_timeout(PATIENCE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: {} hangs", now.lock().unwrap()),
        _ => assert!(worker.join().is_ok(), "{what}: {} panicked", now.lock().unwrap_or_else(|e| e.into_inner())),
    }
}

/// Where the objects of an undamaged sample stand in its file.
fn places_of(sample: &Sample) -> Vec<Spot> {
    let mut sink = Counting { places: Some(BTreeSet::new()), ..Counting::default() };
    if let Ok(case) = open(&sample.path, &sample.symbols) {
        for analysis in ALL.iter() {
            let ask = Ask { rows: Wanted::with_places(), ..Ask::default() };
            let _ = analysis.run(&case, &ask, &mut sink);
        }
    }
    let mut out: Vec<Spot> = sink.places.unwrap().into_iter().collect();
    // The header too; and something to aim at where nothing was found.
    out.extend([0, 0x1000, 0x2000].map(|at| (at, 0)));
    out
}

/// Private memory now, in bytes; `None` where the system does not tell.
fn private_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// Watches private memory until dropped.
struct Watch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}
impl Watch {
    fn start() -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (s, p) = (Arc::clone(&stop), Arc::clone(&peak));
        let thread = std::thread::spawn(move || {
            while !s.load(Ordering::Relaxed) {
                p.fetch_max(private_memory().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { stop, peak, thread: Some(thread) }
    }
    fn peak(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.peak.load(Ordering::Relaxed)
    }
}

#[test]
fn damaged_samples_end_well() {
    let all = samples();
    if all.is_empty() {
        println!("skipped: no samples under testdata/");
        return;
    }
    let times: u64 = std::env::var("DUMPWALK_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let (start, watch) = (Instant::now(), Watch::start());
    let mut cases = 0_u64;
    for sample in &all {
        let places = places_of(sample);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged.dmp");
        std::fs::copy(&sample.path, &path).unwrap();
        let len = std::fs::metadata(&path).unwrap().len();
        let mut file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut lengths = Vec::new();
        for case in 0..CASES * times {
            let kind = KINDS[usize::try_from(case).unwrap() % KINDS.len()];
            let what = format!("{} case {case} ({kind})", sample.name);
            let mut on = Damage { file: &mut file, before: Vec::new() };
            match damage(kind, &mut numbers(&sample.name, case), &places, len, &mut on) {
                Some(length) => lengths.push((length, what)),
                None => within_patience(&what, &path, &sample.symbols),
            }
            on.undo();
            cases += 1;
        }
        // Longest first: one file serves all truncations.
        lengths.sort_by(|a, b| b.cmp(a));
        for (length, what) in lengths {
            file.set_len(length).unwrap();
            within_patience(&format!("{what} to {length} bytes"), &path, &sample.symbols);
        }
    }
    let peak = watch.peak();
    println!(
        "{cases} damaged dumps of {} samples, {} analyses each: {} runs in {:.1} s, at most {} MiB private",
        all.len(),
        ALL.len(),
        cases * ALL.len() as u64,
        start.elapsed().as_secs_f64(),
        peak >> 20
    );
    assert!(peak < MOST_MEMORY, "{} MiB of private memory", peak >> 20);
}
