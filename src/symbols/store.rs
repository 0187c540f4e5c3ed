//! Where symbols come from, in order: the cache, the folders of `--symbols`, `_NT_SYMBOL_PATH`, a symbol server,
//! the built-in tables. What is found is checked (GUID and age) and cached; when nothing is, the error lists every
//! place that was tried and what to do next.

use super::cache::Cache;
use super::ntpath::{self, Place};
use super::{Fallback, PdbId, SymbolSource, Symbols, builtin, folder};
use crate::error::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Microsoft's public symbol server.
pub const MICROSOFT: &str = "https://msdl.microsoft.com/download/symbols";

/// Told of a download while it runs. Called from the downloading thread, often.
pub trait Progress: Send + Sync {
    /// A file is asked for.
    fn begin(&self, url: &str);
    /// So many bytes have come, of so many where the server says it.
    fn at(&self, done: u64, total: Option<u64>);
    /// It is over, well or not.
    fn end(&self);
}

impl Progress for crate::progress::Progress {
    fn begin(&self, url: &str) {
        Self::begin(self, format!("fetching {url}"), 0, crate::progress::Unit::Bytes);
    }
    fn at(&self, done: u64, total: Option<u64>) {
        self.set(done, total);
    }
    fn end(&self) {
        Self::end(self);
    }
}

/// What a download may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest answer, unpacked.
    pub bytes: u64,
    /// How long a server may say nothing.
    pub silence: Duration,
    /// How long it may take in all.
    pub whole: Duration,
    /// How often it is tried when the connection or the server fails.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: super::pdb::LARGEST,
            silence: Duration::from_secs(30),
            whole: Duration::from_secs(3600),
            attempts: 3,
        }
    }
}

/// How to look for symbols.
#[derive(Clone, Default)]
pub struct Options {
    /// Folders or files named by the user, first looked at (`--symbols`).
    pub folders: Vec<PathBuf>,
    /// The value of `_NT_SYMBOL_PATH`.
    pub symbol_path: Option<String>,
    /// The user's cache; `None` works without.
    pub cache: Option<Cache>,
    /// Never to touch the network.
    pub offline: bool,
    /// Told of downloads.
    pub progress: Option<Arc<dyn Progress>>,
    /// What a download may take.
    pub limits: Limits,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("folders", &self.folders)
            .field("symbol_path", &self.symbol_path)
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// As the user's environment says: `_NT_SYMBOL_PATH` and the user's cache.
    #[must_use]
    pub fn of_user(folders: Vec<PathBuf>, offline: bool) -> Self {
        Self {
            folders,
            symbol_path: std::env::var("_NT_SYMBOL_PATH").ok(),
            cache: Cache::of_user(),
            offline,
            ..Self::default()
        }
    }
}

/// The symbol sources of one run.
#[derive(Clone, Debug)]
pub struct Store {
    options: Options,
    places: Vec<Place>,
}

impl Store {
    /// A store with these sources.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut places: Vec<Place> = options.folders.iter().cloned().map(Place::Folder).collect();
        let path = options.symbol_path.as_deref().unwrap_or_default();
        let named = ntpath::parse(path);
        // Who sets a symbol path has decided which servers are asked.
        let own = named.is_empty();
        places.extend(named);
        if let Some(cache) = &options.cache {
            places.insert(options.folders.len(), Place::Folder(cache.pdbs()));
        }
        if own {
            places.push(Place::Server { url: MICROSOFT.into(), keep: None });
        }
        Self { options, places }
    }
    /// How this store looks.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }
    /// The places it looks at, in order, after the cache.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The symbols of a PDB from anywhere but the cache and the built-in tables.
    fn search(&self, id: &PdbId, tried: &mut Vec<String>) -> Option<Symbols> {
        for place in &self.places {
            match place {
                Place::Folder(path) => match folder::find(path, id) {
                    Ok(symbols) => return Some(symbols),
                    Err(seen) => tried.extend(seen),
                },
                Place::Server { url, .. } if self.options.offline => tried.push(format!("{url}: not asked (offline)")),
                Place::Server { url, keep } => match self.download(url, keep.as_ref(), id) {
                    Ok(symbols) => return Some(symbols),
                    Err(why) => tried.push(format!("{url}: {why}")),
                },
            }
        }
        None
    }

    #[cfg(feature = "download")]
    fn download(&self, url: &str, keep: Option<&PathBuf>, id: &PdbId) -> std::result::Result<Symbols, String> {
        let own = self.options.cache.as_ref().map(Cache::pdbs);
        let temporary = std::env::temp_dir().join(super::cache::unique_name("dumpwalk-symbols-"));
        let into = keep.or(own.as_ref()).unwrap_or(&temporary);
        let fetched = super::download::fetch(url, id, into, &self.options.limits, self.options.progress.clone());
        let symbols = fetched.and_then(|path| {
            let mut symbols = super::file::read(&path).map_err(|e| e.to_string())?;
            symbols.origin = format!("{} from {url}", path.display());
            Ok(symbols)
        });
        let _ = std::fs::remove_dir_all(&temporary);
        symbols
    }
    #[cfg(not(feature = "download"))]
    #[allow(clippy::unused_self, reason = "as the one that downloads")]
    fn download(&self, _: &str, _: Option<&PathBuf>, _: &PdbId) -> std::result::Result<Symbols, String> {
        Err("not asked (this build of dumpwalk has no HTTP client)".into())
    }
}

