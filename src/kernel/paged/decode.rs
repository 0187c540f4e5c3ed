//! Pages as the compressed store keeps them.
//!
//! Xpress is the plain LZ77 form of `[MS-XCA]` 2.3 and 2.4, LZ4 a bare block. Own code for the first: the one crate that reads all of its streams
//! (`xpress_rs` 0.2) takes neither a bound for what comes out nor a buffer to write it to.

use crate::addr::PAGE_SIZE;
use crate::paging::PageBytes;

/// How a store compresses (`COMPRESSION_FORMAT_…` of ntifs.h for the first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `COMPRESSION_FORMAT_XPRESS`, 3: Windows 10 and 11 before 24H2.
    Xpress,
    /// A bare LZ4 block: 24H2.
    Lz4,
}

impl Algorithm {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xpress => "Xpress",
            Self::Lz4 => "LZ4",
        }
    }
    /// A page out of its compressed bytes. `None`: they are none, or make anything but exactly a page.
    #[must_use]
    pub fn page(self, bytes: &[u8]) -> Option<Box<PageBytes>> {
        let mut page = Box::new([0; PAGE_SIZE as usize]);
        let whole = match self {
            Self::Xpress => xpress(bytes, &mut page).is_some(),
            Self::Lz4 => lz4_flex::block::decompress_into(bytes, &mut page[..]).is_ok_and(|n| n == page.len()),
        };
        whole.then_some(page)
    }
}

/// Takes bytes from the front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }
    fn byte(&mut self) -> Option<usize> {
        self.array().map(|[b]: [u8; 1]| usize::from(b))
    }
    fn word(&mut self) -> Option<usize> {
        self.array().map(|b| usize::from(u16::from_le_bytes(b)))
    }
    fn long(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

/// Fills a page from an Xpress stream. `None` where the stream ends before, says something that cannot be, or has more than a page: a match that
/// goes on past the page's end.
fn xpress(stream: &[u8], page: &mut PageBytes) -> Option<()> {
    let mut input = Input(stream);
    let mut at = 0usize;
    // Lengths of seven and more have four more bits; two of them share a byte.
    let mut half: Option<usize> = None;
    while at < page.len() {
        let mut flags = input.long()?;
        let mut left = 32u32;
        while left > 0 && at < page.len() {
            // Literals in a row, all at once.
            let run = flags.leading_zeros().min(left);
            if run > 0 {
                let n = (run as usize).min(page.len().checked_sub(at)?);
                page.get_mut(at..at.checked_add(n)?)?.copy_from_slice(input.take(n)?);
                at = at.checked_add(n)?;
                left = left.checked_sub(run)?;
                flags = flags.checked_shl(run).unwrap_or(0);
                continue;
            }
            flags <<= 1;
            left = left.checked_sub(1)?;
            let code = input.word()?;
            let length = length(code & 7, &mut half, &mut input)?;
            repeat(page, at, (code >> 3).checked_add(1)?, length)?;
            at = at.checked_add(length)?;
        }
    }
    Some(())
}

/// A match's length, from its three bits on.
fn length(code: usize, half: &mut Option<usize>, input: &mut Input<'_>) -> Option<usize> {
    if code < 7 {
        return code.checked_add(3);
    }
    let four = match half.take() {
        Some(four) => four,
        None => {
            let both = input.byte()?;
            *half = Some(both >> 4);
            both & 15
        }
    };
    if four < 15 {
        return four.checked_add(10);
    }
    match input.byte()? {
        // The whole length less three.
        255 => {
            let whole = match input.word()? {
                0 => usize::try_from(input.long()?).ok()?,
                whole => whole,
            };
            (whole >= 22).then(|| whole.checked_add(3))?
        }
        byte => byte.checked_add(25),
    }
}

/// Copies `length` bytes from `distance` bytes before; where the two overlap, what was written is read again.
fn repeat(page: &mut PageBytes, at: usize, distance: usize, length: usize) -> Option<()> {
    let from = at.checked_sub(distance)?;
    let end = at.checked_add(length).filter(|end| *end <= page.len())?;
    let mut to = at;
    // What is there to be read doubles with each turn.
    while to < end {
        let n = to.checked_sub(from)?.min(end.checked_sub(to)?);
        page.copy_within(from..from.checked_add(n)?, to);
        to = to.checked_add(n)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two examples of `[MS-XCA]` 3.1, with what a page lacks appended: its last match, byte by byte of the format.
    #[test]
    fn the_published_examples_read_as_printed() {
        let alphabet = [
            0x3f, 0, 0, 0, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h', b'i', b'j', b'k', b'l', b'm', b'n', b'o',
            b'p', b'q', b'r', b's', b't', b'u', b'v', b'w', b'x', b'y', b'z',
        ];
        // 26 literals, then a match of the whole alphabet until the page is full: distance 26, length 4096 - 26.
        let mut stream = alphabet.to_vec();
        stream.extend((25u16 << 3 | 7).to_le_bytes());
        stream.extend([15, 255]);
        stream.extend((4096u16 - 26 - 3).to_le_bytes());
        let page = Algorithm::Xpress.page(&stream).unwrap();
        assert!(page.iter().enumerate().all(|(i, b)| *b == b'a' + (i % 26) as u8));
        // "abc" a hundred times in 13 bytes, as printed there; behind it zeros.
        let hundred = [0xff, 0xff, 0xff, 0x1f, 0x61, 0x62, 0x63, 0x17, 0x00, 0x0f, 0xff, 0x26, 0x01];
        let mut stream = hundred.to_vec();
        // What is left to a page: matches of the same three, of 3796 bytes.
        stream.extend((2u16 << 3 | 7).to_le_bytes());
        stream.extend([255]);
        stream.extend((4096u16 - 300 - 3).to_le_bytes());
        // Its four bits are the upper half of the byte 0x0f before: 0, a length of ten.
        assert!(Algorithm::Xpress.page(&stream).is_none());
        stream[7 + 2] = 0xff;
        let page = Algorithm::Xpress.page(&stream).unwrap();
        assert!(page.iter().enumerate().all(|(i, b)| *b == b"abc"[i % 3]));
    }
    #[test]
    fn what_makes_no_page_is_none() {
        let no = |stream: &[u8]| assert!(Algorithm::Xpress.page(stream).is_none(), "{stream:x?}");
        no(&[]);
        no(&[0; 4]);
        // A literal missing, a match before the beginning, a match past the end, a length below its form's least.
        no(&[0, 0, 0, 0, 1, 2, 3]);
        no(&[0xff, 0xff, 0xff, 0xff, 0, 0]);
        no(&[0xff, 0xff, 0xff, 0x7f, 1, 7, 0, 15, 255, 0xff, 0xff]);
        no(&[0xff, 0xff, 0xff, 0x7f, 1, 7, 0, 15, 255, 21, 0]);
        // One byte 4,096 times: the largest length that a page has.
        let page = Algorithm::Xpress.page(&[0xff, 0xff, 0xff, 0x7f, 9, 7, 0, 15, 255, 0xfc, 0x0f]).unwrap();
        assert_eq!(*page, [9; 4096]);
        // The same by the form of four bytes.
        let page = Algorithm::Xpress.page(&[0xff, 0xff, 0xff, 0x7f, 9, 7, 0, 15, 255, 0, 0, 0xfc, 0x0f, 0, 0]);
        assert_eq!(*page.unwrap(), [9; 4096]);
        assert!(Algorithm::Lz4.page(&[0x1f]).is_none());
        // A token of one literal and a match that ends four bytes short of a page is no page.
        assert!(Algorithm::Lz4.page(&[0x10, 7]).is_none());
    }
}
