//! Real Windows dumps, where the folder that has them is there: dumpwalk says of each what is known of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{dumpwalk, number, rows, shared};
use serde_json::Value;
use std::path::PathBuf;

fn real() -> Option<PathBuf> {
    let folder = shared().map(|s| s.join("real")).filter(|r| r.is_dir());
    if folder.is_none() {
        println!("skipped: no folder of real dumps");
    }
    folder
}

/// What is known of a triage dump.
struct Triage {
    file: &'static str,
    bugcheck: u64,
    drivers: usize,
    kernel_base: u64,
    dtb: u64,
    thread: u64,
    /// When System was made.
    created: &'static str,
    /// Its threads and handles.
    counts: (u64, u64),
}

const TRIAGE: [Triage; 2] = [
    Triage {
        file: "kernel-triage/x64-19041.804.dmp",
        bugcheck: 0x1000_007e,
        drivers: 151,
        kernel_base: 0xffff_f804_7ba0_0000,
        dtb: 0x1a_d000,
        thread: 264,
        created: "2021-02-21T01:38:22.0698",
        counts: (147, 234),
    },
    Triage {
        file: "kernel-triage/arm64-22000.dmp",
        bugcheck: 0x1c8,
        drivers: 245,
        kernel_base: 0xffff_f803_f2e0_0000,
        dtb: 0x946a_a000,
        thread: 32,
        created: "2021-09-14T02:38:45.7222519Z",
        counts: (291, 1301),
    },
];

#[test]
fn triage_dumps() {
    let Some(real) = real() else { return };
    let symbols = real.join("symbols");
    for t in TRIAGE {
        let dump = real.join(t.file);
        let crash = &rows("crashinfo", &dump, Some(&symbols)).unwrap_or_else(|e| panic!("{}: {e}", t.file))[0];
        assert_eq!(number(&crash["bugcheck"]), Some(t.bugcheck), "{}", t.file);
        let modules = rows("modules", &dump, Some(&symbols)).unwrap_or_else(|e| panic!("{}: {e}", t.file));
        assert_eq!(modules.len(), t.drivers, "{}", t.file);
        assert_eq!(modules[0]["path"], "\\SystemRoot\\system32\\ntoskrnl.exe", "{}", t.file);
        assert_eq!(number(&modules[0]["base"]), Some(t.kernel_base), "{}", t.file);
        let info = &rows("info", &dump, Some(&symbols)).unwrap_or_else(|e| panic!("{}: {e}", t.file))[0];
        assert_eq!(number(&info["header_dtb"]), Some(t.dtb), "{}", t.file);
        let processes = rows("pslist", &dump, Some(&symbols)).unwrap_or_else(|e| panic!("{}: {e}", t.file));
        assert_eq!(processes.len(), 1, "{}", t.file);
        assert_eq!(
            (&processes[0]["pid"], &processes[0]["name"]),
            (&Value::from(4), &Value::from("System")),
            "{}",
            t.file
        );
        assert_eq!(number(&processes[0]["dtb"]), Some(t.dtb), "{}", t.file);
        let created = processes[0]["create_time"].as_str().unwrap();
        assert!(created.starts_with(t.created), "{}: {created}", t.file);
        let counts = (number(&processes[0]["threads"]), number(&processes[0]["handles"]));
        assert_eq!(counts, (Some(t.counts.0), Some(t.counts.1)), "{}", t.file);
        let threads = rows("threads", &dump, Some(&symbols)).unwrap_or_else(|e| panic!("{}: {e}", t.file));
        assert_eq!(threads.iter().map(|r| r["tid"].as_u64()).collect::<Vec<_>>(), [Some(t.thread)], "{}", t.file);
    }
}

/// The call stacks of the crashes: the registers of the header, then what the kept stack holds.
#[test]
fn call_stacks_of_triage_dumps() {
    let Some(real) = real() else { return };
    // An exception in a driver, handled by a system thread: the header's registers are those of the exception, 1238h bytes above the
    // lowest byte of the kept stack. It ends in PspSystemThreadStartup and KiStartSystemThread.
    let x64 = [
        ("amdppm.sys", 0x334c, "context"),
        ("amdppm.sys", 0x313f, "scan"),
        ("amdppm.sys", 0x3234, "scan"),
        ("amdppm.sys", 0x1_f852, "scan"),
        ("ntoskrnl.exe", 0x2e_0d7d, "scan"),
        ("ntoskrnl.exe", 0x31_7e25, "scan"),
        ("ntoskrnl.exe", 0x3f_d0d8, "unchecked scan"),
    ];
    // A chain of frame records down to one whose frame pointer is zero.
    let arm64 = [
        ("ntoskrnl.exe", 0x4d_e014, "context"),
        ("ntoskrnl.exe", 0x54_42a0, "frame pointer"),
        ("ntoskrnl.exe", 0x29_ff1c, "frame pointer"),
        ("ntoskrnl.exe", 0x37_3340, "frame pointer"),
        ("ntoskrnl.exe", 0x20_7de4, "frame pointer"),
    ];
    for (file, want) in [("x64-19041.804.dmp", &x64[..]), ("arm64-22000.dmp", &arm64[..])] {
        let found = rows("callstacks", &real.join("kernel-triage").join(file), None).unwrap();
        let of = |r: &Value| (r["module"].as_str().unwrap().to_owned(), number(&r["module_offset"]), r["how"].clone());
        let got: Vec<_> = found.iter().map(of).collect();
        let want: Vec<_> =
            want.iter().map(|(module, at, how)| ((*module).to_owned(), Some(*at), Value::from(*how))).collect();
        assert_eq!(got, want, "{file}");
        assert_eq!(found.last().unwrap()["end"], "bottom of the stack", "{file}");
    }
}

