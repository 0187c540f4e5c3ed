//! A whole forged machine with some words of its objects bent, and one analysis of it.

use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::dump::Dump;
use dumpwalk::error::Result;
use dumpwalk::kernel::find;
use dumpwalk::report::{Row, Sink, Wanted};
use dumpwalk::symbols::store::{Options, Store};
use dumpwalk::symbols::{Fallback, PdbId, SymbolSource, Symbols};
use dumpwalk::value::Note;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// Samples to bend: every family of layouts, 32 and 64 bits, several containers.
const SAMPLES: [&str; 10] = [
    "win10-22h2-attack/full.dmp",
    "win10-2004/rdmp8.dmp",
    "win11-24h2/bitmap.dmp",
    "win7-sp1/summary.dmp",
    "win8.1/full.dmp",
    "win7-sp1-x86/full.dmp",
    "winxp-sp3-x86/full.dmp",
    "win10-2004/triage.dmp",
    "win11-21h2/triage.dmp",
    "win10-1507-x86/triage.dmp",
];

/// A sample's bytes, and where in it objects stand.
struct Sample {
    bytes: Vec<u8>,
    places: Vec<usize>,
    symbols: Cached,
}

/// The symbols of the samples, read once.
#[derive(Default)]
struct Cached(Mutex<Option<(PdbId, Symbols)>>);

impl SymbolSource for Cached {
    fn load(&self, id: &PdbId) -> Result<Symbols> {
        let mut held = self.0.lock().expect("no panic goes by");
        if let Some((of, symbols)) = &*held
            && of == id
        {
            return Ok(symbols.clone());
        }
        let symbols = store().load(id)?;
        *held = Some((id.clone(), symbols.clone()));
        Ok(symbols)
    }
    fn fallbacks(&self, wanted: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(tables(wanted).iter().cloned())
    }
}

/// The nearest built-in tables, read once for each build: reading them takes longer than all that is done with them.
fn tables(wanted: &Fallback) -> &'static [Symbols] {
    const NEAREST: usize = 4;
    static HELD: Mutex<BTreeMap<String, &[Symbols]>> = Mutex::new(BTreeMap::new());
    let mut held = HELD.lock().expect("no panic goes by");
    // A build that was made up is asked for once; what is held stays small.
    if held.len() > 64 {
        return &[];
    }
    let read = || &*store().fallbacks(wanted).take(NEAREST).collect::<Vec<_>>().leak();
    held.entry(format!("{wanted:?}")).or_insert_with(read)
}

/// The repository: this package's parent, or the package of the test that has these files too.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    if own.join("testdata").is_dir() { own.into() } else { own.join("..") }
}

fn store() -> Store {
    let mut options = Options::of_user(vec![root().join("symbols")], true);
    (options.symbol_path, options.cache) = (None, None);
    Store::new(options)
}

/// Rows are counted, and where they stand is kept.
#[derive(Default)]
struct Counting {
    rows: usize,
    places: BTreeSet<u64>,
}

impl Sink for Counting {
    fn row(&mut self, row: Row) -> Result<()> {
        self.rows += 1;
        assert!(self.rows < 5_000_000, "more rows than a sample can have");
        if self.places.len() < 20_000 {
            self.places.extend(row.place.and_then(|p| p.file?.dump_offset()));
            self.places.extend(row.fields.iter().filter_map(|(_, p)| p.file?.dump_offset()));
        }
        Ok(())
    }
    fn note(&mut self, note: Note) {
        assert!(!note.text.is_empty());
    }
}

fn case(bytes: &[u8], symbols: &Cached) -> Option<Case> {
    let dump = Arc::new(Dump::from_bytes(Path::new("fuzz.dmp"), bytes).ok()?);
    let kernel = find::find(&dump, symbols);
    Some(Case { dump, kernel, notes: Vec::new() })
}

fn sample(index: usize) -> &'static Sample {
    static HELD: [OnceLock<Sample>; SAMPLES.len()] = [const { OnceLock::new() }; SAMPLES.len()];
    HELD[index].get_or_init(|| {
        let bytes = std::fs::read(root().join("testdata").join(SAMPLES[index])).expect("the sample");
        let symbols = Cached::default();
        let mut sink = Counting::default();
        let case = case(&bytes, &symbols).expect("the sample opens");
        for analysis in ALL.iter() {
            let _ = analysis.run(&case, &Ask { rows: Wanted::with_places(), ..Ask::default() }, &mut sink);
        }
        let places = sink.places.into_iter().map(|p| p as usize).chain([0, 0x1000, 0x2000]).collect();
        Sample { bytes, places, symbols }
    })
}

/// One byte chooses the sample, one the analysis; each twelve that follow bend a word: two bytes the object, one the word in
/// it, one how, eight what.
pub fn machine(bytes: &[u8]) {
    let [which, analysis, edits @ ..] = bytes else { return };
    let sample = sample(usize::from(*which) % SAMPLES.len());
    let mut file = sample.bytes.clone();
    for edit in edits.as_chunks::<12>().0.iter().take(64) {
        let place = sample.places[usize::from(u16::from_le_bytes([edit[0], edit[1]])) % sample.places.len()];
        let at = (place + 4 * usize::from(edit[2])) & !3;
        let value: [u8; 8] = edit[4..].try_into().expect("eight bytes");
        let Some(old) = file.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))) else {
            continue;
        };
        let n = u64::from_le_bytes(value);
        let new = match edit[3] % 8 {
            0 => n,
            1 => old ^ 1 << (n % 64),
            2 => old.wrapping_add(n as u8 as i8 as u64),
            3 => old & !0xffff_ffff | n & 0xffff_ffff,
            4 => old | 0xffff_ffff,
            5 => old & !0xfff,
            // Another object's word: what makes cycles.
            6 => sample
                .bytes
                .get(sample.places[n as usize % sample.places.len()]..)
                .map_or(0, |b| b.get(..8).map_or(0, |w| u64::from_le_bytes(w.try_into().expect("eight bytes")))),
            _ => 0,
        };
        file[at..at + 8].copy_from_slice(&new.to_le_bytes());
    }
    let Some(case) = case(&file, &sample.symbols) else { return };
    let analysis = ALL[usize::from(*analysis) % ALL.len()];
    let switches = analysis.switches.iter().filter(|s| s.value.is_none()).map(|s| (s.name, String::new())).collect();
    let ask = Ask { rows: Wanted::with_places(), switches, ..Ask::default() };
    if let Err(error) = analysis.run(&case, &ask, &mut Counting::default()) {
        assert!(!error.to_string().is_empty());
    }
}
