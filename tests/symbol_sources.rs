//! Where a kernel's symbols come from: one source after another, each held against the dump, whatever is refused named.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod small_pdb;

use dumpwalk::dump::Dump;
use dumpwalk::kernel::{Kernel, find};
use dumpwalk::symbols::cache::Cache;
use dumpwalk::symbols::store::{Options, Store};
use dumpwalk::symbols::{Chosen, PdbId, file};
use small_pdb::SmallPdb;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The kernel of testdata/win10-22h2 and its sisters, and one of another build.
const NAME: &str = "ntkrnlmp.pdb";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
fn dump(name: &str) -> PathBuf {
    root().join("testdata").join(name)
}
fn stored(key: &str) -> PathBuf {
    root().join("symbols").join(NAME).join(key).join(NAME)
}

/// A folder for symbols and one for the cache.
struct Lab {
    dir: tempfile::TempDir,
    dump: PathBuf,
    id: PdbId,
}

impl Lab {
    fn of(sample: &str) -> Self {
        let dump = dump(sample);
        let kernel =
            open(&dump, Options { folders: vec![root().join("symbols")], offline: true, ..Options::default() });
        let id = kernel.symbols.id.clone().unwrap();
        Self { dir: tempfile::tempdir().unwrap(), dump, id }
    }
    fn cache(&self) -> Cache {
        Cache::new(self.dir.path().join("cache"))
    }
    /// A symbol store in which these bytes stand for the kernel's PDB.
    fn store(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let root = self.dir.path().join(name);
        let path = self.file_in(&root);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        root
    }
    fn file_in(&self, store: &Path) -> PathBuf {
        store.join(&self.id.name).join(self.id.key()).join(&self.id.name)
    }
    fn good(&self) -> Vec<u8> {
        std::fs::read(self.file_in(&root().join("symbols"))).unwrap()
    }
    fn open(&self, folders: &[&Path]) -> Kernel {
        open(&self.dump, self.options(folders))
    }
    fn options(&self, folders: &[&Path]) -> Options {
        Options {
            folders: folders.iter().map(|f| f.to_path_buf()).collect(),
            cache: Some(self.cache()),
            offline: true,
            ..Options::default()
        }
    }
}

fn open(dump: &Path, options: Options) -> Kernel {
    find::find(&Arc::new(Dump::open(dump).unwrap()), &Store::new(options)).unwrap()
}

fn notes(kernel: &Kernel) -> String {
    kernel.notes.iter().map(|n| format!("{}: {}\n", if n.loss { "loss" } else { "note" }, n.text)).collect()
}

/// The path stands in a note, with one of these reasons.
fn named(kernel: &Kernel, path: &Path, reason: &str) {
    let path = path.display().to_string();
    let found = kernel.notes.iter().any(|n| n.text.contains(&path) && n.text.contains(reason));
    assert!(found, "{path} and {reason:?} are in none of:\n{}", notes(kernel));
}

/// A PDB whose public symbols end early: its container, identity and types are whole.
fn damaged(good: &[u8]) -> Vec<u8> {
    let whole = file::parse(good, NAME, "x").unwrap();
    let id = whole.id.clone();
    // Where the zeros do that is found by trying: the streams lie where the linker put them.
    (1..good.len() / 0x4000)
        .rev()
        .find_map(|i| {
            let mut bytes = good.to_vec();
            bytes[i * 0x4000..][..0x2000].fill(0);
            let read = file::parse(&bytes, NAME, "x").ok()?;
            let lost = read.notes.iter().any(|n| n.loss);
            (read.id == id && read.types == whole.types && lost && !read.globals.is_empty()).then_some(bytes)
        })
        .expect("some page of the symbols")
}

