//! Page tables of every shape that Windows uses on Intel processors (Intel SDM volume 3, chapter 4) and on ARM64 (Arm Architecture
//! Reference Manual for A-profile, D8.3 "Translation table descriptor formats"; granule of 4 KB, four levels).

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

/// How virtual addresses are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// x64, four levels.
    #[default]
    Four,
    /// x64, five levels.
    Five,
    /// x86 with physical address extension.
    Pae,
    /// x86 without.
    Plain,
    /// ARM64. Entries are named by the flags of x64 and written as descriptors.
    Arm,
}

impl Mode {
    /// Levels of tables.
    pub fn levels(self) -> u32 {
        match self {
            Mode::Five => 5,
            Mode::Four | Mode::Arm => 4,
            Mode::Pae => 3,
            Mode::Plain => 2,
        }
    }

    /// Whether addresses have 64 bits.
    pub fn wide(self) -> bool {
        matches!(self, Mode::Four | Mode::Five | Mode::Arm)
    }

    /// Bytes an entry takes.
    fn entry_size(self) -> usize {
        if self == Mode::Plain { 4 } else { 8 }
    }

    /// Index bits of a level.
    fn bits(self, level: u32) -> u32 {
        match (self, level) {
            (Mode::Plain, _) => 10,
            (Mode::Pae, 3) => 2,
            _ => 9,
        }
    }

    /// Index into the table of `level`.
    fn index(self, va: u64, level: u32) -> u64 {
        let below: u32 = (1..level).map(|l| self.bits(l)).sum();
        (va >> (12 + below)) & ((1 << self.bits(level)) - 1)
    }

    fn is_user(self, va: u64) -> bool {
        if self.wide() { va >> 63 == 0 } else { va < 0x8000_0000 }
    }

    /// The entry as the processor wants it in a table of `level`; one that is not present says what software made it say.
    ///
    /// ARM64: bit 0 valid; bit 1 a table, or at the last level a page; 6 (AP[1]) for unprivileged code; 7 (AP[2]) read-only; 8 and 9 inner
    /// shareable; 10 accessed; 11 not global; 53 (PXN) and 54 (UXN) never executed by privileged and unprivileged code.
    pub fn descriptor(self, level: u32, entry: u64) -> u64 {
        if self != Mode::Arm || entry & flags::P == 0 {
            return entry;
        }
        let (user, address) = (entry & flags::U != 0, entry & 0xFFFF_FFFF_F000);
        if level > 1 && entry & flags::PS == 0 {
            return address | 3;
        }
        let access = if user { 0x40 | 0x800 } else { 0 } | if entry & flags::W == 0 { 0x80 } else { 0 };
        let never = match (entry & flags::NX != 0, user) {
            (true, _) => 3 << 53,
            (false, true) => 1 << 53,
            (false, false) => 1 << 54,
        };
        address | never | access | 0x700 | if level == 1 { 3 } else { 1 }
    }

    /// Whether a present entry of an upper level maps memory, and no table.
    fn is_large(self, entry: u64) -> bool {
        if self == Mode::Arm { entry & 2 == 0 } else { entry & flags::PS != 0 }
    }

    /// Bytes a large page of the second level takes.
    pub fn large(self) -> u64 {
        if self == Mode::Plain { 0x40_0000 } else { 0x20_0000 }
    }
}

/// One address space: its top table, and which frame each of its pages has (to write through).
#[derive(Clone)]
pub struct Space {
    /// How it translates.
    pub mode: Mode,
    /// Frame of the top table.
    pub root: u64,
    /// Where in that frame the table begins: the four entries of a PAE space may lie anywhere in a page.
    pub inside: u64,
    /// Virtual page number to frame, for pages the forge can write, present or not.
    pub pages: BTreeMap<u64, u64>,
}

