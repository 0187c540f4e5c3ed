//! No page tables: a triage dump or a user-mode minidump keeps blocks of virtual memory, and that is all there is.

use super::Space;
use crate::addr::Va;
use crate::bytes::Bytes;
use crate::dump::Evidence;
use crate::place::At;
use crate::value::{Absent, Value};

impl<'d> Space<'d> {
    /// The first kept address after `va`.
    fn next_kept(&self, va: Va) -> Option<Va> {
        let after = va.0.checked_add(1).map(Va)?;
        match self.dump.evidence() {
            Evidence::Memory => None,
            Evidence::Triage(triage) => triage.next_kept(after),
            Evidence::Minidump(process) => process.next_kept(after),
        }
    }
    /// The bytes from `va` to at most `len` or the end of what is kept there.
    pub(super) fn kept(&self, va: Va, len: u32) -> Value<(&'d [u8], u64)> {
        if self.forbids(va) {
            return Err(Absent::Implausible);
        }
        self.dump.virtual_bytes(va, len as usize).map_err(|why| match why {
            Absent::NotApplicable => Absent::NotMapped,
            why => why,
        })
    }
    /// `len` bytes at `va`, with holes between the blocks.
    pub(super) fn fetch_kept(&self, va: Va, len: u32) -> Bytes<'d> {
        let first = self.kept(va, len);
        if let Ok((data, file)) = first
            && data.len() == len as usize
        {
            return Bytes::borrowed(data, Some(va), None, Some(At::in_dump(file)));
        }
        let mut out = Bytes::builder(Some(va), 0);
        while out.len() < len {
            let left = len.saturating_sub(out.len());
            let Some(at) = va.0.checked_add(out.len().into()).map(Va) else {
                out.push_hole(left, Absent::NotMapped);
                break;
            };
            match self.kept(at, left) {
                Ok((data, file)) if !data.is_empty() => out.push(data, None, Some(At::in_dump(file))),
                other => {
                    let next = self.next_kept(at).map_or(u64::MAX, |next| next.0.saturating_sub(at.0));
                    let hole = u32::try_from(next).unwrap_or(u32::MAX).min(left).max(1);
                    out.push_hole(hole, other.err().unwrap_or(Absent::NotInDump));
                }
            }
        }
        out
    }
}
