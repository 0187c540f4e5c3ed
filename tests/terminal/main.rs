//! What a person at a terminal meets, and a pipe does not: colours, the terminal's width, progress, Ctrl-C. The built binary
//! on a pseudo-terminal (`pty.rs`) or a Windows console of its own (`console.rs`), against the same sample.
//!
//! Nothing here waits for time to pass: a run stands still where it is to be looked at, because its symbol server sends
//! half a file, or because nobody reads what it writes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(windows)]
mod console;
mod interrupted;
#[cfg(unix)]
mod pty;
#[cfg(feature = "download")]
mod stalled;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A run that does not come this far is stuck.
const STUCK: Duration = Duration::from_secs(120);

/// The dump of most tests, or none.
fn dump() -> Option<PathBuf> {
    let found = common::samples().into_iter().find(|s| s.name == "win10-22h2/full").map(|s| s.path);
    if found.is_none() {
        println!("skipped: no sample win10-22h2/full");
    }
    found
}

/// Signals as a shell leaves them for what runs in the foreground, however the tests were started (`nohup`, `&`).
const FOREGROUND: &str = "--default-signal=HUP,INT,TERM";

/// The binary with nothing of the user's: no symbols, no cache, no wish about colours, a terminal that has them.
fn dumpwalk(analysis: &str, dump: &Path) -> Command {
    dumpwalk_with(FOREGROUND, analysis, dump)
}

/// The same with other signals ignored, an option of env(1), which becomes the binary. (Tests on Linux only send signals.)
fn dumpwalk_with(signals: &str, analysis: &str, dump: &Path) -> Command {
    let mut out = if cfg!(target_os = "linux") {
        let mut env = Command::new("env");
        env.arg(signals).arg(env!("CARGO_BIN_EXE_dumpwalk"));
        env
    } else {
        Command::new(env!("CARGO_BIN_EXE_dumpwalk"))
    };
    out.arg(analysis).arg(dump);
    for name in ["_NT_SYMBOL_PATH", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI", "http_proxy", "HTTP_PROXY"] {
        out.env_remove(name);
    }
    // Consoles have no such variable: Windows is asked what they can.
    if cfg!(windows) {
        out.env_remove("TERM")
    } else {
        out.env("TERM", "xterm-256color")
    };
    out.env("DUMPWALK_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-cache"));
    out
}

/// Looks until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < STUCK, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for its end; what is stuck is ended and fails the test.
fn ended(run: &mut std::process::Child) -> std::process::ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = run.try_wait().unwrap() {
            return status;
        }
        if begun.elapsed() > STUCK {
            run.kill().unwrap();
            panic!("the run did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A pipe is no terminal: no escape sequence, no carriage return, no cut, no progress, whatever the environment wishes.
#[cfg(feature = "download")]
#[test]
fn a_pipe_gets_text_only() {
    let Some(dump) = dump() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = stalled::Server::new();
    let mut command = server.asked_by(dumpwalk("pstree", &dump), dir.path());
    command.env("CLICOLOR_FORCE", "1").env("COLUMNS", "40");
    let run = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    server.wait();
    // Long past the moment at which a terminal is shown a bar.
    std::thread::sleep(Duration::from_secs(1));
    server.release();
    let ended = run.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(out.contains("System") && err.contains("legend: "), "{out}{err}");
    assert!(!out.contains('…') && out.lines().any(|l| l.len() > 40), "{out}");
    for text in [out, err] {
        assert!(!text.contains(['\x1b', '\r']) && !text.contains("fetching"), "{text:?}");
    }
}
