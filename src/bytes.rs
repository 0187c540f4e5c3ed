//! Bytes of one object of a dump: where they came from, and where they are missing.

use crate::addr::{Pa, Va};
pub use crate::place::{At, Place, Stored};
use crate::value::{Absent, Value};
use std::borrow::Cow;

/// A stretch of a [`Bytes`]: either bytes with one origin, or a hole with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// First byte, relative to the object.
    start: u32,
    /// One past the last.
    end: u32,
    /// Where its bytes start in the data. Holes have none, so a huge hole costs no memory.
    data: u32,
    /// Physical address and place in a file of `start`, or why it is missing.
    from: Value<(Option<Pa>, Option<At>)>,
}

/// The bytes of one object. Borrowed from the map when they lie together in the file (inside one page, or in pages that
/// follow each other in memory and in the file), copied otherwise.
/// Holes are remembered with their reason, so that a field in a hole is absent and a field beside it is not.
#[derive(Clone, Debug)]
pub struct Bytes<'d> {
    /// The present bytes of all pieces, one after another.
    data: Cow<'d, [u8]>,
    va: Option<Va>,
    /// The whole's length, when it is there as one: nearly every field of nearly every object needs to know no more.
    solid: u32,
    /// The whole, when it has one origin (nearly always): no allocation.
    one: Option<Piece>,
    /// Otherwise all pieces in order.
    many: Vec<Piece>,
}

impl<'d> Bytes<'d> {
    /// Bytes with one origin, borrowed.
    #[must_use]
    pub fn borrowed(data: &'d [u8], va: Option<Va>, pa: Option<Pa>, file: Option<At>) -> Self {
        let end = short(data.len());
        Self {
            data: Cow::Borrowed(data),
            va,
            solid: end,
            one: Some(Piece { start: 0, end, data: 0, from: Ok((pa, file)) }),
            many: Vec::new(),
        }
    }
    /// Nothing but a hole of `len` bytes.
    #[must_use]
    pub fn hole(len: u32, va: Option<Va>, why: Absent) -> Self {
        Self {
            data: Cow::Borrowed(&[]),
            va,
            solid: 0,
            one: Some(Piece { start: 0, end: len, data: 0, from: Err(why) }),
            many: Vec::new(),
        }
    }
    /// An empty object to be filled piece by piece with [`push`](Self::push) and [`push_hole`](Self::push_hole).
    /// `capacity` is the number of present bytes to come, holes not counted.
    #[must_use]
    pub fn builder(va: Option<Va>, capacity: u32) -> Self {
        Self {
            data: Cow::Owned(Vec::with_capacity(capacity as usize)),
            va,
            solid: 0,
            one: None,
            many: Vec::with_capacity(2),
        }
    }
    /// Adds bytes at the end. What would pass 4 GiB is left out.
    pub fn push(&mut self, bytes: &[u8], pa: Option<Pa>, file: Option<At>) {
        let start = self.len();
        let end = start.saturating_add(short(bytes.len()));
        let bytes = bytes.get(..end.saturating_sub(start) as usize).unwrap_or(bytes);
        let data = short(self.data.len());
        self.data.to_mut().extend_from_slice(bytes);
        if let Some(last) = self.many.last_mut() {
            let before = u64::from(last.end.saturating_sub(last.start));
            let follows =
                last.from.is_ok_and(|(p, f)| p.map(|p| p.add(before)) == pa && f.map(|f| f.add(before)) == file);
            if follows {
                last.end = end;
                return;
            }
        }
        self.many.push(Piece { start, end, data, from: Ok((pa, file)) });
    }
    /// Adds a hole at the end.
    pub fn push_hole(&mut self, len: u32, why: Absent) {
        let start = self.len();
        let end = start.saturating_add(len);
        match self.many.last_mut() {
            Some(last) if last.from == Err(why) => last.end = end,
            _ => self.many.push(Piece { start, end, data: short(self.data.len()), from: Err(why) }),
        }
    }
    /// Bytes without origin, for tests.
    #[must_use]
    pub fn from_vec(data: Vec<u8>) -> Self {
        let end = short(data.len());
        Self {
            data: Cow::Owned(data),
            va: None,
            solid: end,
            one: Some(Piece { start: 0, end, data: 0, from: Ok((None, None)) }),
            many: Vec::new(),
        }
    }

