//! Bitmap dumps: types 5 (full) and 6 (kernel, live and active), and the bit lookup that summary dumps share.
//!
//! A second header says how many bits there are and where the first page stands; bit *n* says whether page *n* is in
//! the file, and pages follow in ascending order. The number of bits need not be a multiple of 8, 32 or 64: what is
//! left of the last byte is no page.

use super::pages::{self, PFN_END, Pages};
use super::{Run, raw};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::value::Note;

/// `SDMP`.
pub const SDMP: u32 = 0x504d_4453;
/// `FDMP`.
pub const FDMP: u32 = 0x504d_4446;
/// `DUMP`.
pub const DUMP: u32 = 0x504d_5544;

/// Bytes of bitmap that share one entry of the rank index: a cache line.
const BLOCK_BYTES: usize = 64;

/// Opens a bitmap dump whose second header stands at `at`.
pub fn open(map: &[u8], at: usize, notes: &mut Vec<Note>) -> Result<Pages, String> {
    let head: raw::BitmapHead =
        raw::read(map, at).ok_or_else(|| format!("the file ends inside its bitmap header at {at:#x}"))?;
    if !matches!(head.signature, SDMP | FDMP) || head.valid_dump != DUMP {
        return Err(format!(
            "a bitmap dump without a bitmap header: {} at {at:#x} where SDMPDUMP or FDMPDUMP should be",
            super::sniff::quote(map.get(at..at.saturating_add(8)).unwrap_or_default())
        ));
    }
    let bits_at = at.saturating_add(raw::size::<raw::BitmapHead>());
    Bitmap::new(map, bits_at, head.bits, head.first_page, head.pages, notes).map(Pages::Bitmap)
}

/// A bitmap in the file with a rank index over it: 8 bytes of memory for 512 pages of the dump.
#[derive(Debug)]
pub struct Bitmap {
    /// File offset of the bitmap.
    at: usize,
    /// Bytes of it, the last one perhaps partly used.
    bytes: usize,
    /// Bits that mean a page.
    bits: u64,
    /// File offset of the first page.
    first_page: u64,
    /// Bits set before each block.
    rank: Vec<u64>,
    /// Bits set.
    set: u64,
    /// Whole pages between the first page and the end of the file.
    held: u64,
}

