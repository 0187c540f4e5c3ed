//! The compressed store: from a page's key to its bytes.
//!
//! Since Windows 10 what the memory manager calls a page file can be a table of compressed pages in the memory of a process of its own,
//! `MemCompression`. No public PDB describes it beyond `SmGlobals`; offsets are of the kernels that Mandiant (14393 to 18362) and MemProcFS (to 26100)
//! read. So they are not taken on trust: a store counts only where its own structures confirm the offsets ([`Store::read`]).

use super::decode::Algorithm;
use super::files::PageFiles;
use super::tree::{self, NoValue};
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::{At, Stored};
use crate::kernel::Kernel;
use crate::paging::{PageBytes, Space};
use std::fmt;

/// Offsets that moved between builds.
#[derive(Clone, Copy, Debug)]
struct Shape {
    /// The first build of this shape.
    from: u32,
    globals: Globals,
    /// Keys begin with the page file's number.
    numbered: bool,
    /// In the store: `CompressionFormat`, the array of regions, the owner's `_EPROCESS`.
    format: Option<u64>,
    regions: u64,
    owner: u64,
    algorithm: Algorithm,
}

/// Where the table of stores begins.
#[derive(Clone, Copy, Debug)]
enum Globals {
    /// At `SmGlobals`.
    There,
    /// So many bytes before what the pointer at `SmGlobals + 0` names.
    Before(u64, u64),
}

const XPRESS: Shape = Shape {
    from: 14393,
    globals: Globals::There,
    numbered: true,
    format: Some(0x420),
    regions: 0x17a8,
    owner: 0x1918,
    algorithm: Algorithm::Xpress,
};

/// By build, oldest first.
const SHAPES: [Shape; 6] = [
    XPRESS,
    Shape { from: 15063, regions: 0x1828, owner: 0x1988, ..XPRESS },
    Shape { from: 16299, format: Some(0x430), regions: 0x1848, owner: 0x19a8, ..XPRESS },
    Shape { from: 19041, format: Some(0x430), regions: 0x1848, owner: 0x19b8, ..XPRESS },
    Shape {
        from: 22601,
        globals: Globals::Before(0x08, 0x7a8),
        format: Some(0x430),
        regions: 0x1848,
        owner: 0x19b8,
        ..XPRESS
    },
    Shape {
        from: 26100,
        globals: Globals::Before(0x10, 0xc30),
        numbered: false,
        format: None,
        regions: 0x1b70,
        owner: 0x1d08,
        algorithm: Algorithm::Lz4,
    },
];

/// From the table of stores on, the same in all of them.
const TREE_OF_STORES: u64 = 0x1c0;
/// Stores of one array, and bytes of each entry.
const STORES: (u64, u64) = (32, 0x28);
/// In a store: the tree of pages; the chunks of records; mask and shift of a location, bytes before each page, what encrypts; a pointer to itself.
const TREE_OF_PAGES: u64 = 0x50;
const CHUNKS: u64 = 0x110;
const ITSELF: u64 = 0x370;
const LOCATION_MASK: u64 = 0x378;
const LOCATION_SHIFT: u64 = 0x37c;
const BEFORE_PAGE: u64 = 0x388;
const ENCRYPTION: u64 = 0x448;
/// `COMPRESSION_FORMAT_XPRESS`.
const FORMAT_XPRESS: u64 = 3;
/// A record that names another.
const ELSEWHERE: u32 = u32::MAX;
/// Records that are followed from one to the next.
const MOST_HOPS: u32 = 16;

/// One store.
#[derive(Clone, Copy, Debug)]
struct Store {
    at: Va,
    owner: Pa,
    regions: Va,
    tree: Va,
    /// Of a record's key: what is shifted away, what is masked; bytes of a record, and before the first.
    chunk_shift: u32,
    chunk_mask: u32,
    record: u64,
    chunk_header: u64,
    location_mask: u32,
    location_shift: u32,
    before_page: u64,
    encrypted: bool,
    algorithm: Algorithm,
}

/// All stores of a machine.
#[derive(Debug)]
pub struct Stores {
    shape: Shape,
    tree: Va,
    /// By index.
    stores: Vec<(u32, Store)>,
    /// The process whose memory they are in.
    pub owner: Va,
    /// Whether the offsets are those of another build, confirmed by the dump nevertheless.
    pub of_other_build: bool,
    /// Stores that were passed over, and why the first was.
    pub refused: Option<(u32, String)>,
}