    /// The same bytes as a later part of an object, `skipped` bytes from its start. What lies before them is not there.
    #[must_use]
    pub fn behind(mut self, skipped: u32) -> Self {
        for piece in self.one.iter_mut().chain(&mut self.many) {
            piece.start = piece.start.saturating_add(skipped);
            piece.end = piece.end.saturating_add(skipped);
        }
        self.va = self.va.map(|va| va.sub(skipped.into()));
        self.solid = 0;
        self
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.one.iter().chain(&self.many)
    }
    /// Length, holes included.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.many.last().or(self.one.as_ref()).map_or(0, |p| p.end)
    }
    /// Whether there is not even a hole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `len` bytes at `offset`, or why they are not (all) there.
    ///
    /// # Errors
    /// The reason of the first hole touched; [`Absent::NotMapped`] past the end.
    #[inline]
    pub fn at(&self, offset: u32, len: u32) -> Value<&[u8]> {
        let end = offset.checked_add(len).ok_or(Absent::Implausible)?;
        if end <= self.solid {
            return self.data.get(offset as usize..end as usize).ok_or(Absent::NotMapped);
        }
        self.among_pieces(offset, end)
    }
    fn among_pieces(&self, offset: u32, end: u32) -> Value<&[u8]> {
        let len = end.saturating_sub(offset);
        if len == 0 {
            return if offset <= self.len() { Ok(&[]) } else { Err(Absent::NotMapped) };
        }
        if self.pieces().next().is_some_and(|first| first.start > offset) {
            return Err(Absent::NotMapped);
        }
        let mut from = None;
        for p in self.pieces().skip_while(|p| p.end <= offset).take_while(|p| p.start < end) {
            p.from?;
            // Neighbouring present pieces lie together in the data: the first one's place is enough.
            from.get_or_insert(p.data.saturating_add(offset.saturating_sub(p.start)));
        }
        if end > self.len() {
            return Err(Absent::NotMapped);
        }
        let from = from.ok_or(Absent::NotMapped)? as usize;
        self.data.get(from..from.saturating_add(len as usize)).ok_or(Absent::NotMapped)
    }
    /// All bytes.
    ///
    /// # Errors
    /// The reason of the first hole.
    pub fn all(&self) -> Value<&[u8]> {
        self.at(0, self.len())
    }
    /// The readable bytes from the start up to the first hole.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        let Some(first) = self.pieces().next() else { return &[] };
        let end = self.pieces().find(|p| p.from.is_err()).map_or(self.len(), |p| p.start);
        // A part of an object has the whole's data, and begins somewhere in it.
        let from = first.data as usize;
        self.data.get(from..from.saturating_add(end.saturating_sub(first.start) as usize)).unwrap_or_default()
    }
    /// Every readable stretch: offset from the start, and its bytes. Neighbours of other origin come one by one.
    pub fn present(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.pieces().filter(|p| p.from.is_ok()).filter_map(|p| {
            let from = p.data as usize;
            Some((p.start, self.data.get(from..from.checked_add(p.end.checked_sub(p.start)? as usize)?)?))
        })
    }
    /// Every hole: offset from the start, length, and why.
    pub fn holes(&self) -> impl Iterator<Item = (u32, u32, Absent)> {
        self.pieces().filter_map(|p| p.from.err().map(|why| (p.start, p.end.saturating_sub(p.start), why)))
    }
    /// A part of the object, with its holes and origins. What lies past the end is left out.
    #[must_use]
    pub fn part(&self, offset: u32, len: u32) -> Bytes<'_> {
        let end = offset.saturating_add(len).min(self.len());
        let va = self.va.map(|v| v.add(offset.into()));
        let mut many = Vec::new();
        let mut one = None;
        for p in self.pieces().filter(|p| p.start.max(offset) < p.end.min(end)) {
            let skipped = offset.saturating_sub(p.start);
            let delta = u64::from(skipped);
            let piece = Piece {
                start: p.start.saturating_sub(offset),
                end: p.end.min(end).saturating_sub(offset),
                data: p.data.saturating_add(if p.from.is_ok() { skipped } else { 0 }),
                from: p.from.map(|(pa, file)| (pa.map(|a| a.add(delta)), file.map(|f| f.add(delta)))),
            };
            match one.take() {
                None if many.is_empty() => one = Some(piece),
                None => many.push(piece),
                Some(first) => many.extend([first, piece]),
            }
        }
        Bytes { data: Cow::Borrowed(&self.data), va, solid: 0, one, many }
    }
    /// All bytes with zeros in the holes: for writing memory out, never for reading values.
    #[must_use]
    pub fn zero_filled(&self) -> Cow<'_, [u8]> {
        if let Ok(all) = self.all() {
            return Cow::Borrowed(all);
        }
        let mut out = Vec::new();
        for p in self.pieces() {
            let from = p.data as usize;
            let len = p.end.saturating_sub(p.start) as usize;
            if p.from.is_ok() {
                out.extend_from_slice(self.data.get(from..from.saturating_add(len)).unwrap_or(&[]));
            }
            out.resize(p.end as usize, 0);
        }
        Cow::Owned(out)
    }
    /// Whether the bytes are borrowed from the map.
    #[must_use]
    pub fn is_borrowed(&self) -> bool {
        matches!(self.data, Cow::Borrowed(_))
    }
    /// The virtual address of the first byte, where the object was met virtually.
    #[must_use]
    pub fn va(&self) -> Option<Va> {
        self.va
    }
    /// Where the byte at `offset` stands.
    #[must_use]
    pub fn place(&self, offset: u32) -> Place {
        let va = self.va.map(|v| v.add(offset.into()));
        let found = self.pieces().find(|p| p.start <= offset && offset < p.end);
        let Some((p, Ok((pa, file)))) = found.map(|p| (p, p.from)) else {
            return Place { va, pa: None, file: None };
        };
        let delta = u64::from(offset.saturating_sub(p.start));
        Place { va, pa: pa.map(|a| a.add(delta)), file: file.map(|f| f.add(delta)) }
    }
}

