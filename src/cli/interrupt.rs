//! Ctrl-C: half-written files go away, then the process ends.

use super::exit::Exit;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The files being written. The one piece of process-wide state there is: a signal is process-wide too.
static UNFINISHED: OnceLock<Mutex<Vec<PathBuf>>> = OnceLock::new();

/// A file that is to be removed when the run is interrupted. Once renamed it is no longer found under this name.
pub(super) fn remove_on_interrupt(path: &Path) {
    UNFINISHED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
}

/// Takes over Ctrl-C (and `SIGTERM`). Called once, by the binary's run.
pub(super) fn take_over() {
    let handler = || {
        if let Some(files) = UNFINISHED.get() {
            for file in files.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let _ = std::fs::remove_file(file);
            }
        }
        super::progress::clear_line();
        std::process::exit(Exit::Interrupted as i32);
    };
    // Without a handler the system's own ends the process: nothing to tell.
    let _ = ctrlc::try_set_handler(handler);
}
