//! Page files: which the kernel says there are, and which were given beside the dump.

use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::{At, Stored};
use crate::dump::PageFile;
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::{Fault, Page, PageBytes, Sources, Space};
use crate::symbols::layout::{Bits, Counted};
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// Page files Windows can have (`_MI_VISIBLE_PARTITION.PagingFile` has 16 places).
pub const MOST: u8 = 16;

layout! {
    /// `_MMPAGING_FILE`.
    pub struct PagingFileLayout: "_MMPAGING_FILE" {
        /// Pages it has at present.
        size: u64 = "Size",
        /// Pages that are not in use.
        free: u64 = "FreeSpace",
        /// `\??\C:\pagefile.sys`; of the compressed store, none.
        name: Counted = "PageFileName",
        /// Its number, as entries have it.
        number: Bits = "PageFileNumber",
        /// It is the compressed store.
        virtual_store: Bits = "VirtualStorePagefile",
        /// It is the file of pages of suspended apps.
        swap: Bits = "WsSwapPagefile",
    }
}

/// A page file, as the kernel lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number.
    pub number: u8,
    /// Where the kernel's record of it lies.
    pub at: Va,
    /// Its path in Windows' own form.
    pub name: Value<Text>,
    /// Its pages.
    pub pages: Value<u64>,
    /// Pages in use.
    pub used: Value<u64>,
    /// Whether it is no file but the compressed store.
    pub virtual_store: bool,
}

impl Listed {
    /// `pagefile.sys`, without the folder.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        let name: &str = self.name.as_deref().ok()?;
        name.rsplit('\\').next().filter(|n| !n.is_empty())
    }
}

impl Kernel {
    /// The page files by `MiSystemPartition.Vp.PagingFile`: those of the machine's own partition, which is where all of Windows' are.
    ///
    /// # Errors
    /// The symbols do not tell ([`Absent::NoSymbol`], [`Absent::NotInBuild`] before Windows 10), or the list cannot be read.
    pub fn page_files(&self, space: &Space<'_>) -> Value<Vec<Listed>> {
        let partition = self.global("MiSystemPartition").ok_or(Absent::NoSymbol)?;
        let files = self.symbols.types.member("_MI_PARTITION", "Vp.PagingFile").ok_or(Absent::NotInBuild)?;
        let layout = self.layout::<PagingFileLayout>().map_err(|_| Absent::NoSymbol)?;
        let list = partition.add(files.offset.into());
        let pointer = |i: u8| space.pointer(list.add(u64::from(i).wrapping_mul(space.pointer_size().into())));
        pointer(0)?;
        let listed = (0..MOST).filter_map(|i| {
            let at = pointer(i).ok().filter(|at| !at.is_null())?;
            let v = space.view(layout, at);
            let number = v.number().ok().and_then(|n| u8::try_from(n).ok()).unwrap_or(i);
            let name = v.name().and_then(|name| space.text(name));
            let (pages, free) = (v.size(), v.free());
            let used = pages.and_then(|pages| pages.checked_sub(free?).ok_or(Absent::Implausible));
            let virtual_store = v.virtual_store() == Ok(1);
            Some(Listed { number, at, name, pages, used, virtual_store })
        });
        Ok(listed.collect())
    }
}

/// The page files that were given, by number.
#[derive(Debug, Default)]
pub struct PageFiles {
    by_number: [Option<PageFile>; MOST as usize],
}

impl PageFiles {
    /// Takes one in.
    ///
    /// # Errors
    /// There is one of this number already, or Windows has no such number.
    pub fn insert(&mut self, number: u8, file: PageFile) -> Result<(), String> {
        let place = self.by_number.get_mut(usize::from(number));
        let place =
            place.ok_or_else(|| format!("there is no page file {number}: Windows has at most {MOST}, from 0 on"))?;
        match place {
            Some(other) => Err(format!("page file {number} was given already: {}", other.path().display())),
            None => {
                *place = Some(file);
                Ok(())
            }
        }
    }
    /// Takes one out again.
    pub fn remove(&mut self, number: u8) {
        if let Some(place) = self.by_number.get_mut(usize::from(number)) {
            *place = None;
        }
    }
    /// The one of this number.
    #[must_use]
    pub fn get(&self, number: u8) -> Option<&PageFile> {
        self.by_number.get(usize::from(number))?.as_ref()
    }
    /// Whether none was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_number.iter().all(Option::is_none)
    }
}

impl Sources for PageFiles {
    fn find(&self, fault: Fault) -> Value<Page> {
        let Fault::PageFile { number: Some(number), offset } = fault else { return Err(fault.into()) };
        let file = self.get(number).filter(|file| offset < file.page_count()).ok_or(Absent::PagedOut)?;
        let byte = offset.checked_mul(PAGE_SIZE).ok_or(Absent::Implausible)?;
        file.page_at(byte).ok_or(Absent::PagedOut)?;
        Ok(Page::Kept(At::Stored(Stored::page_file(number, byte))))
    }
    fn page(&self, at: At) -> Option<&PageBytes> {
        match at {
            At::Stored(at) => self.get(at.file()?)?.page_at(at.offset()),
            At::Decoded { .. } => None,
        }
    }
}