impl Space {
    /// A space with an empty top table at that place.
    pub fn new(mode: Mode, root: u64, inside: u64) -> Space {
        Space { mode, root, inside, pages: BTreeMap::new() }
    }

    /// Physical address of the top table: `DirectoryTableBase`.
    pub fn dtb(&self) -> u64 {
        self.root << 12 | self.inside
    }

    fn get(&self, mem: &Physical, frame: u64, index: u64) -> u64 {
        let n = self.mode.entry_size();
        let at = (if frame == self.root { self.inside as usize } else { 0 }) + n * index as usize;
        let mut raw = [0; 8];
        raw[..n].copy_from_slice(&mem.page(frame)[at..at + n]);
        u64::from_le_bytes(raw)
    }

    fn set(&self, mem: &mut Physical, frame: u64, index: u64, entry: u64) {
        let n = self.mode.entry_size();
        let at = (if frame == self.root { self.inside as usize } else { 0 }) + n * index as usize;
        // Entries of four bytes have no place for the no-execute bit.
        mem.page_mut(frame)[at..at + n].copy_from_slice(&entry.to_le_bytes()[..n]);
    }

    fn frame_of(&self, entry: u64) -> u64 {
        (entry >> 12) & if self.mode == Mode::Plain { 0xF_FFFF } else { 0xF_FFFF_FFFF }
    }

    /// The four directories of a PAE space, in frames of the caller's choice.
    pub fn directories(&self, mem: &mut Physical, frames: [u64; 4]) {
        for (i, frame) in frames.into_iter().enumerate() {
            self.set(mem, self.root, i as u64, frame << 12 | flags::P);
        }
    }

    /// The table of `level` that covers `va`, made if need be.
    fn table(&self, mem: &mut Physical, va: u64, level: u32) -> u64 {
        let mut frame = self.root;
        for l in (level + 1..=self.mode.levels()).rev() {
            let i = self.mode.index(va, l);
            let entry = self.get(mem, frame, i);
            frame = if entry & flags::P != 0 {
                self.frame_of(entry)
            } else {
                let next = mem.take(Use::Table);
                let bits = if self.mode.is_user(va) { flags::USER } else { flags::KERNEL };
                self.set(mem, frame, i, self.mode.descriptor(l, next << 12 | bits));
                next
            };
        }
        frame
    }

    /// Writes the last-level entry for `va`, whatever it says.
    pub fn set_entry(&self, mem: &mut Physical, va: u64, entry: u64) {
        let table = self.table(mem, va, 1);
        self.set(mem, table, self.mode.index(va, 1), self.mode.descriptor(1, entry));
    }

    /// Writes the entry that names the last-level table for `va`.
    pub fn set_table_entry(&self, mem: &mut Physical, va: u64, entry: u64) {
        let table = self.table(mem, va, 2);
        self.set(mem, table, self.mode.index(va, 2), entry);
    }

    /// The last-level entry for `va`; zero when there is no table for it.
    pub fn entry(&self, mem: &Physical, va: u64) -> u64 {
        self.table_of(mem, va).map_or(0, |table| self.get(mem, table, self.mode.index(va, 1)))
    }

    /// The frame of the table that holds the last-level entry for `va`; none where there is no such table.
    pub fn table_of(&self, mem: &Physical, va: u64) -> Option<u64> {
        let mut frame = self.root;
        for l in (2..=self.mode.levels()).rev() {
            let entry = self.get(mem, frame, self.mode.index(va, l));
            if entry & flags::P == 0 || self.mode.is_large(entry) {
                return None;
            }
            frame = self.frame_of(entry);
        }
        Some(frame)
    }

    /// Maps a page.
    pub fn map(&mut self, mem: &mut Physical, va: u64, frame: u64, bits: u64) {
        self.set_entry(mem, va, frame << 12 | bits);
        self.pages.insert(va / PAGE, frame);
    }

