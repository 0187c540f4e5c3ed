//! Page protections: the five-bit index that VADs and page-table entries keep, and the `PAGE_…` value it stands for.

use crate::kernel::Kernel;
use crate::value::Note;
use std::borrow::Cow;

/// What `MmProtectToValue` holds in every build seen (13 x64 kernels of 7 to 11): the low three bits of the index are the access,
/// bit 3 means not cached, bit 4 guard, both together write-combined. The values are those of the documented `PAGE_…` constants.
const DOCUMENTED: [u32; 32] = [
    0x01, 0x02, 0x10, 0x20, 0x04, 0x08, 0x40, 0x80, // plain
    0x01, 0x202, 0x210, 0x220, 0x204, 0x208, 0x240, 0x280, // PAGE_NOCACHE
    0x01, 0x102, 0x110, 0x120, 0x104, 0x108, 0x140, 0x180, // PAGE_GUARD
    0x01, 0x402, 0x410, 0x420, 0x404, 0x408, 0x440, 0x480, // PAGE_WRITECOMBINE
];

/// A `PAGE_…` value, as `VirtualQuery` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection(pub u32);

impl Protection {
    /// Whether code may run there.
    #[must_use]
    pub const fn executable(self) -> bool {
        self.0 & 0xf0 != 0
    }
    /// Whether it may be written to (copy-on-write included).
    #[must_use]
    pub const fn writable(self) -> bool {
        self.0 & 0xcc != 0
    }
    /// The names, joined by `|`: `PAGE_READWRITE|PAGE_GUARD`.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        let access = match self.0 & 0xff {
            0x01 => "PAGE_NOACCESS",
            0x02 => "PAGE_READONLY",
            0x04 => "PAGE_READWRITE",
            0x08 => "PAGE_WRITECOPY",
            0x10 => "PAGE_EXECUTE",
            0x20 => "PAGE_EXECUTE_READ",
            0x40 => "PAGE_EXECUTE_READWRITE",
            0x80 => "PAGE_EXECUTE_WRITECOPY",
            _ => return format!("{:#x}", self.0).into(),
        };
        let rest = self.0 & !0xff;
        if rest == 0 {
            return access.into();
        }
        let mut name = access.to_owned();
        for (bit, modifier) in [(0x100, "|PAGE_GUARD"), (0x200, "|PAGE_NOCACHE"), (0x400, "|PAGE_WRITECOMBINE")] {
            if rest & bit != 0 {
                name.push_str(modifier);
            }
        }
        if rest & !0x700 != 0 {
            name.push_str(&format!("|{:#x}", rest & !0x700));
        }
        name.into()
    }
}

/// The kernel's own table from index to value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protections([u32; 32]);

impl Default for Protections {
    fn default() -> Self {
        Self(DOCUMENTED)
    }
}

impl Protections {
    /// Reads `MmProtectToValue` from the dump; takes the documented table where the symbol or the page is missing.
    /// The note says that the dump's table differs from the documented one and which was used.
    #[must_use]
    pub fn of(kernel: &Kernel) -> (Self, Option<Note>) {
        let documented = Self(DOCUMENTED);
        let Some(va) = kernel.global("MmProtectToValue") else {
            return (documented, None);
        };
        let bytes = kernel.space().fetch(va, 128);
        let Ok(raw) = bytes.all() else {
            return (documented, None);
        };
        let mut table = [0u32; 32];
        for (value, word) in table.iter_mut().zip(raw.chunks_exact(4)) {
            *value = word.try_into().map_or(0, u32::from_le_bytes);
        }
        if table == DOCUMENTED {
            return (documented, None);
        }
        // Each value must be one access bit with at most the three modifiers, else these bytes are not the table.
        let plausible = table.iter().all(|v| (v & 0xff).is_power_of_two() && v & !0x7ff == 0);
        if plausible {
            (
                Self(table),
                Some(Note::info(format!(
                    "MmProtectToValue at {va} differs from the documented table; the dump's is used"
                ))),
            )
        } else {
            (
                documented,
                Some(Note::info(format!(
                    "MmProtectToValue at {va} does not hold page protections; the documented table is used"
                ))),
            )
        }
    }
    /// The value of an index. Only its low five bits count.
    #[must_use]
    pub fn value(&self, index: u8) -> Protection {
        Protection(self.0.get(usize::from(index & 31)).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_documentation() {
        let p = Protections::default();
        let name = |i| p.value(i).name();
        assert_eq!(name(0), "PAGE_NOACCESS");
        assert_eq!(name(1), "PAGE_READONLY");
        assert_eq!(name(4), "PAGE_READWRITE");
        assert_eq!(name(6), "PAGE_EXECUTE_READWRITE");
        assert_eq!(name(7), "PAGE_EXECUTE_WRITECOPY");
        assert_eq!(name(0x14), "PAGE_READWRITE|PAGE_GUARD");
        assert_eq!(name(0x0c), "PAGE_READWRITE|PAGE_NOCACHE");
        assert_eq!(name(0x1c), "PAGE_READWRITE|PAGE_WRITECOMBINE");
        assert_eq!(Protection(3).name(), "0x3");
    }
    #[test]
    fn access() {
        let p = Protections::default();
        let writable: Vec<u8> = (0..8).filter(|i| p.value(*i).writable()).collect();
        let executable: Vec<u8> = (0..8).filter(|i| p.value(*i).executable()).collect();
        assert_eq!(writable, [4, 5, 6, 7]);
        assert_eq!(executable, [2, 3, 6, 7]);
    }
}