impl Bitmap {
    /// Checks what a header says, counts the bits once (two megabytes of bitmap for 64 GB of memory).
    ///
    /// # Errors
    /// A bitmap that cannot be: longer than the file, larger than memory can be, reaching into the pages.
    pub fn new(
        map: &[u8],
        at: usize,
        bits: u64,
        first_page: u64,
        promised: u64,
        notes: &mut Vec<Note>,
    ) -> Result<Self, String> {
        if bits == 0 || bits > PFN_END {
            return Err(format!("its bitmap is said to have {bits} bits, which no memory has"));
        }
        let bytes = usize::try_from(bits.div_ceil(8)).map_err(|_| "its bitmap is too large".to_string())?;
        let end = at.checked_add(bytes).ok_or("its bitmap is too large")?;
        if end as u64 > first_page {
            return Err(format!(
                "its bitmap of {bits} bits ends at {end:#x}, after the first page at {first_page:#x}: one of the two is wrong"
            ));
        }
        let Some(field) = map.get(at..end) else {
            return Err(format!("the file ends at {:#x}, inside its bitmap ({at:#x} to {end:#x})", map.len()));
        };
        let (mut rank, mut set) = (Vec::with_capacity(bytes.div_ceil(BLOCK_BYTES)), 0u64);
        for block in field.chunks(BLOCK_BYTES) {
            rank.push(set);
            set = set.saturating_add(ones(block));
        }
        // Bits past the last page are padding, whatever they hold.
        let padding = u32::try_from(bits % 8).unwrap_or(0);
        if padding > 0 {
            let last = field.last().copied().unwrap_or(0);
            let stray = last.checked_shr(padding).unwrap_or(0).count_ones();
            set = set.saturating_sub(stray.into());
            if stray > 0 {
                notes.push(Note::info(format!(
                    "{stray} bits are set in the bitmap's padding after its last bit; ignored"
                )));
            }
        }
        if set != promised {
            notes.push(Note::loss(format!(
                "the bitmap has {set} pages, its header promises {promised}; the bitmap is used"
            )));
        }
        let length = map.len() as u64;
        let held = length.saturating_sub(first_page) / PAGE_SIZE;
        pages::note_missing(set.saturating_sub(held), set, "", length, notes);
        Ok(Self { at, bytes, bits, first_page, rank, set, held })
    }
    fn field<'d>(&self, map: &'d [u8]) -> &'d [u8] {
        map.get(self.at..self.at.saturating_add(self.bytes)).unwrap_or_default()
    }
    /// Pages in the file.
    pub fn stored(&self) -> u64 {
        self.set.min(self.held)
    }
    /// File offset behind the last page.
    pub fn end(&self) -> u64 {
        self.first_page.saturating_add(self.stored().saturating_mul(PAGE_SIZE))
    }
    /// The file offset of a page.
    #[inline]
    pub fn file(&self, map: &[u8], pfn: Pfn) -> Option<u64> {
        if pfn.0 >= self.bits {
            return None;
        }
        let index = self.index(self.field(map), pfn.0)?;
        (index < self.held).then(|| self.first_page.saturating_add(index.saturating_mul(PAGE_SIZE)))
    }
    /// How many pages are in the file before `page`, if that is in it.
    #[inline]
    fn index(&self, field: &[u8], page: u64) -> Option<u64> {
        let (byte, bit) = (usize::try_from(page / 8).ok()?, page % 8);
        let here = *field.get(byte)?;
        if here >> bit & 1 == 0 {
            return None;
        }
        let block = byte / BLOCK_BYTES;
        let before = field.get(block.saturating_mul(BLOCK_BYTES)..byte)?;
        let below = here & !(0xffu8 << bit);
        let rank = *self.rank.get(block)?;
        Some(rank.saturating_add(ones(before)).saturating_add(below.count_ones().into()))
    }
    /// The highest page in the file.
    pub fn highest(&self, map: &[u8]) -> Option<u64> {
        if self.set > self.held {
            // Truncated: the last whole page is not the last bit.
            return self.runs(map).last().map(|r| r.pfn.0.saturating_add(r.count).saturating_sub(1));
        }
        let field = self.field(map);
        let unused = (8u64.saturating_sub(self.bits % 8)) % 8;
        let masked = field.last().map(|b| b & (0xffu8.checked_shr(u32::try_from(unused).unwrap_or(0)).unwrap_or(0)))?;
        let last = field.len().checked_sub(1)?;
        let (byte, value) = if masked != 0 {
            (last, masked)
        } else {
            let byte = field.get(..last)?.iter().rposition(|b| *b != 0)?;
            (byte, *field.get(byte)?)
        };
        Some((byte as u64).saturating_mul(8).saturating_add(u64::from(7u32.saturating_sub(value.leading_zeros()))))
    }
    /// All runs, in file order, which is page order.
    pub fn runs<'d>(&self, map: &'d [u8]) -> BitRuns<'d> {
        BitRuns { field: self.field(map), bits: self.bits, next: 0, file: self.first_page, left: self.held }
    }
}

/// Bits set in a stretch of bytes.
#[inline]
fn ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let full: u32 = words.iter().map(|w| u64::from_le_bytes(*w).count_ones()).sum();
    let tail: u32 = rest.iter().map(|b| b.count_ones()).sum();
    u64::from(full.saturating_add(tail))
}

/// The stretches of set bits of a bitmap.
#[derive(Debug, Clone)]
pub struct BitRuns<'d> {
    field: &'d [u8],
    bits: u64,
    /// The next bit to look at.
    next: u64,
    /// Where the next page stands.
    file: u64,
    /// Pages the file still has.
    left: u64,
}

