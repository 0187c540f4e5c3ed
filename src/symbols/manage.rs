//! What `dumpwalk symbols` does: list what there is, fetch for another machine, import, show a type, say what a dump
//! needs. Printing is left to the command line; names that come from symbol files are to be made visible there.

use super::cache::{Cache, entries, write_atomically};
use super::ntpath::Place;
use super::store::{Store, address, checked, checked_image, image_address};
use super::{
    Fallback, ImageId, Machine, Offer, PdbId, Stage, SymbolSource, Symbols, builtin, compact, file, pdb, read_file,
};
use crate::error::{Error, Result, one_line};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where symbols that are at hand lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// A compact table in the user's cache.
    Cache,
    /// A PDB or Volatility file in a folder that is looked at.
    Folder,
    /// Compiled in.
    BuiltIn,
}

impl At {
    /// In one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Folder => "folder",
            Self::BuiltIn => "built-in",
        }
    }
}

/// One set of symbols that is at hand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Where.
    pub at: At,
    /// The PDB's name; of a built-in table without one, the kernel's file.
    pub name: String,
    /// The kernel's version, where it is known.
    pub version: Option<String>,
    /// The processor, where it is known without reading all.
    pub machine: Option<Machine>,
    /// The identity, where it is known.
    pub id: Option<PdbId>,
    /// The file, where it is one.
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// Everything at hand: the cache, the folders (their symbol-store layout), the built-in tables.
#[must_use]
pub fn list(store: &Store) -> Vec<Listed> {
    let mut out = Vec::new();
    for path in store.options().cache.iter().flat_map(Cache::tables) {
        let read = read_file(&path, pdb::LARGEST).map_err(|e| e.to_string());
        let symbols = read.and_then(|bytes| compact::decode(&bytes).map_err(Into::into));
        let name = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        let (symbols, problem) = match symbols {
            Ok(symbols) => (symbols, None),
            Err(why) => (Symbols::default(), Some(why)),
        };
        out.push(Listed {
            at: At::Cache,
            name: symbols.id.as_ref().map(|id| id.name.clone()).or(name).unwrap_or_default(),
            version: symbols.version,
            machine: symbols.machine,
            id: symbols.id,
            path: Some(path),
            problem,
        });
    }
    let folders = store.places().iter().filter_map(|p| match p {
        Place::Folder(path) => Some(path),
        Place::Server { .. } => None,
    });
    for root in folders {
        for path in stored(root) {
            let (id, problem) = match file::identify(&path) {
                Ok(id) => (id, None),
                Err(e) => (None, Some(e.to_string())),
            };
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let name = id.as_ref().map_or(name, |id| id.name.clone());
            out.push(Listed { at: At::Folder, name, version: None, machine: None, id, path: Some(path), problem });
        }
    }
    for known in builtin::known() {
        out.push(Listed {
            at: At::BuiltIn,
            name: known.id.as_ref().map_or_else(|| "ntoskrnl.exe".into(), |id| id.name.clone()),
            version: Some(known.version.clone()),
            machine: Some(known.machine),
            id: known.id.clone(),
            path: None,
            problem: None,
        });
    }
    out.sort();
    out
}