/// Why a page cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPage {
    /// A tree does not lead to it.
    Tree(NoValue),
    /// The store that it is in was not found or not confirmed, or the key is marked as no longer in use.
    NoStore,
    /// Its record cannot be read.
    Record,
    /// Its record names another, and that one another, without end.
    Endless,
    /// The memory its bytes are in cannot be read.
    Bytes,
    /// Its bytes make no page.
    Damaged,
    /// The store is encrypted.
    Encrypted,
}

impl NoPage {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Tree(NoValue::NoKey),
        Self::Tree(NoValue::Node(Va(0))),
        Self::NoStore,
        Self::Record,
        Self::Endless,
        Self::Bytes,
        Self::Damaged,
        Self::Encrypted,
    ];
    /// Its place among them.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Tree(NoValue::NoKey) => 0,
            Self::Tree(NoValue::Node(_)) => 1,
            Self::NoStore => 2,
            Self::Record => 3,
            Self::Endless => 4,
            Self::Bytes => 5,
            Self::Damaged => 6,
            Self::Encrypted => 7,
        }
    }
}

impl fmt::Display for NoPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(why) => why.fmt(f),
            Self::NoStore => f.write_str("the store they name is not there, or was not recognised"),
            Self::Record => f.write_str("their records cannot be read"),
            Self::Endless => f.write_str("their records name each other without end"),
            Self::Bytes => {
                f.write_str("the memory that holds them cannot be read (it may be in a page file that was not given)")
            }
            Self::Damaged => f.write_str("their bytes do not decompress to a page"),
            Self::Encrypted => f.write_str("the store is encrypted"),
        }
    }
}

/// The spaces that a store is read through: neither asks the store again.
struct Readers<'k> {
    kernel: Space<'k>,
    files: &'k PageFiles,
}

