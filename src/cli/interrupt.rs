//! Ctrl-C, and a dump that is cut short while it is read: half-written files go away, then the process ends.

use super::exit::Exit;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The files being written. The one piece of process-wide state there is: a signal is process-wide too.
static UNFINISHED: OnceLock<Mutex<Vec<PathBuf>>> = OnceLock::new();

/// A file that is to be removed when the run is interrupted. Once renamed it is no longer found under this name.
pub(super) fn remove_on_interrupt(path: &Path) {
    UNFINISHED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
}

/// Takes over Ctrl-C (and `SIGTERM`), and on Unix what the system raises when the mapped dump loses pages.
/// Called once, by the binary's run.
pub(super) fn take_over(dump: &Path) {
    // Without a handler the system's own ends the process: nothing to tell.
    let _ = ctrlc::try_set_handler(|| end(Exit::Interrupted));
    watch_mapping(dump);
}

/// Removes what is half-written and ends the process.
fn end(exit: Exit) -> ! {
    if let Some(files) = UNFINISHED.get() {
        for file in files.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = std::fs::remove_file(file);
        }
    }
    super::progress::clear_line();
    std::process::exit(exit as i32);
}

/// A file cut short while it is mapped (or on a disk that fails) raises `SIGBUS` where it is read. The reading thread
/// cannot go on: it meets the signal again and again until this one has told why and ended the process.
#[cfg(unix)]
fn watch_mapping(dump: &Path) {
    let Ok(mut signals) = signal_hook::iterator::Signals::new([signal_hook::consts::SIGBUS]) else { return };
    let path = dump.display().to_string();
    let watch = move || {
        if signals.forever().next().is_some() {
            super::exit::complain(&format!(
                "{path}: the file was cut short, or could no longer be read, while it was analysed. What was written of the answer is incomplete. Copy the dump to a local disk and try again"
            ));
            end(Exit::Unreadable);
        }
    };
    let _ = std::thread::Builder::new().name("mapping".into()).spawn(watch);
}

/// Windows refuses to cut a file that is mapped. A read that fails (a network share that goes away) ends the process.
#[cfg(not(unix))]
fn watch_mapping(_dump: &Path) {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::addr::Pfn;
    use crate::dump::Dump;
    use std::process::Command;

    const FILE: &str = "DUMPWALK_TEST_CUT_SHORT";

    /// Run by [`a_dump_cut_short_is_told`] in a process of its own; by itself it has nothing to do.
    #[test]
    fn reads_a_dump_that_is_cut_short() {
        let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
        take_over(&path);
        let unfinished = path.with_extension("part");
        std::fs::write(&unfinished, "half").unwrap();
        remove_on_interrupt(&unfinished);
        let dump = Dump::open(&path).unwrap();
        assert_eq!(dump.page(Pfn(299)).unwrap()[0], 0xcc);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0x1000).unwrap();
        panic!("read {:x?} from a page that is gone", dump.page(Pfn(299)).map(|p| p[0]));
    }
    #[test]
    fn a_dump_cut_short_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.raw");
        std::fs::write(&path, vec![0xcc; 300 * 4096]).unwrap();
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cli::interrupt::tests::reads_a_dump_that_is_cut_short", "--nocapture"])
            .env(FILE, &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(Exit::Unreadable as i32), "{said}");
        assert!(said.contains("memory.raw: the file was cut short"), "{said}");
        assert!(!path.with_extension("part").exists(), "what was half-written is still there");
    }
}
