//! Finding a PDB's symbols in a folder that the user names: a symbol store, a flat folder, or a Volatility pack.

use super::cache::entries;
use super::{Found, Offer, PdbId, Symbols, file};
use crate::error::Error;
use std::path::{Path, PathBuf};

/// Files of a flat folder whose identity is looked at. More is a folder of something else.
const LOOKED_AT: usize = 512;
/// Files that must be read whole to know what they are.
const READ_WHOLE: usize = 4;

/// The symbols of exactly this PDB, from a folder or a file: the first that can be read. Otherwise what was seen there.
///
/// # Errors
/// One line for each thing that looked right and was not; one for the folder when there was nothing.
pub fn find(place: &Path, id: &PdbId) -> Result<Symbols, Vec<String>> {
    let mut seen = Vec::new();
    for offer in offers(place, id, &|_| None) {
        match offer {
            Offer::Symbols(found) => return Ok(found.symbols),
            Offer::Refused(why) | Offer::Nothing(why) => seen.push(why),
        }
    }
    Err(seen)
}

/// What a folder or a file has for exactly this PDB, the likeliest first. A file is read when its turn comes; `known` may
/// have its symbols already.
pub fn offers<'a>(
    place: &'a Path,
    id: &'a PdbId,
    known: &'a dyn Fn(&Path) -> Option<Symbols>,
) -> Box<dyn Iterator<Item = Offer> + 'a> {
    if place.is_file() {
        return Box::new(std::iter::once_with(move || take(place, id, known)));
    }
    if !place.is_dir() {
        return Box::new(std::iter::once(Offer::Nothing(format!("{}: no such folder", place.display()))));
    }
    let mut named = candidates(place, id);
    named.retain(|p| p.is_file());
    let others = {
        let named = named.clone();
        std::iter::once_with(move || {
            let found = search(place, id, &named, known);
            if found.is_empty() && named.is_empty() {
                return vec![Offer::Nothing(format!("{}: nothing for it", place.display()))];
            }
            found
        })
    };
    Box::new(named.into_iter().map(move |path| take(&path, id, known)).chain(others.flatten()))
}

/// Where the layouts in use would have it, the likeliest first.
fn candidates(root: &Path, id: &PdbId) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let lower = id.name.to_ascii_lowercase();
    let names = if lower == id.name { vec![id.name.clone()] } else { vec![id.name.clone(), lower] };
    // Stores write the age in small letters, or all of it in large or small ones.
    let keys = [format!("{}{:x}", id.guid, id.age), id.key(), id.key().to_ascii_lowercase()];
    for name in &names {
        let packed = compressed_name(name);
        // A two-tier store has the first two letters in front.
        let tier = name.get(..2).map(|two| root.join(two));
        for base in [Some(root.to_path_buf()), tier].into_iter().flatten() {
            for key in &keys {
                let folder = base.join(name).join(key);
                out.extend([folder.join(name), folder.join(&packed)]);
            }
        }
        for guid in [id.guid.clone(), id.guid.to_ascii_lowercase()] {
            for ending in [".json.xz", ".json", ".json.gz"] {
                let file = format!("{guid}-{}{ending}", id.age);
                out.extend([
                    root.join("windows").join(name).join(&file),
                    root.join("symbols/windows").join(name).join(&file),
                    root.join(name).join(&file),
                    root.join(&file),
                ]);
            }
        }
        out.extend([root.join(name), root.join(&packed)]);
    }
    let mut known = std::collections::BTreeSet::new();
    out.retain(|p| known.insert(p.clone()));
    out
}

/// `ntkrnlmp.pd_`.
fn compressed_name(name: &str) -> String {
    let mut packed = name.to_owned();
    packed.pop();
    packed.push('_');
    packed
}

/// Reads a file and checks that it is of the PDB wanted.
fn take(path: &Path, id: &PdbId, known: &dyn Fn(&Path) -> Option<Symbols>) -> Offer {
    let found = |symbols, file| Offer::Symbols(Box::new(Found { symbols, file }));
    let other = |of: &PdbId| Offer::Refused(format!("{}: is of {}, not of {}", path.display(), of.key(), id.key()));
    match file::identify(path) {
        Ok(Some(of)) if !same(&of, id) => return other(&of),
        Err(e) => return Offer::Refused(named(path, &e)),
        Ok(_) => {}
    }
    if let Some(symbols) = known(path) {
        return found(symbols, None);
    }
    match file::read(path) {
        Ok(mut symbols) => match &symbols.id {
            Some(of) if same(of, id) => {
                // A renamed file is still that PDB.
                symbols.id = Some(id.clone());
                found(symbols, Some(path.to_path_buf()))
            }
            Some(of) => other(of),
            None => Offer::Refused(format!("{}: does not say which PDB it is of", path.display())),
        },
        Err(e) => Offer::Refused(named(path, &e)),
    }
}

