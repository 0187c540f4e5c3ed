//! A process's user half while it is being built: pages, a heap to place things in, and the list of regions.

use super::files::{DataMap, Mapped};
use crate::machine::Machine;
use crate::memory::{Mode, PAGE, Space, Use, flags};
use crate::truth::Json;

/// What backs a region.
#[derive(Debug, Clone)]
pub enum Backing {
    /// Nothing, with the `VadType`: 0 private memory, 1 device memory, 3 AWE, 4 write watch, 5 large pages, 6 rotating.
    Private(u64),
    /// An executable file.
    Image(Box<Mapped>),
    /// A section that is no image.
    Data(Box<DataMap>),
}

/// A region that gets a VAD.
#[derive(Debug, Clone)]
pub struct Region {
    /// First address.
    pub start: u64,
    /// Last address.
    pub end: u64,
    /// Protection code.
    pub protection: u64,
    /// Committed pages.
    pub commit: u64,
    /// Backing.
    pub backing: Backing,
}

/// The user half.
pub struct User {
    /// The address space.
    pub space: Space,
    /// Start of the 2 MB in which stacks, heap, TEBs and PEB lie.
    pub area: u64,
    heap: u64,
    /// Regions.
    pub regions: Vec<Region>,
    /// Pages in other states than present.
    pub paging: Vec<Json>,
}

/// Private, writable, not executable.
pub const DATA: u64 = flags::USER | flags::NX;
/// Offsets inside the area.
pub const HEAP: u64 = 0x10_0000;
const HEAP_END: u64 = 0x18_0000;

impl User {
    /// An empty user half with a top table of its own.
    pub fn new(m: &mut Machine, narrow: bool) -> User {
        let root = m.mem.take_high(Use::Table);
        let mode = m.kernel.mode;
        let area = match (mode.wide(), m.tight) {
            _ if narrow => 0x1000_0000 + (m.rng.below(0x100) << 21),
            (false, _) => 0x1000_0000 + (m.rng.below(0x100) << 21),
            // The 2 MB before those of the shared page: fewer tables.
            (true, true) => 0x7F80_0000 + (m.rng.below(3) << 21),
            (true, false) => m.rng.within(0x20, 0x7F) << 32 | m.rng.below(0x700) << 21,
        };
        // Tables of four entries stand anywhere in a page.
        let inside = if mode == Mode::Pae { 0x20 * m.rng.below(0x80) } else { 0 };
        let space = Space::new(mode, root, inside);
        if mode == Mode::Pae {
            let directories = [(); 4].map(|()| m.mem.take(Use::Table));
            space.directories(&mut m.mem, directories);
        }
        User { space, area, heap: area + HEAP, regions: Vec::new(), paging: Vec::new() }
    }

    /// Makes a private page present.
    pub fn page(&mut self, m: &mut Machine, va: u64, bits: u64) {
        if !self.space.pages.contains_key(&(va / PAGE)) {
            let frame = m.mem.take(Use::User);
            self.space.map(&mut m.mem, va & !(PAGE - 1), frame, bits);
        }
    }

    /// Writes, making pages present.
    pub fn write(&mut self, m: &mut Machine, va: u64, bytes: &[u8]) {
        for page in va / PAGE..=(va + bytes.len().max(1) as u64 - 1) / PAGE {
            self.page(m, page * PAGE, DATA);
        }
        self.space.write(&mut m.mem, va, bytes);
    }

    /// Room in the heap.
    pub fn alloc(&mut self, len: u64) -> u64 {
        let at = self.heap.next_multiple_of(16);
        self.heap = at + len;
        assert!(self.heap < self.area + HEAP_END, "the heap is full");
        at
    }

    /// UTF-16 text with its terminator in the heap.
    pub fn text(&mut self, m: &mut Machine, text: &str) -> u64 {
        let bytes: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let at = self.alloc(bytes.len() as u64);
        self.write(m, at, &bytes);
        at
    }

    /// Pages of the heap in use.
    pub fn heap_pages(&self) -> u64 {
        (self.heap - self.area - HEAP).div_ceil(PAGE)
    }

    /// Maps an image: what is in memory of it becomes present.
    pub fn map_image(&mut self, m: &mut Machine, file: &Mapped) {
        for (page, frame, bits) in &file.resident {
            self.space.map(&mut m.mem, file.file.base + page * PAGE, *frame, *bits);
        }
        self.regions.push(Region {
            start: file.file.base,
            end: file.file.base + file.file.size - 1,
            protection: 7,
            commit: 2,
            backing: Backing::Image(Box::new(file.clone())),
        });
    }

    /// Maps a section's pages, of which the first is in memory.
    pub fn map_data(&mut self, m: &mut Machine, at: u64, map: &DataMap, frame: u64, protection: u64) {
        let bits = flags::P | flags::U | 0x20 | flags::NX | if protection & 7 == 4 { flags::W } else { 0 };
        self.space.map(&mut m.mem, at, frame, bits);
        self.regions.push(Region {
            start: at,
            end: at + map.size - 1,
            protection,
            commit: 0,
            backing: Backing::Data(Box::new(map.clone())),
        });
    }

    /// Adds a private region of some `VadType`.
    pub fn special(&mut self, start: u64, pages: u64, commit: u64, protection: u64, kind: u64) {
        self.private(start, pages, commit, protection);
        if let Some(r) = self.regions.last_mut() {
            r.backing = Backing::Private(kind);
        }
    }

    /// Adds a private region.
    pub fn private(&mut self, start: u64, pages: u64, commit: u64, protection: u64) {
        self.regions.push(Region {
            start,
            end: start + pages * PAGE - 1,
            protection,
            commit,
            backing: Backing::Private(0),
        });
    }
}
