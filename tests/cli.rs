//! The built binary: words, exit codes, what goes to which stream, what is never overwritten.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::samples;
use dumpwalk::analysis::ALL;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary, without anything of the user's: no symbols, no cache, no colours.
fn dumpwalk(words: &[&str]) -> Command {
    let mut out = Command::new(env!("CARGO_BIN_EXE_dumpwalk"));
    clean(&mut out);
    out.args(words);
    out
}

fn clean(command: &mut Command) {
    command.env_remove("_NT_SYMBOL_PATH").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.env("DUMPWALK_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
}

fn run(words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = dumpwalk(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A sample and the words that give its symbols; `None` without samples.
fn sample() -> Option<(String, Vec<String>)> {
    let all = samples();
    let found = all.iter().find(|s| s.name.ends_with("/full")).or(all.first());
    if found.is_none() {
        println!("skipped: no samples under testdata/");
    }
    found.map(|s| {
        let symbols = s.symbols.to_string_lossy().into_owned();
        (s.path.to_string_lossy().into_owned(), vec!["--symbols".into(), symbols, "--offline".into()])
    })
}

fn on_sample<'a>(analysis: &'a str, sample: &'a (String, Vec<String>), more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![analysis, sample.0.as_str()];
    words.extend(sample.1.iter().map(String::as_str));
    words.extend(more);
    words
}

#[test]
fn help_and_version_are_answers() {
    for words in [&["--help"][..], &["-h"], &["help"], &["--version"], &["help", "pslist"], &["pslist", "--help"]] {
        let (code, out, err) = run(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        assert!(out.contains("dumpwalk"), "{words:?}");
    }
    assert!(run(&["--help"]).1.contains("Exit codes:"));
}

#[test]
fn nonsense_is_a_usage_error_on_stderr() {
    for words in [
        &[][..],
        &["nosuch", "x.dmp"],
        &["pslist"],
        &["pslist", "x.dmp", "--format", "xml"],
        &["pslist", "x.dmp", "--pid", "four"],
        &["pslist", "x.dmp", "--threads", "0"],
        &["pslist", "x.dmp", "y.dmp"],
        &["schema", "nosuch"],
        &["man", "nosuch"],
        &["completions", "nosuch"],
    ] {
        let (code, out, err) = run(words);
        assert_eq!(code, 2, "{words:?}: {err}");
        assert!(out.is_empty() && !err.is_empty(), "{words:?}");
    }
}

#[test]
fn what_cannot_be_read_says_so_on_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("letter.txt");
    std::fs::write(&text, "Dear Sir or Madam,\n".repeat(1000)).unwrap();
    let empty = dir.path().join("empty.dmp");
    std::fs::write(&empty, b"").unwrap();
    let missing = dir.path().join("nosuch.dmp");
    for path in [&text, &empty, &missing, &dir.path().to_path_buf()] {
        let (code, out, err) = run(&["pslist", path.to_str().unwrap(), "--offline"]);
        assert_eq!(code, 3, "{}: {err}", path.display());
        assert!(out.is_empty(), "{}", path.display());
        let complaint: Vec<&str> = err.lines().filter(|l| l.starts_with("dumpwalk: ")).collect();
        assert_eq!(complaint.len(), 1, "{err}");
        assert!(complaint[0].contains(path.file_name().unwrap().to_str().unwrap()), "names the file: {err}");
    }
}

#[test]
fn every_analysis_has_a_schema_a_manual_page_and_stands_in_the_list() {
    let list = run(&["analyses", "--format", "csv"]).1;
    for analysis in ALL.iter() {
        assert!(list.lines().any(|l| l.starts_with(&format!("{},", analysis.name))), "{}", analysis.name);
        let (code, out, _) = run(&["schema", analysis.name]);
        let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(code, 0);
        for column in analysis.columns {
            assert!(!schema["items"]["properties"][column.key].is_null(), "{} {}", analysis.name, column.key);
        }
        let (code, page, _) = run(&["man", analysis.name]);
        assert!(code == 0 && page.contains(".TH") && page.contains("PROVENANCE") | page.contains("provenance"));
    }
    let (code, page, _) = run(&["man"]);
    assert!(code == 0 && page.contains(".SH NAME"));
}

#[test]
fn completions_name_every_analysis() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!(code, 0);
        for analysis in ALL.iter() {
            assert!(script.contains(analysis.name), "{shell} {}", analysis.name);
        }
    }
}

