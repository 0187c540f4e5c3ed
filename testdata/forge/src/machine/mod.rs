//! The machine being built: physical memory, the kernel's address space, pools, and how objects get into them.

mod header;
mod obj;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use header::{Header, TYPES_5, TYPES_7, TYPES_8, TYPES_10};
pub use obj::{Obj, store};

use crate::layout::Layouts;
use crate::memory::{Mode, PAGE, Physical, Plan, Pool, PoolKind, Space, Use, flags};
use crate::rng::Rng;

/// Where the kernel keeps what; the scenario says, or chance does where Windows randomises.
#[derive(Debug, Clone)]
pub struct Regions {
    /// Kernel image.
    pub kernel: u64,
    /// Non-paged pool.
    pub nonpaged: u64,
    /// Non-paged pool in a large page.
    pub large: u64,
    /// Paged pool.
    pub paged: u64,
    /// Kernel stacks (system PTEs).
    pub stacks: u64,
    /// Drivers.
    pub drivers: u64,
    /// Session space.
    pub session: u64,
    /// A 1 GB mapping.
    pub huge: u64,
    /// The database of page frames.
    pub pfn: u64,
    /// PML4 slot of the self-reference.
    pub self_map: u64,
}

/// Frames with a purpose.
#[derive(Debug, Clone)]
pub struct Frames {
    /// The System process's top table.
    pub root: u64,
    /// First frame of the large page under the non-paged pool, the first of its frames that the pool uses, and how many exist.
    pub large: (u64, u64, u64),
    /// First frame of the 1 GB mapping, and the frames of it that exist.
    pub huge: (u64, u64, u64),
}

/// The machine.
pub struct Machine {
    /// The kernel's layouts.
    pub layouts: Arc<Layouts>,
    /// Physical memory.
    pub mem: Physical,
    /// The System process's space: the kernel half all share.
    pub kernel: Space,
    /// Where things are.
    pub regions: Regions,
    /// Frames with a purpose.
    pub frames: Frames,
    /// Chance.
    pub rng: Rng,
    /// `ObHeaderCookie`, where the kernel has one.
    pub cookie: u8,
    /// Whether user space is laid out to need few tables.
    pub tight: bool,
    /// `MiState.Hardware.InvalidPteMask`, where the kernel has one.
    pub pte_mask: u64,
    /// Object types: name to index and address.
    pub types: BTreeMap<String, (u8, u64)>,
    /// Directories of the object namespace by path, filled when everything is planted.
    pub names: BTreeMap<String, Vec<(String, u64)>>,
    /// Number of objects of each type planted.
    pub counts: BTreeMap<String, u64>,
    nonpaged: Pool,
    large: Pool,
    paged: Pool,
    next_stack: u64,
}

