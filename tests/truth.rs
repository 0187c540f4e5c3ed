//! What dumpwalk says of a sample equals what its generator planted: our forge's samples, and those of another generator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{Sample, number, rows};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Addresses are compared without their sign extension.
const M48: u64 = (1 << 48) - 1;

type Facts = BTreeSet<String>;

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

fn text(v: &Value) -> String {
    v.as_str().map_or_else(|| "null".into(), str::to_owned)
}
fn address(v: &Value) -> String {
    number(v).map_or_else(|| "null".into(), |n| format!("{:#x}", n & M48))
}
fn plain(v: &Value) -> String {
    number(v).map_or_else(|| "null".into(), |n| n.to_string())
}
/// The truth's time stamps are ticks; 0 and null are none.
fn time(v: &Value) -> String {
    match number(v) {
        None | Some(0) => "null".into(),
        Some(ticks) => dumpwalk::time::FileTime(ticks).to_string(),
    }
}
fn fact(parts: &[String]) -> String {
    parts.join(" | ")
}
fn list<'v>(v: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    v[key].as_array().into_iter().flatten()
}
/// The truth's processes that are on the active list.
fn linked(truth: &Value) -> impl Iterator<Item = &Value> {
    list(truth, "processes").filter(|p| p["linked"] == true)
}
/// Every item of a list of every listed process.
fn each(truth: &Value, key: &str, make: impl Fn(&Value, &Value) -> String) -> Facts {
    linked(truth).flat_map(|p| list(p, key).map(|item| make(p, item)).collect::<Vec<_>>()).collect()
}

/// One comparison: what to make of a row, what to make of the truth.
struct Comparison {
    analysis: &'static str,
    /// Whether it needs pages of processes' user halves.
    user: bool,
    of_row: fn(&Value) -> Option<String>,
    of_truth: fn(&Value) -> Facts,
}

fn short_name(v: &Value) -> String {
    // `_EPROCESS.ImageFileName` holds 15 bytes, the last of them a terminator.
    let name = text(v);
    if name.len() > 15 { name.chars().take(14).collect() } else { name }
}
/// The other generator writes a mnemonic, our forge the five bits of `_MMVAD_FLAGS.Protection`.
fn protection(p: &Value) -> &'static str {
    match p.as_str().unwrap_or(match p.as_u64() {
        Some(0 | 0x18) => "NOACCESS",
        Some(1) => "R",
        Some(3) => "RX",
        Some(4) => "RW",
        Some(5) => "WC",
        Some(6) => "RWX",
        Some(7) => "XWC",
        _ => "?",
    }) {
        "R" => "PAGE_READONLY",
        "RX" => "PAGE_EXECUTE_READ",
        "RW" => "PAGE_READWRITE",
        "WC" => "PAGE_WRITECOPY",
        "RWX" => "PAGE_EXECUTE_READWRITE",
        "XWC" => "PAGE_EXECUTE_WRITECOPY",
        "NOACCESS" => "PAGE_NOACCESS",
        other => panic!("the truth has an unknown protection {other}"),
    }
}