    /// Maps a large page: `level` 2 is 2 or 4 MB, 3 is 1 GB. The pages inside become writable one by one with [`Space::know`].
    pub fn map_large(&self, mem: &mut Physical, va: u64, first: u64, level: u32, bits: u64) {
        let table = self.table(mem, va, level);
        let entry = self.mode.descriptor(level, first << 12 | bits | flags::PS);
        self.set(mem, table, self.mode.index(va, level), entry);
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
        let mut out = Vec::with_capacity(len as usize);
        let mut at = va;
        while at < va + len {
            let frame = *self.pages.get(&(at / PAGE)).unwrap_or_else(|| panic!("read of {at:#x}, which is not mapped"));
            let inside = (at % PAGE) as usize;
            let n = (va + len - at).min(PAGE - at % PAGE);
            out.extend(&mem.page(frame)[inside..inside + n as usize]);
            at += n;
        }
        out
    }

    /// Takes over the other space's kernel half.
    pub fn share_kernel(&self, mem: &mut Physical, other: &Space) {
        let copy = |mem: &mut Physical, from: u64, to: u64, entries: std::ops::Range<u64>| {
            for i in entries {
                let entry = other.get(mem, from, i);
                self.set(mem, to, i, entry);
            }
        };
        match self.mode {
            Mode::Four | Mode::Five | Mode::Arm => copy(mem, other.root, self.root, 256..512),
            Mode::Plain => copy(mem, other.root, self.root, 512..1024),
            Mode::Pae => {
                for gigabyte in 2..4 {
                    let from = self.frame_of(other.get(mem, other.root, gigabyte));
                    let to = self.frame_of(self.get(mem, self.root, gigabyte));
                    copy(mem, from, to, 0..512);
                }
            }
        }
    }

    /// Sets the self-reference through which Windows reaches its page tables: an entry of the top table, or on PAE the four
    /// entries of the last directory that make the tables appear from 0xC0000000.
    pub fn set_self_map(&self, mem: &mut Physical, index: u64) {
        match self.mode {
            Mode::Four | Mode::Five => self.set(mem, self.root, index, self.root << 12 | flags::KERNEL | flags::NX),
            // The project's notes: what readers of ARM64 dumps look for.
            Mode::Arm => self.set(mem, self.root, index, self.root << 12 | 0x0060_0000_0000_0003),
            Mode::Plain => self.set(mem, self.root, 0x300, self.root << 12 | flags::KERNEL),
            Mode::Pae => {
                let last = self.frame_of(self.get(mem, self.root, 3));
                for i in 0..4 {
                    let directory = self.frame_of(self.get(mem, self.root, i));
                    self.set(mem, last, i, directory << 12 | flags::KERNEL);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plan;
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn writes_run_across_scattered_pages() {
        for (mode, base) in [
            (Mode::Four, 0xFFFF_F800_0000_0000),
            (Mode::Five, 0xFFFF_F800_0000_0000),
            (Mode::Pae, 0x8000_0000u64),
            (Mode::Plain, 0x8000_0000),
            (Mode::Arm, 0xFFFF_F800_0000_0000),
        ] {
            let plan = Plan { runs: vec![(1, 40)], reserved: vec![(1, 1)], tops: 0..40 };
            let mut mem = Physical::new(plan, &mut Rng::new(1));
            mem.claim(1, Use::Table);
            let mut space = Space::new(mode, 1, 0);
            for i in 0..3 {
                let frame = mem.take(Use::Kernel);
                space.map(&mut mem, base + i * PAGE, frame, flags::KERNEL);
            }
            let bytes: Vec<u8> = (0..0x1800).map(|i| i as u8).collect();
            space.write(&mut mem, base + 0xC00, &bytes);
            assert_eq!(space.read(&mem, base + 0xC00, 0x1800), bytes);
            assert_eq!(space.entry(&mem, base + 0x1000) & 1, 1);
            assert_eq!(space.entry(&mem, 0x1000), 0);
        }
    }
}
