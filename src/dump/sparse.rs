//! Memory that is there in blocks of virtual addresses only (triage dumps, user-mode minidumps): lookup by address.

use crate::addr::Va;
use crate::value::{Absent, Note, Value};

/// A kept stretch of virtual memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Virtual address of its first byte.
    pub va: Va,
    /// Bytes.
    pub len: u64,
    /// File offset of the first byte.
    pub file: u64,
}

/// Blocks sorted by address, inside the file, not overlapping.
#[derive(Debug, Default)]
pub struct Sparse {
    blocks: Vec<Block>,
}

impl Sparse {
    /// Takes blocks in any order and keeps what the file has.
    pub fn new(map: &[u8], mut all: Vec<Block>, notes: &mut Vec<Note>) -> Self {
        let length = map.len() as u64;
        let (mut cut, mut promised) = (0u64, 0u64);
        for b in &mut all {
            promised = promised.saturating_add(b.len);
            // Nothing wraps around the end of the address space.
            let kept = b.len.min(length.saturating_sub(b.file)).min(u64::MAX.saturating_sub(b.va.0));
            cut = cut.saturating_add(b.len.saturating_sub(kept));
            b.len = kept;
        }
        if cut > 0 {
            notes.push(Note::loss(format!(
                "{cut} of {promised} bytes of kept memory lie past the end of the file ({length} bytes)"
            )));
        }
        all.retain(|b| b.len > 0);
        all.sort_by_key(|b| (b.va, std::cmp::Reverse(b.len)));
        Self { blocks: without_overlaps(map, all, notes) }
    }
    /// All blocks in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }
    /// The block an address lies in, and how far.
    #[inline]
    fn at(&self, va: Va) -> Option<(&Block, u64)> {
        let after = self.blocks.partition_point(|b| b.va <= va);
        let block = self.blocks.get(after.checked_sub(1)?)?;
        let inside = va.0.checked_sub(block.va.0)?;
        (inside < block.len).then_some((block, inside))
    }
    /// The bytes from `va` to at most `len` or the end of the block, and the file offset of the first.
    #[inline]
    pub fn bytes<'d>(&self, map: &'d [u8], va: Va, len: usize) -> Value<(&'d [u8], u64)> {
        let (block, inside) = self.at(va).ok_or(Absent::NotInDump)?;
        let file = block.file.saturating_add(inside);
        let left = block.len.saturating_sub(inside).min(len as u64);
        Ok((slice(map, file, left).ok_or(Absent::NotInDump)?, file))
    }
    /// The first kept address at or after `va`.
    pub fn next_kept(&self, va: Va) -> Option<Va> {
        if self.at(va).is_some() {
            return Some(va);
        }
        self.blocks.get(self.blocks.partition_point(|b| b.va <= va)).map(|b| b.va)
    }
}

/// A stretch of the file, if it is all there.
pub fn slice(map: &[u8], at: u64, len: u64) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    map.get(at..at.checked_add(usize::try_from(len).ok()?)?)
}

/// Where two blocks hold one address, the one that begins lower keeps it; a Note where they differ.
fn without_overlaps(map: &[u8], sorted: Vec<Block>, notes: &mut Vec<Note>) -> Vec<Block> {
    let mut kept: Vec<Block> = Vec::with_capacity(sorted.len());
    // Blocks may lie over one another as often as an attacker likes; comparing stops after one file's worth, or 64 MiB.
    let (mut budget, mut differs) = ((map.len() as u64).min(64 << 20), None);
    for mut b in sorted {
        if let Some(last) = kept.last() {
            let end = last.va.0.saturating_add(last.len);
            let twice = end.saturating_sub(b.va.0).min(b.len);
            if twice > 0 {
                // What lies before the last block was compared with the one before it.
                let before = last.va.0.saturating_sub(b.va.0);
                let same = twice.saturating_sub(before);
                if (1..=budget).contains(&same) {
                    budget = budget.saturating_sub(same);
                    let there = last.file.saturating_add(b.va.0.saturating_sub(last.va.0));
                    let here = b.file.saturating_add(before);
                    if there != here && slice(map, there, same) != slice(map, here, same) {
                        differs.get_or_insert(b.va);
                    }
                }
                b.va = b.va.add(twice);
                b.file = b.file.saturating_add(twice);
                b.len = b.len.saturating_sub(twice);
            }
        }
        if b.len > 0 {
            kept.push(b);
        }
    }
    if let Some(va) = differs {
        notes.push(Note::info(format!(
            "memory at {va} is in the dump twice with different contents; the copy of the block that begins lower is used"
        )));
    }
    kept
}