impl BitRuns<'_> {
    /// The first bit from `from` on that is `set`, or the number of bits.
    fn first(&self, from: u64, set: bool) -> u64 {
        let mut at = from;
        while at < self.bits {
            // A word at a time: what is past the last whole word is filled with the other kind.
            let byte = usize::try_from(at / 8).unwrap_or(usize::MAX);
            let Some(rest) = self.field.get(byte..) else { break };
            let mut word = [if set { 0u8 } else { 0xff }; 8];
            for (to, from) in word.iter_mut().zip(rest) {
                *to = *from;
            }
            let word = u64::from_le_bytes(word);
            let word = if set { word } else { !word } & (u64::MAX << (at % 8));
            if word != 0 {
                let found = (byte as u64).saturating_mul(8).saturating_add(word.trailing_zeros().into());
                return found.min(self.bits);
            }
            at = (byte as u64).saturating_mul(8).saturating_add(64);
        }
        self.bits
    }
}
impl Iterator for BitRuns<'_> {
    type Item = Run;
    fn next(&mut self) -> Option<Run> {
        if self.left == 0 {
            return None;
        }
        let start = self.first(self.next, true);
        if start >= self.bits {
            return None;
        }
        let end = self.first(start, false);
        let count = end.saturating_sub(start).min(self.left);
        let run = Run { pfn: Pfn(start), count, file: self.file };
        self.next = end;
        self.left = self.left.saturating_sub(count);
        self.file = self.file.saturating_add(count.saturating_mul(PAGE_SIZE));
        Some(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::testing::Dice;

    /// A file of one bitmap at 0x10 and pages at `first`; the flat model is the list of set bits.
    fn build(bits: &[bool], first: usize, stored: usize, stray: bool) -> Vec<u8> {
        let mut file = vec![0u8; first + stored * 4096];
        for (i, _) in bits.iter().enumerate().filter(|(_, b)| **b) {
            file[0x10 + i / 8] |= 1 << (i % 8);
        }
        if stray && !bits.len().is_multiple_of(8) {
            file[0x10 + bits.len() / 8] |= 0xff << (bits.len() % 8);
        }
        file
    }

    #[test]
    fn the_lookup_is_the_flat_model_at_every_length() {
        let mut dice = Dice::new(0xb175);
        for case in 0..400u64 {
            let n = 1 + dice.below(2200) as usize;
            let dense = dice.below(4);
            let bits: Vec<bool> = (0..n)
                .map(|i| match dense {
                    0 => true,
                    1 => dice.below(2) == 0,
                    2 => (i / 70) % 2 == 0,
                    _ => dice.below(50) == 0,
                })
                .collect();
            let set = bits.iter().filter(|b| **b).count();
            let stored = if case % 3 == 0 { dice.below(set as u64 + 1) as usize } else { set };
            let file = build(&bits, 0x1000, stored, case % 2 == 0);
            let mut notes = Vec::new();
            let b = Bitmap::new(&file, 0x10, n as u64, 0x1000, set as u64, &mut notes).unwrap();
            let mut flat = Vec::new();
            for (i, on) in bits.iter().enumerate() {
                let nth = flat.len();
                let want = (*on && nth < stored).then_some(0x1000 + nth as u64 * 4096);
                if *on {
                    flat.push(i as u64);
                }
                assert_eq!(b.file(&file, Pfn(i as u64)), want, "case {case} bit {i} of {n}");
            }
            for past in [n as u64, n as u64 + 1, n as u64 + 7, n as u64 + 63, u64::MAX] {
                assert_eq!(b.file(&file, Pfn(past)), None, "case {case} past {past}");
            }
            flat.truncate(stored);
            let walked: Vec<u64> = b.runs(&file).flat_map(|r| r.pfn.0..r.pfn.0 + r.count).collect();
            assert_eq!(walked, flat, "case {case}");
            for r in b.runs(&file) {
                assert_eq!(b.file(&file, r.pfn), Some(r.file));
            }
            assert_eq!(b.highest(&file), flat.last().copied(), "case {case}");
            assert_eq!(b.stored(), flat.len() as u64);
            assert_eq!(notes.iter().any(|n| n.text.contains("truncated")), stored < set);
        }
    }
    #[test]
    fn a_lying_page_count_is_noted() {
        let file = build(&[true, false, true], 0x1000, 2, false);
        let mut notes = Vec::new();
        Bitmap::new(&file, 0x10, 3, 0x1000, 9, &mut notes).unwrap();
        assert!(notes[0].loss && notes[0].text.contains("2 pages, its header promises 9"), "{notes:?}");
    }
    #[test]
    fn impossible_bitmaps_are_refused() {
        let file = vec![0u8; 0x2000];
        for (bits, first, want) in [
            (0, 0x1000, "0 bits"),
            (u64::MAX, 0x1000, "no memory has"),
            (1 << 39, u64::MAX, "inside its bitmap"),
            (0x10000, 0x1000, "after the first page"),
            (0x20000, 0x5000, "inside its bitmap"),
        ] {
            let why = Bitmap::new(&file, 0x10, bits, first, 0, &mut Vec::new()).unwrap_err();
            assert!(why.contains(want), "{why}");
        }
    }
}