impl Machine {
    /// An empty machine: the kernel's PML4 and the large mappings exist, nothing else.
    pub fn new(
        layouts: Arc<Layouts>,
        mode: Mode,
        plan: Plan,
        regions: Regions,
        frames: Frames,
        mut rng: Rng,
    ) -> Machine {
        // Its own chance: how many frames there are must not change where anything lies, or the second planting would need
        // another number of tables than the first.
        let mut mem = Physical::new(plan, &mut Rng::new(rng.word()));
        mem.claim(frames.root, Use::Table);
        let mut kernel = Space::new(mode, frames.root, 0);
        if mode == Mode::Pae {
            // The first process's directories follow their table, and tools look for just that.
            let directories = [1, 2, 3, 4].map(|i| frames.root + i);
            for frame in directories {
                mem.claim(frame, Use::Table);
            }
            kernel.directories(&mut mem, directories);
        }
        kernel.map_large(&mut mem, regions.large, frames.large.0, 2, flags::KERNEL | flags::NX);
        if mode.wide() {
            kernel.map_large(&mut mem, regions.huge, frames.huge.0, 3, flags::KERNEL | flags::NX);
        }
        for frame in frames.huge.1..frames.huge.1 + frames.huge.2 {
            mem.claim(frame, Use::Kernel);
            kernel.know(regions.huge + (frame - frames.huge.0) * PAGE, frame);
        }
        let cookie = if layouts.symbols.contains_key("ObHeaderCookie") { rng.within(1, 256) as u8 } else { 0 };
        let hardware = layouts.find("_MI_SYSTEM_INFORMATION", "Hardware.InvalidPteMask");
        let pte_mask = if mode != Mode::Arm && hardware.is_some() && layouts.symbols.contains_key("MiState") {
            1 << 45
        } else {
            0
        };
        let large = Pool::new(PoolKind::Large, regions.large + frames.large.1 * PAGE);
        let (nonpaged, paged) =
            (Pool::new(PoolKind::NonPaged, regions.nonpaged), Pool::new(PoolKind::Paged, regions.paged));
        let next_stack = regions.stacks;
        let (types, names, counts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Machine {
            layouts,
            mem,
            kernel,
            regions,
            frames,
            rng,
            cookie,
            tight: false,
            pte_mask,
            types,
            names,
            counts,
            nonpaged,
            large,
            paged,
            next_stack,
        }
    }

    /// A structure of that type, all zero.
    pub fn obj(&self, ty: &str) -> Obj {
        Obj::new(&self.layouts, ty)
    }

    /// Address of a kernel global.
    pub fn global(&self, symbol: &str) -> u64 {
        self.regions.kernel + self.layouts.rva(symbol)
    }

    /// Address of a kernel global that this kernel may not have.
    pub fn global_opt(&self, symbol: &str) -> Option<u64> {
        self.layouts.symbols.get(symbol).map(|rva| self.regions.kernel + rva)
    }

    /// Maps fresh pages so that `va..va+len` can be written.
    pub fn ensure(&mut self, va: u64, len: u64, bits: u64) {
        for page in va / PAGE..=(va + len.max(1) - 1) / PAGE {
            if !self.kernel.pages.contains_key(&page) {
                let frame = self.mem.take(Use::Kernel);
                self.kernel.map(&mut self.mem, page * PAGE, frame, bits);
            }
        }
    }

    /// Writes into the kernel half.
    pub fn write(&mut self, va: u64, bytes: &[u8]) {
        self.kernel.write(&mut self.mem, va, bytes);
    }

    /// Writes into the kernel image's data, mapping the page if need be.
    pub fn plant(&mut self, va: u64, bytes: &[u8]) {
        self.ensure(va, bytes.len() as u64, flags::KERNEL | flags::NX);
        self.write(va, bytes);
    }

    /// Plants a pointer-sized number at a global, where the kernel has it.
    pub fn plant_word(&mut self, symbol: &str, value: u64) {
        if let Some(va) = self.global_opt(symbol) {
            self.plant(va, &self.word(value));
        }
    }

    /// Plants a 64-bit number at a global, where the kernel has it.
    pub fn plant_u64(&mut self, symbol: &str, value: u64) {
        if let Some(va) = self.global_opt(symbol) {
            self.plant(va, &value.to_le_bytes());
        }
    }

    /// Bytes a pointer takes.
    pub fn pointer(&self) -> u64 {
        self.layouts.pointer()
    }

    /// A pointer-sized number's bytes.
    pub fn word(&self, value: u64) -> Vec<u8> {
        value.to_le_bytes()[..self.pointer() as usize].to_vec()
    }

    /// Several pointer-sized numbers' bytes.
    pub fn words(&self, values: &[u64]) -> Vec<u8> {
        values.iter().flat_map(|v| self.word(*v)).collect()
    }

    /// Bytes a page-table entry takes.
    pub fn pte_size(&self) -> u64 {
        self.layouts.size("_MMPTE")
    }

    /// Plants a 32-bit number at a global, where the kernel has it.
    pub fn plant_u32(&mut self, symbol: &str, value: u32) {
        if let Some(va) = self.global_opt(symbol) {
            self.plant(va, &value.to_le_bytes());
        }
    }

    /// A pointer-sized number in the kernel half.
    pub fn read_word(&self, va: u64) -> u64 {
        let mut raw = self.kernel.read(&self.mem, va, self.pointer());
        raw.resize(8, 0);
        u64::from_le_bytes(raw.try_into().expect("eight bytes"))
    }

    /// Changes one member of a structure already in memory.
    pub fn poke(&mut self, va: u64, ty: &str, path: &str, value: u64) {
        let place = self.layouts.place(ty, path);
        let mut bytes = self.kernel.read(&self.mem, va + place.offset, place.size);
        store(&mut bytes, crate::layout::Place { offset: 0, ..place }, value, path);
        self.write(va + place.offset, &bytes);
    }

    /// Links a list: the head and the entries in order, each given by the address of its `_LIST_ENTRY`.
    pub fn link(&mut self, head: u64, entries: &[u64]) {
        let ring: Vec<u64> = std::iter::once(head).chain(entries.iter().copied()).collect();
        for (i, at) in ring.iter().enumerate() {
            let (next, last) = (ring[(i + 1) % ring.len()], ring[(i + ring.len() - 1) % ring.len()]);
            self.write(*at, &self.words(&[next, last]));
        }
    }

    /// A block of `size` bytes in a pool; gives the address behind the pool header (or the page, for big blocks).
    pub fn alloc(&mut self, kind: PoolKind, tag: &[u8; 4], size: u64) -> u64 {
        let unit = self.layouts.size("_POOL_HEADER");
        if size + unit > PAGE {
            return self.alloc_big(kind, tag, size);
        }
        let total = (size + unit).next_multiple_of(unit);
        let (at, before) = match self.pool(kind).fit(total) {
            Some(found) => found,
            None => {
                let page = self.fresh_pages(kind, 1);
                self.pool(kind).open.push((page, total, total));
                (page, 0)
            }
        };
        let mut header = self.obj("_POOL_HEADER");
        header.set("PreviousSize", before / unit).set("BlockSize", total / unit);
        header
            .set("PoolType", kind.header_type(self.layouts.vista()))
            .set("PoolTag", u64::from(u32::from_le_bytes(*tag)));
        self.write(at, &header.bytes);
        at + unit
    }

    fn alloc_big(&mut self, kind: PoolKind, tag: &[u8; 4], size: u64) -> u64 {
        let at = self.fresh_pages(kind, size.div_ceil(PAGE));
        self.pool(kind).big.push((at, *tag, size));
        at
    }

    fn pool(&mut self, kind: PoolKind) -> &mut Pool {
        match kind {
            PoolKind::NonPaged => &mut self.nonpaged,
            PoolKind::Large => &mut self.large,
            PoolKind::Paged => &mut self.paged,
        }
    }

    /// Pages of a pool never used before.
    fn fresh_pages(&mut self, kind: PoolKind, n: u64) -> u64 {
        let first = self.frames.large.0 + self.frames.large.1;
        let pool = self.pool(kind);
        let (at, base) = (pool.next, pool.base);
        pool.next = at + n * PAGE;
        for i in 0..n {
            let va = at + i * PAGE;
            if kind == PoolKind::Large {
                let frame = first + (va - base) / PAGE;
                self.mem.claim(frame, Use::Kernel);
                self.kernel.know(va, frame);
            } else {
                self.ensure(va, PAGE, flags::KERNEL | flags::NX);
            }
        }
        at
    }

    /// UTF-16 text with its terminator in the paged pool.
    pub fn text(&mut self, tag: &[u8; 4], text: &str) -> u64 {
        let bytes: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let at = self.alloc(PoolKind::Paged, tag, bytes.len() as u64);
        self.write(at, &bytes);
        at
    }

    /// Puts a structure into a pool.
    pub fn put(&mut self, kind: PoolKind, tag: &[u8; 4], obj: &Obj) -> u64 {
        let at = self.alloc(kind, tag, obj.bytes.len() as u64);
        self.write(at, &obj.bytes);
        at
    }

    /// Room for a kernel stack: gives its limit and base. Only the topmost page is in memory.
    pub fn kernel_stack(&mut self) -> (u64, u64) {
        let (limit, base) = (self.next_stack + PAGE, self.next_stack + 7 * PAGE);
        self.next_stack += 8 * PAGE;
        self.ensure(base - PAGE, PAGE, flags::KERNEL | flags::NX);
        (limit, base)
    }

    /// Closes the pools: the rest of every open page becomes a free block; gives the big blocks of both.
    pub fn close_pools(&mut self) -> Vec<(u64, [u8; 4], u64)> {
        let mut big = Vec::new();
        let unit = self.layouts.size("_POOL_HEADER");
        for kind in [PoolKind::NonPaged, PoolKind::Large, PoolKind::Paged] {
            big.extend(self.pool(kind).big.clone());
            for (page, used, last) in std::mem::take(&mut self.pool(kind).open) {
                if used < PAGE {
                    let mut header = self.obj("_POOL_HEADER");
                    header.set("PreviousSize", last / unit).set("BlockSize", (PAGE - used) / unit);
                    header.set("PoolTag", u64::from(u32::from_le_bytes(*b"Free")));
                    self.write(page + used, &header.bytes);
                }
            }
        }
        big
    }

    /// Pages used inside the large page.
    pub fn large_used(&self) -> u64 {
        (self.large.next - self.large.base) / PAGE
    }
}
