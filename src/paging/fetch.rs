//! Many bytes at once: across pages, runs and holes.

use super::cache::Hit;
use super::walk::Follow;
use super::{Fault, Mode, Page, Space};
use crate::addr::{PAGE_SIZE, Pa, Va};
use crate::bytes::Bytes;
use crate::value::{Absent, Value};

/// A stretch of an object, or a hole.
type Segment = (u32, Value<Spot>);

/// Where a stretch lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spot {
    /// Together in physical memory.
    Memory(Pa),
    /// In the page that another source has for this entry: from this byte on.
    Beyond(Fault, u64),
}

impl Spot {
    /// Whether `next` goes on where `len` bytes of this end.
    fn goes_on(self, len: u32, next: Self) -> bool {
        matches!((self, next), (Self::Memory(a), Self::Memory(b)) if a.add(len.into()) == b)
    }
}

/// Objects up to this size are fetched without asking how much memory the dump has.
const MODEST: u32 = 1 << 24;

impl<'d> Space<'d> {
    /// `len` bytes at `va`, with holes where there are none. Never fails, and never takes more memory than the dump is
    /// large: what page tables map beyond that, they map twice.
    #[must_use]
    pub fn fetch(&self, va: Va, len: u32) -> Bytes<'d> {
        if self.mode == Mode::Blocks {
            return self.fetch_kept(va, len);
        }
        if va.offset_in_page().saturating_add(len.into()) <= PAGE_SIZE {
            let found = self.hit(va).and_then(|hit| Ok((hit, self.bytes_of(hit, va, len)?)));
            let inside = va.offset_in_page();
            match found {
                Ok((Hit { pa, file }, data)) => {
                    let (pa, file) = (pa.map(|pa| pa.add(inside)), file.map(|f| f.add(inside)));
                    return Bytes::borrowed(data, Some(va), pa, file);
                }
                // A page of another source may be one that it does not keep.
                Err(Absent::Compressed) if self.sources.is_some() => {}
                Err(why) => return Bytes::hole(len, Some(va), why),
            }
        }
        let segments = self.segments(va, len);
        if let [(n, Ok(Spot::Memory(pa)))] = segments.as_slice()
            && let Some((data, file)) = self.dump.stretch(*pa, *n as usize)
            && data.len() == *n as usize
        {
            return Bytes::borrowed(data, Some(va), Some(*pa), Some(file.into()));
        }
        let present: u64 = segments.iter().filter(|(_, s)| s.is_ok()).map(|(n, _)| u64::from(*n)).sum();
        let mut room = present;
        if len > MODEST {
            let memory = self.dump.page_count().saturating_mul(PAGE_SIZE);
            room = room.min(memory);
        }
        let mut out = Bytes::builder(Some(va), u32::try_from(room).unwrap_or(u32::MAX));
        for (n, segment) in segments {
            match segment {
                Ok(Spot::Memory(pa)) => self.copy(&mut out, pa, n, &mut room),
                Ok(Spot::Beyond(fault, inside)) => self.copy_beyond(&mut out, fault, inside, n),
                Err(why) => out.push_hole(n, why),
            }
        }
        out
    }
    /// Translates all of an object, joining what lies together.
    fn segments(&self, va: Va, len: u32) -> Vec<Segment> {
        let mut out: Vec<Segment> = Vec::with_capacity(4);
        let mut done = 0u32;
        while done < len {
            let left = len.saturating_sub(done);
            let (n, segment) = match va.0.checked_add(done.into()) {
                Some(at) => self.segment(Va(at), left),
                // The address space ends here; what wraps is another object.
                None => (left, Err(Absent::NotMapped)),
            };
            done = done.saturating_add(n);
            match out.last_mut() {
                Some((before, Ok(spot))) if segment.is_ok_and(|next| spot.goes_on(*before, next)) => {
                    *before = before.saturating_add(n)
                }
                Some((before, Err(why))) if segment == Err(*why) => *before = before.saturating_add(n),
                _ => out.push((n, segment)),
            }
        }
        out
    }
    fn segment(&self, at: Va, left: u32) -> Segment {
        let in_page = PAGE_SIZE.saturating_sub(at.offset_in_page());
        let (reach, found) = if let Some(Hit { pa: Some(pa), .. }) = self.cache.page(at.0 / PAGE_SIZE) {
            (in_page, Ok(Spot::Memory(pa.add(at.offset_in_page()))))
        } else {
            let step = self.step(at, Follow::Prototypes);
            let reach = step.next.map_or(u64::MAX, |n| n.saturating_sub(at.0));
            match step.found {
                Ok(mapping) => (reach.max(1), Ok(Spot::Memory(mapping.pa))),
                Err(fault @ (Fault::PageFile { .. } | Fault::Compressed { .. })) if self.sources.is_some() => {
                    (in_page, Ok(Spot::Beyond(fault, at.offset_in_page())))
                }
                Err(fault) => (reach.max(1), Err(fault.into())),
            }
        };
        (u32::try_from(reach).unwrap_or(u32::MAX).min(left), found)
    }
    /// The page behind a prototype entry, wherever it is kept: the one that all processes share.
    #[must_use]
    pub fn page_behind_prototype(&self, pte: Va) -> Bytes<'d> {
        let len = u32::try_from(PAGE_SIZE).unwrap_or(0);
        let mut out = Bytes::builder(None, len);
        match self.behind_prototype(pte) {
            Ok(mapping) => self.copy(&mut out, mapping.pa.page(), len, &mut u64::from(len)),
            Err(fault) => self.copy_beyond(&mut out, fault, 0, len),
        }
        out
    }
    /// Copies a part of a page that another source has.
    fn copy_beyond(&self, out: &mut Bytes<'_>, fault: Fault, inside: u64, len: u32) {
        let found = self.beyond(fault);
        let place = found.as_ref().ok().map(|page| page.at().add(inside));
        let bytes = match &found {
            Ok(Page::Kept(at)) => self.page_at(*at),
            Ok(Page::Passing(_, bytes)) => Some(&**bytes),
            Err(_) => None,
        };
        let from = usize::try_from(inside).unwrap_or(usize::MAX);
        match bytes.and_then(|b| b.get(from..from.checked_add(len as usize)?)) {
            Some(part) => out.push(part, None, place),
            None => out.push_hole(len, found.err().unwrap_or(fault.into())),
        }
    }
    /// Copies a stretch of physical memory, page by page where the file scatters it.
    fn copy(&self, out: &mut Bytes<'_>, from: Pa, len: u32, room: &mut u64) {
        let mut done = 0u32;
        while done < len {
            let left = len.saturating_sub(done);
            let at = from.add(done.into());
            if *room == 0 {
                out.push_hole(left, Absent::Implausible);
                return;
            }
            let want = u64::from(left).min(*room);
            if let Some((data, file)) = self.dump.stretch(at, usize::try_from(want).unwrap_or(usize::MAX)) {
                out.push(data, Some(at), Some(file.into()));
                let n = u32::try_from(data.len()).unwrap_or(left).max(1);
                *room = room.saturating_sub(n.into());
                done = done.saturating_add(n);
            } else {
                let rest = PAGE_SIZE.saturating_sub(at.offset_in_page());
                let n = u32::try_from(rest).unwrap_or(left).min(left);
                out.push_hole(n, Absent::NotInDump);
                done = done.saturating_add(n);
            }
        }
    }
}
