//! x64 four-level page tables (Intel SDM volume 3, chapter 4).

use std::collections::BTreeMap;

use super::{PAGE, Physical, Use};

/// Bits of a page-table entry.
pub mod flags {
    /// Present.
    pub const P: u64 = 1;
    /// Writable.
    pub const W: u64 = 2;
    /// User.
    pub const U: u64 = 4;
    /// Large page.
    pub const PS: u64 = 0x80;
    /// No execute.
    pub const NX: u64 = 1 << 63;
    /// What Windows sets in every kernel table entry: present, writable, accessed, dirty.
    pub const KERNEL: u64 = 0x63;
    /// The same with the user bit.
    pub const USER: u64 = 0x67;
}

/// One address space: its top table, and which frame each of its pages has (to write through).
#[derive(Clone)]
pub struct Space {
    /// Frame of the PML4.
    pub root: u64,
    /// Virtual page number to frame, for pages the forge can write, present or not.
    pub pages: BTreeMap<u64, u64>,
}

/// Index into the table of `level` (4 is the PML4).
fn index(va: u64, level: u32) -> u64 {
    (va >> (12 + 9 * (level - 1))) & 0x1FF
}

impl Space {
    /// A space with an empty PML4 in that frame.
    pub fn new(root: u64) -> Space {
        Space { root, pages: BTreeMap::new() }
    }

    /// The table of `level` that covers `va`, made if need be.
    fn table(&self, mem: &mut Physical, va: u64, level: u32) -> u64 {
        let mut frame = self.root;
        for l in (level + 1..=4).rev() {
            let i = index(va, l);
            let entry = mem.u64_at(frame, i);
            frame = if entry & flags::P != 0 {
                (entry >> 12) & 0xF_FFFF_FFFF
            } else {
                let next = mem.take(Use::Table);
                let user = va >> 63 == 0;
                mem.set_u64(frame, i, next << 12 | if user { flags::USER } else { flags::KERNEL });
                next
            };
        }
        frame
    }

    /// Writes the last-level entry for `va`, whatever it says.
    pub fn set_entry(&self, mem: &mut Physical, va: u64, entry: u64) {
        let table = self.table(mem, va, 1);
        mem.set_u64(table, index(va, 1), entry);
    }

    /// The last-level entry for `va`; zero when there is no table for it.
    pub fn entry(&self, mem: &Physical, va: u64) -> u64 {
        let mut frame = self.root;
        for l in (2..=4).rev() {
            let entry = mem.u64_at(frame, index(va, l));
            if entry & flags::P == 0 || entry & flags::PS != 0 {
                return 0;
            }
            frame = (entry >> 12) & 0xF_FFFF_FFFF;
        }
        mem.u64_at(frame, index(va, 1))
    }

    /// Maps a page.
    pub fn map(&mut self, mem: &mut Physical, va: u64, frame: u64, bits: u64) {
        self.set_entry(mem, va, frame << 12 | bits);
        self.pages.insert(va / PAGE, frame);
    }

    /// Maps a large page: `level` 2 is 2 MB, 3 is 1 GB. The pages inside become writable one by one with [`Space::know`].
    pub fn map_large(&self, mem: &mut Physical, va: u64, first: u64, level: u32, bits: u64) {
        let table = self.table(mem, va, level);
        mem.set_u64(table, index(va, level), first << 12 | bits | flags::PS);
    }

    /// Tells where a page lies that a large mapping (or an entry that is not present) reaches.
    pub fn know(&mut self, va: u64, frame: u64) {
        self.pages.insert(va / PAGE, frame);
    }

    /// Writes bytes at an address.
    ///
    /// # Panics
    /// When a page of it is not known.
    pub fn write(&self, mem: &mut Physical, va: u64, bytes: &[u8]) {
        let (mut va, mut rest) = (va, bytes);
        while !rest.is_empty() {
            let frame =
                *self.pages.get(&(va / PAGE)).unwrap_or_else(|| panic!("write to {va:#x}, which is not mapped"));
            let at = (va % PAGE) as usize;
            let n = rest.len().min(PAGE as usize - at);
            mem.page_mut(frame)[at..at + n].copy_from_slice(&rest[..n]);
            (va, rest) = (va + n as u64, &rest[n..]);
        }
    }

    /// Reads bytes at an address.
    ///
    /// # Panics
    /// When a page of it is not known.
    pub fn read(&self, mem: &Physical, va: u64, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        for at in va..va + len {
            let frame = *self.pages.get(&(at / PAGE)).unwrap_or_else(|| panic!("read of {at:#x}, which is not mapped"));
            out.push(mem.page(frame)[(at % PAGE) as usize]);
        }
        out
    }

    /// Takes over the other space's kernel half.
    pub fn share_kernel(&self, mem: &mut Physical, other: &Space) {
        for i in 256..512 {
            let entry = mem.u64_at(other.root, i);
            mem.set_u64(self.root, i, entry);
        }
    }

    /// Sets the self-reference through which Windows reaches its page tables.
    pub fn set_self_map(&self, mem: &mut Physical, index: u64) {
        mem.set_u64(self.root, index, self.root << 12 | flags::KERNEL | flags::NX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn writes_run_across_scattered_pages() {
        let plan = Plan { runs: vec![(1, 40)], reserved: vec![(1, 1)] };
        let mut mem = Physical::new(plan, &mut Rng::new(1));
        mem.claim(1, Use::Table);
        let mut space = Space::new(1);
        for i in 0..3 {
            let frame = mem.take(Use::Kernel);
            space.map(&mut mem, 0xFFFF_F800_0000_0000 + i * PAGE, frame, flags::KERNEL);
        }
        let bytes: Vec<u8> = (0..0x1800).map(|i| i as u8).collect();
        space.write(&mut mem, 0xFFFF_F800_0000_0C00, &bytes);
        assert_eq!(space.read(&mem, 0xFFFF_F800_0000_0C00, 0x1800), bytes);
        assert_eq!(space.entry(&mem, 0xFFFF_F800_0000_1000) & 1, 1);
        assert_eq!(space.entry(&mem, 0x1000), 0);
    }
}
