//! Names from an image's export table, read where it lies in memory: what there is to say of code without its PDB.
//!
//! PE format, "The .edata section": a directory of counts and offsets, then arrays of function offsets, name offsets and ordinals.

use super::memory::Memory;
use crate::addr::Va;
use crate::bytes::{u16_at, u32_at};
use crate::value::{Absent, Value};

/// More exports than any image has (ordinals are 16 bits).
const MOST: u32 = 0x1_0000;
/// The longest name looked at.
const LONGEST: u32 = 256;

/// The export directory of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exports {
    base: Va,
    /// Offsets of functions with the offset of their name, sorted.
    list: Vec<(u32, u32)>,
}

impl Exports {
    /// Reads the directory at an offset of an image, as the header's first data directory gives it.
    ///
    /// # Errors
    /// Why a part of it is not there.
    pub fn read(memory: &impl Memory, base: Va, rva: u32, size: u32) -> Value<Self> {
        let head = memory.fetch(base.add(rva.into()), 40);
        let head = head.all()?;
        let field = |at| u32_at(head, at).ok_or(Absent::Implausible);
        let (functions, names) = (field(20)?, field(24)?);
        if functions > MOST || names > MOST {
            return Err(Absent::Implausible);
        }
        let array = |at, count: u32, width: u32| -> Value<crate::bytes::Bytes<'_>> {
            Ok(memory.fetch(base.add(field(at)?.into()), count.saturating_mul(width)))
        };
        let (code, text, ordinals) = (array(28, functions, 4)?, array(32, names, 4)?, array(36, names, 2)?);
        let mut list = Vec::with_capacity(names as usize);
        for i in 0..names {
            let entry = || {
                let name = u32_at(text.at(i.checked_mul(4)?, 4).ok()?, 0)?;
                let ordinal = u16_at(ordinals.at(i.checked_mul(2)?, 2).ok()?, 0)?;
                let function = u32_at(code.at(u32::from(ordinal).checked_mul(4)?, 4).ok()?, 0)?;
                Some((function, name))
            };
            // What lies inside the directory is text: a forwarder to another module.
            if let Some((function, name)) = entry()
                && function != 0
                && !(rva..rva.saturating_add(size)).contains(&function)
            {
                list.push((function, name));
            }
        }
        list.sort_unstable();
        Ok(Self { base, list })
    }
    /// The last exported name at or before an offset, and how far it is.
    pub fn nearest(&self, memory: &impl Memory, rva: u32) -> Option<(String, u32)> {
        let after = self.list.partition_point(|(function, _)| *function <= rva);
        let (function, _) = *self.list.get(after.checked_sub(1)?)?;
        // Of several names for one place the first by offset, whichever order they were made in.
        let first = self.list.partition_point(|(f, _)| *f < function);
        let (_, name) = *self.list.get(first)?;
        let bytes = memory.fetch(self.base.add(name.into()), LONGEST);
        let text =
            bytes.prefix().split(|b| *b == 0).next().filter(|t| !t.is_empty() && t.iter().all(u8::is_ascii_graphic))?;
        Some((String::from_utf8_lossy(text).into_owned(), rva.checked_sub(function)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Flat;
    use super::*;

    const BASE: u64 = 0x1000_0000;

    fn image(functions: &[u32], names: &[(&str, u16)]) -> Flat {
        let mut image = vec![0u8; 0x3000];
        let mut put = |at: usize, n: u32| image[at..at + 4].copy_from_slice(&n.to_le_bytes());
        put(0x1014, functions.len() as u32);
        put(0x1018, names.len() as u32);
        put(0x101c, 0x1100);
        put(0x1020, 0x1200);
        put(0x1024, 0x1300);
        for (i, f) in functions.iter().enumerate() {
            put(0x1100 + 4 * i, *f);
        }
        let mut text = 0x1400;
        for (i, (name, _)) in names.iter().enumerate() {
            put(0x1200 + 4 * i, text as u32);
            text += name.len() + 1;
        }
        let mut text = 0x1400;
        for (i, (name, ordinal)) in names.iter().enumerate() {
            image[0x1300 + 2 * i..0x1302 + 2 * i].copy_from_slice(&ordinal.to_le_bytes());
            image[text..text + name.len()].copy_from_slice(name.as_bytes());
            text += name.len() + 1;
        }
        Flat(vec![(BASE, image)])
    }

    #[test]
    fn the_nearest_name() {
        let memory = image(&[0x2020, 0x2000, 0x1410], &[("Alpha", 1), ("Beta", 0), ("Forwarded", 2)]);
        let exports = Exports::read(&memory, Va(BASE), 0x1000, 0x800).unwrap();
        assert_eq!(exports.nearest(&memory, 0x2005), Some(("Alpha".into(), 5)));
        assert_eq!(exports.nearest(&memory, 0x2020), Some(("Beta".into(), 0)));
        assert_eq!(exports.nearest(&memory, 0x1fff), None);
    }
    #[test]
    fn nonsense_is_refused_and_ordinals_past_the_end_are_left_out() {
        let mut memory = image(&[0x2000], &[("A", 0), ("B", 7)]);
        let exports = Exports::read(&memory, Va(BASE), 0x1000, 0x800).unwrap();
        assert_eq!(exports.list.len(), 1);
        memory.0[0].1[0x1014..0x1018].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Exports::read(&memory, Va(BASE), 0x1000, 0x800), Err(Absent::Implausible));
        assert_eq!(Exports::read(&Flat::default(), Va(BASE), 0x1000, 0x800), Err(Absent::NotMapped));
    }
}
