//! What several test programs need: the sample dumps, and the program itself.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the repository lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of samples that are not checked in, where there is one: beside the repository, or `DUMPWALK_SHARED`.
pub fn shared() -> Option<PathBuf> {
    let beside = root().parent().map(|p| p.join("shared"));
    let named = std::env::var_os("DUMPWALK_SHARED").map(PathBuf::from);
    beside.into_iter().chain(named).find(|p| p.join("samples").is_dir())
}

/// One scenario: dumps of the same memory, and what was planted in it.
pub struct Sample {
    /// For messages.
    pub name: String,
    /// The dumps.
    pub dumps: Vec<PathBuf>,
    /// `truth.json`.
    pub truth: Value,
    /// The symbol store that has its PDB.
    pub store: PathBuf,
}

/// Extensions of dumps.
const DUMPS: [&str; 4] = ["dmp", "raw", "dd", "mdmp"];

/// Every scenario below a folder: a folder with a `truth.json` and dumps.
pub fn samples_in(folder: &Path, store: &Path) -> Vec<Sample> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    let mut folders: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
    folders.sort();
    for dir in folders {
        let Ok(text) = std::fs::read_to_string(dir.join("truth.json")) else { continue };
        let truth = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let mut dumps: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|x| DUMPS.iter().any(|d| x == *d)))
            .collect();
        dumps.sort();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        found.push(Sample { name, dumps, truth, store: store.into() });
    }
    found
}

/// The samples that are checked in, or those of the folder named by `DUMPWALK_SAMPLES` (with its `symbols`).
pub fn own_samples() -> Vec<Sample> {
    match std::env::var_os("DUMPWALK_SAMPLES").map(PathBuf::from) {
        Some(dir) => samples_in(&dir, &dir.join("symbols")),
        None => samples_in(&root().join("testdata"), &root().join("symbols")),
    }
}

/// The samples of the other generator, unpacked once; none where the folder is missing.
pub fn shared_samples() -> Vec<Sample> {
    let Some(shared) = shared() else {
        println!("skipped: no ../shared and no DUMPWALK_SHARED");
        return Vec::new();
    };
    let from = shared.join("samples");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared-samples");
    for dir in std::fs::read_dir(&from).unwrap().filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()) {
        for packed in std::fs::read_dir(&dir).unwrap().filter_map(|e| Some(e.ok()?.path())) {
            if packed.extension().is_some_and(|x| x == "xz") {
                unpack(&packed, &to.join(dir.file_name().unwrap()).join(packed.file_stem().unwrap()));
            }
        }
    }
    samples_in(&to, &from.join("symbols"))
}

/// Unpacks one file, leaving holes where it has zeros. Whole or not at all, under a name nobody else has: other tests of
/// this program and other test programs may do the same at this moment.
fn unpack(packed: &Path, to: &Path) {
    if to.exists() {
        return;
    }
    let folder = to.parent().unwrap();
    std::fs::create_dir_all(folder).unwrap();
    let mut xz = lzma_rust2::XzReader::new(std::fs::File::open(packed).unwrap(), false);
    let mut out = tempfile::NamedTempFile::new_in(folder).unwrap();
    let mut block = vec![0u8; 1 << 16];
    let mut length = 0u64;
    loop {
        let n = xz.read(&mut block).unwrap();
        if n == 0 {
            break;
        }
        if block[..n].iter().all(|b| *b == 0) {
            out.seek(SeekFrom::Current(n as i64)).unwrap();
        } else {
            out.write_all(&block[..n]).unwrap();
        }
        length += n as u64;
    }
    out.as_file().set_len(length).unwrap();
    if let Err(e) = out.persist(to) {
        assert!(to.exists(), "{}: {e}", to.display());
    }
}

/// What one run of the program gave.
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the built program. The cache lies in the target folder, so that no test reads or fills the user's; a run without
/// `--symbols` has one of its own, where no other run left a PDB.
pub fn dumpwalk<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Ran {
    let with = args.iter().any(|a| a.as_ref() == "--symbols");
    let cache = if with { "cache" } else { "cache-of-none" };
    let out = Command::new(env!("CARGO_BIN_EXE_dumpwalk"))
        .args(args)
        .env("DUMPWALK_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join(cache))
        .env_remove("_NT_SYMBOL_PATH")
        .output()
        .unwrap();
    Ran {
        code: out.status.code().unwrap_or(-1),
        stdout: String::from_utf8(out.stdout).expect("output is UTF-8"),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// The rows of an analysis as JSON, offline; `store` is the symbol store, or none for the built-in tables.
pub fn rows(analysis: &str, dump: &Path, store: Option<&Path>) -> Result<Vec<Value>, String> {
    let mut args: Vec<&std::ffi::OsStr> =
        vec![analysis.as_ref(), dump.as_os_str(), "--format".as_ref(), "json".as_ref(), "--offline".as_ref()];
    if let Some(store) = store {
        args.extend(["--symbols".as_ref(), store.as_os_str()]);
    }
    let ran = dumpwalk(&args);
    if !matches!(ran.code, 0 | 4) {
        return Err(format!("exit code {}: {}", ran.code, ran.stderr.trim()));
    }
    match serde_json::from_str(&ran.stdout) {
        Ok(Value::Array(rows)) => Ok(rows),
        Ok(other) => Err(format!("no array: {other}")),
        Err(e) => Err(format!("no JSON: {e}: {}", ran.stderr)),
    }
}

/// A number, written as such or as `"0x…"`.
pub fn number(v: &Value) -> Option<u64> {
    match v {
        Value::Number(n) => n.as_u64(),
        Value::String(s) => u64::from_str_radix(s.strip_prefix("0x")?, 16).ok(),
        _ => None,
    }
}

/// The rows of one `report`, by section.
pub fn report(dump: &Path, store: &Path) -> BTreeMap<String, Vec<Value>> {
    let mut sections: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let ran = dumpwalk(&[
        "report".as_ref(),
        dump.as_os_str(),
        "--format".as_ref(),
        "jsonl".as_ref(),
        "--offline".as_ref(),
        "--symbols".as_ref(),
        store.as_os_str(),
    ]);
    assert!(matches!(ran.code, 0 | 4), "{}: exit code {}: {}", dump.display(), ran.code, ran.stderr);
    for line in ran.stdout.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        sections.entry(row["section"].as_str().expect("a section").to_owned()).or_default().push(row);
    }
    sections
}
