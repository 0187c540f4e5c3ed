//! Progress on a terminal: on standard error, after 300 ms, gone before the first row is shown.

use crate::progress::{Progress, Unit};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nothing is drawn before.
const DELAY: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(100);

/// Draws a [`Progress`] from a thread of its own until it is hidden or dropped.
pub(super) struct Bar {
    curtain: Arc<Curtain>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Curtain {
    closed: AtomicBool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Curtain {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Bar {
    /// Starts to look at `progress`, if standard error is a terminal.
    pub(super) fn start(progress: &Progress) -> Self {
        let curtain = Arc::new(Curtain::default());
        let thread = io::stderr().is_terminal().then(|| {
            let (curtain, progress) = (Arc::clone(&curtain), progress.clone());
            std::thread::spawn(move || watch(&progress, &curtain))
        });
        Self { curtain, thread }
    }
    /// A writer that hides the bar before its first byte: rows and bar would share the terminal.
    pub(super) fn hidden_by<'w>(&self, out: Box<dyn Write + Send + 'w>) -> Box<dyn Write + Send + 'w> {
        Box::new(Hiding { out, curtain: Some(Arc::clone(&self.curtain)) })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.curtain.close();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn watch(progress: &Progress, curtain: &Curtain) {
    std::thread::park_timeout(DELAY);
    // Number and total of the task drawn: a download learns its total after its first bytes.
    let mut drawn = (0, 0);
    while !curtain.closed.load(Ordering::Acquire) {
        let task = progress.look();
        let mut place = curtain.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if curtain.closed.load(Ordering::Acquire) {
            return;
        }
        match (task, place.as_ref()) {
            (Some(task), bar) => {
                let bar = match bar {
                    Some(bar) if drawn == (task.number, task.total) => bar,
                    _ => {
                        if let Some(old) = place.take() {
                            old.finish_and_clear();
                        }
                        drawn = (task.number, task.total);
                        place.insert(bar_of(task.total, task.unit))
                    }
                };
                bar.set_message(fitting(task.what, columns()));
                bar.set_position(task.done);
                bar.tick();
            }
            (None, Some(_)) => {
                if let Some(old) = place.take() {
                    old.finish_and_clear();
                }
            }
            (None, None) => {}
        }
        drop(place);
        std::thread::park_timeout(TICK);
    }
}

/// What the widest numbers take: `976.56 KiB/1023.99 MiB 915.69 MiB/s  59s`, and a bar of a few columns.
const NUMBERS: usize = 52;

/// The width of the terminal that bars stand on.
fn columns() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(80, |(width, _)| width.0.into())
}

/// A message short enough that the bar takes one line.
///
/// A longer one wraps, and on a Windows console whose lines are longer than its window, where it does not, `console` 0.16
/// goes a line up from the first and panics.
fn fitting(mut what: String, columns: usize) -> String {
    let room = columns.saturating_sub(NUMBERS);
    if let Some((at, _)) = what.char_indices().nth(room) {
        what.truncate(at);
        what.pop();
        what.push('…');
    }
    what
}

fn bar_of(total: u64, unit: Unit) -> ProgressBar {
    let template = match (total, unit) {
        // No room for numbers: what is done, cut.
        _ if columns() < NUMBERS + 8 => "{wide_msg}",
        (0, Unit::Count) => "{spinner} {msg} {pos:>7}",
        (0, Unit::Bytes) => "{spinner} {msg} {bytes}",
        (_, Unit::Count) => "{msg} {wide_bar} {pos}/{len} {eta:>4}",
        (_, Unit::Bytes) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta:>4}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target((total > 0).then_some(total), ProgressDrawTarget::stderr());
    bar.with_style(style)
}

/// See [`Bar::hidden_by`].
struct Hiding<'w> {
    out: Box<dyn Write + Send + 'w>,
    curtain: Option<Arc<Curtain>>,
}

impl Write for Hiding<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(curtain) = self.curtain.take() {
            curtain.close();
        }
        self.out.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Wipes a bar that may stand on the current line.
pub(super) fn clear_line() {
    if io::stderr().is_terminal() {
        let _ = write!(anstream::stderr(), "\r\x1b[2K\x1b[?25h");
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn messages_leave_room_for_the_numbers() {
        let what = || "fetching https://a/ö".to_owned();
        assert_eq!(fitting(what(), 72), what());
        assert_eq!(fitting(what(), 71), "fetching https://a…");
        assert_eq!(fitting(what(), 53), "…");
        assert_eq!(fitting(what(), 20), "…");
    }
}
