//! In a Windows console: each test starts itself once more in a console of its own, without a window, and looks at what
//! stands on that console's screen.
//!
//! <https://learn.microsoft.com/windows/console/console-functions>

#![allow(unsafe_code, reason = "Windows' console functions")]

use super::{dump, dumpwalk, interrupted};
use std::fs::File;
use std::io::Write;
use std::os::windows::io::AsRawHandle;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command, Stdio};
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, COORD, CTRL_C_EVENT, ENABLE_VIRTUAL_TERMINAL_PROCESSING, FOREGROUND_INTENSITY,
    GenerateConsoleCtrlEvent, GetConsoleMode, GetConsoleScreenBufferInfo, ReadConsoleOutputAttribute,
    ReadConsoleOutputCharacterW, SMALL_RECT, SetConsoleCtrlHandler, SetConsoleMode, SetConsoleScreenBufferSize,
    SetConsoleWindowInfo,
};
use windows_sys::Win32::System::Threading::CREATE_NO_WINDOW;

/// Set in the copy of the test that has a console of its own.
const INSIDE: &str = "DUMPWALK_TEST_CONSOLE";

/// Whether this is the copy inside; runs it if not.
fn inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("console::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .creation_flags(CREATE_NO_WINDOW)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("1 passed"), "{:?}: {said}", done.status);
    false
}

/// The screen of this process' console.
struct Screen(File);

/// A line of it: its text, and the attributes of each cell.
struct Line(String, Vec<u16>);

impl Screen {
    /// Lines of 400 columns, of which the window shows so many.
    fn new(columns: i16) -> Self {
        let screen = Self(File::options().read(true).write(true).open("CONOUT$").unwrap());
        let handle = screen.0.as_raw_handle();
        let window = SMALL_RECT { Left: 0, Top: 0, Right: columns - 1, Bottom: 24 };
        // SAFETY: the handle is open, the rectangle is read only.
        let set = unsafe {
            [
                SetConsoleScreenBufferSize(handle, COORD { X: 400, Y: 500 }),
                SetConsoleWindowInfo(handle, 1, &raw const window),
            ]
        };
        assert_eq!(set, [1, 1], "{}", std::io::Error::last_os_error());
        let shown = screen.info().srWindow;
        assert_eq!(shown.Right - shown.Left + 1, columns);
        screen
    }

    fn info(&self) -> CONSOLE_SCREEN_BUFFER_INFO {
        let mut info = CONSOLE_SCREEN_BUFFER_INFO::default();
        // SAFETY: the handle is open, and there is room for what is written.
        assert_ne!(unsafe { GetConsoleScreenBufferInfo(self.0.as_raw_handle(), &raw mut info) }, 0);
        info
    }

    /// Whether the console, told to follow escape sequences, does.
    fn follows_sequences(&self) -> bool {
        let (mut mode, handle) = (0, self.0.as_raw_handle());
        // SAFETY: the handle is open, and there is room for the mode.
        let told = unsafe {
            GetConsoleMode(handle, &raw mut mode) != 0
                && SetConsoleMode(handle, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING) != 0
        };
        (&self.0).write_all(b"\x1b[1mbold\x1b[0m\n").unwrap();
        told && self.lines().last().is_some_and(|l| l.0 == "bold")
    }

    fn stdio(&self) -> Stdio {
        self.0.try_clone().unwrap().into()
    }

    /// From the top to the cursor.
    fn lines(&self) -> Vec<Line> {
        let info = self.info();
        let width = u32::try_from(info.dwSize.X).unwrap();
        let line = |y| {
            let (mut text, mut attributes) = (vec![0_u16; width as usize], vec![0_u16; width as usize]);
            let (mut read, at, handle) = ([0; 2], COORD { X: 0, Y: y }, self.0.as_raw_handle());
            // SAFETY: both have room for `width` values.
            unsafe {
                assert_ne!(ReadConsoleOutputCharacterW(handle, text.as_mut_ptr(), width, at, &raw mut read[0]), 0);
                assert_ne!(ReadConsoleOutputAttribute(handle, attributes.as_mut_ptr(), width, at, &raw mut read[1]), 0);
            }
            assert_eq!(read, [width, width]);
            Line(String::from_utf16(&text).unwrap().trim_end().to_owned(), attributes)
        };
        (0..=info.dwCursorPosition.Y).map(line).filter(|l| !l.0.is_empty()).collect()
    }

