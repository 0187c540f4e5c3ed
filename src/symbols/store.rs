//! Where symbols come from, in order: the folders of `--symbols`, those of `_NT_SYMBOL_PATH`, the cache, a symbol server,
//! the built-in tables. What is found is checked (GUID and age); what cannot be used is named, with the reason, and the next
//! place is asked. Only what has proved to fit a kernel is cached ([`SymbolSource::keep`]); when nothing is found, the error
//! lists every place that was tried and what to do next.

use super::cache::Cache;
use super::ntpath::{self, Place};
use super::{
    Chosen, Fallback, Found, ImageId, Machine, Offer, PdbId, Stage, SymbolSource, Symbols, builtin, candidates, file,
    folder, image, read_file,
};
use crate::error::{Error, Result, one_line};
use std::path::{Path, PathBuf};
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
    /// The symbols that the user names, whatever a dump says (`--pdb`).
    pub chosen: Option<Chosen>,
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
            .field("chosen", &self.chosen)
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
        let path = options.symbol_path.as_deref().unwrap_or_default();
        let named = ntpath::parse(path);
        // Who sets a symbol path has decided which servers are asked.
        let own = named.is_empty();
        let (folders, servers): (Vec<_>, Vec<_>) = named.into_iter().partition(|p| matches!(p, Place::Folder(_)));
        let mut places: Vec<Place> = options.folders.iter().cloned().map(Place::Folder).chain(folders).collect();
        places.extend(options.cache.as_ref().map(|cache| Place::Folder(cache.pdbs())));
        places.extend(servers);
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
    /// The places it looks at, in order. The cache's tables come before its folder of PDBs.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }
    /// The folders it looks at, in order.
    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.places.iter().filter_map(|place| match place {
            Place::Folder(path) => Some(path),
            Place::Server { .. } => None,
        })
    }

    /// What one place has, of the stage that is asked.
    fn at<'s>(&'s self, place: &'s Place, id: &PdbId, stage: Stage) -> Vec<Offer> {
        match (place, stage) {
            (Place::Folder(path), Stage::Files) => {
                let mut out = Vec::new();
                let cache = self.options.cache.as_ref();
                if let Some(cache) = cache.filter(|c| c.pdbs() == *path) {
                    out.push(cached(cache, id));
                    if matches!(out.last(), Some(Offer::Symbols(_))) || !path.exists() {
                        return out;
                    }
                }
                let known = |file: &Path| cache.and_then(|c| c.made_of(id, file));
                for offer in folder::offers(path, id, &known) {
                    let whole = matches!(&offer, Offer::Symbols(found) if found.is_whole());
                    out.push(self.named_by_user(path, offer));
                    if whole {
                        break;
                    }
                }
                out
            }
            (Place::Server { url, .. }, Stage::Servers) if self.options.offline => {
                vec![Offer::Nothing(format!("{url}: not asked (offline)"))]
            }
            (Place::Server { url, keep }, Stage::Servers) => vec![self.download(url, keep.as_ref(), id)],
            _ => Vec::new(),
        }
    }
    /// A folder that the user names and that is not there is refused by name; one of the environment may not be there yet.
    fn named_by_user(&self, place: &PathBuf, offer: Offer) -> Offer {
        match offer {
            Offer::Nothing(why) if self.options.folders.contains(place) && !place.exists() => Offer::Refused(why),
            other => other,
        }
    }

    #[cfg(feature = "download")]
    fn download(&self, url: &str, keep: Option<&PathBuf>, id: &PdbId) -> Offer {
        let own = self.options.cache.as_ref().map(Cache::pdbs);
        let temporary = std::env::temp_dir().join(super::cache::unique_name("dumpwalk-symbols-"));
        let into = keep.or(own.as_ref()).unwrap_or(&temporary);
        let fetched = super::download::fetch(url, id, into, &self.options.limits, self.options.progress.clone());
        let found = fetched.and_then(|path| {
            let mut symbols = file::read(&path).map_err(|e| e.to_string())?;
            symbols.origin = format!("{} from {url}", path.display());
            Ok(Found { symbols, file: Some(path) })
        });
        let _ = std::fs::remove_dir_all(&temporary);
        match found {
            Ok(found) => Offer::Symbols(Box::new(found)),
            Err(why) => Offer::Nothing(format!("{url}: {why}")),
        }
    }
    #[cfg(not(feature = "download"))]
    #[allow(clippy::unused_self, reason = "as the one that downloads")]
    fn download(&self, url: &str, _: Option<&PathBuf>, _: &PdbId) -> Offer {
        Offer::Nothing(format!("{url}: not asked (this build of dumpwalk has no HTTP client)"))
    }

    /// The PDB of an image: the cache's record, or a copy of the image in a folder that has the layout of a symbol store.
    fn image_at_hand(&self, image: &ImageId) -> Result<PdbId, String> {
        if let Some(id) = self.options.cache.as_ref().and_then(|c| c.pdb_of(image)) {
            return Ok(id);
        }
        let mut seen = Vec::new();
        for root in self.folders() {
            let path = root.join(&image.name).join(image.key()).join(&image.name);
            if !path.is_file() {
                continue;
            }
            let bytes = read_file(&path, image::LARGEST).map_err(|e| e.to_string());
            match bytes.and_then(|b| image::pdb_of(&b, image)) {
                Ok(id) => return Ok(id),
                Err(why) => seen.push(format!("{}: {why}", path.display())),
            }
        }
        if seen.is_empty() {
            seen.push(format!("{} {}: no copy of the image is at hand", image.name, image.key()));
        }
        Err(seen.join("; "))
    }
    #[cfg(feature = "download")]
    fn image_at_servers(&self, image: &ImageId) -> Result<PdbId, String> {
        let mut seen = Vec::new();
        for place in &self.places {
            let Place::Server { url, .. } = place else { continue };
            if self.options.offline {
                seen.push(format!("{url}: not asked (offline)"));
                continue;
            }
            match super::download::fetch_image(url, image, &self.options.limits, self.options.progress.clone()) {
                Ok((id, _)) => {
                    self.remember(image, &id);
                    return Ok(id);
                }
                Err(why) => seen.push(format!("{url}: {why}")),
            }
        }
        Err(seen.join("; "))
    }
    #[cfg(not(feature = "download"))]
    #[allow(clippy::unused_self, reason = "as the one that downloads")]
    fn image_at_servers(&self, _: &ImageId) -> Result<PdbId, String> {
        Err("no server is asked (this build of dumpwalk has no HTTP client)".into())
    }
    /// Keeps which PDB an image names.
    pub(super) fn remember(&self, image: &ImageId, id: &PdbId) {
        if let Some(cache) = &self.options.cache
            && let Err(e) = cache.remember(image, id)
        {
            log::warn!("the symbol cache {} cannot be written: {e}", cache.root().display());
        }
    }
}