#[test]
fn what_cannot_be_used_is_named_and_the_next_source_is_asked() {
    let lab = Lab::of("win10-22h2/full.dmp");
    let good = lab.good();
    let other = std::fs::read(stored("32C1A669D5FFEFD41091F636CFDB6E991")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gz, &vec![b' '; 8 << 20]).unwrap();
    let bomb = gz.finish().unwrap();
    let typeless = SmallPdb { guid: lab.id.guid.clone().leak(), age: lab.id.age, ..SmallPdb::default() }.bytes();
    let html = b"<!DOCTYPE html><html>403</html>".to_vec();
    for (name, bytes, reason) in [
        ("half", good[..good.len() / 2].to_vec(), ""),
        ("three-quarters", good[..good.len() / 4 * 3].to_vec(), ""),
        ("empty", Vec::new(), "it is empty"),
        ("html", html, "<!DOCTYPE html>"),
        ("zeros", vec![0; good.len()], "it begins with 00 00"),
        ("of another kernel", other, "is of 32C1A669D5FFEFD41091F636CFDB6E991, not of"),
        ("packed blanks", bomb, "no Volatility symbol file"),
        ("without types", typeless, "no type _EPROCESS"),
    ] {
        let store = lab.store(name, &bytes);
        let kernel = lab.open(&[&store]);
        named(&kernel, &lab.file_in(&store), reason);
        assert!(kernel.symbols.origin.starts_with("built-in"), "{name}: {}", kernel.symbols.origin);
        assert_eq!(lab.cache().tables(), [] as [PathBuf; 0], "{name}");
        // The next folder has it.
        let kernel = lab.open(&[&store, &root().join("symbols")]);
        named(&kernel, &lab.file_in(&store), reason);
        assert_eq!(kernel.symbols.origin, lab.file_in(&root().join("symbols")).display().to_string(), "{name}");
        std::fs::remove_dir_all(lab.dir.path().join("cache")).unwrap();
    }
    let gone = lab.dir.path().join("no such");
    named(&lab.open(&[&gone]), &gone, "no such folder");
}

#[test]
fn files_of_a_flat_folder_are_named_too() {
    let lab = Lab::of("win10-22h2/full.dmp");
    let folder = lab.dir.path().join("flat");
    std::fs::create_dir(&folder).unwrap();
    let isf = folder.join(format!("{}-{}.json", lab.id.guid, lab.id.age));
    let (pdb, also) = (folder.join(NAME), folder.join("ntkrnlmp (1).pdb"));
    for (path, bytes) in [(&isf, &b"{"[..]), (&pdb, b""), (&also, b"<html>"), (&folder.join("notes.txt"), b"nothing")] {
        std::fs::write(path, bytes).unwrap();
    }
    let kernel = lab.open(&[&folder]);
    named(&kernel, &isf, "no Volatility symbol file");
    named(&kernel, &pdb, "it is empty");
    named(&kernel, &also, "<html>");
    assert!(!notes(&kernel).contains("notes.txt"), "{}", notes(&kernel));
    // One good file among them serves.
    std::fs::write(folder.join("z.pdb"), lab.good()).unwrap();
    assert_eq!(lab.open(&[&folder]).symbols.origin, folder.join("z.pdb").display().to_string());
}

#[test]
fn damaged_symbols_never_reach_the_cache_and_whole_ones_win() {
    let lab = Lab::of("win10-22h2/full.dmp");
    let bad = lab.store("bad", &damaged(&lab.good()));
    let good = lab.store("good", &lab.good());
    let first = lab.open(&[&bad]);
    assert!(first.symbols.origin.contains("bad"), "nothing better is there: {}", notes(&first));
    assert!(first.notes.iter().any(|n| n.loss), "{}", notes(&first));
    assert_eq!(lab.cache().tables(), [] as [PathBuf; 0]);

    let second = lab.open(&[&good]);
    assert!(second.symbols.origin.contains("good") && !second.notes.iter().any(|n| n.loss), "{}", notes(&second));
    // It is in the cache now, and serves without any folder.
    assert_eq!(lab.open(&[]).symbols, second.symbols);
    // The cache's whole ones are better than damaged ones that are given.
    let third = lab.open(&[&bad]);
    assert_eq!(third.symbols, second.symbols);
    named(&third, &lab.file_in(&bad), "");
    // And so are those of the next folder.
    let fresh = Options { cache: None, ..lab.options(&[&bad, &good]) };
    let fourth = open(&lab.dump, fresh);
    assert!(fourth.symbols.origin.contains("good"), "{}", fourth.symbols.origin);
    named(&fourth, &lab.file_in(&bad), "");
}

