//! A hibernation file whose first page Windows wiped when it resumed. It has no signature any more, yet the compressed blocks of its body
//! remain, and they are known by how each leads to the next.

use crate::addr::PAGE_SIZE;
use crate::bytes::{u32_at, u64_at};

/// Up to Windows 7 each compressed block begins so, at any eighth byte.
const XPRESS: &[u8] = b"\x81\x81xpress";
/// Pages at the start of the file in which the first block is looked for.
const LOOKED_AT: usize = 64;
/// Sets that must follow one another: each is right by chance once in some thousand times.
const ENOUGH: usize = 6;

/// Whether this file is one.
pub fn is_hibernation_file(map: &[u8]) -> bool {
    let page = PAGE_SIZE as usize;
    let wiped = map.get(..page).is_some_and(|first| first.iter().all(|b| *b == 0));
    if !wiped {
        return false;
    }
    (1..LOOKED_AT).any(|i| {
        let Some(rest) = i.checked_mul(page).and_then(|at| map.get(at..)) else { return false };
        rest.starts_with(XPRESS) || chain(rest, 8) || chain(rest, 4)
    })
}

/// Whether sets of Windows 8 and later follow one another from here on, with descriptors of this many bytes.
fn chain(mut rest: &[u8], width: usize) -> bool {
    (0..ENOUGH).all(|_| match set(rest, width).and_then(|len| rest.get(len..)) {
        Some(next) => {
            rest = next;
            true
        }
        None => false,
    })
}

/// The length of a set: a word with the number of descriptors, the bytes of data and the method; descriptors (pages less one in the low
/// four bits, first page above); data. A set holds at most 16 pages.
fn set(bytes: &[u8], width: usize) -> Option<usize> {
    let head = u32_at(bytes, 0)?;
    let (count, size) = ((head & 0xff) as usize, (head >> 8 & 0x3f_ffff) as usize);
    if !(1..=16).contains(&count) || size == 0 {
        return None;
    }
    let mut pages = 0u64;
    for i in 0..count {
        let at = i.checked_mul(width)?.checked_add(4)?;
        let descriptor = if width == 8 { u64_at(bytes, at)? } else { u32_at(bytes, at)?.into() };
        // 52 bits of physical address.
        if descriptor >> 4 >= 1 << 40 {
            return None;
        }
        pages = pages.checked_add(descriptor & 0xf)?.checked_add(1)?;
    }
    let fits = pages <= 16 && size as u64 <= pages.checked_mul(PAGE_SIZE)?;
    if !fits {
        return None;
    }
    count.checked_mul(width)?.checked_add(4)?.checked_add(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wiped first page, then sets of one page each.
    fn file(width: usize, sets: usize) -> Vec<u8> {
        let mut out = vec![0; 9 * 4096];
        for i in 0..sets {
            let data = vec![0xa5; 300 + i];
            out.extend(u32::try_from(1 | data.len() << 8).unwrap().to_le_bytes());
            out.extend(&((0x1234 + i as u64) << 4).to_le_bytes()[..width]);
            out.extend(data);
        }
        out.resize(1 << 20, 0);
        out
    }

    #[test]
    fn a_body_is_known_without_its_header() {
        assert!(is_hibernation_file(&file(8, 20)) && is_hibernation_file(&file(4, 20)));
        let mut seven = vec![0; 1 << 20];
        seven[3 * 4096..3 * 4096 + 8].copy_from_slice(XPRESS);
        assert!(is_hibernation_file(&seven));
    }
    #[test]
    fn memory_with_an_empty_first_page_is_memory() {
        assert!(!is_hibernation_file(&vec![0; 1 << 20]));
        assert!(!is_hibernation_file(&file(8, 2)), "two sets can be chance");
        let mut memory = vec![0; 1 << 20];
        for (i, b) in memory[4096..].iter_mut().enumerate() {
            *b = (i.wrapping_mul(2_654_435_761) >> 13) as u8;
        }
        assert!(!is_hibernation_file(&memory));
        // Page tables, small numbers.
        for (i, entry) in memory[4096..].chunks_exact_mut(8).enumerate() {
            entry.copy_from_slice(&((i as u64) << 12 | 0x63).to_le_bytes());
        }
        assert!(!is_hibernation_file(&memory));
        for (i, entry) in memory[4096..].chunks_exact_mut(4).enumerate() {
            entry.copy_from_slice(&(i as u32 % 17).to_le_bytes());
        }
        assert!(!is_hibernation_file(&memory));
    }
}