/// The cache's table of a PDB.
fn cached(cache: &Cache, id: &PdbId) -> Offer {
    match cache.load(id) {
        Ok(Some(symbols)) => Offer::Symbols(Box::new(Found { symbols, file: None })),
        Ok(None) => Offer::Nothing(format!("cache {}: not there", cache.root().display())),
        Err(why) => Offer::Refused(format!("cache: {why}")),
    }
}

impl SymbolSource for Store {
    fn load(&self, id: &PdbId) -> Result<Symbols> {
        let id = checked(id)?;
        let mut tried = Vec::new();
        let mut partial = None;
        for stage in [Stage::Files, Stage::Servers, Stage::BuiltIn] {
            if stage == Stage::BuiltIn && partial.is_some() {
                break;
            }
            for offer in self.offers(&id, stage) {
                match offer {
                    Offer::Symbols(found) if found.is_whole() => {
                        if let Some(file) = &found.file {
                            self.keep(&found.symbols, file);
                        }
                        return Ok(found.symbols);
                    }
                    Offer::Symbols(found) => partial = partial.or(Some(found.symbols)),
                    Offer::Refused(why) | Offer::Nothing(why) => tried.push(why),
                }
            }
        }
        partial.ok_or_else(|| Error::NoSymbols(nothing_found(&id, &tried)))
    }
    fn offers(&self, id: &PdbId, stage: Stage) -> Box<dyn Iterator<Item = Offer> + '_> {
        let id = match checked(id) {
            Ok(id) => id,
            Err(why) if stage == Stage::Files => return Box::new(std::iter::once(Offer::Nothing(why.to_string()))),
            Err(_) => return Box::new(std::iter::empty()),
        };
        if stage == Stage::BuiltIn {
            return Box::new(std::iter::once_with(move || match builtin::exact(&id) {
                Some(symbols) => Offer::Symbols(Box::new(Found { symbols, file: None })),
                None => Offer::Nothing("built-in tables: none of exactly this kernel".into()),
            }));
        }
        Box::new(self.places.iter().flat_map(move |place| self.at(place, &id, stage)))
    }
    fn chosen(&self) -> Option<Chosen> {
        self.options.chosen.clone()
    }
    fn candidates(&self, machine: Machine) -> Box<dyn Iterator<Item = Offer> + '_> {
        let tables = self.options.cache.iter().flat_map(Cache::tables).filter(|path| {
            let of = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().to_ascii_lowercase());
            of.is_some_and(|of| super::KERNEL_PDBS.contains(&of.as_str()))
        });
        let paths = self.folders().flat_map(|root| candidates::files(root)).chain(tables);
        let mut left = READ_WHOLE;
        Box::new(paths.filter_map(move |path| match candidates::may_serve(&path, machine) {
            Ok(false) => None,
            Err(why) => Some(Offer::Refused(why)),
            Ok(true) if left == 0 => {
                log::info!("{}: not looked at, {READ_WHOLE} files were", path.display());
                None
            }
            Ok(true) => {
                left = left.saturating_sub(1);
                Some(match file::read(&path) {
                    Ok(symbols) => {
                        let of_cache = path.extension().is_some_and(|e| e == "sym");
                        Offer::Symbols(Box::new(Found { symbols, file: (!of_cache).then_some(path) }))
                    }
                    Err(why) => Offer::Refused(why.to_string()),
                })
            }
        }))
    }
    fn named_by(&self, image: &ImageId, stage: Stage) -> Result<PdbId, String> {
        let image = checked_image(image)?;
        match stage {
            Stage::Files => self.image_at_hand(&image),
            Stage::Servers => self.image_at_servers(&image),
            Stage::BuiltIn => Err("no image is built in".into()),
        }
    }
    fn keep(&self, symbols: &Symbols, file: &Path) {
        if let Some(cache) = &self.options.cache
            && let Err(e) = cache.store(symbols, Some(file))
        {
            log::warn!("the symbol cache {} cannot be written: {e}", cache.root().display());
        }
    }
    fn fallbacks(&self, wanted: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(builtin::nearest(wanted))
    }
}

