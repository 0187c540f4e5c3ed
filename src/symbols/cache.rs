//! The user's symbol cache: compact tables, and the PDBs that were downloaded.
//!
//! `<root>/compact/<pdb name>/<GUID><age>.sym` and `<root>/pdb/<pdb name>/<GUID><age>/<pdb name>` (the symbol-store
//! layout, so that a debugger can use it too). Files appear by renaming, so two processes may fill it at once.
//!
//! Beside a table, `<GUID><age>.from` says which file it was made of, so that a folder named by `--symbols` is looked at
//! first and its file still read only once. `<root>/images/<image>/<time stamp><size>` names the PDB of an image.
//! Only what is whole is kept: a table with a loss among its notes is written by no one and read by no one.

use super::{ImageId, PdbId, Symbols, compact, read_file};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The largest cache file that is read. A full kernel's has 2 MB.
const LARGEST: u64 = 256 << 20;

/// The largest record of a table's or an image's origin.
const LONGEST_STAMP: u64 = 64 << 10;

/// A symbol cache in a folder.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// A cache in this folder, which is made when first written to.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }
    /// The user's: `$DUMPWALK_CACHE`, else `dumpwalk` in the system's cache folder (`$XDG_CACHE_HOME` or `~/.cache`;
    /// `%LOCALAPPDATA%`; `~/Library/Caches`).
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(root) = set("DUMPWALK_CACHE") {
            return Some(Self::new(root));
        }
        let system = if cfg!(windows) {
            set("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            set("HOME").map(|h| h.join("Library/Caches"))
        } else {
            set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|h| h.join(".cache")))
        };
        Some(Self::new(system?.join("dumpwalk")))
    }
    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The store of downloaded PDBs.
    #[must_use]
    pub fn pdbs(&self) -> PathBuf {
        self.root.join("pdb")
    }
    /// Where the compact table of a PDB lies.
    #[must_use]
    pub fn path(&self, id: &PdbId) -> PathBuf {
        self.root.join("compact").join(&id.name).join(format!("{}.sym", id.key()))
    }
    /// Reads a table. `Ok(None)` when there is none.
    ///
    /// # Errors
    /// Why the one that is there cannot be used; it is then made anew.
    pub fn load(&self, id: &PdbId) -> Result<Option<Symbols>, String> {
        let path = self.path(id);
        // Opened once for the patience: a file that is being replaced is refused for a moment on Windows.
        match patiently(|| crate::regular::open(&path)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let bytes = read_file(&path, LARGEST).map_err(|e| e.to_string())?;
        if compact::is_of_earlier_version(&bytes) {
            return Ok(None);
        }
        let symbols = compact::decode(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        if symbols.id.as_ref() != Some(id) {
            return Err(format!("{}: it is of another PDB", path.display()));
        }
        // An earlier version kept what it had read with a loss.
        Ok(Some(symbols).filter(|s| !s.notes.iter().any(|n| n.loss)))
    }
    /// Writes a table, and which file it was made of. Symbols without an identity, or with a loss, are not cached.
    ///
    /// # Errors
    /// What the system said.
    pub fn store(&self, symbols: &Symbols, file: Option<&Path>) -> std::io::Result<()> {
        let Some(id) = &symbols.id else { return Ok(()) };
        if symbols.notes.iter().any(|n| n.loss) {
            return Ok(());
        }
        let bytes = compact::encode(symbols);
        write_atomically(&self.path(id), &bytes)?;
        match file.and_then(|f| stamp(f, &bytes)) {
            Some(stamp) => write_atomically(&self.stamp_path(id), stamp.as_bytes()),
            None => Ok(()),
        }
    }
    /// The table made of exactly this file, as long as neither has changed.
    #[must_use]
    pub fn made_of(&self, id: &PdbId, file: &Path) -> Option<Symbols> {
        let told = read_file(&self.stamp_path(id), LONGEST_STAMP).ok()?;
        let bytes = read_file(&self.path(id), LARGEST).ok()?;
        if stamp(file, &bytes)?.as_bytes() != told {
            return None;
        }
        let symbols = compact::decode(&bytes).ok()?;
        (symbols.id.as_ref() == Some(id)).then_some(symbols)
    }
    fn stamp_path(&self, id: &PdbId) -> PathBuf {
        self.path(id).with_extension("from")
    }
    fn image_path(&self, image: &ImageId) -> PathBuf {
        self.root.join("images").join(image.name.to_ascii_lowercase()).join(image.key())
    }
    /// The PDB that an image named when it was last looked at. The image's name must be safe ([`checked_image`]).
    ///
    /// [`checked_image`]: super::store::checked_image
    #[must_use]
    pub fn pdb_of(&self, image: &ImageId) -> Option<PdbId> {
        let bytes = read_file(&self.image_path(image), LONGEST_STAMP).ok()?;
        let mut words = std::str::from_utf8(&bytes).ok()?.split_ascii_whitespace();
        let (name, guid, age) = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        super::store::checked(&PdbId { name: name.into(), guid: guid.into(), age }).ok()
    }
    /// Remembers the PDB that an image names.
    ///
    /// # Errors
    /// What the system said.
    pub fn remember(&self, image: &ImageId, id: &PdbId) -> std::io::Result<()> {
        write_atomically(&self.image_path(image), format!("{} {} {}\n", id.name, id.guid, id.age).as_bytes())
    }
    /// Every compact table, by path: PDB name and file.
    #[must_use]
    pub fn tables(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = entries(&self.root.join("compact")).iter().flat_map(|d| entries(d)).collect();
        found.retain(|p| p.extension().is_some_and(|e| e == "sym"));
        found.sort();
        found
    }
}

/// What ties a table to the file it was made of: the table's own check sum, and the file's length, time and path.
fn stamp(file: &Path, table: &[u8]) -> Option<String> {
    let path = std::fs::canonicalize(file).ok()?;
    let data = std::fs::metadata(&path).ok()?;
    let time = data.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    let sum = compact::sum_of(table)?;
    Some(format!("{sum:016x} {} {time} {}\n", data.len(), path.display()))
}

/// What a folder holds, sorted; nothing when it cannot be read.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    found.sort();
    found
}