#[test]
fn a_closed_pipe_is_success() {
    for words in [&["--help"][..], &["completions", "bash"], &["man"]] {
        let mut child = dumpwalk(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{words:?}");
    }
    let Some(sample) = sample() else { return };
    for format in ["table", "json", "jsonl", "csv"] {
        let mut child = dumpwalk(&on_sample("pslist", &sample, &["--format", format]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}: {err}");
        assert!(!err.contains("dumpwalk: "), "{err}");
    }
}

#[test]
fn data_goes_to_stdout_and_all_else_to_stderr() {
    let Some(sample) = sample() else { return };
    let (code, out, err) = run(&on_sample("pslist", &sample, &["--format", "json"]));
    assert!(code == 0 || code == 4, "{err}");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&out).expect("nothing but JSON");
    assert!(rows.iter().any(|r| r["pid"] == 4 && r["name"] == "System"));
    let (_, only, _) = run(&on_sample("pslist", &sample, &["--format", "jsonl", "--pid", "4"]));
    assert_eq!(only.lines().count(), 1);
    assert_eq!(run(&on_sample("pslist", &sample, &["--format", "jsonl", "4"])).1, only, "a number is a process id");
    assert_eq!(run(&on_sample("pslist", &sample, &["--format", "jsonl", "--name", "SYSTEM"])).1.lines().count(), 1);
    let (_, placed, _) = run(&on_sample("pslist", &sample, &["--format", "json", "--provenance=fields", "4"]));
    let placed: serde_json::Value = serde_json::from_str(&placed).unwrap();
    assert!(placed[0]["place"]["va"].is_string() && placed[0]["places"]["pid"]["file"].is_string(), "{placed}");
}

#[test]
fn the_byte_a_place_names_holds_the_value() {
    let Some(sample) = sample() else { return };
    let (_, placed, _) = run(&on_sample("pslist", &sample, &["--format", "json", "--provenance=fields"]));
    let rows: Vec<serde_json::Value> = serde_json::from_str(&placed).unwrap();
    let file = std::fs::read(&sample.0).unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let at = row["places"]["pid"]["file"].as_str().expect("the pid's place in the file");
        let at = usize::from_str_radix(at.trim_start_matches("0x"), 16).unwrap();
        let bytes: [u8; 4] = file[at..at + 4].try_into().unwrap();
        assert_eq!(u64::from(u32::from_le_bytes(bytes)), row["pid"].as_u64().unwrap());
    }
}

#[test]
fn columns_are_those_asked_for_in_that_order() {
    let Some(sample) = sample() else { return };
    let lines = |words: &[&str]| run(&on_sample("pslist", &sample, words)).1;
    let first = lines(&["-f", "jsonl", "--columns", "path,pid", "4"]);
    assert_eq!(first, "{\"path\":null,\"pid\":4,\"absent\":{\"path\":\"not_applicable\"}}\n");
    // A column that tables show only with --wide is shown where it is asked for.
    let table = lines(&["--columns", "image_base,name", "4"]);
    assert_eq!(table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(), ["IMAGE_BASE", "NAME"]);
    let csv = lines(&["-f", "csv", "--columns=name", "--columns=pid", "4"]);
    assert_eq!(csv.lines().next(), Some("name,pid,absent"));
    // What a filter looks at need not be shown.
    let named = run(&on_sample("modules", &sample, &["-f", "csv", "--columns", "base", "--name", "ntoskrnl"])).1;
    assert_eq!(named.lines().count(), 2, "{named}");
    // Values of a whole row are those of a row of some.
    let (all, some) = (lines(&["-f", "json"]), lines(&["-f", "json", "--columns", "exit_status,session,name"]));
    let rows = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap();
    for (all, some) in rows(&all).iter().zip(rows(&some)) {
        for key in ["exit_status", "session", "name"] {
            assert_eq!(all[key], some[key]);
        }
    }
    let (code, _, err) = run(&on_sample("pslist", &sample, &["--columns", "pid,nmae"]));
    assert!(code == 2 && err.contains("no such column") && err.contains("name"), "{err}");
    let (code, _, err) = run(&on_sample("timeline", &sample, &["--columns", "pid", "--body"]));
    assert!(code == 2 && err.contains("--body"), "{err}");
    assert_eq!(run(&on_sample("report", &sample, &["--columns", "pid"])).0, 2);
}