#[test]
fn given_symbols_win_over_the_cache() {
    let lab = Lab::of("win10-22h2/full.dmp");
    let (one, two) = (lab.store("one", &lab.good()), lab.store("two", &lab.good()));
    for (folder, again) in [(&one, false), (&two, false), (&one, false), (&one, true)] {
        let kernel = lab.open(&[folder]);
        assert_eq!(kernel.symbols.origin, lab.file_in(folder).display().to_string(), "{again}");
        assert!(!notes(&kernel).contains("not used"), "{}", notes(&kernel));
    }
}

#[test]
fn a_damaged_cache_is_named_and_made_anew() {
    let lab = Lab::of("win10-22h2/full.dmp");
    let good = lab.store("good", &lab.good());
    lab.open(&[&good]);
    let table = lab.cache().path(&lab.id);
    let mut bytes = std::fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, &bytes).unwrap();
    let kernel = lab.open(&[]);
    named(&kernel, &table, "checksum");
    assert!(kernel.symbols.origin.starts_with("built-in"));
    // The folder has it: the cache is right again.
    assert!(lab.open(&[&good]).symbols.origin.contains("good"));
    let kernel = lab.open(&[]);
    assert!(kernel.symbols.origin.contains("good"), "{}", notes(&kernel));
    assert!(!notes(&kernel).contains("checksum"));
}

#[test]
fn a_triage_dump_finds_its_own_among_all_kernels() {
    for sample in ["win10-2004/triage.dmp", "win11-21h2/triage.dmp", "win10-1507-x86/triage.dmp"] {
        let path = dump(sample);
        let kernel =
            open(&path, Options { folders: vec![root().join("symbols")], offline: true, ..Options::default() });
        let truth = std::fs::read_to_string(path.with_file_name("truth.json")).unwrap();
        let truth: serde_json::Value = serde_json::from_str(&truth).unwrap();
        let id = kernel.symbols.id.clone().unwrap();
        assert_eq!(truth["pdb"].as_str().unwrap(), id.key(), "{sample}");
        let told = kernel
            .road
            .checks
            .iter()
            .any(|c| c.starts_with("exact: ") && c.contains("debugger-block pointers are symbols of"));
        assert!(told, "{sample}: {:?}", kernel.road.checks);
        assert_eq!(kernel.verify().failed, [""; 0], "{sample}");
    }
}

#[test]
fn a_triage_dump_takes_no_other_kernels_symbols() {
    let lab = Lab::of("win10-2004/triage.dmp");
    // All but its own.
    let others = lab.dir.path().join("others");
    std::fs::create_dir(&others).unwrap();
    for entry in std::fs::read_dir(root().join("symbols").join(NAME)).unwrap().map(|e| e.unwrap().path()) {
        if !entry.ends_with(lab.id.key()) {
            let key = entry.file_name().unwrap().to_string_lossy().into_owned();
            std::fs::copy(entry.join(NAME), others.join(format!("{key}.pdb"))).unwrap();
        }
    }
    let kernel = lab.open(&[&others]);
    assert!(kernel.symbols.origin.starts_with("built-in"), "{}", kernel.symbols.origin);
    // Its own under another identity beside its own: both fit alike, so neither is taken.
    let mut twin = lab.good();
    let guid = |text: &str| -> Vec<u8> {
        let n = |r: std::ops::Range<usize>| u32::from_str_radix(&text[r], 16).unwrap();
        let mut out = n(0..8).to_le_bytes().to_vec();
        out.extend((n(8..12) as u16).to_le_bytes());
        out.extend((n(12..16) as u16).to_le_bytes());
        out.extend((16..32).step_by(2).map(|i| n(i..i + 2) as u8));
        out
    };
    let own = guid(&lab.id.guid);
    let at = twin.windows(16).position(|w| w == own).unwrap();
    twin[at..at + 16].copy_from_slice(&guid(small_pdb::GUID));
    std::fs::write(others.join("twin.pdb"), twin).unwrap();
    assert_eq!(lab.open(&[&others]).symbols.id.unwrap().guid, small_pdb::GUID);
    std::fs::write(others.join("own.pdb"), lab.good()).unwrap();
    std::fs::remove_dir_all(lab.dir.path().join("cache")).unwrap();
    let kernel = lab.open(&[&others]);
    named(&kernel, &others.join("twin.pdb"), "alike");
    assert!(kernel.symbols.origin.starts_with("built-in"), "{}", kernel.symbols.origin);
    // The user knows better.
    let chosen = Options { chosen: Some(Chosen::File(others.join("own.pdb"))), ..lab.options(&[&others]) };
    assert_eq!(open(&lab.dump, chosen).symbols.id, Some(lab.id.clone()));
}

