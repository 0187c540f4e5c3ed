//! What a stack walk reads from: an address space, or bytes made by a test.

use crate::addr::Va;
use crate::bytes::{Bytes, le};
use crate::dump::user::UserDump;
use crate::paging::Space;
use crate::value::{Absent, Value};

/// Readable memory.
pub trait Memory {
    /// `len` bytes at `va`, with holes.
    fn fetch(&self, va: Va, len: u32) -> Bytes<'_>;
    /// A number of `len` bytes (at most 8).
    ///
    /// # Errors
    /// Why it is not there.
    fn number(&self, va: Va, len: u32) -> Value<u64> {
        le(self.fetch(va, len).all()?).ok_or(Absent::Implausible)
    }
}

impl Memory for Space<'_> {
    fn fetch(&self, va: Va, len: u32) -> Bytes<'_> {
        Space::fetch(self, va, len)
    }
}

impl Memory for UserDump<'_> {
    fn fetch(&self, va: Va, len: u32) -> Bytes<'_> {
        let mut out = Bytes::builder(Some(va), len);
        let mut done = 0u32;
        // Blocks are sorted and do not overlap: each turn takes one, or a gap.
        while done < len {
            let here = va.add(done.into());
            let left = len.saturating_sub(done);
            match self.bytes(here, left as usize) {
                Ok((bytes, file)) if !bytes.is_empty() => {
                    out.push(bytes, None, Some(file.into()));
                    done = done.saturating_add(u32::try_from(bytes.len()).unwrap_or(left));
                }
                _ => {
                    let gap = self.next_kept(here).and_then(|next| next.0.checked_sub(here.0)).unwrap_or(u64::MAX);
                    let gap = u32::try_from(gap).unwrap_or(left).clamp(1, left);
                    out.push_hole(gap, Absent::NotInDump);
                    done = done.saturating_add(gap);
                }
            }
        }
        out
    }
}

/// Bytes at one address, for tests.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub struct Flat(pub Vec<(u64, Vec<u8>)>);

#[cfg(test)]
impl Memory for Flat {
    fn fetch(&self, va: Va, len: u32) -> Bytes<'_> {
        for (base, data) in &self.0 {
            let end = base + data.len() as u64;
            if va.0 >= *base && va.0 < end {
                let from = (va.0 - base) as usize;
                let there = data.len().min(from + len as usize);
                let mut out = Bytes::builder(Some(va), len);
                out.push(&data[from..there], None, None);
                out.push_hole(len - (there - from) as u32, Absent::NotMapped);
                return out;
            }
        }
        Bytes::hole(len, Some(va), Absent::NotMapped)
    }
}
