//! Where bytes of evidence stand: in which file, at which byte, and what has to be done to have them from there.

use crate::addr::{PAGE_SIZE, Pa, Va};
use std::fmt;

/// Where a byte stands: any of the three may be unknown (a sparse dump has no physical addresses,
/// a page made of zeros is in no file).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// Virtual address.
    pub va: Option<Va>,
    /// Physical address, of bytes that were in physical memory.
    pub pa: Option<Pa>,
    /// Which byte of which file.
    pub file: Option<At>,
}

impl Place {
    /// A byte of the dump file that is in no memory: of a header, or of a stream.
    #[must_use]
    pub const fn in_dump(offset: u64) -> Self {
        Self { va: None, pa: None, file: Some(At::in_dump(offset)) }
    }
    /// The place `by` bytes further on, of the same object in the same page.
    #[must_use]
    pub fn offset_by(self, by: u64) -> Self {
        Self {
            va: self.va.map(|va| va.add(by)),
            pa: self.pa.map(|pa| pa.add(by)),
            file: self.file.map(|at| at.add(by)),
        }
    }
    /// The three as text: virtual address, physical address, and [`At`] in a file.
    #[must_use]
    pub fn parts(&self) -> [Option<String>; 3] {
        [self.va.map(|va| va.to_string()), self.pa.map(|pa| pa.to_string()), self.file.map(|at| at.to_string())]
    }
}

/// A byte of one of the files of the evidence: the dump, or a page file given beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored(u64);

/// The bits of a [`Stored`] that are an offset; those above name the file: 0 the dump, N + 1 page file N.
const OFFSET: u64 = (1 << 56) - 1;

impl Stored {
    /// A byte of the dump file. Offsets stay below 2⁵⁶.
    #[must_use]
    pub const fn dump(offset: u64) -> Self {
        Self(offset & OFFSET)
    }
    /// A byte of the page file that Windows gave this number (0 to 15).
    #[must_use]
    pub const fn page_file(number: u8, offset: u64) -> Self {
        Self((offset & OFFSET) | (number as u64).wrapping_add(1).wrapping_shl(56))
    }
    /// The number of the page file it stands in; `None`: in the dump file.
    #[must_use]
    pub const fn file(self) -> Option<u8> {
        match self.0 >> 56 {
            0 => None,
            n => Some((n as u8).wrapping_sub(1)),
        }
    }
    /// The offset in its file.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.0 & OFFSET
    }
}

/// How a byte is to be had from the files of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    /// As it is, at this place.
    Stored(Stored),
    /// It is a byte of a page that was kept otherwise, compressed above all.
    Decoded {
        /// The first byte of what the page is made of.
        from: Stored,
        /// Which decoded page, among those of this run.
        slot: u32,
        /// Which byte of the page.
        inside: u16,
    },
}

impl At {
    /// A byte of the dump file.
    #[must_use]
    pub const fn in_dump(offset: u64) -> Self {
        Self::Stored(Stored::dump(offset))
    }
    /// Its offset in the dump file, if that is where it stands as it is.
    #[must_use]
    pub const fn dump_offset(self) -> Option<u64> {
        match self {
            Self::Stored(at) if at.file().is_none() => Some(at.offset()),
            _ => None,
        }
    }
    /// The byte `delta` bytes on, of the same page.
    #[must_use]
    pub const fn add(self, delta: u64) -> Self {
        match self {
            Self::Stored(at) => Self::Stored(Stored(at.0.saturating_add(delta))),
            Self::Decoded { from, slot, inside } => {
                let inside = (inside as u64).saturating_add(delta);
                Self::Decoded { from, slot, inside: if inside < PAGE_SIZE { inside as u16 } else { u16::MAX } }
            }
        }
    }
    /// The byte in a file that this one is made of, or that it is.
    #[must_use]
    pub const fn stored(self) -> Stored {
        match self {
            Self::Stored(at) | Self::Decoded { from: at, .. } => at,
        }
    }
    /// Which byte of a decoded page it is.
    #[must_use]
    pub const fn inside(self) -> Option<u16> {
        match self {
            Self::Stored(_) => None,
            Self::Decoded { inside, .. } => Some(inside),
        }
    }
    /// A number that no other place and no physical address has.
    #[must_use]
    pub const fn key(self) -> u64 {
        match self {
            Self::Stored(Stored(at)) => at,
            Self::Decoded { slot, .. } => (0xff << 56) | (slot as u64).wrapping_mul(PAGE_SIZE),
        }
    }
}

impl From<u64> for At {
    fn from(offset: u64) -> Self {
        Self::in_dump(offset)
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file() {
            None => write!(f, "{:#x}", self.offset()),
            Some(n) => write!(f, "pagefile{n}+{:#x}", self.offset()),
        }
    }
}

/// `0x…` in the dump file, `pagefile0+0x…` in a page file, and behind a `>` the byte of the page that is decoded from there.
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stored().fmt(f)?;
        self.inside().map_or(Ok(()), |inside| write!(f, ">{inside:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_its_file() {
        let (dump, page) = (At::in_dump(0x2440), At::Stored(Stored::page_file(15, 0x1_0000_0010)));
        assert_eq!((dump.to_string(), page.to_string()), ("0x2440".into(), "pagefile15+0x100000010".into()));
        assert_eq!((dump.dump_offset(), page.dump_offset()), (Some(0x2440), None));
        assert_eq!(page.add(0x10).stored().offset(), 0x1_0000_0020);
        let decoded = At::Decoded { from: Stored::page_file(0, 0x30), slot: 7, inside: 0xff0 };
        assert_eq!(decoded.add(8).to_string(), "pagefile0+0x30>0xff8");
        assert_eq!(decoded.stored(), Stored::page_file(0, 0x30));
        assert_eq!(size_of::<Option<At>>(), 16);
    }
}
