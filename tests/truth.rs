//! What dumpwalk says of a sample equals what its generator planted: our forge's samples, and those of another generator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod facts;
mod program;

use facts::{COMPARISONS, Comparison, Facts, OWN, address, fact, list, plain, says_less, short_name, text, time};
use program::{Sample, rows};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Dumps that hold kernel memory only: what lies in user pages cannot be had from them.
fn keeps_user_memory(dump: &Path) -> bool {
    !["kernel", "rdmp8", "summary"].iter().any(|kind| is(dump, kind))
}
/// Triage dumps hold one process and the list of drivers.
fn is_triage(dump: &Path) -> bool {
    is(dump, "triage")
}
/// Dumps of the whole machine: no triage dump, no user-mode minidump.
fn of_the_machine(sample: &Sample) -> impl Iterator<Item = &PathBuf> {
    sample.dumps.iter().filter(|d| !is_triage(d) && !is(d, "minidump"))
}
fn is(dump: &Path, kind: &str) -> bool {
    dump.file_name().is_some_and(|n| n.to_string_lossy().starts_with(kind))
}

/// Every comparison on every dump of these samples; all differences in one message.
fn compare(samples: &[Sample], comparisons: &[&Comparison], with_pdb: bool) {
    let mut wrong = Vec::new();
    let (mut compared, mut absent) = (0, 0);
    for sample in samples {
        for dump in of_the_machine(sample) {
            for c in comparisons.iter().filter(|c| !c.user || keeps_user_memory(dump)) {
                let name = format!("{} {} {}", sample.name, dump.file_name().unwrap().to_string_lossy(), c.analysis);
                let want = (c.of_truth)(&sample.truth);
                compared += 1;
                match rows(c.analysis, dump, with_pdb.then_some(sample.store.as_path())) {
                    Err(e) => wrong.push(format!("{name}: {e}")),
                    Ok(rows) => {
                        let got: Facts = rows.iter().filter_map(c.of_row).collect();
                        let missing: Vec<_> = want.difference(&got).collect();
                        let extra: Vec<_> = got.difference(&want).collect();
                        // Without the kernel's own symbols a value may be absent, and no other.
                        let fewer = !with_pdb
                            && missing.len() == extra.len()
                            && extra.iter().all(|e| missing.iter().any(|m| says_less(e, m)));
                        absent += usize::from(fewer && !extra.is_empty());
                        if !fewer && got != want {
                            let (missing, extra) = (missing.iter().take(3), extra.iter().take(3));
                            let (missing, extra): (Vec<_>, Vec<_>) = (missing.collect(), extra.collect());
                            wrong.push(format!("{name}: missing {missing:?}, extra {extra:?}"));
                        }
                    }
                }
            }
        }
    }
    println!("{compared} comparisons, {absent} with values absent, {} differ", wrong.len());
    assert!(absent * 20 <= compared, "values absent in {absent} of {compared} comparisons");
    assert!(wrong.is_empty(), "{} of {compared} comparisons differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn our_own_samples() {
    let samples = program::own_samples();
    assert!(!samples.is_empty(), "no samples under testdata/");
    let all: Vec<&Comparison> = COMPARISONS.iter().chain(OWN).collect();
    compare(&samples, &all, true);
}

#[test]
fn samples_of_another_generator() {
    let all: Vec<&Comparison> = COMPARISONS.iter().collect();
    compare(&program::shared_samples(), &all, true);
}

/// No network and no PDB: the built-in tables answer the same.
#[test]
fn samples_of_another_generator_without_symbols() {
    let all: Vec<&Comparison> = COMPARISONS.iter().collect();
    compare(&program::shared_samples(), &all, false);
}

/// A triage dump answers with the one process it holds, and its list of drivers is the machine's.
#[test]
fn triage_dumps_answer_what_they_hold() {
    let samples = program::own_samples();
    let mut seen = 0;
    for sample in &samples {
        for dump in sample.dumps.iter().filter(|d| is_triage(d)) {
            seen += 1;
            let name = format!("{} {}", sample.name, dump.display());
            let processes = rows("pslist", dump, Some(&sample.store)).unwrap_or_else(|e| panic!("{name}: {e}"));
            let [process] = &processes[..] else { panic!("{name}: {} processes", processes.len()) };
            let known = list(&sample.truth, "processes").find(|p| p["pid"] == process["pid"]);
            let known = known.unwrap_or_else(|| panic!("{name}: the truth has no process {}", process["pid"]));
            assert_eq!(text(&process["name"]), short_name(&known["name"]), "{name}");
            assert_eq!(address(&process["dtb"]), address(&known["dtb"]), "{name}");
            assert_eq!(text(&process["create_time"]), time(&known["create"]), "{name}");
            let modules = rows("modules", dump, Some(&sample.store)).unwrap_or_else(|e| panic!("{name}: {e}"));
            let got: Facts = modules.iter().map(|m| fact(&[address(&m["base"]), plain(&m["size"])])).collect();
            let want: Facts =
                list(&sample.truth, "modules").map(|m| fact(&[address(&m["base"]), plain(&m["size"])])).collect();
            assert_eq!(got, want, "{name}");
        }
    }
    assert!(seen > 0, "no triage dump among the samples");
}

/// What a scan of physical memory finds: every process, listed or not.
#[test]
fn scans_find_what_is_hidden() {
    for sample in program::own_samples().iter().chain(&program::shared_samples()) {
        for dump in of_the_machine(sample) {
            let found = rows("psscan", dump, Some(&sample.store)).unwrap_or_else(|e| panic!("{}: {e}", dump.display()));
            let got: Facts =
                found.iter().map(|r| fact(&[plain(&r["pid"]), text(&r["name"]), address(&r["offset"])])).collect();
            let of = |p: &Value| fact(&[plain(&p["pid"]), short_name(&p["name"]), address(&p["eprocess"])]);
            let want: Facts = list(&sample.truth, "processes").map(of).collect();
            assert_eq!(got, want, "{} {}", sample.name, dump.display());
            for p in list(&sample.truth, "processes").filter(|p| p["linked"] == false) {
                let row = found.iter().find(|r| address(&r["offset"]) == address(&p["eprocess"]));
                assert_eq!(
                    row.map(|r| text(&r["list_status"])).as_deref(),
                    Some("unlinked"),
                    "{} {}",
                    sample.name,
                    p["pid"]
                );
            }
        }
    }
}

/// The hive with the users' profiles lies in the pool up to 1709 and in the process Registry from 1803 on: of both, each user of the list
/// that a token names is named by the folder.
#[test]
fn users_are_named_by_the_hive_wherever_it_lies() {
    let samples = program::own_samples();
    let mut seen = std::collections::BTreeSet::new();
    for sample in samples.iter().filter(|s| !s.truth["profiles"].is_null()) {
        for dump in of_the_machine(sample).filter(|d| keeps_user_memory(d)) {
            let in_process = sample.truth["hive"]["in_registry_process"].as_bool().unwrap();
            let ranges = rows("vadinfo", dump, Some(&sample.store)).unwrap();
            let bin = sample.truth["hive"]["bin"].as_u64();
            let holds = |r: &&Value| {
                let inside =
                    |bin: u64| program::number(&r["start"]) <= Some(bin) && program::number(&r["end"]) > Some(bin);
                r["name"] == "Registry" && bin.is_some_and(inside)
            };
            assert_eq!(ranges.iter().any(|r| holds(&r)), in_process, "{}", sample.name);
            let sids = rows("getsids", dump, Some(&sample.store)).unwrap();
            for profile in list(&sample.truth, "profiles") {
                let name = text(&profile["folder"]).rsplit('\\').next().unwrap().to_owned();
                let row = sids.iter().find(|r| r["sid"] == profile["sid"]).unwrap();
                let named = text(&row["sid_name"]);
                assert_eq!(named, format!("{name} (by the profile's folder)"), "{} {}", sample.name, profile["sid"]);
                seen.insert(in_process);
            }
        }
    }
    assert_eq!(seen.len(), 2, "samples with a hive in the pool and in the process");
}
