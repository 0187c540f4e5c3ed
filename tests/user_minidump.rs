//! User-mode minidumps answer with what their streams hold: our forge's against what it planted, real ones against what they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{dumpwalk, number, own_samples, rows, shared};
use serde_json::{Value, json};
use std::path::Path;

fn of(analysis: &str, dump: &Path) -> Vec<Value> {
    rows(analysis, dump, None).unwrap_or_else(|e| panic!("{} {analysis}: {e}", dump.display()))
}
fn list<'v>(v: &'v Value, key: &str) -> Vec<&'v Value> {
    v[key].as_array().into_iter().flatten().collect()
}
fn is_minidump(dump: &Path) -> bool {
    let mut head = [0; 4];
    let file = std::fs::File::open(dump);
    file.and_then(|mut f| std::io::Read::read_exact(&mut f, &mut head)).is_ok() && &head == b"MDMP"
}

#[test]
fn forged_ones_tell_what_was_planted() {
    let mut seen = 0;
    for sample in own_samples() {
        for dump in sample.dumps.iter().filter(|d| is_minidump(d)) {
            against_truth(dump, &sample.truth);
            seen += 1;
        }
    }
    if seen == 0 {
        println!("skipped: no user-mode minidump among the samples");
    }
}

fn against_truth(dump: &Path, truth: &Value) {
    let at = dump.display();
    let pslist = of("pslist", dump);
    assert_eq!(pslist.len(), 1, "{at}");
    let process = &pslist[0];
    let planted = list(truth, "processes").into_iter().find(|p| p["pid"] == process["pid"]).expect("a planted process");
    assert_eq!(process["name"], planted["name"], "{at}");
    assert_eq!(process["path"], planted["image_path"], "{at}");
    let info = &of("info", dump)[0];
    assert_eq!((&info["build"], &info["user_process"]["pid"]), (&truth["build"], &planted["pid"]), "{at}");
    assert!(!list(info, "streams").is_empty(), "{at}");

    let command = &of("cmdline", dump)[0];
    for (key, truth) in [("command_line", "cmdline"), ("image_path", "image_path"), ("current_directory", "cwd")] {
        assert_eq!(command[key], planted[truth], "{at} {key}");
    }
    assert_eq!(number(&command["peb"]), number(&planted["peb"]), "{at}");
    let variables: Vec<Value> = of("envars", dump).iter().map(|v| json!([v["variable"], v["value"]])).collect();
    assert_eq!(Value::from(variables), planted["env"], "{at}");

    let planted_modules = list(planted, "modules");
    for analysis in ["dlllist", "modules"] {
        let found = of(analysis, dump);
        assert_eq!(found.len(), planted_modules.len(), "{at} {analysis}");
        for (module, truth) in found.iter().zip(&planted_modules) {
            assert_eq!(module["path"], truth["path"], "{at} {analysis}");
            assert_eq!(number(&module["base"]), number(&truth["base"]), "{at} {analysis}");
            assert_eq!(number(&module["size"]), number(&truth["size"]), "{at} {analysis}");
        }
    }
    let planted_threads = list(planted, "threads");
    let threads = of("threads", dump);
    assert_eq!(threads.len(), planted_threads.len(), "{at}");
    for (thread, truth) in threads.iter().zip(&planted_threads) {
        assert_eq!((&thread["tid"], &thread["thread_name"]), (&truth["tid"], &truth["name"]), "{at}");
        assert_eq!(number(&thread["teb"]), number(&truth["teb"]), "{at}");
        assert_eq!(number(&thread["win32_start_address"]), number(&truth["win32start"]), "{at}");
    }
    let planted_handles = list(planted, "handles");
    let handles = of("handles", dump);
    assert_eq!(handles.len(), planted_handles.len(), "{at}");
    for (handle, truth) in handles.iter().zip(&planted_handles) {
        assert_eq!(number(&handle["handle"]), number(&truth["value"]), "{at}");
        assert_eq!(handle["type"], truth["type"], "{at}");
        assert_eq!(number(&handle["granted_access"]), number(&truth["access"]), "{at}");
        let inherit = handle["attributes"].as_array().unwrap().contains(&"inherit".into());
        assert_eq!(inherit, truth["attributes"].as_u64().unwrap() & 2 != 0, "{at}");
    }
    // Regions are parts of VADs: each lies in one, and none of those is left out.
    let vads: Vec<_> =
        list(planted, "vads").iter().map(|v| (number(&v["start"]), number(&v["end"]), &v["kind"])).collect();
    let regions = of("vadinfo", dump);
    for region in &regions {
        let (start, end) = (number(&region["start"]), number(&region["end"]));
        let inside = vads.iter().any(|v| v.0 <= start && end <= v.1 && *v.2 == region["type"]);
        assert!(inside, "{at}: {region}");
    }
    for (start, ..) in &vads {
        assert!(regions.iter().any(|r| number(&r["start"]) == *start), "{at}: {start:?}");
    }
    let crash = &of("crashinfo", dump)[0];
    assert!(planted_threads.iter().any(|t| t["tid"] == crash["thread"]["tid"]), "{at}: {crash}");
    assert_eq!(crash["process"]["pid"], planted["pid"], "{at}");
    // What needs a kernel says that there is none.
    let ran = dumpwalk(&["getsids".as_ref(), dump.as_os_str(), "--offline".as_ref()]);
    assert_eq!(ran.code, 3, "{at}");
    assert!(ran.stderr.contains("user-mode minidump"), "{at}: {}", ran.stderr);
}