/// A full dump whose debug record is overwritten, in all its copies.
fn without_record(lab: &Lab) -> PathBuf {
    let mut bytes = std::fs::read(&lab.dump).unwrap();
    let mut wiped = 0;
    for at in 0..bytes.len() - 4 {
        if &bytes[at..at + 4] == b"RSDS" {
            bytes[at..at + 24].fill(0);
            wiped += 1;
        }
    }
    assert!(wiped > 0);
    let path = lab.dir.path().join("full.dmp");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_full_dump_without_the_record_finds_its_own() {
    let lab = Lab::of("win10-22h2/full.dmp");
    let path = without_record(&lab);
    let kernel = open(&path, lab.options(&[&root().join("symbols")]));
    assert_eq!(kernel.symbols.id, Some(lab.id.clone()), "{}", notes(&kernel));
    assert!(kernel.road.checks.iter().any(|c| c.starts_with("exact: ")), "{:?}", kernel.road.checks);
}

#[test]
fn the_user_may_know_better() {
    let lab = Lab::of("win10-22h2/full.dmp");
    let with =
        |chosen: Chosen, folders: &[&Path]| open(&lab.dump, Options { chosen: Some(chosen), ..lab.options(folders) });
    let symbols = root().join("symbols");
    // Its own, by file and by GUID.
    let own = with(Chosen::File(lab.file_in(&symbols)), &[]);
    assert_eq!(own.symbols.id, Some(lab.id.clone()));
    assert!(!own.notes.iter().any(|n| n.loss), "{}", notes(&own));
    let by_id = |id: &PdbId| Chosen::Id { guid: id.guid.clone(), age: id.age };
    assert_eq!(with(by_id(&lab.id), &[&symbols]).symbols.id, Some(lab.id.clone()));
    // The same layouts under another identity: used, with a loss that says so.
    let mut twin = file::read(&lab.file_in(&symbols)).unwrap();
    twin.id = Some(PdbId { guid: small_pdb::GUID.into(), ..lab.id.clone() });
    let table = lab.dir.path().join("twin.txt");
    std::fs::write(&table, dumpwalk::symbols::table::write(&twin)).unwrap();
    let kernel = with(Chosen::File(table), &[]);
    assert_eq!(kernel.symbols.id.as_ref().unwrap().guid, small_pdb::GUID);
    assert!(kernel.notes.iter().any(|n| n.loss && n.text.contains(&lab.id.key())), "{}", notes(&kernel));
    // Another kernel's: named, not used.
    let other = stored("339E74133576439CBCDF7E0229DA37731");
    let kernel = with(Chosen::File(other.clone()), &[&symbols]);
    named(&kernel, &other, "");
    assert_eq!(kernel.symbols.id, Some(lab.id.clone()));
    assert!(!kernel.notes.iter().any(|n| n.loss), "{}", notes(&kernel));
    // Found nowhere: said, and the dump's own are used.
    let kernel = with(Chosen::Id { guid: small_pdb::GUID.into(), age: 1 }, &[&symbols]);
    assert_eq!(kernel.symbols.id, Some(lab.id.clone()));
    assert!(notes(&kernel).contains(&format!("{}1 (--pdb)", small_pdb::GUID)), "{}", notes(&kernel));
}