/// Files that are read whole for one dump that does not name its PDB.
const READ_WHOLE: usize = 64;

/// An image's identity as it came from a dump, made safe: its name becomes a file name and a part of addresses.
///
/// # Errors
/// The name is no file name.
pub fn checked_image(image: &ImageId) -> Result<ImageId, String> {
    let name = image.name.rsplit(['/', '\\']).next().unwrap_or_default();
    if !is_plain(name) {
        return Err(format!("the dump names its kernel's image as {:?}: that is no file name", image.name));
    }
    Ok(ImageId { name: name.into(), ..image.clone() })
}

/// A file name without anything that a file system or an address gives a meaning to.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.bytes().all(plain)
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
    if !is_plain(name) {
        return Err(bad("that is no file name"));
    }
    if id.guid.len() != 32 || !id.guid.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad("that is no GUID"));
    }
    Ok(PdbId { name: name.into(), guid: id.guid.to_ascii_uppercase(), age: id.age })
}

/// The address of an image on a symbol server.
#[must_use]
pub fn image_address(server: &str, image: &ImageId) -> String {
    format!("{}/{name}/{}/{name}", server.trim_end_matches('/'), image.key(), name = image.name)
}

/// The address of a PDB on a symbol server.
#[must_use]
pub fn address(server: &str, id: &PdbId) -> String {
    let server = server.trim_end_matches('/');
    format!("{server}/{0}/{1}{2:x}/{0}", id.name, id.guid, id.age)
}

/// That a PDB was found nowhere: the places tried, and what to do.
#[must_use]
pub fn nothing_found(id: &PdbId, tried: &[String]) -> String {
    let mut text = format!("none for {} {}; tried:", id.name, id.key());
    for line in tried {
        text.push_str("\n  ");
        text.push_str(&one_line(line));
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
            ": not there",
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