/// Every analysis of the ARM64 dump that has a row of its System: right in each cell, or absent.
#[test]
fn an_arm64_triage_dump() {
    let Some(real) = real() else { return };
    let dump = real.join("kernel-triage/arm64-22000.dmp");
    let one = |analysis: &str| {
        let mut found = rows(analysis, &dump, None).unwrap_or_else(|e| panic!("{analysis}: {e}"));
        assert_eq!(found.len(), 1, "{analysis}");
        found.remove(0)
    };
    let process = one("pslist");
    // _EPROCESS.Machine of the copied process is 0xAA64.
    assert_eq!((&process["machine"], &process["wow64"]), (&"arm64".into(), &false.into()));
    assert_eq!((&process["exit_time"], &process["peb"]), (&Value::Null, &Value::Null));
    assert_eq!(process["protection"], "PP-WinSystem");
    let thread = one("threads");
    assert_eq!((&thread["state"], &thread["wait_reason"]), (&"Running".into(), &Value::Null));
    // The third frame of the call stack returns into it.
    assert_eq!(number(&thread["start_address"]), Some(0xffff_f803_f309_fd50));
    assert_eq!(thread["create_time"], "2021-09-14T02:38:40.8767616Z");
    let stack = one("stacks");
    let bounds = ["base", "limit", "pointer"].map(|key| number(&stack[key]));
    assert_eq!(bounds, [0xffff_e00e_0e4b_d000, 0xffff_e00e_0e4b_5000, 0xffff_e00e_0e4b_a360].map(Some));
    let token = one("tokens");
    assert_eq!((&token["user"], &token["integrity"]), (&"S-1-5-18".into(), &"System".into()));
    let info = one("info");
    assert_eq!((&info["architecture"], &info["build"]), (&"arm64".into(), &22000.into()));
    assert!(info["symbols"].as_str().unwrap().contains("arm64-10.0.22000.318"), "{}", info["symbols"]);
    // A frame record says where the caller's record is, not how much of the stack the caller used.
    let frames = rows("callstacks", &dump, None).unwrap();
    let pointers: Vec<Option<u64>> = frames.iter().map(|f| number(&f["sp"])).collect();
    assert_eq!(pointers, [Some(0xffff_e00e_0e4b_c4a0), None, None, None, None]);
    for analysis in ["handles", "vadinfo", "dlllist", "memmap", "malfind", "joblinks"] {
        let found = rows(analysis, &dump, None).unwrap_or_else(|e| panic!("{analysis}: {e}"));
        assert!(found.is_empty(), "{analysis}: {found:?}");
    }
}

/// What a dump needs is said, also where only its kernel's image can name the PDB; nothing is fetched then.
#[test]
fn a_triage_dump_names_the_image_that_names_the_pdb() {
    let Some(real) = real() else { return };
    let dump = real.join("kernel-triage/x64-19041.804.dmp");
    let image = "https://msdl.microsoft.com/download/symbols/ntoskrnl.exe/0D8333E61046000/ntoskrnl.exe";
    for words in [&["symbols", "list", "-f", "json"][..], &["symbols", "fetch"]] {
        let mut all: Vec<&std::ffi::OsStr> = words.iter().map(std::convert::AsRef::as_ref).collect();
        all.extend([dump.as_os_str(), "--offline".as_ref()]);
        let ran = dumpwalk(&all);
        assert_eq!(ran.code, 3, "{words:?}: {}", ran.stderr);
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(image), "{words:?}: {}{}", ran.stdout, ran.stderr);
    }
}

/// The first bytes of two full dumps: they open with a note and tell what their headers tell.
#[test]
fn heads_of_full_dumps() {
    let Some(real) = real() else { return };
    for (file, pages, runs) in
        [("x64-19045-dumpit-head.bin", 523_910u64, 5), ("arm64-19042-dumpit-head.bin", 1_878_675, 7)]
    {
        let dump = real.join("full-dump-heads").join(file);
        let ran = dumpwalk(&["info".as_ref(), dump.as_os_str(), "--offline".as_ref(), "-f".as_ref(), "json".as_ref()]);
        assert_eq!(ran.code, 4, "{file}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("of {pages} pages in {runs} runs lie past the end of the file")),
            "{file}: {}",
            ran.stderr
        );
        let info: Value = serde_json::from_str(&ran.stdout).unwrap();
        if file.starts_with("x64") {
            assert_eq!(number(&info[0]["header_dtb"]), Some(0x1a_d000), "{file}: the low bits are masked");
        }
    }
}

/// Every user-mode minidump opens and names its modules and threads.
#[test]
fn user_minidumps() {
    let Some(real) = real() else { return };
    let mut files: Vec<_> = std::fs::read_dir(real.join("user-minidump")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for dump in files {
        let name = dump.file_name().unwrap().to_string_lossy().into_owned();
        for analysis in ["info", "pslist", "dlllist", "threads", "crashinfo"] {
            let rows = rows(analysis, &dump, None).unwrap_or_else(|e| panic!("{name} {analysis}: {e}"));
            assert!(!rows.is_empty(), "{name} {analysis}");
            if analysis == "threads" && name.starts_with("thread_name") {
                assert!(rows.iter().any(|t| t["thread_name"].is_string()), "{name}: no thread has a name");
            }
        }
    }
}