/// Lengths of objects are 32-bit; nothing dumpwalk reads as one object is larger.
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// A little-endian number of 1 to 8 bytes, zero-extended. `None` for any other length.
#[must_use]
#[inline]
pub fn le(bytes: &[u8]) -> Option<u64> {
    // Nearly every number has one of these widths; a copy of a length not known beforehand is a call.
    match *bytes {
        [a, b, c, d, e, f, g, h] => Some(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d]).into()),
        [a, b] => Some(u16::from_le_bytes([a, b]).into()),
        [a] => Some(a.into()),
        [] => None,
        _ => {
            let mut word = [0u8; 8];
            word.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(u64::from_le_bytes(word))
        }
    }
}
/// The little-endian `u16` at `offset`.
#[must_use]
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..offset.checked_add(2)?)?.try_into().ok()?))
}
/// The little-endian `u32` at `offset`.
#[must_use]
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}
/// The little-endian `u64` at `offset`.
#[must_use]
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_costs_its_own_bytes_only() {
        let mut b = Bytes::builder(Some(Va(0x1ff0)), 48);
        b.push(&[1; 16], Some(Pa(0x5ff0)), Some(0x100.into()));
        b.push_hole(16, Absent::PagedOut);
        b.push(&[2; 16], Some(Pa(0x9000)), Some(0x900.into()));
        assert_eq!(b.at(0, 16), Ok(&[1u8; 16][..]));
        assert_eq!(b.at(15, 2), Err(Absent::PagedOut));
        assert_eq!(b.at(32, 16), Ok(&[2u8; 16][..]));
        assert_eq!(b.at(40, 16), Err(Absent::NotMapped));
        assert_eq!(b.place(33), Place { va: Some(Va(0x2011)), pa: Some(Pa(0x9001)), file: Some(0x901.into()) });
        assert_eq!(b.prefix().len(), 16);
        assert_eq!(b.holes().collect::<Vec<_>>(), [(16, 16, Absent::PagedOut)]);
        assert_eq!(b.present().collect::<Vec<_>>(), [(0, &[1u8; 16][..]), (32, &[2u8; 16][..])]);
        assert_eq!(b.zero_filled().len(), 48);
        assert_eq!(b.at(48, 0), Ok(&[][..]));
    }
    #[test]
    fn a_later_part_is_at_its_own_offsets() {
        let mut b = Bytes::builder(Some(Va(0x1010)), 4);
        b.push(&[1, 2, 3, 4], Some(Pa(0x5010)), Some(0x110.into()));
        b.push_hole(2, Absent::PagedOut);
        let b = b.behind(16);
        assert_eq!(b.at(16, 4), Ok(&[1u8, 2, 3, 4][..]));
        assert_eq!(b.at(19, 2), Err(Absent::PagedOut));
        assert_eq!(b.at(15, 2), Err(Absent::NotMapped));
        assert_eq!(b.at(0, 1), Err(Absent::NotMapped));
        assert_eq!(b.at(22, 1), Err(Absent::NotMapped));
        assert_eq!(b.va(), Some(Va(0x1000)));
        assert_eq!(b.place(17), Place { va: Some(Va(0x1011)), pa: Some(Pa(0x5011)), file: Some(0x111.into()) });
        assert_eq!(b.place(3), Place { va: Some(Va(0x1003)), pa: None, file: None });
    }
    #[test]
    fn neighbours_read_as_one() {
        let mut b = Bytes::builder(Some(Va(0x1000)), 8);
        b.push(&[1, 2], Some(Pa(0x5000)), Some(0x10.into()));
        b.push(&[3, 4], Some(Pa(0x5002)), Some(0x12.into()));
        b.push(&[5, 6], Some(Pa(0x9000)), None);
        b.push_hole(2, Absent::NotInDump);
        b.push_hole(3, Absent::NotInDump);
        b.push(&[7], Some(Pa(0xa000)), None);
        assert_eq!(b.present().count(), 3);
        assert_eq!(b.at(1, 4), Ok(&[2u8, 3, 4, 5][..]));
        assert_eq!(b.at(11, 1), Ok(&[7u8][..]));
        assert_eq!(b.holes().collect::<Vec<_>>(), [(6, 5, Absent::NotInDump)]);
        assert_eq!(b.zero_filled()[..], [1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 7]);
    }
    #[test]
    fn a_part_reads_as_the_whole_does() {
        let mut b = Bytes::builder(Some(Va(0x1000)), 8);
        b.push(&[1, 2, 3], Some(Pa(0x5000)), Some(0x10.into()));
        b.push_hole(2, Absent::NotInDump);
        b.push(&[4, 5, 6], Some(Pa(0x7000)), None);
        b.push(&[7, 8], Some(Pa(0x9000)), None);
        for offset in 0..=b.len() {
            for len in 0..=b.len() - offset {
                let part = b.part(offset, len);
                assert_eq!(part.len(), len);
                for at in 0..=len {
                    for n in 0..=len - at {
                        assert_eq!(part.at(at, n), b.at(offset + at, n), "{offset}+{len}: {at}+{n}");
                    }
                    if at < len {
                        assert_eq!(part.place(at), b.place(offset + at));
                    }
                }
                let there = (0..=len).rev().find_map(|n| part.at(0, n).ok());
                assert_eq!(part.prefix(), there.unwrap_or_default(), "{offset}+{len}");
                assert_eq!(part.at(0, len + 1), Err(part.holes().next().map_or(Absent::NotMapped, |h| h.2)));
            }
        }
    }
    #[test]
    fn a_huge_hole_costs_nothing() {
        let mut b = Bytes::builder(None, 1);
        b.push_hole(u32::MAX - 1, Absent::NotMapped);
        b.push(&[9, 9], None, None);
        assert_eq!(b.len(), u32::MAX);
        assert_eq!(b.at(u32::MAX - 1, 1), Ok(&[9u8][..]));
    }
    #[test]
    fn numbers() {
        assert_eq!(le(&[1, 2]), Some(0x201));
        assert_eq!(le(&[]), None);
        assert_eq!(le(&[0; 9]), None);
        assert_eq!(u32_at(&[0, 1, 0, 0, 0], 1), Some(1));
        assert_eq!(u32_at(&[0; 4], 1), None);
        assert_eq!(u64_at(&[0; 4], usize::MAX), None);
    }
}