impl<'k> Readers<'k> {
    fn of(kernel: &'k Kernel, files: &'k PageFiles) -> Self {
        let space = Space::new(&kernel.dump, kernel.mode, kernel.root).with_format(kernel.format).with_sources(files);
        Self { kernel: space, files }
    }
    fn number(&self, at: Va, size: u32) -> Option<u64> {
        self.kernel.number(at, size).ok()
    }
    fn long(&self, at: Va) -> Option<u32> {
        self.number(at, 4).and_then(|n| u32::try_from(n).ok())
    }
    /// A pointer into the kernel half.
    fn pointer(&self, at: Va) -> Option<Va> {
        self.number(at, 8).map(Va).filter(|va| va.0 >> 63 == 1)
    }
    fn owner(&self, kernel: &'k Kernel, root: Pa) -> Space<'k> {
        Space::new(&kernel.dump, kernel.mode, root)
            .with_format(kernel.format)
            .with_kernel(kernel.root)
            .with_sources(self.files)
    }
}

impl Stores {
    /// Finds the stores.
    ///
    /// # Errors
    /// Why nothing of them can be read.
    pub fn find(kernel: &Kernel, files: &PageFiles) -> Result<Self, String> {
        let readers = Readers::of(kernel, files);
        if readers.kernel.pointer_size() != 8 {
            return Err("the structures of 32-bit Windows are not known".into());
        }
        let build = kernel.build.unwrap_or(u32::MAX);
        let globals = kernel.symbol("SmGlobals").or_else(|| by_section(kernel, &readers));
        let globals = globals.ok_or("no symbol says where the kernel keeps it (SmGlobals)")?;
        let own = SHAPES.iter().rev().find(|shape| shape.from <= build).unwrap_or(&XPRESS);
        // Updates can bring an older build what a newer one has, and no symbol tells.
        let others = SHAPES.iter().rev().filter(|shape| shape.from != own.from);
        let mut first = None;
        for shape in std::iter::once(own).chain(others) {
            match Self::of_shape(kernel, &readers, globals, shape) {
                Ok(found) => {
                    return Ok(Self { of_other_build: shape.from != own.from || kernel.build.is_none(), ..found });
                }
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_default())
    }
    fn of_shape(kernel: &Kernel, readers: &Readers<'_>, globals: Va, shape: &Shape) -> Result<Self, String> {
        let base = match shape.globals {
            Globals::There => Some(globals),
            Globals::Before(at, back) => readers.pointer(globals.add(at)).map(|va| va.sub(back)),
        };
        let base = base.ok_or_else(|| format!("its globals at {globals} cannot be read"))?;
        let tree = readers.pointer(base.add(TREE_OF_STORES)).filter(|va| va.offset_in_page() == 0);
        let tree = tree.ok_or_else(|| format!("there is no tree of stores at {}", base.add(TREE_OF_STORES)))?;
        let (mut stores, mut refused, mut owner) = (Vec::new(), None::<(u32, String)>, None);
        for block in 0..STORES.0 {
            let Some(array) = readers.pointer(base.add(block.wrapping_mul(8))) else { continue };
            for i in 0..STORES.0 {
                let Some(at) = readers.pointer(array.add(i.wrapping_mul(STORES.1))) else { continue };
                let index = u32::try_from(block.wrapping_mul(STORES.0).wrapping_add(i)).unwrap_or(u32::MAX);
                match Store::read(kernel, readers, at, shape) {
                    Ok((store, process)) => {
                        owner.get_or_insert(process);
                        stores.push((index, store));
                    }
                    Err(why) => {
                        let (count, _) = refused.get_or_insert_with(|| (0, format!("store {index} at {at}: {why}")));
                        *count = count.saturating_add(1);
                    }
                }
            }
        }
        match (owner, &refused) {
            (Some(owner), _) => Ok(Self { shape: *shape, tree, stores, owner, of_other_build: false, refused }),
            (None, Some((_, why))) => Err(why.clone()),
            (None, None) => Err("there is no store".into()),
        }
    }
    /// Stores that can be read.
    #[must_use]
    pub fn count(&self) -> usize {
        self.stores.len()
    }
    /// How they compress.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.shape.algorithm
    }
    /// The key of a page, by what its entry says.
    #[must_use]
    pub fn key(&self, number: u8, offset: u64) -> Option<u32> {
        let page = u32::try_from(offset).ok()?;
        Some(if self.shape.numbered { u32::from(number).checked_shl(28)? | page } else { page & 0x0fff_ffff })
    }
    /// The page of a key, and where what it is made of begins.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn page(&self, kernel: &Kernel, files: &PageFiles, key: u32) -> Result<(Stored, Box<PageBytes>), NoPage> {
        let readers = &Readers::of(kernel, files);
        let found = tree::value(&readers.kernel, self.tree, key).map_err(NoPage::Tree)?;
        // Bit 24: the key is no longer in use.
        let index = if found & 1 << 24 == 0 { found & 0x3ff } else { return Err(NoPage::NoStore) };
        let at = self.stores.binary_search_by_key(&index, |(i, _)| *i).map_err(|_| NoPage::NoStore)?;
        let (_, store) = self.stores.get(at).ok_or(NoPage::NoStore)?;
        if store.encrypted {
            return Err(NoPage::Encrypted);
        }
        let mut chunk = tree::value(&readers.kernel, store.tree, key).map_err(NoPage::Tree)?;
        for _ in 0..MOST_HOPS {
            let (location, size) = store.record(readers, chunk).ok_or(NoPage::Record)?;
            if location != ELSEWHERE {
                return store.bytes(kernel, readers, location, size);
            }
            chunk = size;
        }
        Err(NoPage::Endless)
    }
}