/// Symbol files of a folder: those in it, and those of a store (`name/KEY/file`) or a pack (`windows/name/file`).
fn stored(root: &Path) -> Vec<PathBuf> {
    const FILES: usize = 100_000;
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_path_buf(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        for path in entries(&folder) {
            // Half-written files begin with a dot.
            let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
            if name.starts_with('.') || found.len() >= FILES {
                continue;
            }
            let right = [".pdb", ".pd_", ".json", ".json.xz", ".json.gz"].iter().any(|e| name.ends_with(e));
            match path.symlink_metadata() {
                Ok(m) if m.is_dir() && depth < 3 => waiting.push((path, depth + 1)),
                Ok(m) if !m.is_dir() && right => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// An identity as people write it: a name, and GUID and age in any of the usual forms
/// (`89284D0CA6ACC8274B9A44BD5AF9290B1`, `{89284D0C-A6AC-C827-4B9A-44BD5AF9290B}-1`, `…+1`).
///
/// # Errors
/// What is wrong with it.
pub fn identity(name: &str, key: &str) -> Result<PdbId> {
    let wrong = || Error::Usage(format!("{key:?} is no GUID with its age, like 89284D0CA6ACC8274B9A44BD5AF9290B1"));
    let digits: String = key.chars().filter(|c| !"{}-+ ".contains(*c)).collect();
    let (guid, age) = digits.split_at_checked(32).filter(|(_, age)| !age.is_empty()).ok_or_else(wrong)?;
    let age = u32::from_str_radix(age, 16).map_err(|_| wrong())?;
    checked(&PdbId { name: name.into(), guid: guid.into(), age }).map_err(|_| wrong())
}

/// Fetches a PDB into a folder, in the symbol-store layout that `--symbols` reads, for a machine without network.
/// What the user's cache has is copied; else the servers are asked.
///
/// # Errors
/// No place has it: every one that was tried, and why.
pub fn fetch(store: &Store, id: &PdbId, into: &Path) -> Result<PathBuf> {
    let id = checked(id)?;
    let path = into.join(&id.name).join(id.key()).join(&id.name);
    let is_it =
        |path: &Path| pdb::identify_file(path).is_ok_and(|found| (found.guid, found.age) == (id.guid.clone(), id.age));
    if is_it(&path) {
        return Ok(path);
    }
    let mut tried = Vec::new();
    for place in store.places() {
        match place {
            Place::Folder(root) => {
                let source = root.join(&id.name).join(id.key()).join(&id.name);
                if is_it(&source) {
                    let bytes = read_file(&source, pdb::LARGEST)?;
                    write_atomically(&path, &bytes).map_err(|source| Error::Io { path: path.clone(), source })?;
                    return Ok(path);
                }
                tried.push(format!("{}: not there", source.display()));
            }
            Place::Server { url, .. } if store.options().offline => tried.push(format!("{url}: not asked (offline)")),
            #[cfg(feature = "download")]
            Place::Server { url, .. } => {
                let options = store.options();
                match super::download::fetch(url, &id, into, &options.limits, options.progress.clone()) {
                    Ok(path) => return Ok(path),
                    Err(why) => tried.push(format!("{url}: {why}")),
                }
            }
            #[cfg(not(feature = "download"))]
            Place::Server { url, .. } => {
                tried.push(format!("{url}: not asked (this build of dumpwalk has no HTTP client)"));
            }
        }
    }
    let url = address(super::store::MICROSOFT, &id);
    Err(Error::NoSymbols(format!(
        "{} {} is nowhere to be had; tried:\n  {}\nIts address on Microsoft's server is {url}",
        id.name,
        id.key(),
        tried.join("\n  ")
    )))
}

/// Finds out which PDB an image names, for a dump that does not hold the record: from the cache's record, a copy at hand or a
/// server. A copy that a server sends is laid into the folder too, so that the machine without network knows it as well.
///
/// # Errors
/// No place has the image: every one that was tried, and why.
pub fn fetch_image(store: &Store, image: &ImageId, into: &Path) -> Result<PdbId> {
    let image = checked_image(image).map_err(Error::NoSymbols)?;
    let path = into.join(&image.name).join(image.key()).join(&image.name);
    let there = read_file(&path, super::image::LARGEST).map_err(|e| e.to_string());
    if let Ok(id) = there.and_then(|bytes| super::image::pdb_of(&bytes, &image)) {
        store.remember(&image, &id);
        return Ok(id);
    }
    let mut tried = Vec::new();
    match store.named_by(&image, Stage::Files) {
        Ok(id) => return Ok(id),
        Err(why) => tried.push(one_line(&why)),
    }
    for place in store.places() {
        let Place::Server { url, .. } = place else { continue };
        match image_from(store, url, &image) {
            Ok((id, bytes)) => {
                store.remember(&image, &id);
                write_atomically(&path, &bytes).map_err(|source| Error::Io { path: path.clone(), source })?;
                return Ok(id);
            }
            Err(why) => tried.push(one_line(&format!("{url}: {why}"))),
        }
    }
    let url = image_address(super::store::MICROSOFT, &image);
    Err(Error::NoSymbols(format!(
        "the dump does not hold the record that names the kernel's PDB, and its image {} {} is nowhere to be had; tried:\n  \
         {}\nIts address on Microsoft's server is {url}",
        image.name,
        image.key(),
        tried.join("\n  ")
    )))
}

#[cfg(feature = "download")]
fn image_from(store: &Store, url: &str, image: &ImageId) -> Result<(PdbId, Vec<u8>), String> {
    let options = store.options();
    if options.offline {
        return Err("not asked (offline)".into());
    }
    super::download::fetch_image(url, image, &options.limits, options.progress.clone())
}
#[cfg(not(feature = "download"))]
fn image_from(_: &Store, _: &str, _: &ImageId) -> Result<(PdbId, Vec<u8>), String> {
    Err("not asked (this build of dumpwalk has no HTTP client)".into())
}

/// One file that was to be imported.
#[derive(Debug)]
pub struct Imported {
    /// The file.
    pub path: PathBuf,
    /// What it is of, or why it was not taken.
    pub result: Result<PdbId>,
}

/// Takes a PDB or Volatility file into the cache, or all those in a folder (a symbol store, a Volatility pack).
///
/// # Errors
/// There is no cache, or nothing to import. What is wrong with single files stands in their results.
pub fn import(cache: &Cache, path: &Path) -> Result<Vec<Imported>> {
    let files = if path.is_dir() { stored(path) } else { vec![path.to_path_buf()] };
    if files.is_empty() {
        return Err(Error::Usage(format!("{}: holds no PDB and no Volatility symbol file", path.display())));
    }
    let one = |path: &Path| {
        let symbols = file::read(path)?;
        let id = symbols.id.as_ref().ok_or_else(|| Error::BadSymbols {
            origin: path.display().to_string(),
            what: "it does not say which PDB it is of".into(),
        })?;
        let id = checked(id)?;
        let failed = |source| Error::Io { path: cache.root().to_path_buf(), source };
        if symbols.notes.iter().any(|n| n.loss) {
            let what = symbols.notes.iter().find(|n| n.loss).map(|n| n.text.clone()).unwrap_or_default();
            return Err(Error::BadSymbols {
                origin: path.display().to_string(),
                what: format!("{what}; not taken into the cache"),
            });
        }
        cache.store(&Symbols { id: Some(id.clone()), ..symbols }, Some(path)).map_err(failed)?;
        Ok(id)
    };
    Ok(files.into_iter().map(|path| Imported { result: one(&path), path }).collect())
}

/// A source that has nothing and remembers what was asked for: opening a dump with it tells what the dump needs.
#[derive(Debug, Default)]
pub struct Wanted {
    asked: Mutex<Vec<PdbId>>,
    images: Mutex<Vec<ImageId>>,
}

impl Wanted {
    /// What was asked for, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<PdbId> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// The images whose PDB was asked for, each once.
    #[must_use]
    pub fn images(&self) -> Vec<ImageId> {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner).clone();
        images.dedup();
        images
    }
}

impl SymbolSource for Wanted {
    fn load(&self, id: &PdbId) -> Result<Symbols> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        Err(Error::NoSymbols(format!("{} {} is wanted", id.name, id.key())))
    }
    fn named_by(&self, image: &ImageId, _: Stage) -> Result<PdbId, String> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).push(image.clone());
        Err("it is wanted".into())
    }
    fn fallbacks(&self, _: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(std::iter::empty())
    }
}