/// A name no other process or thread uses now.
pub(super) fn unique_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// What the system said.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = folder.join(unique_name(".incoming-"));
    let written = std::fs::File::create_new(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            // Without this a crash of the machine can leave the new name with none of the bytes.
            file.sync_data()
        })
        .and_then(|()| patiently(|| rename(&temporary, path, bytes)));
    // Gone already when it was renamed.
    let _ = std::fs::remove_file(&temporary);
    written
}

/// Gives a file its name. That another process has the same bytes under that name by now is as good: on Windows it
/// cannot be replaced while that process maps or scans it.
fn rename(temporary: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::rename(temporary, path).or_else(|e| match std::fs::read(path) {
        Ok(there) if there == bytes => Ok(()),
        _ => Err(e),
    })
}

/// Tries again for a moment what Windows refuses while another process (a virus scanner, too) has the file open.
fn patiently<T>(mut attempt: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    const ATTEMPTS: u32 = 20;
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(e) if cfg!(windows) && e.kind() == std::io::ErrorKind::PermissionDenied => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            done => return done,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::table;

    fn symbols(guid: char) -> Symbols {
        let guid = guid.to_string().repeat(32);
        table::parse(&format!("# kernel - - x64 pdb nt.pdb {guid}+2\nsymbol A 0x1\n"), "here").unwrap()
    }

    #[test]
    fn what_was_stored_is_found_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("new"));
        let s = symbols('A');
        let id = s.id.clone().unwrap();
        assert_eq!(cache.load(&id), Ok(None));
        cache.store(&s, None).unwrap();
        assert_eq!(cache.load(&id), Ok(Some(s)));
        assert_eq!(cache.tables(), [cache.path(&id)]);
        let mut bytes = std::fs::read(cache.path(&id)).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(cache.path(&id), bytes).unwrap();
        assert!(cache.load(&id).unwrap_err().contains("checksum"));
        // A file under the wrong name.
        cache.store(&symbols('B'), None).unwrap();
        std::fs::copy(cache.path(&symbols('B').id.unwrap()), cache.path(&id)).unwrap();
        assert!(cache.load(&id).unwrap_err().contains("another PDB"));
    }
    #[test]
    fn a_table_serves_for_the_very_file_it_was_made_of() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let (s, file) = (symbols('A'), dir.path().join("a.pdb"));
        let id = s.id.clone().unwrap();
        std::fs::write(&file, "one").unwrap();
        cache.store(&s, Some(&file)).unwrap();
        assert_eq!(cache.made_of(&id, &file), Some(s.clone()));
        // Another file of the same content is another file.
        let copy = dir.path().join("b.pdb");
        std::fs::write(&copy, "one").unwrap();
        assert_eq!(cache.made_of(&id, &copy), None);
        // The file has changed.
        std::fs::write(&file, "more").unwrap();
        assert_eq!(cache.made_of(&id, &file), None);
        // The table was made anew of something else.
        cache.store(&s, Some(&file)).unwrap();
        cache.store(&Symbols { origin: "elsewhere".into(), ..s }, None).unwrap();
        assert_eq!(cache.made_of(&id, &file), None);
    }
    #[test]
    fn symbols_with_a_loss_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().into());
        let mut s = symbols('A');
        s.notes.push(crate::value::Note::loss("half of it is missing"));
        cache.store(&s, None).unwrap();
        assert_eq!(cache.tables(), [] as [PathBuf; 0]);
        // Nor believed where an earlier version kept them.
        write_atomically(&cache.path(s.id.as_ref().unwrap()), &compact::encode(&s)).unwrap();
        assert_eq!(cache.load(s.id.as_ref().unwrap()), Ok(None));
    }
    #[test]
    fn the_pdb_of_an_image_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().into());
        let image = ImageId { name: "ntoskrnl.exe".into(), time_stamp: 0xd83_33e6, size: 0x104_6000 };
        let id = symbols('A').id.unwrap();
        assert_eq!(cache.pdb_of(&image), None);
        cache.remember(&image, &id).unwrap();
        assert_eq!(cache.pdb_of(&image), Some(id));
        assert_eq!(cache.pdb_of(&ImageId { size: 1, ..image.clone() }), None);
        std::fs::write(cache.image_path(&image), "../../x 12 1").unwrap();
        assert_eq!(cache.pdb_of(&image), None);
    }
    #[test]
    fn many_may_write_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().into());
        let s = symbols('C');
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        cache.store(&s, None).unwrap();
                        assert_eq!(cache.load(s.id.as_ref().unwrap()), Ok(Some(s.clone())));
                    }
                });
            }
        });
        let left = entries(cache.path(s.id.as_ref().unwrap()).parent().unwrap());
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
