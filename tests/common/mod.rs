//! What the integration tests share: the samples, and running an analysis into memory.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use dumpwalk::analysis::{Analysis, Ask, Case, OpenOptions};
use dumpwalk::error::Result;
use dumpwalk::report::{Finished, Format, Provenance, Report, Row, Sink, Style};
use dumpwalk::symbols::{Fallback, PdbId, SymbolSource, Symbols};
use dumpwalk::value::Note;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A dump among the samples.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Folder and file name without extension, `win10-22h2/full`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The symbol store beside the samples.
    pub symbols: PathBuf,
}

/// All samples: `testdata/*/*.{dmp,raw,dd,mdmp}`, or those of the folder named by `DUMPWALK_SAMPLES` (with its
/// `symbols`, or those of `DUMPWALK_SYMBOLS`).
pub fn samples() -> Vec<Sample> {
    let (dir, symbols) = match std::env::var_os("DUMPWALK_SAMPLES") {
        Some(dir) => {
            let symbols = std::env::var_os("DUMPWALK_SYMBOLS").map(PathBuf::from);
            (PathBuf::from(&dir), symbols.unwrap_or_else(|| PathBuf::from(&dir).join("symbols")))
        }
        None => (root().join("testdata"), root().join("symbols")),
    };
    let mut out = Vec::new();
    for folder in entries(&dir).into_iter().filter(|p| p.is_dir()) {
        for path in entries(&folder) {
            let known = path.extension().is_some_and(|e| ["dmp", "raw", "dd", "mdmp"].iter().any(|k| e == *k));
            if known && path.is_file() {
                let part = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
                let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
                out.push(Sample { name: format!("{}/{stem}", part(&folder)), path, symbols: symbols.clone() });
            }
        }
    }
    out
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = match std::fs::read_dir(dir) {
        Ok(found) => found.map(|e| e.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    out.sort();
    out
}

/// Opens a sample with its own symbols only: no network, no cache of the user, no environment.
pub fn open(path: &Path, symbols: &Path) -> Result<Case> {
    Case::open(
        path,
        &OpenOptions { symbols: vec![symbols.into()], offline: true, isolated: true, ..OpenOptions::default() },
    )
}

/// An output that can be looked at afterwards.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<Vec<u8>>>);
impl Shared {
    /// What was written.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an analysis wrote in one format.
pub struct Written {
    /// The format.
    pub format: Format,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What it left besides.
    pub finished: Finished,
}

/// Hands each row to several reports.
struct Tee<'w>(Vec<Report<'w>>);
impl Sink for Tee<'_> {
    fn row(&mut self, row: Row) -> Result<()> {
        self.0.iter_mut().try_for_each(|r| r.row(row.clone()))
    }
    fn note(&mut self, note: Note) {
        self.0.iter_mut().for_each(|r| r.note(note.clone()));
    }
    fn section(&mut self, title: &'static str, columns: &'static [dumpwalk::report::Column]) -> Result<()> {
        self.0.iter_mut().try_for_each(|r| r.section(title, columns))
    }
}

/// Runs an analysis once and writes it in all these formats.
pub fn write(case: &Case, analysis: &Analysis, ask: &Ask, formats: &[Format]) -> Result<Vec<Written>> {
    let provenance = if ask.rows.places { Provenance::Fields } else { Provenance::None };
    let outs: Vec<Shared> = formats.iter().map(|_| Shared::default()).collect();
    let reports = formats
        .iter()
        .zip(&outs)
        .map(|(format, out)| {
            let style = Style { format: *format, provenance, ..Style::default() };
            Report::new(Box::new(out.clone()), analysis.columns, style)
        })
        .collect();
    let mut tee = Tee(reports);
    case.all_notes().for_each(|note| tee.note(note.clone()));
    analysis.run(case, ask, &mut tee)?;
    tee.0
        .into_iter()
        .zip(&outs)
        .zip(formats)
        .map(|((report, out), format)| {
            let finished = report.finish()?;
            Ok(Written { format: *format, bytes: out.take(), finished })
        })
        .collect()
}

/// xorshift64*: the same numbers on every machine. The seed is not zero.
pub struct Random(pub u64);
impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % end.max(1)
    }
    pub fn below64(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// FNV-1a, 64 bits: tells a change, needs no crate.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

/// Symbols that are exactly these, whoever asks.
pub struct Exactly(pub Symbols);
impl SymbolSource for Exactly {
    fn load(&self, _: &PdbId) -> Result<Symbols> {
        Ok(self.0.clone())
    }
    fn fallbacks(&self, _: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(std::iter::once(self.0.clone()))
    }
}
