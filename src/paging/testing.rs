//! Memory made by hand, for the tests of this layer and those above: pages, page tables, and a full dump of them.

use super::tables::Entry;
use super::{Mode, Space};
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::le;
use crate::dump::Dump;
use crate::dump::testing::{header64, open, put, put32, put64};
use std::collections::BTreeMap;

/// Physical memory under construction.
pub struct Memory {
    pub mode: Mode,
    pub root: Pa,
    pub pages: BTreeMap<u64, Vec<u8>>,
    next_table: u64,
}

impl Memory {
    /// Empty memory with a root table at `root`; further tables follow it.
    pub fn new(mode: Mode, root: Pa) -> Self {
        let mut m = Self { mode, root, pages: BTreeMap::new(), next_table: root.0 / PAGE_SIZE + 1 };
        m.page(root.0 / PAGE_SIZE);
        m
    }
    pub fn page(&mut self, pfn: u64) -> &mut Vec<u8> {
        self.pages.entry(pfn).or_insert_with(|| vec![0; PAGE_SIZE as usize])
    }
    pub fn write(&mut self, pa: Pa, bytes: &[u8]) {
        for (i, b) in bytes.iter().enumerate() {
            let at = pa.0 + i as u64;
            self.page(at / PAGE_SIZE)[(at % PAGE_SIZE) as usize] = *b;
        }
    }
    pub fn read(&self, pa: Pa, len: u64) -> u64 {
        let from = (pa.0 % PAGE_SIZE) as usize;
        le(&self.pages[&(pa.0 / PAGE_SIZE)][from..from + len as usize]).unwrap()
    }
    /// Where the entry for `va` stands that maps `1 << shift` bytes; makes the tables on the way.
    pub fn entry(&mut self, va: Va, shift: u8) -> Pa {
        let shape = self.mode.shape().unwrap();
        let mut at = self.root;
        for level in shape.levels {
            let place = shape.entry_at(at, *level, va);
            if level.shift == shift {
                return place;
            }
            let entry = self.read(place, shape.entry.into());
            at = match self.mode.decode(entry, level.shift) {
                Entry::Table(next, _) => next,
                Entry::Soft if entry == 0 => {
                    let next = Pa(self.next_table * PAGE_SIZE);
                    self.next_table += 1;
                    self.page(next.0 / PAGE_SIZE);
                    let flags = match self.mode {
                        Mode::Arm64 => 0x0060_0000_0000_0003,
                        Mode::Pae if level.shift == 30 => 1,
                        _ => 7,
                    };
                    let bytes = (next.0 | flags).to_le_bytes();
                    self.write(place, &bytes[..shape.entry.into()]);
                    next
                }
                other => panic!("{va}: {other:?} in the way"),
            };
        }
        panic!("no level maps {shift} bits");
    }
    pub fn set_entry(&mut self, va: Va, shift: u8, entry: u64) {
        let at = self.entry(va, shift);
        let width = self.mode.shape().unwrap().entry;
        self.write(at, &entry.to_le_bytes()[..width.into()]);
    }
    /// Maps a page of `1 << shift` bytes.
    pub fn map(&mut self, va: Va, pa: Pa, shift: u8) {
        let flags = match (self.mode, shift) {
            (Mode::Arm64, 12) => 0x0040_0000_0000_0743,
            (Mode::Arm64, _) => 0x0040_0000_0000_0741,
            (_, 12) => 0x867,
            // With the PAT bit set, which is no address bit.
            (_, _) => 0x18e7,
        };
        self.set_entry(va, shift, pa.0 | if self.mode == Mode::X86 && shift == 22 { 0xe7 } else { flags });
    }
    /// A full dump of all pages, runs in the order given by `shuffle`.
    pub fn dump_in(&self, mut shuffle: impl FnMut(&mut Vec<(u64, u64)>)) -> Dump {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for pfn in self.pages.keys() {
            match runs.last_mut() {
                Some((base, count)) if *base + *count == *pfn => *count += 1,
                _ => runs.push((*pfn, 1)),
            }
        }
        shuffle(&mut runs);
        let mut file = header64(1);
        if matches!(self.mode, Mode::X86 | Mode::Pae) {
            put32(&mut file, 0x30, 0x8664); // memory is memory: only the container is 64-bit
        }
        put64(&mut file, 0x10, self.root.0);
        put32(&mut file, 0x88, runs.len() as u32);
        put64(&mut file, 0x90, runs.iter().map(|r| r.1).sum());
        for (i, (base, count)) in runs.iter().enumerate() {
            put64(&mut file, 0x98 + 16 * i, *base);
            put64(&mut file, 0xa0 + 16 * i, *count);
        }
        for (base, count) in runs {
            for pfn in base..base + count {
                let end = file.len();
                put(&mut file, end, &self.pages[&pfn]);
            }
        }
        open(&file).unwrap()
    }
    /// A full dump of all pages.
    pub fn dump(&self) -> Dump {
        self.dump_in(|_| {})
    }
    pub fn space<'d>(&self, dump: &'d Dump) -> Space<'d> {
        Space::new(dump, self.mode, self.root)
    }
}
