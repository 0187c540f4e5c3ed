//! Ctrl-C: the run ends with 130, and what it was writing is gone.

use super::{dump, dumpwalk, ended};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The names in a folder.
fn names(dir: &Path) -> Vec<String> {
    let mut out: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    out.sort();
    out
}

/// Ends one run in the middle of its rows: nobody reads them, and the notes wait for their end in a file.
pub(crate) fn while_rows_are_written(interrupt: &dyn Fn(&Child)) {
    let Some(dump) = dump() else { return };
    rows_half_written_by(dumpwalk("memmap", &dump), interrupt);
}

fn rows_half_written_by(mut command: Command, interrupt: &dyn Fn(&Child)) {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    command.args(["--offline", "-f", "json", "--provenance=fields", "--notes"]).arg(dir.path().join("notes.jsonl"));
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = run.stdout.take().unwrap();
    out.read_exact(&mut [0; 16]).unwrap();
    let during = names(dir.path());
    assert!(during.len() == 1 && during[0].ends_with(".part"), "{during:?}");
    interrupt(&run);
    // Only now, and only to see that it is not the whole.
    let mut rest = Vec::new();
    let ended = ended(&mut run);
    out.read_to_end(&mut rest).unwrap();
    let mut said = String::new();
    run.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(ended.code(), Some(130), "{said}");
    assert_eq!(said, "", "a person who pressed Ctrl-C knows");
    assert!(!rest.ends_with(b"]\n"), "what was written does not look complete");
    assert_eq!(names(dir.path()), [""; 0], "nothing is left");
}

/// Ends one run in the middle of a download, with its output open.
#[cfg(feature = "download")]
pub(crate) fn while_symbols_are_fetched(interrupt: &dyn Fn(&Child)) {
    let Some(dump) = dump() else { return };
    let dir = tempfile::tempdir().unwrap();
    let outputs = dir.path().join("outputs");
    std::fs::create_dir(&outputs).unwrap();
    std::fs::write(outputs.join("rows.csv"), "of last week").unwrap();
    let server = super::stalled::Server::new();
    let mut command = server.asked_by(dumpwalk("pslist", &dump), dir.path());
    command.args(["-f", "csv", "--force", "-o"]).arg(outputs.join("rows.csv"));
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.wait();
    assert_eq!(names(&outputs).len(), 2, "{:?}", names(&outputs));
    interrupt(&run);
    ended(&mut run);
    let ended = run.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(names(&outputs), ["rows.csv"]);
    assert_eq!(std::fs::read(outputs.join("rows.csv")).unwrap(), b"of last week", "what was there before stays");
    // What came of the file is not taken for a file.
    let mut kept = Vec::new();
    files(dir.path(), &mut kept);
    assert!(kept.iter().all(|p| p.extension().is_none_or(|e| e != "pdb") || p.iter().any(incoming)), "{kept:?}");
}

#[cfg(feature = "download")]
fn incoming(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(".incoming-")
}

#[cfg(feature = "download")]
fn files(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

#[cfg(unix)]
mod by_signal {
    use rustix::process::{Pid, Signal, kill_process};
    use std::process::Child;

    fn send(signal: Signal) -> impl Fn(&Child) {
        move |run| kill_process(Pid::from_child(run), signal).unwrap()
    }

    #[test]
    fn rows_half_written() {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            super::while_rows_are_written(&send(signal));
        }
    }

    /// What a shell starts in the background ignores `SIGINT`, what `nohup` starts `SIGHUP`; both can be asked to end.
    #[cfg(target_os = "linux")]
    #[test]
    fn rows_half_written_in_the_background() {
        let Some(dump) = super::dump() else { return };
        let command = super::super::dumpwalk_with("--ignore-signal=HUP,INT", "memmap", &dump);
        super::rows_half_written_by(command, &|run| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
            let ignored = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).unwrap();
            let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
            assert_eq!(ignored & 0b11, 0b11, "what was ignored stays so (bit 0: HUP, bit 1: INT)");
            send(Signal::TERM)(run);
        });
    }

    #[cfg(feature = "download")]
    #[test]
    fn symbols_half_fetched() {
        super::while_symbols_are_fetched(&send(Signal::INT));
    }
}