/// File, build, process id and name, modules, threads, code and place of the exception, first words of the command line.
type Known =
    (&'static str, u64, u64, &'static str, usize, usize, Option<(&'static str, &'static str)>, Option<&'static str>);
const VIOLATION: &str = "STATUS_ACCESS_VIOLATION";
const REAL: [Known; 6] = [
    ("ascii_read_av", 7600, 5376, "crashme.exe", 26, 2, Some((VIOLATION, "crashme.exe+0xa6cd")), None),
    ("minidump2", 2600, 3932, "test_app.exe", 13, 2, Some((VIOLATION, "test_app.exe+0x429e")), None),
    ("thread_name_list", 17763, 6040, "allocer32.exe", 17, 6, Some((VIOLATION, "allocer32.exe+0x15fd")), None),
    (
        "tiny-exe-with-cet-xsave",
        22000,
        15444,
        "tiny.exe",
        25,
        1,
        None,
        Some("\"C:\\src\\crashpad\\tiny.exe\" --v=1 --enable-logging=stderr"),
    ),
    (
        "x64-14393-electron",
        14393,
        10148,
        "electron.exe",
        58,
        14,
        Some((VIOLATION, "electron.exe+0xe8da4")),
        Some("\"C:\\users\\kevin\\Downloads\\electron-v1.4.3-win32-x64\\electron.exe\" --type=renderer"),
    ),
    ("x86-14393", 14393, 1928, "crash.exe", 17, 4, Some((VIOLATION, "crash.exe+0x2a3d")), None),
];

#[test]
fn real_ones_tell_what_they_hold() {
    let Some(folder) = shared().map(|s| s.join("real/user-minidump")).filter(|p| p.is_dir()) else {
        println!("skipped: no ../shared/real/user-minidump");
        return;
    };
    for (file, build, pid, name, modules, threads, exception, command) in REAL {
        let dump = folder.join(format!("{file}.dmp"));
        assert_eq!(of("info", &dump)[0]["build"], build, "{file}");
        let pslist = of("pslist", &dump);
        assert_eq!((&pslist[0]["pid"], &pslist[0]["name"]), (&json!(pid), &json!(name)), "{file}");
        assert_eq!(of("dlllist", &dump).len(), modules, "{file}");
        assert_eq!(of("modules", &dump).len(), modules, "{file}");
        assert_eq!(of("threads", &dump).len(), threads, "{file}");
        let crash = &of("crashinfo", &dump)[0]["exception"];
        match exception {
            Some((code, place)) => assert_eq!((&crash["name"], &crash["in"]), (&json!(code), &json!(place)), "{file}"),
            None => assert!(crash.is_null(), "{file}"),
        }
        let line = &of("cmdline", &dump)[0]["command_line"];
        match command {
            Some(begins) => assert!(line.as_str().unwrap().starts_with(begins), "{file}: {line}"),
            None => assert!(line.is_null(), "{file}: {line}"),
        }
        let full = file.starts_with("tiny");
        assert_eq!(of("vadinfo", &dump).is_empty(), !full, "{file}");
        assert_eq!(of("handles", &dump).is_empty(), !full, "{file}");
        assert_eq!(of("unloaded", &dump).is_empty(), !full, "{file}");
    }
}