#[test]
fn switches_are_judged_before_a_dump_is_opened() {
    let wrong = [
        ("memory", "start", "here"),
        ("memory", "size", "1f"),
        ("callstacks", "tid", "x"),
        ("poolscan", "tag", "Proc,Process"),
        ("process", "sections", "pslist,modules"),
        ("report", "sections", "handels"),
        ("triage", "explain", "no-such-rule"),
        ("handles", "type", "File,"),
    ];
    for (name, switch, value) in wrong {
        let (code, _, err) = run(&[name, "no-such-file.dmp", &format!("--{switch}={value}")]);
        assert!(code == 2 && err.contains(switch) && !err.contains("no-such-file"), "{name} --{switch}: {code} {err}");
    }
    let takes = |a: &dumpwalk::analysis::Analysis| a.switches.iter().filter(|s| s.value.is_some()).count();
    assert_eq!(ALL.iter().map(|a| takes(a)).sum::<usize>(), wrong.len() + 1, "findings has --explain, too");
    let twice = run(&["callstacks", "no-such-file.dmp", "--tid", "1", "--tid", "2"]);
    assert!(twice.0 == 2 && twice.2.contains("--tid"), "{}", twice.2);
}

#[test]
fn a_list_may_be_given_in_parts() {
    let Some(sample) = sample() else { return };
    let lines = |words: &[&str]| run(&on_sample("handles", &sample, words)).1.lines().count();
    let (files, keys) = (lines(&["-f", "jsonl", "--type", "File"]), lines(&["-f", "jsonl", "--type", "Key"]));
    assert!(files > 0 && keys > 0);
    assert_eq!(lines(&["-f", "jsonl", "--type", "File", "--type", "Key"]), files + keys);
    assert_eq!(lines(&["-f", "jsonl", "--type", "file, key"]), files + keys);
}

#[test]
fn outputs_are_the_same_bytes_and_nothing_is_overwritten() {
    let Some(sample) = sample() else { return };
    let dir = tempfile::tempdir().unwrap();
    // Blanks and letters beyond ASCII are ordinary in paths.
    let out = dir.path().join("prüf ergebnis.json");
    let to = out.to_str().unwrap();
    let (_, stdout, _) = run(&on_sample("pslist", &sample, &["--format", "json"]));
    let (code, nothing, err) = run(&on_sample("pslist", &sample, &["--format", "json", "-o", to]));
    assert!(code == 0 || code == 4, "{err}");
    assert!(nothing.is_empty());
    assert_eq!(std::fs::read_to_string(&out).unwrap(), stdout);
    std::fs::write(&out, "evidence").unwrap();
    assert_eq!(run(&on_sample("pslist", &sample, &["-o", to])).0, 2);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "evidence");
    let (code, _, err) = run(&on_sample("pslist", &sample, &["--format", "json", "-o", to, "--force"]));
    assert!(code == 0 || code == 4, "{err}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), stdout);
    let copy = dir.path().join("copy.dmp");
    std::fs::copy(&sample.0, &copy).unwrap();
    let copied = (copy.to_str().unwrap().to_owned(), sample.1.clone());
    assert_eq!(run(&on_sample("pslist", &copied, &["-o", &copied.0, "--force"])).0, 2);
    assert_eq!(std::fs::metadata(&copy).unwrap().len(), std::fs::metadata(&sample.0).unwrap().len());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary file is left: {left:?}");
}

#[test]
fn the_binary_writes_the_same_at_any_thread_count() {
    let Some(sample) = sample() else { return };
    let one = run(&on_sample("pslist", &sample, &["--format", "json", "--threads", "1"]));
    assert_eq!(run(&on_sample("pslist", &sample, &["--format", "json", "--threads", "8"])), one);
}

