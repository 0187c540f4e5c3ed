//! The file in memory: mapped read-only, nothing copied.

use crate::error::{Error, Result};
use memmap2::{Mmap, MmapMut};
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// A read-only view of a whole file.
pub struct Map(Mmap);

impl Map {
    /// Maps a file.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.into(), source };
        let not = |what: &str| Error::NotADump { path: path.into(), what: what.into() };
        let meta = std::fs::metadata(path).map_err(io)?;
        if meta.is_dir() {
            return Err(not("a directory; name the dump file in it"));
        }
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length == 0 {
            return Err(not("the file is empty (0 bytes); was it copied completely?"));
        }
        if usize::try_from(length).is_err() {
            return Err(not("the file is larger than this machine's address space; use a 64-bit machine"));
        }
        // SAFETY: a mapping is undefined behaviour when someone else writes to the file while it is mapped. The map is
        // read-only and private to this value; a dump is evidence and is not written to while it is analysed, and no
        // decision that memory safety depends on is read twice from it (lengths are checked on the slice that is used).
        // A file cut short meanwhile raises SIGBUS on Unix, which ends the process without touching memory (the command
        // line says why first); Windows refuses to cut a mapped file.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Self(map))
    }
    /// Bytes that are in no file: for tests and fuzzing.
    pub fn from_bytes(bytes: &[u8]) -> std::io::Result<Self> {
        let mut map = MmapMut::map_anon(bytes.len())?;
        map.copy_from_slice(bytes);
        map.make_read_only().map(Self)
    }
}
impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Map({} bytes)", self.len())
    }
}
