//! On a pseudo-terminal.

use super::{dump, dumpwalk, until};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A terminal of so many columns, and all that was written to it.
struct Terminal {
    screen: File,
    written: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    fn new(columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let screen = File::options().read(true).write(true).open(OsStr::from_bytes(name.to_bytes())).unwrap();
        tcsetwinsize(&screen, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let (mut ours, written) = (File::from(ours), Arc::new(Mutex::new(Vec::new())));
        let shared = Arc::clone(&written);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // An error, too, is the end: of a terminal that nobody has open any more.
            while let Ok(length @ 1..) = ours.read(&mut piece) {
                shared.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { screen, written, reader }
    }

    fn screen(&self) -> Stdio {
        self.screen.try_clone().unwrap().into()
    }

    fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.written.lock().unwrap()).contains(text)
    }

    /// All that was written until the run ended.
    fn close(self, mut run: Child) -> String {
        assert_eq!(run.wait().unwrap().code(), Some(0));
        drop(self.screen);
        self.reader.join().unwrap();
        // The terminal itself makes `\r\n` of each `\n`.
        String::from_utf8(std::mem::take(&mut *self.written.lock().unwrap())).unwrap().replace("\r\n", "\n")
    }
}

/// What is shown of a run on a terminal of so many columns; its standard error goes elsewhere.
fn shown(columns: u16, command: &mut Command) -> String {
    let terminal = Terminal::new(columns);
    command.stdout(terminal.screen()).stderr(Stdio::null());
    let run = command.spawn().unwrap();
    // The command keeps its copy of the terminal, which is not closed as long as it lives.
    command.stdout(Stdio::null());
    terminal.close(run)
}

#[test]
fn headings_are_bold_unless_it_is_unwanted() {
    let Some(dump) = dump() else { return };
    let bold = shown(200, dumpwalk("pslist", &dump).arg("--offline"));
    assert!(bold.starts_with("\x1b[1mPID") && bold.lines().next().unwrap().ends_with("\x1b[0m"), "{bold:?}");
    let plain = bold.replace("\x1b[1m", "").replace("\x1b[0m", "");
    assert!(!plain.contains('\x1b'), "{plain:?}");
    // https://no-color.org: any value but none; `TERM=dumb`: a terminal that knows no sequences.
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        assert_eq!(shown(200, dumpwalk("pslist", &dump).arg("--offline").env(name, value)), plain, "{name}={value}");
    }
    let help =
        |name: &str, value: &str| shown(80, dumpwalk("help", "pslist".as_ref()).env(name, value)).contains('\x1b');
    assert!(help("X", "") && !help("NO_COLOR", "1"), "clap's own colours, too");
}

#[test]
fn tables_fit_the_terminal_and_are_whole_when_asked() {
    let Some(dump) = dump() else { return };
    let widths = |text: &str| text.lines().map(|l| l.chars().count()).collect::<Vec<_>>();
    let analysis = |columns, more: &[&str]| {
        shown(columns, dumpwalk("cmdline", &dump).arg("--offline").args(more).env("NO_COLOR", "1"))
    };
    let (narrow, wider, wide) = (analysis(60, &[]), analysis(90, &[]), analysis(60, &["--wide"]));
    assert!(widths(&wide).iter().any(|w| *w > 90), "the sample has longer lines:\n{wide}");
    for (text, columns) in [(&narrow, 60), (&wider, 90)] {
        // The widest line uses what there is.
        assert_eq!(widths(text).into_iter().max(), Some(columns), "{text}");
        assert!(text.contains('…'), "{text}");
    }
    assert!(!wide.contains('…'), "{wide}");
}

/// Standard error is the terminal: a bar stands there while something is fetched, and is wiped before the end.
#[cfg(feature = "download")]
#[test]
fn progress_is_shown_and_wiped() {
    let Some(dump) = dump() else { return };
    let dir = tempfile::tempdir().unwrap();
    let server = super::stalled::Server::new();
    let terminal = Terminal::new(120);
    let mut command = server.asked_by(dumpwalk("pslist", &dump), dir.path());
    let run = command.stdout(Stdio::piped()).stderr(terminal.screen()).spawn().unwrap();
    command.stderr(Stdio::null());
    server.wait();
    until("a bar", || terminal.has("fetching http://127.0.0.1:"));
    server.release();
    let text = terminal.close(run);
    // In one line of the terminal, however long the address is.
    let longest = text.replace("\x1b[2K", "").split(['\r', '\n']).map(|line| line.chars().count()).max();
    assert!(longest == Some(120), "{text:?}");
    let after = text.rsplit_once("fetching").unwrap().1;
    // ECMA-48 EL: what stood in the line goes away.
    let wiped = after.find("\x1b[2K").or(after.find("\x1b[K"));
    assert!(wiped.is_some_and(|at| at < after.find("legend: ").unwrap()), "{text:?}");
}