impl Store {
    /// Reads a store, and holds the offsets against it: it is page-aligned and names itself, its owner is a process that has a root and is named
    /// `MemCompression`, it compresses as this shape does, and its regions lie in that process's half.
    ///
    /// # Errors
    /// What does not fit.
    fn read(kernel: &Kernel, readers: &Readers<'_>, at: Va, shape: &Shape) -> Result<(Self, Va), String> {
        if at.offset_in_page() != 0 {
            return Err("it does not begin with a page".into());
        }
        if readers.number(at.add(ITSELF), 8) != Some(at.0) {
            return Err("it does not name itself where stores do".into());
        }
        let owner = readers.pointer(at.add(shape.owner)).ok_or("it names no owner")?;
        let process = kernel.process_at(&readers.kernel, owner).map_err(|e| e.to_string())?;
        if !process.name().is_ok_and(|name| name == "MemCompression") {
            return Err(format!("its owner at {owner} is not MemCompression"));
        }
        let root = process.dtb().map_err(|why| format!("the owner's page tables are {why}"))?;
        if let Some(format) = shape.format
            && readers.number(at.add(format), 2) != Some(FORMAT_XPRESS)
        {
            return Err("it does not compress as stores of this build do".into());
        }
        let long =
            |offset: u64| readers.long(at.add(offset)).ok_or_else(|| format!("{} cannot be read", at.add(offset)));
        let shift = |offset| long(offset).map(|n| n & 0xff);
        let of_chunks = |offset: u64| CHUNKS.wrapping_add(offset);
        let regions = readers.pointer(at.add(shape.regions)).ok_or("it names no regions")?;
        let store = Self {
            at,
            owner: root,
            regions,
            tree: readers.pointer(at.add(TREE_OF_PAGES)).ok_or("it has no tree of pages")?,
            chunk_shift: shift(of_chunks(0x108))?,
            chunk_mask: long(of_chunks(0x10c))?,
            record: long(of_chunks(0x110))?.into(),
            chunk_header: long(of_chunks(0x118))?.into(),
            location_mask: long(LOCATION_MASK)?,
            location_shift: shift(LOCATION_SHIFT)?,
            before_page: long(BEFORE_PAGE)?.into(),
            encrypted: readers
                .pointer(at.add(ENCRYPTION))
                .is_some_and(|keys| readers.long(keys.add(0x18)).is_none_or(|n| n != 0)),
            algorithm: shape.algorithm,
        };
        if store.chunk_shift >= 32 || store.location_shift >= 32 || store.record < 8 || store.record > PAGE_SIZE {
            return Err("its geometry is not that of a store".into());
        }
        Ok((store, owner))
    }
    /// Location and size field of a record.
    fn record(&self, readers: &Readers<'_>, key: u32) -> Option<(u32, u32)> {
        let chunk = key.checked_shr(self.chunk_shift)?;
        // Chunks come in arrays of one, two, four …
        let array = chunk.checked_ilog2()?;
        let within = u64::from(chunk ^ 1u32.checked_shl(array)?);
        let first = readers.pointer(self.at.add(CHUNKS).add(u64::from(array).wrapping_mul(8)))?;
        let page = readers.pointer(first.add(within.wrapping_mul(16)))?;
        let index = u64::from(key & self.chunk_mask);
        let at = page.add(self.chunk_header).add(self.record.checked_mul(index)?);
        Some((readers.long(at)?, readers.long(at.add(4))?))
    }
    /// The page that lies at a location.
    fn bytes(
        &self,
        kernel: &Kernel,
        readers: &Readers<'_>,
        location: u32,
        size: u32,
    ) -> Result<(Stored, Box<PageBytes>), NoPage> {
        let region = u64::from(location.checked_shr(self.location_shift).ok_or(NoPage::Record)?);
        let region = readers.number(self.regions.add(region.wrapping_mul(8)), 8).ok_or(NoPage::Bytes)?;
        // The pointer's low bits and its top are flags.
        let region = Va(region & 0x7fff_ffff_0000);
        if region.is_null() {
            return Err(NoPage::Bytes);
        }
        let at = region.add(u64::from(location & self.location_mask).wrapping_mul(16)).add(self.before_page);
        // Only the low twelve bits count, and none of them set is a page that was not compressed.
        let (length, plain) = match size & 0xfff {
            0 => (0x1000, true),
            length => (length, false),
        };
        let owner = readers.owner(kernel, self.owner);
        let bytes = owner.fetch(at, length);
        let stored = bytes.all().map_err(|_| NoPage::Bytes)?;
        let from = bytes.place(0).file.map(At::stored).ok_or(NoPage::Bytes)?;
        let page = if plain {
            stored.try_into().ok().map(Box::new)
        } else {
            // Stores made before an update may still be of the older kind.
            let older = || (self.algorithm == Algorithm::Lz4).then(|| Algorithm::Xpress.page(stored)).flatten();
            self.algorithm.page(stored).or_else(older)
        };
        Ok((from, page.ok_or(NoPage::Damaged)?))
    }
}

/// `SmGlobals` without symbols: it lies in the first page of the kernel's section `CACHEALI`. There a pointer to pool with the tag of the array of
/// stores, and a page-aligned one behind it, stand in a distance that nothing else has.
fn by_section(kernel: &Kernel, readers: &Readers<'_>) -> Option<Va> {
    let image = crate::kernel::image::Image::read(&readers.kernel, kernel.base).ok()?;
    let section = image.sections.iter().find(|s| s.name == "CACHEALI")?;
    let start = kernel.base.add(section.rva.into());
    let tag = |array: Va| readers.kernel.fetch(array.sub(12), 4).all().is_ok_and(|tag| tag == b"smSa");
    (0..PAGE_SIZE / 8).map(|i| start.add(i.wrapping_mul(8))).find(|at| {
        let array = readers.pointer(*at).filter(|array| array.0.is_multiple_of(16) && tag(*array));
        let tree = readers.pointer(at.add(TREE_OF_STORES)).filter(|tree| tree.offset_in_page() == 0);
        array.is_some() && tree.is_some()
    })
}
