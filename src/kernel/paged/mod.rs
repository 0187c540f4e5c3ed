//! Pages that are not in physical memory: page files given beside the dump, and the compressed store in it.
//!
//! [`Kernel`] is what its spaces ask ([`Sources`]). The stores are looked for when the first page is asked of them; a machine without any, or a dump of
//! which nobody asks, pays nothing.

mod decode;
mod decoded;
mod files;
mod given;
mod store;
mod tree;

pub use decode::Algorithm;
pub use files::{Listed, PageFiles};
pub use given::Given;
pub use store::Stores;

use crate::bytes::At;
use crate::kernel::Kernel;
use crate::paging::{Fault, Page, PageBytes, Sources};
use crate::value::{Absent, Note, Value};
use decoded::Decoded;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use store::NoPage;

/// What there is beside physical memory.
#[derive(Debug, Default)]
pub struct Paged {
    /// The page files that were given.
    pub files: PageFiles,
    /// Whether the kernel is whole, so that a store can be looked for.
    open: bool,
    stores: OnceLock<Result<Stores, String>>,
    decoded: Decoded,
    /// Why compressed pages could not be had, by [`NoPage::index`].
    lost: [AtomicBool; NoPage::ALL.len()],
}

impl Paged {
    /// What a kernel has once it is whole: from now on its stores can be asked.
    #[must_use]
    pub fn opened() -> Self {
        Self { open: true, ..Self::default() }
    }
    /// What could not be read so far, for the end of a run.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = Vec::new();
        match self.stores.get() {
            Some(Err(why)) => notes.push(Note::loss(format!("pages in the compressed store cannot be read: {why}"))),
            Some(Ok(stores)) => {
                if stores.of_other_build {
                    notes.push(Note::info(
                        "the compressed store is read with the offsets of another build; its own structures confirm them",
                    ));
                }
                if let Some((count, first)) = &stores.refused {
                    notes.push(Note::loss(format!("{count} compressed stores were not recognised; {first}")));
                }
            }
            None => {}
        }
        let lost = NoPage::ALL.iter().zip(&self.lost).filter(|(_, lost)| lost.load(Ordering::Relaxed));
        let lost: Vec<String> = lost.map(|(why, _)| why.to_string()).collect();
        if !lost.is_empty() {
            notes.push(Note::loss(format!("some compressed pages cannot be read: {}", lost.join("; "))));
        }
        notes
    }
}

impl Kernel {
    /// The compressed stores, looked for once.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn stores(&self) -> Result<&Stores, &str> {
        let find = || Stores::find(self, &self.paged.files);
        self.paged.stores.get_or_init(find).as_ref().map_err(String::as_str)
    }
    fn compressed(&self, number: u8, offset: u64) -> Value<Page> {
        let stores = self.stores().map_err(|_| Absent::Compressed)?;
        let key = stores.key(number, offset).ok_or(Absent::Implausible)?;
        if let Some(page) = self.paged.decoded.get(key.into()) {
            return Ok(page);
        }
        match stores.page(self, &self.paged.files, key) {
            Ok((from, bytes)) => Ok(self.paged.decoded.put(key.into(), from, bytes)),
            Err(why) => {
                if let Some(lost) = self.paged.lost.get(why.index()) {
                    lost.store(true, Ordering::Relaxed);
                }
                Err(Absent::Compressed)
            }
        }
    }
}

impl Sources for Kernel {
    fn find(&self, fault: Fault) -> Value<Page> {
        match fault {
            Fault::Compressed { number, offset } if self.paged.open => self.compressed(number, offset),
            fault => self.paged.files.find(fault),
        }
    }
    fn page(&self, at: At) -> Option<&PageBytes> {
        match at {
            At::Decoded { slot, .. } => self.paged.decoded.page(slot),
            at @ At::Stored(_) => self.paged.files.page(at),
        }
    }
}
