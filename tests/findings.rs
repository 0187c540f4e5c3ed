//! The rules against what was planted: everything that is wrong is found, with evidence that is in the file; what only looks wrong is told as
//! explained or weighs little; and nothing else weighs heavily.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{Sample, dumpwalk, number, own_samples, root, rows, shared, shared_samples};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

fn weight(row: &Value) -> usize {
    SEVERITIES.iter().position(|s| row["severity"] == *s).unwrap()
}
fn own(name: &str) -> PathBuf {
    root().join("testdata").join(name).join("full.dmp")
}
fn findings(dump: &Path, store: &Path) -> Vec<Value> {
    rows("findings", dump, Some(store)).unwrap_or_else(|e| panic!("{}: {e}", dump.display()))
}
fn told(all: &[Value]) -> String {
    all.iter()
        .map(|r| format!("{} {} {}: {}", r["severity"], r["subject"], r["rule"], r["what"]))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Technique by technique: who has it, what finds it, how much it weighs at least.
const PLANTED: &[(&str, &str, &str)] = &[
    ("pid 3520 beacon.exe", "hidden-process", "critical"),
    ("pid 3584 ghost.exe", "hidden-process", "critical"),
    ("pid 3584 ghost.exe", "wiped-pool-tag", "critical"),
    ("pid 3088 svchost.exe", "replaced-image", "critical"),
    ("pid 3088 svchost.exe", "injected-code", "high"),
    ("pid 3088 svchost.exe", "thread-outside", "high"),
    ("pid 3088 svchost.exe", "wrong-parent", "high"),
    ("pid 3776 stage.exe", "deleted-image", "critical"),
    ("pid 3456 scvhost.exe", "masqueraded-path", "high"),
    ("pid 3456 scvhost.exe", "misspelt-name", "high"),
    ("pid 3456 scvhost.exe", "impossible-privilege", "high"),
    ("pid 2620 explorer.exe", "injected-code", "high"),
    ("pid 2620 explorer.exe", "thread-outside", "high"),
    ("pid 3200 notepad.exe", "injected-code", "high"),
    ("pid 3200 notepad.exe", "patched-image", "high"),
    ("pid 3200 notepad.exe", "unlisted-module", "high"),
    ("pid 3328 dumper.exe", "lsass-handle", "high"),
    ("pid 3328 dumper.exe", "foreign-handle", "medium"),
    ("pid 3392 shell.exe", "shared-token", "critical"),
    ("pid 3392 shell.exe", "system-from-user", "high"),
    ("pid 3392 shell.exe", "integrity-above-parent", "high"),
    ("pid 3648 calc.exe", "wrong-parent", "high"),
    ("pid 3648 calc.exe", "suspended-thread", "medium"),
    ("pid 3840 agent.exe", "hidden-process", "high"),
    ("pid 3840 agent.exe", "direct-syscall", "high"),
    ("pid 3840 agent.exe", "phantom-module", "low"),
    ("pid 3904 csrss.exe", "protection-removed", "high"),
    ("pid 3904 csrss.exe", "debug-port", "high"),
    ("pid 3968 lsass.exe", "protection-added", "high"),
    ("pid 3968 lsass.exe", "wrong-place", "high"),
    ("driver rwmem.sys", "driver-path", "medium"),
    ("driver shade.sys", "unlisted-driver", "high"),
    ("driver \\Driver\\tcpip", "dispatch-hook", "high"),
    ("driver \\Driver\\hal", "unloaded-driver", "high"),
    ("kernel KiServiceTable", "service-hook", "high"),
    ("kernel PspCreateProcessNotifyRoutine", "callback-hook", "high"),
];

#[test]
fn every_technique_is_found() {
    let all = findings(&own("win10-22h2-attack"), &root().join("symbols"));
    for (subject, rule, least) in PLANTED {
        let least = SEVERITIES.iter().position(|s| s == least).unwrap();
        let hit = all.iter().any(|r| r["subject"] == *subject && r["rule"] == *rule && weight(r) >= least);
        assert!(hit, "{subject}: {rule} is not found in\n{}", told(&all));
    }
    // Every rule is tried on something.
    let tried: BTreeSet<&str> = PLANTED.iter().map(|p| p.1).collect();
    let missing: Vec<&str> = dumpwalk::analysis::findings::RULES
        .iter()
        .map(|r| r.name)
        .filter(|r| !tried.contains(r) && !["ended-process", "contradiction"].contains(r))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What only looks wrong: who has it, what says so and why it is innocent.
const LOOK_ALIKES: &[(&str, &str)] = &[
    ("pid 2848 browser.exe", "injected-code"),  // a script engine
    ("pid 2912 paint.exe", "injected-code"),    // a managed runtime
    ("pid 2620 explorer.exe", "patched-image"), // a guard's hook
    ("pid 2976 setup.exe", "integrity-above-parent"),
    ("pid 3072 gone.exe", "ended-process"),
    ("pid 5184 cmd.exe", "hidden-process"), // torn down while the dump was taken
    ("pid 5248 cmd.exe", "wrong-parent"),   // its parent's number was used again
    ("pid 4 System", "lsass-handle"),
];

#[test]
fn what_only_looks_wrong_is_explained() {
    let all = findings(&own("win10-22h2-benign"), &root().join("symbols"));
    let heavy: Vec<Value> = all.iter().filter(|r| weight(r) > 1).cloned().collect();
    assert!(heavy.is_empty(), "{}", told(&heavy));
    // Minimal, 32-bit, elevated, sandboxed, services: nothing to say at all.
    for silent in [108, 4776, 364, 520, 644, 668, 780] {
        assert!(!all.iter().any(|r| r["pid"] == silent), "{silent}:\n{}", told(&all));
    }
    for (subject, rule) in LOOK_ALIKES {
        let hit = all.iter().find(|r| r["subject"] == *subject && r["rule"] == *rule);
        let hit = hit.unwrap_or_else(|| panic!("{subject}: {rule} says nothing in\n{}", told(&all)));
        assert_eq!(hit["severity"], "info", "{subject}: {rule}");
        assert!(hit["explained"].is_string(), "{subject}: {rule}");
    }
}

#[test]
fn evidence_names_its_bytes_in_the_file() {
    let dump = own("win10-22h2-attack");
    let bytes = std::fs::read(&dump).unwrap();
    let mut compared = 0;
    for row in findings(&dump, &root().join("symbols")) {
        let evidence = row["evidence"].as_array().unwrap();
        assert!(!evidence.is_empty(), "{row}");
        for e in evidence {
            let (Some(at), Some(hex)) = (number(&e["file"]), e["bytes"].as_str()) else { continue };
            let there = &bytes[usize::try_from(at).unwrap()..][..hex.len() / 2];
            let there: String = there.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(there, hex, "{} of {}", e["field"], row["subject"]);
            compared += 1;
        }
    }
    assert!(compared > 80, "{compared}");
}

/// Dumps without user memory, or of one process.
fn is(dump: &Path, kinds: &[&str]) -> bool {
    let name = dump.file_name().unwrap().to_string_lossy().into_owned();
    kinds.iter().any(|k| name.starts_with(k))
}

/// Everything the truth marks is found, and nothing else weighs heavily.
fn against_truth(sample: &Sample) {
    for dump in sample.dumps.iter().filter(|d| !is(d, &["triage", "minidump"])) {
        let all = findings(dump, &sample.store);
        let at = format!("{} {}", sample.name, dump.file_name().unwrap().to_string_lossy());
        let has = |pid: &Value, rule: &str, least: usize, part: &str| {
            let hit = |r: &&Value| {
                r["pid"] == *pid
                    && r["rule"] == rule
                    && weight(r) >= least
                    && r["what"].as_str().unwrap().contains(part)
            };
            assert!(all.iter().any(|r| hit(&r)), "{at}: pid {pid}: {rule} {part} is missing in\n{}", told(&all));
        };
        let user = !is(dump, &["kernel", "rdmp8", "summary"]);
        let mut marked: BTreeSet<u64> = BTreeSet::new();
        for p in sample.truth["processes"].as_array().unwrap() {
            let (pid, why) = (&p["pid"], p["why"].as_str().unwrap_or(""));
            if why == "torn" {
                continue;
            }
            let injected = p["injected"].as_array().is_some_and(|i| !i.is_empty());
            if !matches!(why, "" | "minimal" | "wow64" | "terminated") || injected || p["linked"] == false {
                marked.insert(pid.as_u64().unwrap());
            }
            if p["linked"] == false {
                has(pid, "hidden-process", 3, "");
            }
            if number(&p["exit"]).is_some_and(|t| t != 0) {
                has(pid, "ended-process", 0, "ended ");
            }
            if why == "hollowed" {
                has(pid, "replaced-image", 3, "hollowed");
            }
            for region in p["injected"].as_array().into_iter().flatten().filter(|_| user) {
                has(pid, "injected-code", 3, &format!("{:#x}", number(&region["base"]).unwrap()));
            }
            if user && let Some(base) = number(&p["unlinked_dll"]["base"]) {
                // From Windows' own folder it may have been mapped for its resources.
                let windows = p["unlinked_dll"]["path"].as_str().unwrap().starts_with("\\Windows\\");
                has(pid, "unlisted-module", if windows { 1 } else { 2 }, &format!("{base:#x}"));
            }
        }
        // What the sample of techniques has besides is in its own test.
        if sample.truth["hooks"].as_array().is_some_and(|h| !h.is_empty()) {
            continue;
        }
        let others: Vec<Value> = all
            .iter()
            .filter(|r| weight(r) >= 3 && !r["pid"].as_u64().is_some_and(|p| marked.contains(&p)))
            .cloned()
            .collect();
        assert!(others.is_empty(), "{at}: nothing planted, but\n{}", told(&others));
    }
}

#[test]
fn own_samples_say_what_was_planted() {
    own_samples().iter().for_each(against_truth);
}

#[test]
fn another_generators_samples_say_what_was_planted() {
    shared_samples().iter().for_each(against_truth);
}

#[test]
fn real_dumps_are_quiet() {
    let Some(real) = shared().map(|s| s.join("real")).filter(|r| r.is_dir()) else {
        println!("skipped: no folder of real dumps");
        return;
    };
    let mut judged = 0;
    for folder in ["kernel-triage", "user-minidump"] {
        for entry in std::fs::read_dir(real.join(folder)).unwrap() {
            let dump = entry.unwrap().path();
            let all = findings(&dump, &real.join("symbols"));
            let heavy: Vec<Value> = all.iter().filter(|r| weight(r) > 1).cloned().collect();
            assert!(heavy.is_empty(), "{}: {}", dump.display(), told(&heavy));
            judged += 1;
        }
    }
    assert!(judged >= 6);
}

fn run(args: &[&str], dump: &Path) -> program::Ran {
    let symbols = root().join("symbols");
    let mut all: Vec<&std::ffi::OsStr> = vec![args[0].as_ref(), dump.as_os_str()];
    all.extend(["--offline".as_ref(), "--symbols".as_ref(), symbols.as_os_str()]);
    all.extend(args[1..].iter().map(|a| std::ffi::OsStr::new(*a)));
    dumpwalk(&all)
}

#[test]
fn fail_on_a_severity() {
    for analysis in ["triage", "findings"] {
        let code = |name: &str, severity| run(&[analysis, "--fail-on", severity], &own(name)).code;
        assert_eq!(code("win10-22h2-attack", "critical"), 1);
        assert_eq!(code("win10-22h2-attack", "low"), 1);
        // Complete or with a note of loss, but without findings.
        assert!(matches!(code("win10-22h2-benign", "medium"), 0 | 4));
        assert_eq!(code("win10-22h2-benign", "low"), 1);
    }
    // Only what was asked for counts.
    let asked = run(&["triage", "--fail-on", "high", "--name", "browser"], &own("win10-22h2-attack"));
    assert!(matches!(asked.code, 0 | 4), "{}", asked.stdout);
}

#[test]
fn triage_tells_stories_the_heaviest_first() {
    let ran = run(&["triage"], &own("win10-22h2-attack"));
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 11, "a heading and ten lines:\n{}", ran.stdout);
    assert!(ran.stderr.contains("more stories weigh less: --all shows them"), "{}", ran.stderr);
    let all = rows("triage", &own("win10-22h2-attack"), Some(&root().join("symbols"))).unwrap();
    assert!(all.windows(2).all(|w| weight(&w[0]) >= weight(&w[1])));
    let subjects: BTreeSet<String> = all.iter().map(|r| format!("{} {}", r["subject"], r["offset"])).collect();
    assert_eq!(subjects.len(), all.len(), "one story a subject");
    let story = all.iter().find(|r| r["pid"] == 3088).unwrap();
    let text = story["story"].as_str().unwrap();
    assert!(
        text.starts_with("hollowed") && text.contains("RWX private PE") && text.contains("its parent is"),
        "{text}"
    );
    assert_eq!(story["rule"], "replaced-image");
    assert!(story["evidence"].as_array().unwrap().len() > 4);
}

#[test]
fn a_rule_explains_itself_at_the_offsets_of_its_findings() {
    let ran = run(&["triage", "--explain", "replaced-image", "-f", "json"], &own("win10-22h2-attack"));
    assert!(matches!(ran.code, 0 | 4), "{}", ran.stderr);
    let told: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&told[0]["section"], &told[0]["technique"]), (&"rule".into(), &"T1055.012".into()));
    assert!(told[0]["means"].as_str().unwrap().len() > 100);
    let by_hand: Vec<&Value> = told.iter().filter(|r| r["section"] == "by hand").collect();
    assert!(by_hand.iter().any(|r| r["field"] == "_EPROCESS.SectionBaseAddress"), "{by_hand:?}");
    assert!(by_hand[0]["command"].as_str().unwrap().starts_with("xxd -s 0x"));
    let none = run(&["triage", "--explain", "no-such-rule"], &own("win10-22h2-attack"));
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("hidden-process"), "{}", none.stderr);
}
