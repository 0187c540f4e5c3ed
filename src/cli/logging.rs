//! Developer diagnostics behind `-v`, on standard error.

use crate::report::guard;
use log::{LevelFilter, Log, Metadata, Record};
use std::io::Write;
use std::time::Instant;

struct Stderr {
    start: Instant,
    /// Other crates' messages too.
    all: bool,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.all || metadata.target().starts_with("dumpwalk")
    }
    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let seconds = self.start.elapsed().as_secs_f64();
            let text = record.args().to_string();
            let level = record.level().as_str().to_ascii_lowercase();
            let _ = writeln!(std::io::stderr(), "{seconds:8.3} {level}: {}", guard::visible(&text));
        }
    }
    fn flush(&self) {}
}

/// Turns the log on.
pub(super) fn start(verbosity: u8) {
    let level = match verbosity {
        0 => return,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    if log::set_boxed_logger(Box::new(Stderr { start: Instant::now(), all: verbosity > 2 })).is_ok() {
        log::set_max_level(level);
    }
}
