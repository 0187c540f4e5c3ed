//! Scans, cross-views and hooks against what was planted: what hides is found by something else, hooks are exactly those planted, and
//! a machine in order has none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{Sample, dumpwalk, number, own_samples, rows, shared_samples};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Addresses are compared without their sign extension.
const M48: u64 = (1 << 48) - 1;

fn is(dump: &Path, kind: &str) -> bool {
    dump.file_name().is_some_and(|n| n.to_string_lossy().starts_with(kind))
}
fn list<'v>(v: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    v[key].as_array().into_iter().flatten()
}
fn address(v: &Value) -> u64 {
    number(v).unwrap_or_else(|| panic!("no address: {v}")) & M48
}
fn texts(v: &Value) -> Vec<&str> {
    v.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
fn word(v: &Value) -> String {
    v.as_str().unwrap_or("-").to_owned()
}
/// Every dump that keeps memory of the whole machine.
fn whole(samples: &[Sample]) -> impl Iterator<Item = (&Sample, &Path)> {
    samples
        .iter()
        .flat_map(|s| s.dumps.iter().filter(|d| !is(d, "triage") && !is(d, "minidump")).map(move |d| (s, d.as_path())))
}
fn all_samples() -> Vec<Sample> {
    own_samples().into_iter().chain(shared_samples()).collect()
}

/// Every process of the truth is a row; what is linked is on the list both ways; what is not is found by something else and is unexplained
/// exactly where it is alive; nothing else is missing from a list for no reason.
#[test]
fn psxview_shows_what_hides_and_nothing_else() {
    let samples = all_samples();
    for (sample, dump) in whole(&samples) {
        let here = format!("{} {}", sample.name, dump.file_name().unwrap().display());
        let rows = rows("psxview", dump, Some(&sample.store)).unwrap_or_else(|e| panic!("{here}: {e}"));
        let by_address: BTreeMap<u64, &Value> =
            rows.iter().filter(|r| !r["offset"].is_null()).map(|r| (address(&r["offset"]), r)).collect();
        // A number that two objects of the truth have: one of them is not in the table.
        let mut ids: BTreeMap<u64, u32> = BTreeMap::new();
        for p in list(&sample.truth, "processes") {
            *ids.entry(p["pid"].as_u64().unwrap()).or_default() += 1;
            for t in list(p, "threads") {
                *ids.entry(t["tid"].as_u64().unwrap()).or_default() += 1;
            }
        }
        for p in list(&sample.truth, "processes") {
            let who = format!("{here}: {} {}", p["pid"], p["name"]);
            let row = by_address.get(&address(&p["eprocess"])).unwrap_or_else(|| panic!("{who} is in no row"));
            let linked = p["linked"] == true;
            let ended = number(&p["exit"]).is_some_and(|e| e != 0);
            assert_eq!((&row["pslist"], &row["pslist_back"]), (&linked.into(), &linked.into()), "{who}");
            assert_eq!(row["psscan"], true, "{who}: the scan");
            let unexplained = texts(&row["unexplained"]);
            let hidden = unexplained.contains(&"pslist");
            assert_eq!(hidden, !linked && !ended, "{who}: {unexplained:?}");
            let standing = if linked {
                "listed"
            } else if ended {
                "terminated"
            } else {
                "unlinked"
            };
            assert_eq!(row["list_status"], standing, "{who}");
            if linked && ids[&p["pid"].as_u64().unwrap()] == 1 && !p["pid"].as_u64().unwrap().is_multiple_of(0x400) {
                // Taken out of the table of ids, or in order.
                let missing: &[&str] = if p["unnumbered"] == true { &["pspcid"] } else { &[] };
                assert_eq!(unexplained, missing, "{who}");
            }
        }
        assert_eq!(rows.len(), list(&sample.truth, "processes").count(), "{here}: nothing that is no process");
    }
}

/// What no list has is told whole by its address; its id alone finds nothing and says where to look.
#[test]
fn a_hidden_process_has_a_page_by_its_address() {
    let samples = own_samples();
    let (mut met, mut numbered) = (0, 0);
    for (sample, dump) in whole(&samples) {
        let hidden = |p: &&Value| p["linked"] == false && p["exit"].as_u64().unwrap_or(0) == 0 && p["why"] != "ended";
        for p in list(&sample.truth, "processes").filter(hidden) {
            let at = format!("{:#x}", number(&p["eprocess"]).unwrap());
            let ask = |by: &str, what: &str| {
                let (dump, store) = (dump.to_str().unwrap(), sample.store.to_str().unwrap());
                dumpwalk(&["process", dump, by, what, "-f", "jsonl", "--offline", "--symbols", store])
            };
            let page = ask("--offset", &at);
            assert!(matches!(page.code, 0 | 4), "{}: {}", sample.name, page.stderr);
            assert!(page.stderr.contains("is not on the active list"));
            let rows: Vec<Value> = page.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
            assert!(rows.iter().all(|r| r.get("pid").is_none_or(|pid| *pid == p["pid"])));
            assert!(rows.iter().any(|r| r["section"] == "pslist"));
            let threads = rows.iter().filter(|r| r["section"] == "threads").count();
            assert_eq!(threads, list(p, "threads").count(), "{}: {}", sample.name, p["name"]);
            let by_id = ask("--pid", &p["pid"].to_string());
            // By its id it is found where the table of client ids still has it.
            if by_id.stderr.contains("(PspCidTable) has it") {
                assert_eq!(by_id.stdout, page.stdout);
                numbered += 1;
            } else {
                assert!(by_id.stdout.is_empty() && by_id.stderr.contains("use --offset"), "{}", by_id.stderr);
            }
            met += 1;
        }
    }
    assert!(met > 0 && numbered > 0, "samples hide processes: {met}, {numbered} of them with an id");
    let dump = program::root().join("testdata/win10-22h2/full.dmp");
    let none = dumpwalk(&["pslist", dump.to_str().unwrap(), "--offset", "0xfffff78000000000", "--offline"]);
    assert!(none.code == 4 && none.stderr.contains("no _EPROCESS at"), "{}", none.stderr);
}

/// A wiped pool tag does not hide a process from the scan, and the row says how it was met.
#[test]
fn a_wiped_tag_is_met_by_the_dispatcher_header() {
    let samples = own_samples();
    let mut met = 0;
    for (sample, dump) in whole(&samples) {
        for p in list(&sample.truth, "processes").filter(|p| p["why"] == "dkom-wiped") {
            let rows = rows("psscan", dump, Some(&sample.store)).unwrap();
            let row = rows.iter().find(|r| address(&r["offset"]) == address(&p["eprocess"])).expect("the scan has it");
            assert_eq!(texts(&row["found_by"]), ["dispatcher_header"]);
            assert_eq!(row["list_status"], "unlinked");
            met += 1;
        }
    }
    assert!(met > 0, "a sample has a wiped tag");
}

/// Every object of the truth, whose kind the scan looks for by tag, is borne out in its allocation.
#[test]
fn pool_scan_finds_tokens_and_jobs() {
    let samples = own_samples();
    let mut jobs = 0;
    for (sample, dump) in whole(&samples) {
        let here = format!("{} {}", sample.name, dump.file_name().unwrap().display());
        let rows = rows("poolscan", dump, Some(&sample.store)).unwrap_or_else(|e| panic!("{here}: {e}"));
        // In the compact machines (raw images, 32-bit ones) a large page maps every page a second time: which address is the object's own
        // cannot always be told, its offset in the page can.
        let narrow = number(&sample.truth["kernel_base"]).unwrap() <= u64::from(u32::MAX);
        let mask = if narrow || is(dump, "raw") { 0xfff } else { M48 };
        let of = |kind: &str| -> BTreeSet<u64> {
            let with = rows.iter().filter(|r| r["kind"] == kind && !r["object"].is_null());
            with.map(|r| address(&r["object"]) & mask).collect()
        };
        let tokens = of("token");
        for p in list(&sample.truth, "processes") {
            if let Some(token) = number(&p["token"]["token"]) {
                assert!(tokens.contains(&(token & mask)), "{here}: token {token:#x} of {}", p["pid"]);
            }
        }
        let found = of("job");
        for job in list(&sample.truth, "jobs") {
            assert!(found.contains(&(address(&job["job"]) & mask)), "{here}: job {}", job["name"]);
            jobs += 1;
        }
        let processes = of("process");
        for p in list(&sample.truth, "processes").filter(|p| p["why"] != "dkom-wiped") {
            assert!(processes.contains(&(address(&p["eprocess"]) & mask)), "{here}: process {}", p["pid"]);
        }
    }
    assert!(jobs > 0, "a sample has jobs");
}

/// What `ssdt`, `callbacks` and `driverirp` flag is what the truth calls a hook: all of it and nothing else.
#[test]
fn hooks_are_exactly_those_planted() {
    let samples = own_samples();
    let mut seen = BTreeSet::new();
    for (sample, dump) in whole(&samples).filter(|(s, _)| !s.truth["services"].is_null()) {
        let mut flagged = BTreeSet::new();
        for (analysis, entry) in [("ssdt", "entry"), ("callbacks", "entry")] {
            let rows = rows(analysis, dump, Some(&sample.store)).unwrap();
            assert!(!rows.is_empty(), "{}: {analysis}", sample.name);
            for r in rows.iter().filter(|r| !r["hook"].is_null()) {
                flagged.insert((address(&r[entry]), address(&r["address"])));
            }
        }
        let offset = major_functions(sample, dump);
        for r in rows("driverirp", dump, Some(&sample.store)).unwrap().iter().filter(|r| !r["hook"].is_null()) {
            let at = address(&r["offset"]) + offset[r["irp"].as_str().unwrap()];
            flagged.insert((at, address(&r["address"])));
        }
        // A driver's routine for its end is none that the three analyses look at: it runs but once.
        let planted: BTreeSet<_> = list(&sample.truth, "hooks")
            .filter(|h| h["kind"] != "unload")
            .map(|h| (address(&h["at"]), address(&h["target"])))
            .collect();
        assert_eq!(flagged, planted, "{}", sample.name);
        seen.insert(!planted.is_empty());
    }
    assert_eq!(seen.len(), 2, "one sample with hooks and one without");
}

/// A dump without the service table gives no system calls and says so, and is answered in part; a machine on which nobody registered a
/// callback has empty lists, about which there is nothing to say.
#[test]
fn a_table_that_is_not_there_is_told() {
    let samples = own_samples();
    let run = |analysis: &str, dump: &Path, sample: &Sample| {
        dumpwalk(&[
            analysis.as_ref(),
            dump.as_os_str(),
            "--format".as_ref(),
            "json".as_ref(),
            "--offline".as_ref(),
            "--symbols".as_ref(),
            sample.store.as_os_str(),
        ])
    };
    let mut seen = 0;
    for (sample, dump) in whole(&samples).filter(|(s, _)| s.truth["services"].is_null()) {
        let here = format!("{} {}", sample.name, dump.file_name().unwrap().display());
        let ssdt = run("ssdt", dump, sample);
        assert_eq!((ssdt.code, ssdt.stdout.trim()), (4, "[]"), "{here}: {}", ssdt.stderr);
        assert!(ssdt.stderr.contains("loss: no system calls: "), "{here}: {}", ssdt.stderr);
        let callbacks = run("callbacks", dump, sample);
        assert_eq!((callbacks.code, callbacks.stdout.trim()), (0, "[]"), "{here}: {}", callbacks.stderr);
        seen += 1;
    }
    assert!(seen > 0, "every sample has a service table");
    // A triage dump keeps none of the kernel's tables: that is no analysis of it.
    let triage = samples.iter().find_map(|s| Some((s, s.dumps.iter().find(|d| is(d, "triage"))?))).unwrap();
    for analysis in ["ssdt", "callbacks"] {
        let ran = run(analysis, triage.1, triage.0);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{analysis}: {}", ran.stderr);
        assert!(ran.stderr.contains("does not answer from a triage dump"), "{analysis}: {}", ran.stderr);
    }
}

/// Distances of the dispatch routines in a driver object, by the truth: the first hook of a driver tells where the table begins.
fn major_functions(sample: &Sample, dump: &Path) -> BTreeMap<String, u64> {
    let rows = rows("driverirp", dump, Some(&sample.store)).unwrap();
    let mut names: Vec<&str> = Vec::new();
    for r in &rows {
        let name = r["irp"].as_str().unwrap();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let first = list(&sample.truth, "hooks").find(|h| h["kind"] == "dispatch").map(|h| {
        let driver = list(&sample.truth, "drivers").find(|d| d["name"] == h["what"]).unwrap();
        address(&h["at"]) - 8 * h["index"].as_u64().unwrap() - address(&driver["driver"])
    });
    let first = first.unwrap_or(0);
    names.iter().zip(0u64..).map(|(n, i)| ((*n).to_owned(), first + 8 * i)).collect()
}

/// Each service, notification routine and driver of the truth is there, in its module.
#[test]
fn services_callbacks_and_drivers_are_those_of_the_truth() {
    let samples = own_samples();
    for (sample, dump) in whole(&samples).filter(|(s, _)| !s.truth["services"].is_null()) {
        let services: Vec<u64> =
            rows("ssdt", dump, Some(&sample.store)).unwrap().iter().map(|r| address(&r["address"])).collect();
        let planted: Vec<u64> = list(&sample.truth, "services").map(address).collect();
        assert_eq!(services, planted, "{}", sample.name);
        let callbacks: Vec<_> = rows("callbacks", dump, Some(&sample.store))
            .unwrap()
            .iter()
            .map(|r| (word(&r["kind"]), r["index"].as_u64().unwrap(), address(&r["address"]), word(&r["detail"])))
            .collect();
        let planted: Vec<_> = list(&sample.truth, "callbacks")
            .map(|c| (word(&c["kind"]), c["index"].as_u64().unwrap(), address(&c["routine"]), word(&c["detail"])))
            .collect();
        let kinds: BTreeSet<_> = planted.iter().map(|c| c.0.as_str()).collect();
        assert_eq!(kinds.len(), 9, "{}: every kind of callback is planted: {kinds:?}", sample.name);
        assert_eq!(callbacks, planted, "{}", sample.name);
        let crossed = rows("drivermodule", dump, Some(&sample.store)).unwrap();
        let drivers: BTreeSet<_> = crossed
            .iter()
            .filter(|r| !r["driver"].is_null())
            .map(|r| (address(&r["driver"]), r["driver_name"].as_str().unwrap().to_owned(), address(&r["base"])))
            .collect();
        let planted: BTreeSet<_> = list(&sample.truth, "drivers")
            .map(|d| (address(&d["driver"]), d["name"].as_str().unwrap().to_owned(), address(&d["start"])))
            .collect();
        assert_eq!(drivers, planted, "{}", sample.name);
        let modules = crossed.iter().filter(|r| r["modules"] == true).count();
        assert_eq!(modules, list(&sample.truth, "modules").count(), "{}", sample.name);
        let unexplained: Vec<_> =
            crossed.iter().filter(|r| !texts(&r["unexplained"]).is_empty()).map(|r| address(&r["base"])).collect();
        let hidden: Vec<_> = list(&sample.truth, "hidden_modules").map(|m| address(&m["base"])).collect();
        assert_eq!(unexplained, hidden, "{}", sample.name);
    }
}

/// A service bent out of every module is told, however the processor's tables are written.
#[test]
fn a_bent_service_is_told_on_every_processor() {
    let samples = own_samples();
    let folder = tempfile::tempdir().unwrap();
    for (sample, dump) in whole(&samples).filter(|(s, _)| !s.truth["services"].is_null()) {
        let before = rows_with_places("ssdt", dump, &sample.store);
        let flagged = |rows: &[Value]| -> Vec<String> {
            rows.iter().filter(|r| !r["hook"].is_null()).map(|r| r["call"].as_str().unwrap().to_owned()).collect()
        };
        let base = number(&sample.truth["kernel_base"]).unwrap();
        let (table, target) = (number(&before[0]["entry"]).unwrap(), base - 0x2_0000);
        let raw = if base > u64::from(u32::MAX) { (target.wrapping_sub(table) << 4) as u32 } else { target as u32 };
        let mut bytes = std::fs::read(dump).unwrap();
        let at = usize::try_from(number(&before[40]["place"]["file"]).unwrap()).unwrap();
        bytes[at..at + 4].copy_from_slice(&raw.to_le_bytes());
        let patched = folder.path().join("patched.dmp");
        std::fs::write(&patched, &bytes).unwrap();
        let after = rows("ssdt", &patched, Some(&sample.store)).unwrap();
        assert_eq!(number(&after[40]["address"]), Some(target), "{}", sample.name);
        let mut wanted = flagged(&before);
        wanted.push("0x28".into());
        assert_eq!(flagged(&after), wanted, "{}", sample.name);
    }
}

/// A driver taken off the list of modules is still a driver object and still a loader entry in memory, and what it registered leads out of
/// every module.
#[test]
fn a_driver_taken_off_the_list_is_told() {
    let samples = own_samples();
    let (sample, dump) = whole(&samples).find(|(s, _)| s.name == "win10-22h2-benign").unwrap();
    let before = rows_with_places("modules", dump, &sample.store);
    let at = |name: &str| before.iter().position(|r| r["name"] == name).unwrap();
    let place = |i: usize| usize::try_from(number(&before[i]["place"]["file"]).unwrap()).unwrap();
    let gone = at("tcpip.sys");
    // The entry begins with its link in load order: next, previous.
    let mut bytes = std::fs::read(dump).unwrap();
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (next, previous) = (word(&bytes, place(gone)), word(&bytes, place(gone) + 8));
    bytes[place(gone - 1)..][..8].copy_from_slice(&next.to_le_bytes());
    bytes[place(gone + 1) + 8..][..8].copy_from_slice(&previous.to_le_bytes());
    let folder = tempfile::tempdir().unwrap();
    let patched = folder.path().join("patched.dmp");
    std::fs::write(&patched, &bytes).unwrap();

    let crossed = rows("drivermodule", &patched, Some(&sample.store)).unwrap();
    let row = crossed.iter().find(|r| r["driver_name"] == "\\Driver\\tcpip").expect("the driver object is there");
    assert_eq!(texts(&row["unexplained"]), ["modules"], "{row}");
    assert_eq!(
        (&row["driverscan"], &row["modscan"], &row["module"]),
        (&true.into(), &true.into(), &"tcpip.sys".into())
    );
    assert_eq!(crossed.iter().filter(|r| !texts(&r["unexplained"]).is_empty()).count(), 1);
    let outside = rows("callbacks", &patched, Some(&sample.store)).unwrap();
    let outside: Vec<_> = outside.iter().filter(|r| r["hook"] == "outside").collect();
    let base = address(&before[gone]["base"]);
    assert_eq!(outside.len(), 3, "its process, thread and image routine");
    assert!(outside.iter().all(|r| address(&r["address"]) - base < number(&before[gone]["size"]).unwrap()));
}

fn rows_with_places(analysis: &str, dump: &Path, store: &Path) -> Vec<Value> {
    let words: [&std::ffi::OsStr; 8] = [
        analysis.as_ref(),
        dump.as_os_str(),
        "--offline".as_ref(),
        "--symbols".as_ref(),
        store.as_os_str(),
        "--format".as_ref(),
        "json".as_ref(),
        "--provenance".as_ref(),
    ];
    let ran = dumpwalk(&words);
    assert!(matches!(ran.code, 0 | 4), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The stream is sorted, has every creation and end of the truth, and shows no doubtful time as a fact.
#[test]
fn the_timeline_is_sorted_and_whole() {
    let samples = own_samples();
    for (sample, dump) in whole(&samples) {
        let here = format!("{} {}", sample.name, dump.file_name().unwrap().display());
        let rows = rows("timeline", dump, Some(&sample.store)).unwrap_or_else(|e| panic!("{here}: {e}"));
        // What may be no time comes last, sorted among itself.
        let (sure, doubted): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|r| r["doubt"].is_null());
        assert!(rows.iter().map(|r| !r["doubt"].is_null()).is_sorted(), "{here}");
        for part in [sure, doubted] {
            assert!(part.iter().map(|r| r["time"].as_str().unwrap()).is_sorted(), "{here}");
        }
        let event = |kind: &str, pid: u64, time: u64| {
            let time = dumpwalk_time(time);
            rows.iter().any(|r| r["kind"] == kind && r["pid"] == pid && r["time"] == time.as_str())
        };
        let end = number(&sample.truth["system_time"]).unwrap();
        for p in list(&sample.truth, "processes") {
            let pid = p["pid"].as_u64().unwrap();
            assert!(event("process_created", pid, number(&p["create"]).unwrap()), "{here}: {pid} made");
            if let Some(exit) = number(&p["exit"]).filter(|e| *e != 0) {
                assert!(event("process_exited", pid, exit), "{here}: {pid} ended");
            }
            for t in list(p, "threads") {
                assert!(event("thread_created", pid, number(&t["create"]).unwrap()), "{here}: thread {}", t["tid"]);
            }
        }
        for r in &rows {
            let late = r["time"].as_str().unwrap() > dumpwalk_time(end).as_str();
            assert_eq!(r["doubt"] == "after_dump", late, "{here}: {r}");
        }
    }
}

fn dumpwalk_time(ticks: u64) -> String {
    dumpwalk::time::FileTime(ticks).to_string()
}

/// The header's time stands where its place says, in 64-bit and in 32-bit dumps.
#[test]
fn the_crash_has_its_place_in_the_header() {
    let samples = own_samples();
    let mut widths = BTreeSet::new();
    for (sample, dump) in samples.iter().flat_map(|s| s.dumps.iter().map(move |d| (s, d))) {
        let bytes = std::fs::read(dump).unwrap();
        if !bytes.starts_with(b"PAGE") {
            continue;
        }
        let rows = rows_with_places("timeline", dump, &sample.store);
        let crash = rows.iter().find(|r| r["kind"] == "crash").unwrap_or_else(|| panic!("{}", dump.display()));
        let at = usize::try_from(number(&crash["place"]["file"]).unwrap()).unwrap();
        let ticks = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(crash["time"], dumpwalk_time(ticks).as_str(), "{}", dump.display());
        widths.insert(bytes[4..8].to_vec());
    }
    assert_eq!(widths.len(), 2, "PAGEDU64 and PAGEDUMP");
}

/// A body file has eleven fields a line, one time in each, and the place of the stamp for an inode.
#[test]
fn a_body_file_is_one() {
    let samples = own_samples();
    let (sample, dump) = whole(&samples).find(|(s, _)| s.name == "win10-22h2-attack").unwrap();
    let store = sample.store.as_os_str();
    let ran = dumpwalk(&[
        "timeline".as_ref(),
        dump.as_os_str(),
        "--offline".as_ref(),
        "--symbols".as_ref(),
        store,
        "--body".as_ref(),
    ]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let bytes = std::fs::read(dump).unwrap();
    let mut stamps = 0;
    for line in ran.stdout.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        assert_eq!(fields.len(), 11, "{line}");
        let times: Vec<u64> = fields[7..].iter().map(|f| f.parse().unwrap()).collect();
        assert_eq!(times.iter().filter(|t| **t != 0).count(), 1, "{line}");
        if fields[1].starts_with("[process_created]") {
            let at: usize = fields[2].parse().unwrap();
            let ticks = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            assert_eq!(ticks / 10_000_000 - 11_644_473_600, times.iter().sum::<u64>(), "{line}");
            stamps += 1;
        }
    }
    assert_eq!(stamps, list(&sample.truth, "processes").count());
}