    fn text(&self) -> String {
        self.lines().iter().map(|l| format!("{}\n", l.0)).collect()
    }
}

#[test]
fn tables_fit_the_window_and_headings_are_bright() {
    if !inside("tables_fit_the_window_and_headings_are_bright") {
        return;
    }
    let Some(dump) = dump() else { return };
    let shown = |columns, more: &[&str], no_color: &str| {
        let screen = Screen::new(columns);
        let before = screen.lines().len();
        let mut command = dumpwalk("cmdline", &dump);
        command.arg("--offline").args(more).env("NO_COLOR", no_color).stdout(screen.stdio()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        screen.lines().split_off(before)
    };
    let bright = |line: &Line| line.1[0] & FOREGROUND_INTENSITY != 0;
    let (narrow, wider, wide) = (shown(60, &[], ""), shown(90, &[], ""), shown(60, &["--wide"], ""));
    for (lines, columns) in [(&narrow, 60), (&wider, 90)] {
        let longest = lines.iter().max_by_key(|l| l.0.chars().count()).unwrap();
        assert_eq!(longest.0.chars().count(), columns, "{}", longest.0);
        assert!(lines.iter().any(|l| l.0.contains('…')), "letters beyond ASCII reach the screen");
    }
    assert!(wide.iter().any(|l| l.0.chars().count() > 90) && !wide.iter().any(|l| l.0.contains('…')));
    for lines in [&narrow, &shown(60, &[], "1")] {
        assert!(lines[0].0.starts_with("PID") && lines.len() > 10);
        // Nor its rest, where the escape itself is not shown.
        assert!(!lines.iter().any(|l| l.0.contains(['\x1b', '←']) || l.0.starts_with("[1m")), "sequences as text");
    }
    let all_shown = |no_color: &str| {
        let screen = Screen::new(60);
        let before = screen.lines().len();
        let mut command = dumpwalk("cmdline", &dump);
        command.arg("--offline").env("NO_COLOR", no_color).stdout(screen.stdio()).stderr(screen.stdio());
        assert!(command.status().unwrap().success());
        screen.lines().split_off(before)
    };
    let plain = all_shown("1");
    assert!(plain[0].0.starts_with("PID") && !plain.iter().any(bright));
    if Screen::new(60).follows_sequences() {
        let lines = all_shown("");
        assert!(lines[0].0.starts_with("PID") && bright(&lines[0]) && !bright(&lines[1]));
    } else {
        // Windows' consoles follow them since Windows 10. Wine's says that it will, and shows them as text.
        println!("skipped: this console follows no escape sequences");
    }
}

/// The bar stands on the screen while something is fetched, and is gone from it afterwards.
#[cfg(feature = "download")]
#[test]
fn progress_is_shown_and_wiped() {
    if !inside("progress_is_shown_and_wiped") {
        return;
    }
    let Some(dump) = dump() else { return };
    let (dir, server, screen) = (tempfile::tempdir().unwrap(), super::stalled::Server::new(), Screen::new(120));
    let mut command = server.asked_by(dumpwalk("pslist", &dump), dir.path());
    let mut run = command.stdout(Stdio::null()).stderr(screen.stdio()).spawn().unwrap();
    server.wait();
    super::until("a bar", || screen.text().contains("fetching http://127.0.0.1:"));
    // Within the window, however long the address is, and though the line goes on behind it.
    assert!(screen.lines().iter().all(|l| l.0.chars().count() <= 120), "{}", screen.text());
    server.release();
    let code = run.wait().unwrap().code();
    let text = screen.text();
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("fetching") && text.contains("legend: "), "{text}");
}

/// As the key does: to every process of the console, of which this one does not listen.
fn press(_run: &Child) {
    // SAFETY: no pointers are passed. The run was started before, and so does not inherit that Ctrl-C is ignored.
    let pressed = unsafe { [SetConsoleCtrlHandler(None, 1), GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0)] };
    assert_eq!(pressed, [1, 1], "{}", std::io::Error::last_os_error());
}

#[test]
fn ctrl_c_with_rows_half_written() {
    if inside("ctrl_c_with_rows_half_written") {
        interrupted::while_rows_are_written(&press);
    }
}

#[cfg(feature = "download")]
#[test]
fn ctrl_c_with_symbols_half_fetched() {
    if inside("ctrl_c_with_symbols_half_fetched") {
        interrupted::while_symbols_are_fetched(&press);
    }
}
