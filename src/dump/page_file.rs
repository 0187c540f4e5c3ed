//! A page file beside the dump: no header, page N at byte 4096 N. Mapped, not read.

use super::map::Map;
use crate::addr::PAGE_SIZE;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// An opened page file.
#[derive(Debug)]
pub struct PageFile {
    path: PathBuf,
    map: Map,
}

impl PageFile {
    /// Maps a page file. It is read where it lies, as a dump is ([`Dump::open`](super::Dump::open)).
    ///
    /// # Errors
    /// The file cannot be read, or holds a crash dump instead. Windows writes one into the page file, and until the next start has copied it away
    /// the file's pages are not those of processes.
    pub fn open(path: &Path) -> Result<Self> {
        let map = Map::open(path)?;
        let not = |what: &str| Err(Error::NotADump { path: path.into(), what: what.into() });
        if map.starts_with(b"PAGEDU64") || map.starts_with(b"PAGEDUMP") {
            return not(
                "it holds a crash dump that Windows wrote into its page file, not pages of processes; open it as a dump of its own",
            );
        }
        if (map.len() as u64) < PAGE_SIZE {
            return not("it is smaller than a page: no page file; was it copied completely?");
        }
        Ok(Self { path: path.into(), map })
    }
    /// Its path, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Pages it has, without a torn last one.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.map.len() as u64 / PAGE_SIZE
    }
    /// The page at a byte offset. `None` past its end: what stood there is not known.
    #[must_use]
    pub fn page_at(&self, offset: u64) -> Option<&[u8; PAGE_SIZE as usize]> {
        self.map.page(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_file_is_pages_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pagefile.sys");
        let write = |bytes: &[u8]| std::fs::write(&path, bytes).unwrap();
        let mut bytes = vec![1; 4096];
        bytes.extend([2; 4097]);
        write(&bytes);
        let file = PageFile::open(&path).unwrap();
        assert_eq!(file.page_count(), 2);
        assert_eq!(file.page_at(4096), Some(&[2; 4096]));
        // The torn page at the end and what lies behind it are no pages of zeros.
        assert_eq!((file.page_at(8192), file.page_at(u64::MAX)), (None, None));
        drop(file);
        bytes[..8].copy_from_slice(b"PAGEDU64");
        write(&bytes);
        assert!(PageFile::open(&path).unwrap_err().to_string().contains("holds a crash dump"));
        write(b"too short");
        assert!(PageFile::open(&path).unwrap_err().to_string().contains("smaller than a page"));
    }
}
