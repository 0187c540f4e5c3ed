//! What lies in a folder of symbols beside the right file: pipes, devices, links without end, bombs. None is waited for, none is taken, and
//! the command line names each once.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn dumpwalk(words: &[&str], folder: &Path) -> Output {
    let mut run = Command::new(env!("CARGO_BIN_EXE_dumpwalk"))
        .args(words)
        .current_dir(folder)
        .env("DUMPWALK_CACHE", folder.join("cache"))
        .env_remove("_NT_SYMBOL_PATH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while run.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE {
            run.kill().unwrap();
            panic!("{words:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    run.wait_with_output().unwrap()
}

/// A folder with everything that is no symbol file, under names that symbol files have.
fn traps(folder: &Path) {
    let pdb = folder.join("ntkrnlmp.pdb");
    std::fs::create_dir_all(&pdb).unwrap();
    for (name, target) in [("loop.pdb", "loop.pdb"), ("zero.pdb", "/dev/zero"), ("gone.pdb", "nowhere")] {
        std::os::unix::fs::symlink(target, folder.join(name)).unwrap();
    }
    // A folder that holds itself.
    std::os::unix::fs::symlink("..", pdb.join("up")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("pipe.pdb")).status().unwrap().success());
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![b' '; 80 << 20]).unwrap();
    std::fs::write(folder.join("bomb.json.gz"), bomb.finish().unwrap()).unwrap();
}

#[test]
fn a_folder_of_traps_is_searched_and_left() {
    let folder = tempfile::tempdir().unwrap();
    traps(folder.path());
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/win10-22h2/full.dmp");
    let words = ["pslist", dump.to_str().unwrap(), "--symbols", ".", "--offline", "-f", "jsonl"];
    let ran = dumpwalk(&words, folder.path());
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(String::from_utf8_lossy(&ran.stdout).lines().count() > 5);
}

#[test]
fn each_is_refused_by_what_it_is_and_named_once() {
    let folder = tempfile::tempdir().unwrap();
    traps(folder.path());
    for (name, import, show) in [
        ("pipe.pdb", "a pipe", "a pipe"),
        ("zero.pdb", "a device", "a device"),
        ("/dev/zero", "a device", "a device"),
        ("loop.pdb", "symbolic links", "neither a file"),
        ("gone.pdb", "No such file", "neither a file"),
        ("bomb.json.gz", "more than 64 MiB", "more than 64 MiB"),
        ("ntkrnlmp.pdb", "holds no PDB", "a directory"),
    ] {
        for (words, why) in
            [(&["symbols", "import", name][..], import), (&["symbols", "show", "_EPROCESS", name], show)]
        {
            let ran = dumpwalk(words, folder.path());
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(said.contains(why), "{words:?}: {said}");
            assert_eq!(said.matches(name).count(), 1, "{words:?}: {said}");
            assert!(matches!(ran.status.code(), Some(2..=4)), "{words:?}: {:?}", ran.status);
        }
    }
}
