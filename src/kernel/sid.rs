//! `_SID`: a security identifier, as text and by parts.
//!
//! The structure is public (`winnt.h`) and the same in every symbol table at hand: `Revision` at 0, `SubAuthorityCount` at 1,
//! `IdentifierAuthority` (six bytes, **big-endian**) at 2, then the sub-authorities, little-endian `u32`.

use crate::addr::Va;
use crate::bytes::u32_at;
use crate::paging::Space;
use crate::value::{Absent, Value};
use std::fmt;

/// Most sub-authorities a SID has (`SID_MAX_SUB_AUTHORITIES` of `winnt.h`).
pub const MAX_SUB_AUTHORITIES: usize = 15;
/// Bytes before the first sub-authority.
const HEADER: usize = 8;

/// A security identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid {
    authority: u64,
    count: u8,
    parts: [u32; MAX_SUB_AUTHORITIES],
}

impl Sid {
    /// From an authority and its sub-authorities; `None` when there are more than fifteen.
    #[must_use]
    pub fn new(authority: u64, parts: &[u32]) -> Option<Self> {
        let mut all = [0; MAX_SUB_AUTHORITIES];
        all.get_mut(..parts.len())?.copy_from_slice(parts);
        Some(Self { authority, count: u8::try_from(parts.len()).ok()?, parts: all })
    }
    /// Decodes the bytes of a `_SID`. More bytes than it needs may follow.
    ///
    /// # Errors
    /// [`Absent::Implausible`] for a revision other than 1, more than fifteen sub-authorities or too few bytes.
    pub fn decode(bytes: &[u8]) -> Value<Self> {
        let [revision, count, a, b, c, d, e, f] = *bytes.first_chunk::<HEADER>().ok_or(Absent::Implausible)?;
        if revision & 0xf != 1 || usize::from(count) > MAX_SUB_AUTHORITIES {
            return Err(Absent::Implausible);
        }
        let mut parts = [0; MAX_SUB_AUTHORITIES];
        for (i, part) in parts.iter_mut().take(count.into()).enumerate() {
            *part = u32_at(bytes, HEADER.saturating_add(i.saturating_mul(4))).ok_or(Absent::Implausible)?;
        }
        Ok(Self { authority: u64::from_be_bytes([0, 0, a, b, c, d, e, f]), count, parts })
    }
    /// Reads the `_SID` at `va`.
    ///
    /// # Errors
    /// Why it is not there; a null pointer is [`Absent::NotApplicable`].
    pub fn read(space: &Space<'_>, va: Va) -> Value<Self> {
        if va.is_null() {
            return Err(Absent::NotApplicable);
        }
        // The longest SID in one fetch: what lies behind a shorter one does not matter, not even whether it is there.
        let bytes = space.fetch(va, 8 + 4 * MAX_SUB_AUTHORITIES as u32);
        let count = *bytes.at(0, 2)?.get(1).ok_or(Absent::Implausible)?;
        if usize::from(count) > MAX_SUB_AUTHORITIES {
            return Err(Absent::Implausible);
        }
        Self::decode(bytes.at(0, 8 + 4 * u32::from(count))?)
    }
    /// The identifier authority: 5 is NT, 16 mandatory labels, 15 app packages.
    #[must_use]
    pub fn authority(&self) -> u64 {
        self.authority
    }
    /// The sub-authorities.
    #[must_use]
    pub fn parts(&self) -> &[u32] {
        self.parts.get(..self.count.into()).unwrap_or(&[])
    }
    /// The last sub-authority: of accounts the relative id (500 is the built-in administrator).
    #[must_use]
    pub fn rid(&self) -> Option<u32> {
        self.parts().last().copied()
    }
    /// The mandatory level of an `S-1-16-…` label.
    #[must_use]
    pub fn integrity(&self) -> Option<u32> {
        match self.parts() {
            [level] if self.authority == 16 => Some(*level),
            _ => None,
        }
    }
}

impl fmt::Display for Sid {
    /// As `ConvertSidToStringSid` writes it: an authority above 32 bits in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.authority > u64::from(u32::MAX) {
            write!(f, "S-1-0x{:012x}", self.authority)?;
        } else {
            write!(f, "S-1-{}", self.authority)?;
        }
        self.parts().iter().try_for_each(|p| write!(f, "-{p}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_big_endian_and_six_bytes_long() {
        let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, 0xee];
        assert_eq!(Sid::decode(&system).unwrap().to_string(), "S-1-5-18");
        let long = [1, 1, 1, 2, 3, 4, 5, 6, 1, 0, 0, 0];
        assert_eq!(Sid::decode(&long).unwrap().to_string(), "S-1-0x010203040506-1");
        let two_bytes = [1, 1, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0];
        assert_eq!(Sid::decode(&two_bytes).unwrap().to_string(), "S-1-261-1");
    }
    #[test]
    fn nonsense_is_no_sid() {
        assert_eq!(Sid::decode(&[2, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), Err(Absent::Implausible));
        assert_eq!(Sid::decode(&[1, 16, 0, 0, 0, 0, 0, 5]), Err(Absent::Implausible));
        assert_eq!(Sid::decode(&[1, 2, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), Err(Absent::Implausible));
        assert_eq!(Sid::decode(&[]), Err(Absent::Implausible));
    }
    #[test]
    fn the_parts() {
        let sid = Sid::new(5, &[21, 1, 2, 3, 500]).unwrap();
        assert_eq!(sid.rid(), Some(500));
        assert_eq!(sid.integrity(), None);
        assert_eq!(Sid::new(16, &[12288]).unwrap().integrity(), Some(12288));
        assert_eq!(Sid::new(5, &[0; 16]), None);
    }
}
