//! The checked-in samples are what the forge makes: rebuilding them gives the same bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use forge::layout::Layouts;
use forge::scenario::Scenario;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A sample that is not checked in is not compared, only built.
#[test]
fn dumps_and_truth() {
    for name in forge::samples().expect("scenarios") {
        let (dumps, truth) = forge::build(&Scenario::load(&name));
        let truth = ("truth.json".to_string(), format!("{truth}\n").into_bytes());
        for (file, bytes) in dumps.into_iter().chain([truth]) {
            let path = testdata().join(&name).join(&file);
            let Ok(kept) = std::fs::read(&path) else { continue };
            assert!(kept == bytes, "{} is not what the forge makes now", path.display());
        }
    }
}

/// The linker's version decides the bytes of a PDB, so only the version that made them can be asked to repeat them.
#[test]
fn symbols() {
    let is = |program: &str| {
        let out = Command::new(program).arg("--version").output();
        out.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("14.0.6"))
    };
    if !is("clang") || !is("lld-link") {
        eprintln!("skipped: clang and lld 14.0.6 are not here");
        return;
    }
    let store = testdata().join("../symbols");
    let fresh = std::env::temp_dir().join(format!("forge-symbols-{}", std::process::id()));
    for table in forge::layouts().expect("layouts") {
        let table = Layouts::load(&table);
        let Ok(kept) = std::fs::read(store.join(forge::pdb::store_path(&table))) else { continue };
        let made = forge::pdb::file(&table, &fresh).expect("clang and lld");
        assert!(kept == std::fs::read(&made).expect("the PDB"), "{} changed", made.display());
    }
    let _ = std::fs::remove_dir_all(fresh);
}
