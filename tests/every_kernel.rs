//! A machine on every layout that is built in: with the kernel's own symbols, with none but its identity, and with neither,
//! one pass of `report` says what was forged, or that a value is not to be had.
//!
//! `DUMPWALK_KERNELS=WORD` takes the layouts whose name has the word.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod facts;
mod program;

use common::write;
use dumpwalk::analysis::{ALL, Ask, Case, OpenOptions};
use dumpwalk::report::Format;
use dumpwalk::symbols::builtin::{self, Known};
use dumpwalk::symbols::{Machine, PdbId, Symbols, table};
use facts::{COMPARISONS, Facts, OWN};
use forge::layout::Layouts;
use forge::memory::Mode;
use forge::scenario::Scenario;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The first kernel of each built-in layout that can be forged.
fn kernels() -> Vec<&'static Known> {
    let word = std::env::var("DUMPWALK_KERNELS").unwrap_or_default();
    let mut seen = BTreeSet::new();
    builtin::known()
        .iter()
        .filter(|k| k.name().contains(&word) && seen.insert(k.name()))
        // Without the identifier's place there is nothing to forge, nor to read.
        .filter(|k| k.load(false).types.get("_EPROCESS").is_some_and(|t| t.members.contains_key("UniqueProcessId")))
        .collect()
}

fn build(version: &str) -> u32 {
    version.split('.').nth(2).and_then(|b| b.parse().ok()).unwrap()
}

/// The forge's own scenarios of whole machines, by their layout: the nearest to a kernel.
fn scenario(kernel: &Known, text: &str) -> Scenario {
    // What is laid out by tables is the same on ARM64 and x64.
    let word = if kernel.machine == Machine::X86 { "x86" } else { "x64" };
    let of_processor = |s: &Scenario| s.layout.starts_with(word) && !s.name.contains("minidump");
    let all = forge::samples().unwrap().into_iter().map(|name| Scenario::load(&name)).filter(of_processor);
    // Attack scenarios hold what other tests are about; five levels are one kernel's.
    let plain = all.filter(|s| !["attack", "benign", "la57", "raw", "win10-22h2"].iter().any(|w| s.name.contains(w)));
    let wanted = build(&kernel.version);
    let mut s = plain.min_by_key(|s| (s.build.abs_diff(wanted), s.name.clone())).unwrap();
    let mut parts = kernel.version.split('.').map(|p| p.parse::<u32>().unwrap());
    (s.nt, s.build) = ((parts.next().unwrap(), parts.next().unwrap()), wanted);
    s.name = kernel.name();
    s.containers = vec!["full".into()];
    s.pfn_database = false;
    if kernel.machine == Machine::Arm64 {
        s.mode = Mode::Arm;
    }
    if kernel.machine == Machine::X86 {
        // Ask the type: entries of eight bytes are PAE's.
        s.mode = if Layouts::parse(text).size("_MMPTE") == 8 { Mode::Pae } else { Mode::Plain };
    }
    s
}

/// The kernel's table as a symbol file, with a made-up identity where its own is not known, and globals that the forge made up.
fn forged(kernel: &Known, named: &BTreeSet<String>) -> (Scenario, Layouts, Symbols) {
    let mut symbols = kernel.load(true);
    let name = if kernel.machine == Machine::X86 { "ntkrpamp.pdb" } else { "ntkrnlmp.pdb" };
    symbols.id.get_or_insert_with(|| PdbId {
        name: name.into(),
        guid: format!("{:032X}", common::checksum(kernel.name().as_bytes())),
        age: 1,
    });
    symbols.globals = dumpwalk::symbols::globals::Globals::default();
    let text = table::write(&symbols);
    let s = scenario(kernel, &text);
    // The forge's own table of this very kernel, where it has one: its globals are the real ones.
    let of_kernel = |table: &Layouts| table.arch == kernel.machine.word() && table.version == kernel.version;
    let own = kernel.has_globals.then(|| forge::layouts().unwrap().iter().map(|n| Layouts::load(n)).find(of_kernel));
    let donor = own.flatten().unwrap_or_else(|| Layouts::load(&s.layout));
    let mut layouts = Layouts::parse(&text).completed(&donor, named);
    if s.mode == Mode::Pae {
        // Computed tables leave their bits out. This kernel with PAE has them.
        let with_bits = builtin::known().iter().find(|k| k.version == "6.1.7601.24000").unwrap().load(false);
        layouts = layouts.with_entries_of(&Layouts::parse(&table::write(&with_bits)));
    }
    symbols.globals = layouts.symbols.iter().map(|(n, rva)| (n.as_str(), u32::try_from(*rva).unwrap())).collect();
    (s, layouts, symbols)
}

