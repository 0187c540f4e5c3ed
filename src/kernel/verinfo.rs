//! `VS_VERSIONINFO`, the version resource: blocks inside blocks, each with a length, a key and a value. Documented in Microsoft's
//! "VS_VERSIONINFO structure".

use crate::bytes::{u16_at, u32_at};
use crate::utf16;
use std::fmt;

/// Four numbers: `10.0.19041.3570`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub [u16; 4]);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

/// What a version resource says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// `dwFileVersion…` of the fixed part.
    pub file: Option<Number>,
    /// `dwProductVersion…`.
    pub product: Option<Number>,
    /// `dwFileFlags` under its mask: 1 debug, 2 pre-release, 4 patched, 8 private, 0x20 special.
    pub flags: Option<u32>,
    /// Names and values of the first string table, in its order.
    pub strings: Vec<(String, String)>,
}

impl Version {
    /// A string by its name: `CompanyName`, `ProductName`, `OriginalFilename`, `FileDescription`, `FileVersion` …
    #[must_use]
    pub fn string(&self, name: &str) -> Option<&str> {
        self.strings.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// One block: its key, its value and what lies inside it.
struct Block<'a> {
    key: String,
    value: &'a [u8],
    inside: &'a [u8],
    /// Bytes to the next block, with padding.
    whole: usize,
}

/// Strings in one table, and tables in one resource, that are read.
const MOST: usize = 256;

impl<'a> Block<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(u16_at(bytes, 0)?);
        let value_length = usize::from(u16_at(bytes, 2)?);
        let text = u16_at(bytes, 4)? == 1;
        let body = bytes.get(..length)?;
        let units: Vec<u16> = (0..)
            .map_while(|i: usize| u16_at(body, i.checked_mul(2)?.checked_add(6)?))
            .take_while(|u| *u != 0)
            .collect();
        let key_end = units.len().checked_mul(2)?.checked_add(8)?;
        let value_at = key_end.checked_next_multiple_of(4)?;
        // Lengths of text count characters, not bytes; some compilers count bytes all the same, so the block's own end caps it.
        let value_bytes = if text { value_length.checked_mul(2)? } else { value_length };
        let value_end = value_at.saturating_add(value_bytes).min(length);
        let value = body.get(value_at.min(value_end)..value_end)?;
        let inside = body.get(value_end.checked_next_multiple_of(4)?..).unwrap_or_default();
        Some(Self { key: String::from_utf16_lossy(&units), value, inside, whole: length.checked_next_multiple_of(4)? })
    }
    fn children(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let mut rest = self.inside;
        std::iter::from_fn(move || {
            let block = Block::read(rest)?;
            // A block has at least its three lengths and an empty key: none is empty.
            rest = rest.get(block.whole.max(8)..).unwrap_or_default();
            Some(block)
        })
        .take(MOST)
    }
    fn text(&self) -> String {
        utf16::until_nul(self.value)
    }
}

/// Reads a version resource. `None` if it is none.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Version> {
    let root = Block::read(bytes)?;
    if root.key != "VS_VERSION_INFO" {
        return None;
    }
    let mut version = Version::default();
    // VS_FIXEDFILEINFO.dwSignature.
    if u32_at(root.value, 0) == Some(0xfeef_04bd) {
        let number = |at: usize| {
            let (high, low) = (u32_at(root.value, at)?, u32_at(root.value, at.checked_add(4)?)?);
            let half = |v: u32| u16::try_from(v & 0xffff).unwrap_or(0);
            Some(Number([half(high >> 16), half(high), half(low >> 16), half(low)]))
        };
        version.file = number(8);
        version.product = number(16);
        version.flags = u32_at(root.value, 24).zip(u32_at(root.value, 28)).map(|(mask, flags)| mask & flags);
    }
    let tables = root.children().filter(|b| b.key == "StringFileInfo").flat_map(|b| b.children().collect::<Vec<_>>());
    if let Some(table) = tables.into_iter().next() {
        version.strings = table.children().map(|s| (s.text(), s.key)).map(|(value, key)| (key, value)).collect();
    }
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block as the resource compiler lays it out.
    fn block(key: &str, value: &[u8], text: bool, children: &[Vec<u8>]) -> Vec<u8> {
        let mut out = vec![0; 6];
        out.extend(key.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(value);
        for child in children {
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend(child);
        }
        let length = u16::try_from(out.len()).unwrap();
        let value_length = u16::try_from(if text { value.len() / 2 } else { value.len() }).unwrap();
        out[0..2].copy_from_slice(&length.to_le_bytes());
        out[2..4].copy_from_slice(&value_length.to_le_bytes());
        out[4..6].copy_from_slice(&u16::from(text).to_le_bytes());
        out
    }
    fn string(key: &str, value: &str) -> Vec<u8> {
        let units: Vec<u8> = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        block(key, &units, true, &[])
    }
    fn sample() -> Vec<u8> {
        let mut fixed = [0u8; 52];
        for (at, v) in [
            (0, 0xfeef_04bdu32),
            (8, 0x000a_0000),
            (12, 0x4a61_0df2),
            (16, 0x000a_0000),
            (20, 0x4a61_0001),
            (24, 0x3f),
            (28, 0x1),
        ] {
            fixed[at..at + 4].copy_from_slice(&v.to_le_bytes());
        }
        let strings = [
            string("CompanyName", "Microsoft Corporation"),
            string("OriginalFilename", "ntdll.dll"),
            string("Empty", ""),
        ];
        let table = block("040904B0", &[], true, &strings);
        let file_info = block("StringFileInfo", &[], true, &[table]);
        let variables = block("VarFileInfo", &[], true, &[block("Translation", &[9, 4, 0xb0, 4], false, &[])]);
        block("VS_VERSION_INFO", &fixed, false, &[file_info, variables])
    }

    #[test]
    fn numbers_and_strings() {
        let v = parse(&sample()).unwrap();
        assert_eq!(v.file.unwrap().to_string(), "10.0.19041.3570");
        assert_eq!(v.product.unwrap().to_string(), "10.0.19041.1");
        assert_eq!(v.flags, Some(1));
        assert_eq!(v.string("companyname"), Some("Microsoft Corporation"));
        assert_eq!(v.string("OriginalFilename"), Some("ntdll.dll"));
        assert_eq!(v.string("Empty"), Some(""));
        assert_eq!(v.string("Nothing"), None);
    }
    #[test]
    fn every_truncation_and_every_zeroed_length_ends() {
        let whole = sample();
        for n in 0..whole.len() {
            _ = parse(&whole[..n]);
            let mut broken = whole.clone();
            broken[n] = 0;
            _ = parse(&broken);
            broken[n] = 0xff;
            _ = parse(&broken);
        }
        assert_eq!(parse(b"MZ"), None);
    }
}
