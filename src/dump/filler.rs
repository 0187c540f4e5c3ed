//! Pages that a dump's writer filled with a pattern in place of memory it could not read. They are no memory of the machine.
//!
//! The kernel debugger says so itself at the end of `.dump /f` ("Wrote 4578 pages of 0xdeadfeed into this dump file for memory that
//! could not be read successfully by the kernel memory manager": pages with a held page lock, on the list of failed memory, or
//! hot-removed; quoted in 0vercl0k/wtf issue 195). Other writers use 0xdeadbeef or bytes of 0xfe. No field of Windows has a meaning
//! when a whole page holds nothing but one of these, so a program that fills a page of its own this way loses nothing it could have
//! shown, and the note at the end of a run names the pattern and the number of pages.
//!
//! Patterns that Windows or compilers write into memory that is in use are not among them: zeros, 0xff (bitmaps), 0xcc (code),
//! 0xcd and 0xdd (debug run-time), 0xfeeefeee and 0xbaadf00d (heaps).

use crate::addr::{PAGE_SIZE, Pfn};
use std::fmt;

/// The pattern of a page, as the word it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(u32);

/// What the kernel debugger writes.
const DEBUGGER: u32 = 0xdead_feed;
/// What other writers use.
const BEEF: u32 = 0xdead_beef;
/// Bytes of 0xfe. The debug version of Microsoft's C library fills buffers with it, too (`_SECURECRT_FILL_BUFFER_PATTERN`).
const BYTES: u32 = 0xfefe_fefe;

impl Pattern {
    /// The pattern a page is filled with, if it is. Nearly every page is decided by its first four bytes.
    #[inline]
    pub fn of(page: &[u8; PAGE_SIZE as usize]) -> Option<Self> {
        Self::seen_at(page, 0)
    }
    /// The same of a page that is read at an offset: decided by the four bytes there, which are wanted in any case.
    #[inline]
    pub fn seen_at(page: &[u8; PAGE_SIZE as usize], offset: u64) -> Option<Self> {
        let (words, _) = page.as_chunks::<4>();
        let first = u32::from_le_bytes(*words.get(usize::try_from(offset / 4).ok()?)?);
        // Written as a number, or byte by byte in the order people read it.
        let known = match first {
            DEBUGGER | BEEF | BYTES => first,
            _ if matches!(first.swap_bytes(), DEBUGGER | BEEF) => first.swap_bytes(),
            _ => return None,
        };
        filled(words).then_some(Self(known))
    }
    /// Whether nothing but a writer of dumps leaves this pattern. Bytes of 0xfe can be a buffer of a program built for debugging:
    /// such a page is counted as lost only where something asked for it.
    pub fn is_certain(self) -> bool {
        self.0 != BYTES
    }
}

#[cold]
fn filled(words: &[[u8; 4]]) -> bool {
    words.first().is_some_and(|first| words.iter().all(|word| word == first))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == BYTES { f.write_str("bytes of 0xfe") } else { write!(f, "{:#x}", self.0) }
    }
}

/// A page that was met, and its pattern.
pub type Filled = (Pattern, Pfn);

#[cfg(test)]
mod tests {
    use super::*;

    fn page(word: [u8; 4]) -> [u8; 4096] {
        word.repeat(1024).try_into().unwrap()
    }

    #[test]
    fn patterns_of_writers_are_known_in_either_order() {
        for (word, name) in [
            ([0xed, 0xfe, 0xad, 0xde], "0xdeadfeed"),
            ([0xde, 0xad, 0xfe, 0xed], "0xdeadfeed"),
            ([0xef, 0xbe, 0xad, 0xde], "0xdeadbeef"),
            ([0xde, 0xad, 0xbe, 0xef], "0xdeadbeef"),
            ([0xfe; 4], "bytes of 0xfe"),
        ] {
            let mut full = page(word);
            assert_eq!(Pattern::of(&full).map(|p| p.to_string()).as_deref(), Some(name));
            full[4095] ^= 1;
            assert_eq!(Pattern::of(&full), None, "one byte of something else makes it memory");
        }
    }
    #[test]
    fn what_windows_writes_is_memory() {
        for byte in [0, 0xff, 0xcc, 0xcd, 0xdd, 0x90] {
            assert_eq!(Pattern::of(&[byte; 4096]), None, "{byte:#x}");
        }
        for word in [0xfeee_feee_u32, 0xbaad_f00d, 0xabab_abab] {
            assert_eq!(Pattern::of(&page(word.to_le_bytes())), None, "{word:#x}");
        }
    }
}