/// The other generator lists the loader lists by name, our forge says yes or no for each.
fn in_load_order(m: &Value) -> bool {
    match &m["lists"] {
        Value::Array(lists) => lists.iter().any(|l| l == "load"),
        Value::Object(lists) => lists.get("load") == Some(&Value::Bool(true)),
        _ => true,
    }
}
/// The other generator writes an object, our forge pairs in order.
fn environment(p: &Value) -> Vec<(String, String)> {
    match &p["env"] {
        Value::Object(all) => all.iter().map(|(k, v)| (k.clone(), text(v))).collect(),
        Value::Array(all) => all.iter().map(|kv| (text(&kv[0]), text(&kv[1]))).collect(),
        _ => Vec::new(),
    }
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        analysis: "pslist",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["ppid"]),
                text(&r["name"]),
                text(&r["create_time"]),
                text(&r["exit_time"]),
                address(&r["offset"]),
                address(&r["dtb"]),
            ]))
        },
        of_truth: |t| {
            linked(t)
                .map(|p| {
                    fact(&[
                        plain(&p["pid"]),
                        plain(&p["ppid"]),
                        short_name(&p["name"]),
                        time(&p["create"]),
                        time(&p["exit"]),
                        address(&p["eprocess"]),
                        address(&p["dtb"]),
                    ])
                })
                .collect()
        },
    },
    Comparison {
        analysis: "modules",
        user: false,
        of_row: |r| Some(fact(&[address(&r["base"]), plain(&r["size"]), text(&r["name"]), text(&r["path"])])),
        of_truth: |t| {
            list(t, "modules")
                .map(|m| fact(&[address(&m["base"]), plain(&m["size"]), text(&m["name"]), text(&m["path"])]))
                .collect()
        },
    },
    Comparison {
        analysis: "threads",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["tid"]),
                address(&r["start_address"]),
                address(&r["win32_start_address"]),
                plain_or_zero(&r["teb"]),
            ]))
        },
        of_truth: |t| {
            linked(t)
                .flat_map(|p| list(p, "threads").map(move |h| (p, h)))
                .filter(|(_, h)| h["hidden"] != true)
                .map(|(p, h)| {
                    fact(&[
                        plain(&p["pid"]),
                        plain(&h["tid"]),
                        address(&h["start"]),
                        address(&h["win32start"]),
                        plain_or_zero(&h["teb"]),
                    ])
                })
                .collect()
        },
    },
    Comparison {
        analysis: "handles",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["handle"]),
                text(&r["type"]),
                address(&r["object"]),
                plain(&r["granted_access"]),
            ]))
        },
        of_truth: |t| {
            each(t, "handles", |p, h| {
                fact(&[plain(&p["pid"]), plain(&h["value"]), text(&h["type"]), address(&h["obj"]), plain(&h["access"])])
            })
        },
    },
    Comparison {
        analysis: "vadinfo",
        user: false,
        of_row: |r| {
            Some(fact(&[
                plain(&r["pid"]),
                plain(&r["start"]),
                plain(&r["end"]),
                text(&r["protection"]),
                text(&r["file"]),
            ]))
        },
        of_truth: |t| {
            each(t, "vads", |p, v| {
                fact(&[
                    plain(&p["pid"]),
                    plain(&v["start"]),
                    plain(&v["end"]),
                    protection(&v["protection"]).into(),
                    text(&v["file"]),
                ])
            })
        },
    },
    Comparison {
        analysis: "getsids",
        user: false,
        of_row: |r| Some(fact(&[plain(&r["pid"]), text(&r["sid"])])),
        of_truth: |t| {
            let lists = ["sids", "restricted", "capabilities"];
            let all = |p: &Value| -> Vec<Value> {
                let token = &p["token"];
                let package = token["package"].as_str().map(Value::from);
                lists.iter().flat_map(|l| list(token, l).cloned().collect::<Vec<_>>()).chain(package).collect()
            };
            linked(t).flat_map(|p| all(p).into_iter().map(move |s| fact(&[plain(&p["pid"]), text(&s)]))).collect()
        },
    },
    Comparison {
        analysis: "privileges",
        user: false,
        of_row: |r| {
            (r["present"] == true).then(|| fact(&[plain(&r["pid"]), plain(&r["value"]), r["enabled"].to_string()]))
        },
        of_truth: |t| {
            let mut all = Facts::new();
            for p in linked(t) {
                let (present, enabled) = (number(&p["token"]["present"]), number(&p["token"]["enabled"]));
                for bit in 0..64 {
                    if present.is_some_and(|m| m >> bit & 1 == 1) {
                        let on = enabled.is_some_and(|m| m >> bit & 1 == 1);
                        all.insert(fact(&[plain(&p["pid"]), bit.to_string(), on.to_string()]));
                    }
                }
            }
            all
        },
    },
    Comparison {
        analysis: "dlllist",
        user: true,
        of_row: |r| {
            (r["in_load"] == true)
                .then(|| fact(&[plain(&r["pid"]), plain(&r["base"]), plain(&r["size"]), text(&r["path"])]))
        },
        of_truth: |t| {
            linked(t)
                .flat_map(|p| list(p, "modules").chain(list(p, "modules32")).map(move |m| (p, m)))
                .filter(|(_, m)| in_load_order(m))
                .map(|(p, m)| fact(&[plain(&p["pid"]), plain(&m["base"]), plain(&m["size"]), text(&m["path"])]))
                .collect()
        },
    },
    Comparison {
        analysis: "cmdline",
        user: true,
        of_row: |r| r["command_line"].as_str().filter(|c| !c.is_empty()).map(|c| fact(&[plain(&r["pid"]), c.into()])),
        of_truth: |t| {
            linked(t)
                .filter_map(|p| {
                    Some(fact(&[plain(&p["pid"]), p["cmdline"].as_str().filter(|c| !c.is_empty())?.into()]))
                })
                .collect()
        },
    },
    Comparison {
        analysis: "envars",
        user: true,
        of_row: |r| Some(fact(&[plain(&r["pid"]), text(&r["variable"]), text(&r["value"])])),
        of_truth: |t| {
            linked(t)
                .flat_map(|p| environment(p).into_iter().map(move |(k, v)| fact(&[plain(&p["pid"]), k, v])))
                .collect()
        },
    },
];

fn plain_or_zero(v: &Value) -> String {
    number(v).unwrap_or(0).to_string()
}

/// Every comparison on every dump of these samples; all differences in one message.
fn compare(samples: &[Sample], with_pdb: bool) {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for sample in samples {
        for dump in of_the_machine(sample) {
            for c in COMPARISONS.iter().filter(|c| !c.user || keeps_user_memory(dump)) {
                let name = format!("{} {} {}", sample.name, dump.file_name().unwrap().to_string_lossy(), c.analysis);
                let want = (c.of_truth)(&sample.truth);
                compared += 1;
                match rows(c.analysis, dump, with_pdb.then_some(sample.store.as_path())) {
                    Err(e) => wrong.push(format!("{name}: {e}")),
                    Ok(rows) => {
                        let got: Facts = rows.iter().filter_map(c.of_row).collect();
                        if got != want {
                            let missing: Vec<_> = want.difference(&got).take(3).collect();
                            let extra: Vec<_> = got.difference(&want).take(3).collect();
                            wrong.push(format!("{name}: missing {missing:?}, extra {extra:?}"));
                        }
                    }
                }
            }
        }
    }
    println!("{compared} comparisons, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{} of {compared} comparisons differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn our_own_samples() {
    let samples = program::own_samples();
    assert!(!samples.is_empty(), "no samples under testdata/");
    compare(&samples, true);
}

#[test]
fn samples_of_another_generator() {
    compare(&program::shared_samples(), true);
}

/// No network and no PDB: the built-in tables answer the same.
#[test]
fn samples_of_another_generator_without_symbols() {
    compare(&program::shared_samples(), false);
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
                    row.map(|r| text(&r["standing"])).as_deref(),
                    Some("unlinked"),
                    "{} {}",
                    sample.name,
                    p["pid"]
                );
            }
        }
    }
}