/// What is wrong with a file, behind its path.
fn named(path: &Path, error: &Error) -> String {
    match error {
        Error::BadSymbols { what, .. } => format!("{}: {what}", path.display()),
        other => other.to_string(),
    }
}

/// Identity is the GUID and the age; the name is only where to look.
fn same(a: &PdbId, b: &PdbId) -> bool {
    a.guid.eq_ignore_ascii_case(&b.guid) && a.age == b.age
}

/// Files of a flat folder under any name, by their identity: the first that is of it, and those before it whose name says
/// that they are and which cannot be used.
fn search(root: &Path, id: &PdbId, tried: &[PathBuf], known: &dyn Fn(&Path) -> Option<Symbols>) -> Vec<Offer> {
    let mut read_whole = 0;
    let mut out = Vec::new();
    for path in entries(root).into_iter().filter(|p| !tried.contains(p)).take(LOOKED_AT) {
        let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let right = [".pdb", ".pd_", ".json", ".json.xz", ".json.gz", ".txt"].iter().any(|e| name.ends_with(e));
        if !right || !path.is_file() {
            continue;
        }
        match file::identify(&path) {
            Ok(Some(found)) if same(&found, id) => {}
            Ok(None) if read_whole < READ_WHOLE && may_be(&name, id) => read_whole += 1,
            Err(e) if meant(&name, id) => {
                out.push(Offer::Refused(named(&path, &e)));
                continue;
            }
            _ => continue,
        }
        match take(&path, id, known) {
            Offer::Symbols(found) => {
                out.push(Offer::Symbols(found));
                return out;
            }
            // That a file of a flat folder turns out to be of another kernel is nothing to speak of.
            Offer::Refused(why) if meant(&name, id) => out.push(Offer::Refused(why)),
            Offer::Refused(why) | Offer::Nothing(why) => log::info!("{why}"),
        }
    }
    out
}

/// Whether a file's name says that it is of this PDB: its GUID, or how the PDB's name begins.
fn meant(name: &str, id: &PdbId) -> bool {
    let stem = id.name.to_ascii_lowercase();
    let stem = stem.rsplit_once('.').map_or(stem.as_str(), |(stem, _)| stem);
    name.contains(&id.guid.to_ascii_lowercase()) || (!stem.is_empty() && name.starts_with(stem))
}

/// Whether a name speaks against a file: a Volatility file that carries another GUID in its name is of that.
fn may_be(name: &str, id: &PdbId) -> bool {
    let guid = name.split(|c: char| !c.is_ascii_hexdigit()).find(|part| part.len() == 32);
    guid.is_none_or(|g| g.eq_ignore_ascii_case(&id.guid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PdbId {
        PdbId { name: "ntkrnlmp.pdb".into(), guid: "89284D0CA6ACC8274B9A44BD5AF9290B".into(), age: 10 }
    }
    fn table(guid: &str) -> String {
        format!("# kernel - - x64 pdb ntkrnlmp.pdb {guid}+10\nsymbol A 0x1\n")
    }

    #[test]
    fn found_in_every_layout() {
        for place in [
            "ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290Ba/ntkrnlmp.pdb",
            "ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290BA/ntkrnlmp.pd_",
            "ntkrnlmp.pdb/89284d0ca6acc8274b9a44bd5af9290ba/ntkrnlmp.pdb",
            "nt/ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290BA/ntkrnlmp.pdb",
            "windows/ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290B-10.json.xz",
            "89284D0CA6ACC8274B9A44BD5AF9290B-10.json",
            "ntkrnlmp.pdb",
            "ntkrnlmp.pd_",
            "my-kernel.txt",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            // What a file is, its content says: a table will do under any name.
            std::fs::write(&path, table(&id().guid)).unwrap();
            let found = find(dir.path(), &id()).unwrap_or_else(|seen| panic!("{place}: {seen:?}"));
            assert_eq!(found.id, Some(id()));
            assert_eq!(find(&path, &id()).unwrap().rva("A"), Some(1));
        }
    }
    #[test]
    fn another_kernels_file_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ntkrnlmp.pdb"), table(&"0".repeat(32))).unwrap();
        let seen = find(dir.path(), &id()).unwrap_err();
        assert!(seen[0].contains(&"0".repeat(32)) && seen[0].contains(&id().key()), "{seen:?}");
        let mut other_age = id();
        other_age.age = 11;
        std::fs::write(dir.path().join("ntkrnlmp.pdb"), table(&id().guid)).unwrap();
        assert!(find(dir.path(), &other_age).is_err());
        assert!(find(&dir.path().join("absent"), &id()).unwrap_err()[0].contains("no such folder"));
    }
}