/// The rows of one `report`, by section.
fn report(dump: &Path, symbols: &Path) -> Result<BTreeMap<String, Vec<Value>>, String> {
    let options =
        OpenOptions { symbols: vec![symbols.into()], offline: true, isolated: true, ..OpenOptions::default() };
    let case = Case::open(dump, &options).map_err(|e| e.to_string())?;
    let report = ALL.iter().find(|a| a.name == "report").unwrap();
    let written = write(&case, report, &Ask::default(), &[Format::Jsonl]).map_err(|e| e.to_string())?;
    let mut sections: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8(written.into_iter().next().unwrap().bytes).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        sections.entry(row["section"].as_str().unwrap().to_owned()).or_default().push(row);
    }
    Ok(sections)
}

/// What a machine is analysed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A symbol file of this very kernel.
    OwnSymbols,
    /// Nothing but the built-in tables, and the identity of its PDB, which they may know.
    Identity,
    /// Nothing but the built-in tables, and an identity that nobody knows.
    Unknown,
}

/// Whether something holds of a kernel and what it is analysed with.
type Where = fn(&Symbols, Way) -> bool;

/// Values that are not to be had: whose, in which column of the comparison (or whole facts), where, and why.
const ABSENT: &[(&str, Option<usize>, Where, &str)] = &[
    (
        "getsids",
        None,
        |_, way| way != Way::OwnSymbols,
        "CmpHiveListHead, from which the users' profiles are reached, has no other name than its symbol",
    ),
    (
        "vadinfo",
        Some(4),
        |s, _| s.types.get("_POOL_HEADER").is_none(),
        "the tables of 10586 lack _POOL_HEADER, before which the tag cannot be found",
    ),
];

/// Of a kernel whose identity nobody knows.
const NOT_SURE: &str = "revisions of this build have the field in different places, and the dump does not say which";

#[derive(Default)]
struct Count {
    machines: usize,
    facts: usize,
    equal: usize,
    /// By reason.
    absent: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.machines += other.machines;
        self.facts += other.facts;
        self.equal += other.equal;
        for (why, n) in other.absent {
            *self.absent.entry(why).or_default() += n;
        }
        self.wrong.extend(other.wrong);
    }
    /// Holds every section against the truth.
    fn compare(
        &mut self,
        name: &str,
        machine: (&Symbols, Way),
        truth: &Value,
        sections: &BTreeMap<String, Vec<Value>>,
    ) {
        for c in COMPARISONS.iter().chain(OWN) {
            let got: Facts = sections.get(c.analysis).into_iter().flatten().filter_map(c.of_row).collect();
            let want = (c.of_truth)(truth);
            self.facts += want.len();
            self.equal += want.intersection(&got).count();
            let mut missing: BTreeSet<&String> = want.difference(&got).collect();
            let mut extra: BTreeSet<&String> = got.difference(&want).collect();
            let here =
                ABSENT.iter().filter(|(analysis, _, holds, _)| *analysis == c.analysis && holds(machine.0, machine.1));
            for (_, column, _, why) in here {
                let without: Vec<(&String, Option<String>)> =
                    missing.iter().map(|fact| (*fact, column.map(|at| without_part(fact, at)))).collect();
                for (fact, without) in without {
                    let known = match &without {
                        // The row is there, but for the value.
                        Some(without) => extra.remove(without),
                        None => fact.ends_with(|c: char| c.is_alphabetic()),
                    };
                    if known {
                        missing.remove(fact);
                        *self.absent.entry(why).or_default() += 1;
                    }
                }
            }
            if machine.1 == Way::Unknown {
                let less: Vec<&String> = extra.iter().copied().collect();
                for fact in less {
                    let Some(known) = missing.iter().copied().find(|want| facts::says_less(fact, want)) else {
                        continue;
                    };
                    missing.remove(known);
                    extra.remove(fact);
                    *self.absent.entry(NOT_SURE).or_default() += 1;
                }
            }
            if !(missing.is_empty() && extra.is_empty()) {
                let (missing, extra): (Vec<_>, Vec<_>) =
                    (missing.iter().take(2).collect(), extra.iter().take(2).collect());
                self.wrong.push(format!("{name}, {}: missing {missing:?}, extra {extra:?}", c.analysis));
            }
        }
    }
}

/// A fact with one of its parts absent.
fn without_part(fact: &str, at: usize) -> String {
    let part = |(i, part): (usize, &str)| if i == at { "null".to_owned() } else { part.to_owned() };
    facts::fact(&fact.split(" | ").enumerate().map(part).collect::<Vec<_>>())
}