/// What is at hand for a PDB, without asking any server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtHand {
    /// The PDB.
    pub id: PdbId,
    /// Where it would be taken from first.
    pub from: Option<String>,
    /// Its address on Microsoft's symbol server.
    pub url: String,
}

/// Says what is at hand for a PDB, without asking any server.
///
/// # Errors
/// The identity is none.
pub fn at_hand(store: &Store, id: &PdbId) -> Result<AtHand> {
    let id = checked(id)?;
    let here = |stage| {
        store.offers(&id, stage).find_map(|offer| match offer {
            Offer::Symbols(found) if found.is_whole() => Some(found),
            _ => None,
        })
    };
    let from = here(Stage::Files).map(|found| match found.file {
        Some(file) => file.display().to_string(),
        None => store.options().cache.as_ref().map_or(found.symbols.origin, |c| c.path(&id).display().to_string()),
    });
    let from = from.or_else(|| here(Stage::BuiltIn).map(|found| found.symbols.origin));
    let url = address(super::store::MICROSOFT, &id);
    Ok(AtHand { id, from, url })
}

pub use super::show::show;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::store::Options;

    const GUID: &str = "89284D0CA6ACC8274B9A44BD5AF9290B";

    #[test]
    fn identities_as_people_write_them() {
        let id = PdbId { name: "ntkrnlmp.pdb".into(), guid: GUID.into(), age: 0x1a };
        for key in [
            "89284D0CA6ACC8274B9A44BD5AF9290B1A",
            "89284d0ca6acc8274b9a44bd5af9290b1a",
            "{89284D0C-A6AC-C827-4B9A-44BD5AF9290B}1a",
            "89284D0CA6ACC8274B9A44BD5AF9290B+1a",
            "89284D0CA6ACC8274B9A44BD5AF9290B-1a",
        ] {
            assert_eq!(identity("ntkrnlmp.pdb", key).unwrap(), id, "{key}");
        }
        for key in ["", GUID, "89284D0CA6ACC8274B9A44BD5AF9290Bxyz", "ü".repeat(33).as_str()] {
            assert!(identity("ntkrnlmp.pdb", key).is_err(), "{key}");
        }
        assert!(identity("a b.pdb", "89284D0CA6ACC8274B9A44BD5AF9290B1").is_err());
    }
    #[test]
    fn what_is_imported_is_listed_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let isf = format!(
            r#"{{"metadata":{{"windows":{{"pdb":{{"GUID":"{GUID}","age":1,"database":"ntkrnlmp.pdb","machine_type":34404}}}}}},
            "base_types":{{}},"user_types":{{}},"enums":{{}},"symbols":{{"A":{{"address":7}}}}}}"#
        );
        let pack = dir.path().join("windows/ntkrnlmp.pdb");
        std::fs::create_dir_all(&pack).unwrap();
        std::fs::write(pack.join(format!("{GUID}-1.json")), isf).unwrap();
        std::fs::write(pack.join("broken.json"), "{}").unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let done = import(&cache, dir.path()).unwrap();
        assert_eq!(done.iter().map(|i| i.result.is_ok()).collect::<Vec<_>>(), [true, false]);
        let store = Store::new(Options { cache: Some(cache.clone()), offline: true, ..Options::default() });
        let id = identity("ntkrnlmp.pdb", &format!("{GUID}1")).unwrap();
        assert_eq!(store.load(&id).unwrap().rva("A"), Some(7));
        let listed = list(&store);
        assert_eq!(listed[0].id, Some(id.clone()));
        assert_eq!(listed.iter().filter(|l| l.at == At::BuiltIn).count(), builtin::known().len());
        assert!(at_hand(&store, &id).unwrap().from.unwrap().contains("cache"));
        let other = PdbId { age: 7, ..id };
        let hand = at_hand(&store, &other).unwrap();
        assert_eq!((hand.from, hand.url.ends_with(&format!("/ntkrnlmp.pdb/{GUID}7/ntkrnlmp.pdb"))), (None, true));
        let error = fetch(&store, &other, dir.path()).unwrap_err().to_string();
        assert!(error.contains("offline") && error.contains("not there"), "{error}");
        assert!(import(&cache, &dir.path().join("cache")).is_err());
    }
    #[test]
    fn a_dump_tells_what_it_wants() {
        let wanted = Wanted::default();
        let id = PdbId { name: "a.pdb".into(), guid: GUID.into(), age: 1 };
        assert!(wanted.load(&id).is_err());
        assert_eq!(wanted.asked(), [id]);
    }
}
