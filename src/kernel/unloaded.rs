//! Drivers that were unloaded: `MmUnloadedDrivers`, a ring of fifty.

use super::Kernel;
use crate::addr::Va;
use crate::bytes::{Bytes, Place, le};
use crate::error::{Error, Result};
use crate::paging::Space;
use crate::symbols::layout::Counted;
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};

/// Entries of the ring (`MI_UNLOADED_DRIVERS`, constant from XP on).
pub const ENTRIES: u64 = 50;

/// `_UNLOADED_DRIVERS`, which no public PDB describes: a `_UNICODE_STRING` name, first and one-past-last address, time.
/// Offsets of the fields and the size, by pointer width.
#[derive(Clone, Copy)]
struct Shape {
    start: u32,
    end: u32,
    time: u32,
    size: u32,
}
impl Shape {
    const fn of(pointer: u32) -> Self {
        let start = pointer.saturating_mul(2);
        let end = start.saturating_add(pointer);
        let time = end.saturating_add(pointer);
        Self { start, end, time, size: time.saturating_add(8) }
    }
}

/// One unloaded driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unloaded {
    /// Its place in the ring, from 0.
    pub index: u64,
    /// Where the entry stands.
    pub place: Place,
    /// File name.
    pub name: Value<Text>,
    /// First byte it occupied.
    pub start: Value<Va>,
    /// One past the last.
    pub end: Value<Va>,
    /// When it was unloaded.
    pub time: Value<FileTime>,
    /// Where name, start, end and time are.
    pub places: [Option<Place>; 4],
}

impl Kernel {
    /// The unloaded drivers, oldest first, and notes on what could not be read.
    ///
    /// # Errors
    /// Nothing says where the ring is.
    pub fn unloaded_drivers(&self) -> Result<(Vec<Unloaded>, Vec<Note>)> {
        if let Some(list) = super::triage::unloaded(&self.dump) {
            return Ok((list, Vec::new()));
        }
        let space = self.space();
        let at = self.global("MmUnloadedDrivers").ok_or_else(|| {
            Error::NotAvailable("the list of unloaded drivers was not found: no symbol MmUnloadedDrivers".into())
        })?;
        let ring = match space.pointer(at) {
            Ok(ring) if ring.is_null() => return Ok((Vec::new(), Vec::new())), // made with the first unloading
            Ok(ring) => ring,
            Err(why) => {
                let note = Note::loss(format!("MmUnloadedDrivers at {at} is {why}"));
                return Ok((Vec::new(), vec![note]));
            }
        };
        // `MmLastUnloadedDriver` counts unloadings: the next slot, modulo the ring, is the oldest.
        let next = self.global("MmLastUnloadedDriver").and_then(|at| space.number(at, 4).ok()).unwrap_or(0) % ENTRIES;
        let shape = Shape::of(space.pointer_size());
        let mut notes = Vec::new();
        let read = |index| entry(&space, shape, ring, index);
        let mut list: Vec<Unloaded> = Vec::new();
        for index in (next..ENTRIES).chain(0..next) {
            match read(index) {
                Ok(Some(driver)) => list.push(driver),
                Ok(None) => {}
                Err(why) => notes.push(Note::loss(format!(
                    "unloaded driver {index} at {} is {why}",
                    ring.add(index.saturating_mul(shape.size.into()))
                ))),
            }
        }
        Ok((list, notes))
    }
}

/// One slot of the ring; `None` when it was never used.
fn entry(space: &Space<'_>, shape: Shape, ring: Va, index: u64) -> Value<Option<Unloaded>> {
    let at = ring.add(index.saturating_mul(shape.size.into()));
    let bytes = space.fetch(at, shape.size);
    if bytes.all()?.iter().all(|b| *b == 0) {
        return Ok(None);
    }
    let name = text_of(&bytes, shape.start)?;
    let number = |from: u32, len| le(bytes.at(from, len)?).ok_or(Absent::Implausible);
    let pointer = shape.end.saturating_sub(shape.start);
    let name = space.text(name);
    Ok(Some(Unloaded {
        index,
        place: bytes.place(0),
        places: [
            space.place_of(&name),
            Some(bytes.place(shape.start)),
            Some(bytes.place(shape.end)),
            Some(bytes.place(shape.time)),
        ],
        name,
        start: number(shape.start, pointer).map(Va),
        end: number(shape.end, pointer).map(Va),
        time: number(shape.time, 8).and_then(|t| if t == 0 { Err(Absent::NotApplicable) } else { Ok(FileTime(t)) }),
    }))
}

/// The `_UNICODE_STRING` of `size` bytes at the start.
fn text_of(bytes: &Bytes<'_>, size: u32) -> Value<Counted> {
    let half = size / 2;
    let short = |at| le(bytes.at(at, 2)?).and_then(|n| u16::try_from(n).ok()).ok_or(Absent::Implausible);
    let buffer = le(bytes.at(half, half)?).ok_or(Absent::Implausible)?;
    Ok(Counted { length: short(0)?, maximum: short(2)?, buffer: Va(buffer) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_shapes() {
        // 0x28 bytes on x64 and 0x18 on x86, as in MmUnloadedDrivers of real dumps.
        let x64 = Shape::of(8);
        assert_eq!((x64.start, x64.end, x64.time, x64.size), (0x10, 0x18, 0x20, 0x28));
        let x86 = Shape::of(4);
        assert_eq!((x86.start, x86.end, x86.time, x86.size), (8, 0xc, 0x10, 0x18));
    }
}
