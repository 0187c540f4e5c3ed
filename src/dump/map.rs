//! The file in memory: mapped read-only, nothing copied.

use crate::addr::PAGE_SIZE;
use crate::error::{Error, Result};
use crate::regular;
#[cfg(unix)]
use memmap2::Advice;
use memmap2::{Mmap, MmapMut};
use std::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A read-only view of a whole file.
///
/// Walks touch one page here and one there. The system, which does not know that, would read 128 KiB around each page that it does not
/// hold: on a cold file of 64 GiB that was 40 times the time. So it is told; who reads all of memory in order says so
/// ([`read_through`](Self::read_through)). Windows reads in clusters of its own choice and takes no such advice for a mapped file.
pub struct Map {
    map: Mmap,
    /// How many read it from end to end just now.
    readers: Mutex<u32>,
}

/// While it lives, the system reads ahead.
pub struct ReadThrough<'m>(&'m Map);

impl Drop for ReadThrough<'_> {
    fn drop(&mut self) {
        self.0.count(|readers| readers.saturating_sub(1));
    }
}

impl Map {
    /// Maps a file.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.into(), source };
        let not = |what: &str| Error::NotADump { path: path.into(), what: what.into() };
        if std::fs::metadata(path).map_err(io)?.is_dir() {
            return Err(not("a directory; name the dump file in it"));
        }
        let file = regular::open(path).map_err(io)?;
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
        let map = Self { map, readers: Mutex::new(0) };
        map.count(|readers| readers);
        Ok(map)
    }
    /// Says that all of the file is about to be read in order.
    pub fn read_through(&self) -> ReadThrough<'_> {
        self.count(|readers| readers.saturating_add(1));
        ReadThrough(self)
    }
    fn count(&self, change: impl FnOnce(u32) -> u32) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        *readers = change(*readers);
        #[cfg(unix)]
        {
            let advice = if *readers == 0 { Advice::Random } else { Advice::Sequential };
            // Advice: where the system does not take it, reading is only slower.
            if let Err(e) = self.map.advise(advice) {
                log::debug!("madvise: {e}");
            }
        }
    }
    /// The page at an offset, if the file has all of it.
    #[inline]
    pub fn page(&self, offset: u64) -> Option<&[u8; PAGE_SIZE as usize]> {
        let from = usize::try_from(offset).ok()?;
        self.get(from..from.checked_add(PAGE_SIZE as usize)?)?.try_into().ok()
    }
    /// Bytes that are in no file: for tests and fuzzing.
    pub fn from_bytes(bytes: &[u8]) -> std::io::Result<Self> {
        let mut map = MmapMut::map_anon(bytes.len())?;
        map.copy_from_slice(bytes);
        Ok(Self { map: map.make_read_only()?, readers: Mutex::new(0) })
    }
}
impl Deref for Map {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}
impl std::fmt::Debug for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Map({} bytes)", self.len())
    }
}