impl SymbolSource for Store {
    fn load(&self, id: &PdbId) -> Result<Symbols> {
        let id = checked(id)?;
        let mut tried = Vec::new();
        if let Some(cache) = &self.options.cache {
            match cache.load(&id) {
                Ok(Some(symbols)) => return Ok(symbols),
                Ok(None) => tried.push(format!("cache {}: not there", cache.root().display())),
                Err(why) => tried.push(format!("cache: {why}")),
            }
        }
        if let Some(symbols) = self.search(&id, &mut tried) {
            if let Some(cache) = &self.options.cache
                && let Err(e) = cache.store(&symbols)
            {
                log::warn!("the symbol cache {} cannot be written: {e}", cache.root().display());
            }
            return Ok(symbols);
        }
        if let Some(symbols) = builtin::exact(&id) {
            return Ok(symbols);
        }
        tried.push("built-in tables: none of exactly this kernel".into());
        Err(Error::NoSymbols(nothing_found(&id, &tried)))
    }
    fn fallbacks(&self, wanted: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(builtin::nearest(wanted))
    }
}

/// An identity as it came from a dump, made safe: its name and GUID become file names and parts of addresses.
///
/// # Errors
/// What is wrong with it.
pub fn checked(id: &PdbId) -> Result<PdbId> {
    let bad =
        |what: &str| Error::NoSymbols(format!("the dump names its kernel's PDB as {:?} {}: {what}", id.name, id.guid));
    // The debug record may hold the path on the machine that built it.
    let name = id.name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(bad("that is no file name"));
    }
    if id.guid.len() != 32 || !id.guid.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad("that is no GUID"));
    }
    Ok(PdbId { name: name.into(), guid: id.guid.to_ascii_uppercase(), age: id.age })
}

/// The address of a PDB on a symbol server.
#[must_use]
pub fn address(server: &str, id: &PdbId) -> String {
    let server = server.trim_end_matches('/');
    format!("{server}/{0}/{1}{2:x}/{0}", id.name, id.guid, id.age)
}

fn nothing_found(id: &PdbId, tried: &[String]) -> String {
    let mut text = format!("none for {} {}; tried:", id.name, id.key());
    for line in tried {
        text.push_str("\n  ");
        text.push_str(line);
    }
    let url = address(MICROSOFT, id);
    let (name, key) = (&id.name, id.key());
    text.push_str(&format!(
        "\nOn a machine with a network, run `dumpwalk symbols fetch {key} --pdb {name} -o DIR` (or download {url}),\n\
         copy DIR here, and say `--symbols DIR`; `dumpwalk symbols import FILE` keeps it for later."
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PdbId {
        PdbId { name: "ntkrnlmp.pdb".into(), guid: "0123456789ABCDEF0123456789ABCDEF".into(), age: 1 }
    }

    #[test]
    fn names_from_a_dump_are_made_safe() {
        let with = |name: &str| checked(&PdbId { name: name.into(), ..id() });
        assert_eq!(with(r"d:\build\nt\ntkrnlmp.pdb").unwrap(), id());
        for name in ["", "..", "../x/..", "a b.pdb", "x?y=1", ".hidden", "a\u{202e}.pdb", &"x".repeat(200)] {
            assert!(with(name).is_err(), "{name}");
        }
        assert!(checked(&PdbId { guid: "..".into(), ..id() }).is_err());
        assert!(checked(&PdbId { guid: "/".repeat(32), ..id() }).is_err());
        let small = PdbId { guid: id().guid.to_ascii_lowercase(), ..id() };
        assert_eq!(checked(&small).unwrap(), id());
    }
    #[test]
    fn the_error_lists_every_place_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Options {
            folders: vec![dir.path().join("absent")],
            symbol_path: Some(format!("srv*{}*https://symbols.invalid/x", dir.path().display())),
            cache: Some(Cache::new(dir.path().join("cache"))),
            offline: true,
            ..Options::default()
        });
        let text = store.load(&id()).unwrap_err().to_string();
        for part in [
            "absent: no such folder",
            "cache: not there",
            "https://symbols.invalid/x: not asked (offline)",
            "built-in",
            "symbols fetch 0123456789ABCDEF0123456789ABCDEF1 --pdb ntkrnlmp.pdb",
            "https://msdl.microsoft.com/download/symbols/ntkrnlmp.pdb/0123456789ABCDEF0123456789ABCDEF1/ntkrnlmp.pdb",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    #[test]
    fn what_was_found_is_cached() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k.txt");
        std::fs::write(&file, format!("# kernel - - x64 pdb ntkrnlmp.pdb {}+1\nsymbol A 0x7\n", id().guid)).unwrap();
        let cache = Some(Cache::new(dir.path().join("cache")));
        let store =
            |folders| Store::new(Options { folders, cache: cache.clone(), offline: true, ..Options::default() });
        let first = store(vec![dir.path().into()]).load(&id()).unwrap();
        std::fs::remove_file(file).unwrap();
        assert_eq!(store(vec![]).load(&id()).unwrap(), first);
        assert_eq!(first.rva("A"), Some(7));
    }
    #[test]
    fn microsoft_is_asked_unless_a_symbol_path_says_otherwise() {
        let servers = |path: Option<&str>| {
            let options = Options { symbol_path: path.map(Into::into), ..Options::default() };
            let places = Store::new(options).places().to_vec();
            places.into_iter().filter(|p| matches!(p, Place::Server { url, .. } if url == MICROSOFT)).count()
        };
        assert_eq!(servers(None), 1);
        assert_eq!(servers(Some(" ; ")), 1);
        assert_eq!(servers(Some("/a")), 0);
        assert_eq!(servers(Some(&format!("srv**{MICROSOFT}"))), 1);
    }
}
