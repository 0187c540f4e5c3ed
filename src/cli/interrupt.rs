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

/// Takes over Ctrl-C (on Unix also `SIGTERM` and `SIGHUP`), and on Unix what the system raises when the mapped dump loses
/// pages. Called once, by the binary's run.
pub(super) fn take_over(dump: &Path) {
    // Without a handler the system's own ends the process; only a half-written file is left then.
    if let Err(e) = watch_end() {
        log::debug!("no handler for interrupts: {e}");
    }
    watch_mapping(dump);
}

#[cfg(windows)]
fn watch_end() -> Result<(), ctrlc::Error> {
    ctrlc::try_set_handler(|| end(Exit::Interrupted))
}

/// Each signal has its own handler: one that the caller has ignored (`nohup` does that to `SIGHUP`, a shell to `SIGINT` of
/// what it starts in the background) stays ignored, and takes nothing from the others.
#[cfg(unix)]
fn watch_end() -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ignored = ignored_signals();
    let taken = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored.contains(signal));
    let mut signals = signal_hook::iterator::Signals::new(taken)?;
    let wait = move || {
        if signals.forever().next().is_some() {
            end(Exit::Interrupted);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

/// The signals this process was started to ignore, where the system says so: `SigIgn` in proc(5), bit 0 for signal 1.
/// Elsewhere `SIGHUP` counts as ignored, so that `nohup` works.
#[cfg(unix)]
fn ignored_signals() -> Vec<std::ffi::c_int> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return vec![signal_hook::consts::SIGHUP] };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    (1..64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
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

/// A file cut short while it is mapped (or on a disk that fails) raises `SIGBUS` where it is read.
#[cfg(unix)]
fn watch_mapping(dump: &Path) {
    let path = dump.display().to_string();
    // Without a watch the system ends the process: nothing to tell.
    let _ = on_bus_error(move || {
        super::exit::complain(&format!(
            "{path}: the file was cut short, or could no longer be read, while it was analysed. What was written of the answer is incomplete. Copy the dump to a local disk and try again"
        ));
        end(Exit::Unreadable)
    });
}

/// Runs `then` in a thread of its own when `SIGBUS` comes.
///
/// A thread that was hit must not go on: it would be hit again. So the signal does two things in turn: it wakes the
/// watching thread through one pipe, then waits for room in another that is full and stays so. Any number of threads may
/// be hit before the process has ended.
#[cfg(unix)]
fn on_bus_error(then: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use signal_hook::{consts::SIGBUS, low_level::pipe};
    use std::io::{ErrorKind, Read, Write};

    forget_bus_error_handler();
    let (mut woken, wake) = std::io::pipe()?;
    let (drain, hold) = std::io::pipe()?;
    let mut full = hold.try_clone()?;
    // Actions run in the order they were registered. Registering sets both pipes to not block.
    pipe::register(SIGBUS, wake)?;
    pipe::register(SIGBUS, hold)?;
    for size in [4096, 1] {
        while match full.write([0; 4096].get(..size).unwrap_or_default()) {
            Ok(_) => true,
            Err(e) if e.kind() == ErrorKind::WouldBlock => false,
            Err(e) => return Err(e),
        } {}
    }
    fcntl_setfl(&full, fcntl_getfl(&full)? - OFlags::NONBLOCK)?;
    let watch = move || {
        // Kept open, and never read.
        let _ends = (drain, full);
        if woken.read_exact(&mut [0]).is_ok() {
            then();
        }
    };
    std::thread::Builder::new().name("mapping".into()).spawn(watch).map(drop)
}

/// Takes away the language runtime's own handler, which looks for stack overflows (on Linux those raise `SIGSEGV`, which
/// keeps its handler). It would run first and set the signal back to ending the process at once, so that a second thread
/// which reads the missing part kills the process before anything is said and removed.
#[cfg(unix)]
fn forget_bus_error_handler() {
    // SAFETY: the default disposition runs no code of ours, and nothing else in this process handles the signal.
    #[allow(unsafe_code)]
    unsafe {
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
    }
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
        // Several threads are hit, one after the other: each one stands still.
        std::thread::scope(|scope| {
            for n in 200..299 {
                let dump = &dump;
                scope.spawn(move || panic!("read {:x?} from a page that is gone", dump.page(Pfn(n)).map(|p| p[0])));
            }
        });
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
