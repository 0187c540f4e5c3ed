//! What goes on around a run: the dump is cut short while it is read, other runs fill the same symbol cache.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Sample, samples};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A full dump of the samples, or none.
fn full() -> Option<Sample> {
    let found = samples().into_iter().find(|s| s.name == "win10-22h2/full");
    if found.is_none() {
        println!("skipped: no sample win10-22h2/full");
    }
    found
}

fn dumpwalk(analysis: &str, dump: &Path, sample: &Sample, cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dumpwalk"));
    command.arg(analysis).arg(dump).arg("--symbols").arg(&sample.symbols).arg("--offline");
    command.env_remove("_NT_SYMBOL_PATH").env("DUMPWALK_CACHE", cache);
    command
}

fn files_under(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_under(&path, out) } else { out.push(path) }
    }
}

/// The run stands still because nobody reads what it writes; meanwhile the file loses its pages.
#[cfg(unix)]
#[test]
fn a_dump_that_is_cut_while_it_is_read_is_told() {
    use std::io::Read;
    let Some(sample) = full() else { return };
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("cut.dmp");
    std::fs::copy(&sample.path, &dump).unwrap();
    let mut run = dumpwalk("memmap", &dump, &sample, &dir.path().join("cache"))
        .args(["--format", "json", "--wide", "--provenance=fields", "--threads", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = run.stdout.take().unwrap();
    let mut first = [0; 16];
    out.read_exact(&mut first).unwrap();
    std::fs::File::options().write(true).open(&dump).unwrap().set_len(0).unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    let ended = run.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{told}");
    assert!(told.contains("cut short"), "{told}");
    assert!(!rest.ends_with(b"]\n"), "what was written does not look complete");
}

/// The same with a file for the output, cut at some moment of many: either the run was done before, or it leaves no file.
#[cfg(unix)]
#[test]
fn a_cut_dump_leaves_no_half_written_file() {
    let Some(sample) = full() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (dump, out, whole) = (dir.path().join("cut.dmp"), dir.path().join("rows.json"), dir.path().join("whole.json"));
    let write = |to: &Path| {
        let mut command = dumpwalk("handles", &dump, &sample, &dir.path().join("cache"));
        command.args(["-f", "json", "--force", "-o"]).arg(to).stderr(Stdio::null()).spawn().unwrap()
    };
    std::fs::copy(&sample.path, &dump).unwrap();
    assert!(write(&whole).wait().unwrap().success());
    let whole = std::fs::read(whole).unwrap();
    for delay in [0, 1, 2, 4, 8, 16, 32, 64] {
        std::fs::copy(&sample.path, &dump).unwrap();
        let mut run = write(&out);
        std::thread::sleep(std::time::Duration::from_millis(delay));
        std::fs::File::options().write(true).open(&dump).unwrap().set_len(0x2000).unwrap();
        let code = run.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 3 | 4)), "{delay} ms: {code:?}");
        match std::fs::read(&out) {
            Ok(written) if code == Some(0) => assert!(written == whole, "{delay} ms"),
            // A dump that was short from the start is read as such, with a note of loss.
            Ok(_) => assert_eq!(code, Some(4), "{delay} ms"),
            Err(_) => assert_eq!(code, Some(3), "{delay} ms"),
        }
        let _ = std::fs::remove_file(&out);
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert!(left <= 3, "{delay} ms: a temporary file is left");
    }
}

#[test]
fn several_runs_fill_one_cache() {
    let Some(sample) = full() else { return };
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let runs: Vec<_> = (0..6)
        .map(|_| {
            let mut command = dumpwalk("pslist", &sample.path, &sample, &cache);
            command.args(["-f", "jsonl"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<_> = runs.into_iter().map(|r| r.wait_with_output().unwrap()).collect();
    for output in &outputs {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, outputs[0].stdout);
    }
    let mut files = Vec::new();
    files_under(&cache, &mut files);
    assert!(!files.is_empty(), "the cache was filled");
    // Beside a table lies the record of the file it was made of.
    let (records, tables): (Vec<_>, Vec<_>) = files.iter().partition(|f| f.extension().is_some_and(|e| e == "from"));
    assert!(records.iter().all(|r| r.with_extension("sym").is_file()), "{files:?}");
    for file in tables {
        assert_eq!(file.extension().and_then(|e| e.to_str()), Some("sym"), "only whole tables: {files:?}");
        let table = std::fs::read(file).unwrap();
        assert!(dumpwalk::symbols::compact::decode(&table).is_ok(), "{}", file.display());
    }
    // And what they left serves.
    let mut command = dumpwalk("pslist", &sample.path, &sample, &cache);
    let again = command.args(["-f", "jsonl"]).output().unwrap();
    assert_eq!(again.stdout, outputs[0].stdout);
}