fn one(kernel: &Known, named: &BTreeSet<String>, folder: &Path, count: &mut Count) {
    let (s, layouts, symbols) = forged(kernel, named);
    let (dumps, truth) = forge::build_on(&s, layouts);
    let truth: Value = serde_json::from_str(&truth.to_string()).unwrap();
    let folder = folder.join(kernel.name().replace(' ', "-"));
    let (own, nowhere) = (folder.join("own"), folder.join("nowhere"));
    std::fs::create_dir_all(&own).unwrap();
    std::fs::create_dir_all(&nowhere).unwrap();
    std::fs::write(own.join("kernel.txt"), table::write(&symbols)).unwrap();
    let mut bytes = dumps.into_iter().next().unwrap().1;
    let dump = folder.join("full.dmp");
    std::fs::write(&dump, &bytes).unwrap();
    let mut ways = vec![(Way::OwnSymbols, &own)];
    if kernel.id.is_some() {
        ways.push((Way::Identity, &nowhere));
    }
    ways.push((Way::Unknown, &nowhere));
    for (way, store) in ways {
        if way == Way::Unknown && kernel.id.is_some() {
            rename(&mut bytes);
            std::fs::write(&dump, &bytes).unwrap();
        }
        let name = format!("{} ({way:?})", kernel.name());
        count.machines += 1;
        match report(&dump, store) {
            Ok(sections) => count.compare(&name, (&symbols, way), &truth, &sections),
            Err(why) => count.wrong.push(format!("{name}: {why}")),
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Gives the kernel's PDB an identity that nobody knows: the first bytes of its GUID in every record that names a PDB of a kernel.
fn rename(dump: &mut [u8]) {
    let records: Vec<usize> = dump
        .windows(28)
        .enumerate()
        .filter(|(_, w)| w.starts_with(b"RSDS") && w[24..].starts_with(b"ntkr"))
        .map(|(at, _)| at)
        .collect();
    assert!(!records.is_empty(), "no record names the kernel's PDB");
    for at in records {
        dump[at + 4..at + 12].copy_from_slice(b"nobody's");
    }
}

/// All types and enumerations that these kernels' tables have.
fn named(kernels: &[&Known]) -> BTreeSet<String> {
    let of = |k: &&Known| {
        let types = k.load(false).types;
        types.types.into_keys().chain(types.enums.into_keys()).map(String::from).collect::<Vec<_>>()
    };
    kernels.iter().flat_map(of).collect()
}

/// An ARM64 machine is found by what memory holds, where the header does not name its page tables, or there is no header.
#[test]
fn an_arm64_machine_is_found_without_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = builtin::known().iter().find(|k| k.name() == "arm64-10.0.22000.318").unwrap();
    let (mut s, layouts, symbols) = forged(kernel, &named(&[kernel]));
    s.containers = vec!["full".into(), "raw".into()];
    (s.compact, s.root) = (true, 0x1ad);
    let (dumps, truth) = forge::build_on(&s, layouts);
    let truth: Value = serde_json::from_str(&truth.to_string()).unwrap();
    let [(_, mut full), (_, raw)] = <[_; 2]>::try_from(dumps).unwrap();
    // DirectoryTableBase of the header; then every entry of a table that names the table itself.
    full[0x10..0x18].fill(0);
    let mut unmapped = full.clone();
    for word in unmapped[0x2000..].chunks_exact_mut(8) {
        let entry = u64::from_le_bytes((&*word).try_into().unwrap());
        if entry & !0x0000_ffff_ffff_f000 == 0x0060_0000_0000_0003 {
            word.fill(0);
        }
    }
    let mut count = Count::default();
    for (what, bytes, way) in
        [("no root", full, ""), ("no self-reference", unmapped, "processes in memory"), ("raw", raw, "")]
    {
        let dump = folder.path().join("dump");
        std::fs::write(&dump, bytes).unwrap();
        let sections = report(&dump, folder.path()).unwrap_or_else(|why| panic!("{what}: {why}"));
        let found_by = sections["info"][0]["found_by"].to_string();
        assert!(found_by.contains(way), "{what}: {found_by}");
        count.compare(what, (&symbols, Way::Identity), &truth, &sections);
    }
    assert!(count.equal > 500 && count.wrong.is_empty(), "{} equal; {:#?}", count.equal, count.wrong);
}

#[test]
fn every_kernel_answers_what_was_forged() {
    let folder = tempfile::tempdir().unwrap();
    let kernels = kernels();
    let named = named(&kernels);
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Count::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut count = Count::default();
                    let work = std::panic::AssertUnwindSafe(|| one(kernel, &named, folder.path(), &mut count));
                    let failed = std::panic::catch_unwind(work).err();
                    if let Some(why) = failed {
                        let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                        count.wrong.push(format!("{}: {why}", kernel.name()));
                    }
                    total.lock().unwrap().add(count);
                }
            });
        }
    });
    let total = total.into_inner().unwrap();
    println!(
        "{} layouts, {} machines, {} facts: {} equal, {:?} absent",
        kernels.len(),
        total.machines,
        total.facts,
        total.equal,
        total.absent
    );
    assert!(total.wrong.is_empty(), "{} differ:\n{}", total.wrong.len(), total.wrong.join("\n"));
    let not_sure = total.absent.get(NOT_SURE).copied().unwrap_or(0);
    assert!(not_sure * 200 < total.facts, "{not_sure} of {} facts are absent", total.facts);
}