#[test]
fn symbols_are_listed_fetched_imported_and_shown() {
    let Some(sample) = sample() else { return };
    let dir = tempfile::tempdir().unwrap();
    let usb = dir.path().join("usb");
    let words = |head: &[&str], tail: &[&str]| {
        let mut all = vec!["symbols"];
        all.extend(head);
        all.extend(sample.1.iter().map(String::as_str));
        all.extend(tail);
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let run = |words: &[String]| run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let (code, needs, err) = run(&words(&["list", &sample.0], &["--format", "json"]));
    assert_eq!(code, 0, "{err}");
    let needs: serde_json::Value = serde_json::from_str(&needs).unwrap();
    let key = needs[0]["key"].as_str().expect("what the dump needs");
    assert!(key.len() > 32 && needs[0]["url"].as_str().unwrap().contains(key));
    let (code, path, err) = run(&words(&["fetch", &sample.0], &["-o", usb.to_str().unwrap()]));
    assert_eq!(code, 0, "{err}");
    let path = path.trim_end();
    assert!(Path::new(path).is_file() && path.contains(key), "{path}");
    let (code, out, err) = run(&words(&["import", path], &[]));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(key), "{out}");
    for of in [path, &sample.0, key] {
        let (code, shown, err) = run(&words(&["show", "_LIST_ENTRY", of], &[]));
        assert_eq!(code, 0, "{of}: {err}");
        assert!(shown.contains("Flink") && shown.contains("+0x008 Blink"), "{shown}");
    }
    assert_eq!(run(&words(&["show", "_NO_SUCH", path], &[])).0, 2);
    assert_eq!(run(&words(&["fetch", "4242"], &[])).0, 2);
    assert_eq!(run(&words(&["fetch", "00000000000000000000000000000000A"], &["-o", usb.to_str().unwrap()])).0, 3);
}

#[test]
fn notes_can_be_kept_as_json_lines() {
    let Some(sample) = sample() else { return };
    let dir = tempfile::tempdir().unwrap();
    let notes = dir.path().join("notes.jsonl");
    let (_, _, err) = run(&on_sample("pslist", &sample, &["-v", "--notes", notes.to_str().unwrap()]));
    let kept = std::fs::read_to_string(&notes).unwrap();
    let shown = err.lines().filter(|l| l.starts_with("note: ") || l.starts_with("loss: ")).count();
    assert_eq!(kept.lines().count(), shown);
    for line in kept.lines() {
        let note: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(note["loss"].is_boolean() && note["text"].is_string());
    }
}

/// A filter that lets nothing by says so, one that cannot apply is refused, and one on names applies to what has names.
#[test]
fn filters_never_lie() {
    let Some(dump) = samples().into_iter().find(|s| s.name == "win10-22h2/full") else { return };
    let path = dump.path.to_str().unwrap();
    let asked = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--offline", "-f", "jsonl", "--symbols", dump.symbols.to_str().unwrap()]);
        run(&all)
    };
    let (code, out, err) = asked(&["modules", path, "--name", "NTOSKRNL"]);
    assert!(code == 0 && out.lines().count() == 1 && out.contains("ntoskrnl.exe"), "{out}{err}");
    let (_, out, err) = asked(&["modules", path, "--name", "nothing-like-it"]);
    assert!(out.is_empty() && err.contains("no row matches --name nothing-like-it"), "{err}");
    let (code, _, err) = asked(&["modules", path, "--pid", "4"]);
    assert!(code == 2 && err.contains("--pid"), "{err}");
    let (code, _, err) = asked(&["modules", path, "4"]);
    assert!(code == 2 && err.contains("takes no process id (4)"), "{err}");
    let (code, _, err) = asked(&["handles", path, "--type", "Proces"]);
    assert!(code == 2 && err.contains("like it are Process"), "{err}");
    let (code, out, _) = asked(&["handles", path, "--type", "process"]);
    assert!(code == 0 && !out.is_empty());
    let (_, out, err) = asked(&["callstacks", path, "--tid", "9999999"]);
    assert!(out.is_empty() && err.contains("no row matches --tid 9999999"), "{err}");
}
