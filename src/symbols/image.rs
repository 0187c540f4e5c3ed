//! An image file as a symbol store keeps it, asked one thing: which PDB it was linked with.
//!
//! Structures are those of Microsoft's "PE Format". The file comes from a server or a folder; nothing in it is trusted.

use super::{ImageId, PdbId};
use crate::bytes::{u16_at, u32_at};

/// The largest image that is read. Kernels have 5 to 20 MiB.
pub const LARGEST: u64 = 256 << 20;
/// Sections an image can have (`IMAGE_FILE_HEADER.NumberOfSections`, documented limit 96).
const MOST_SECTIONS: usize = 96;
/// Entries of a debug directory that are looked at; images have up to six.
const MOST_ENTRIES: usize = 64;
/// `IMAGE_DIRECTORY_ENTRY_DEBUG`.
const DEBUG: usize = 6;
/// `IMAGE_DEBUG_TYPE_CODEVIEW`.
const CODEVIEW: u32 = 2;

/// The PDB that an image file names.
///
/// # Errors
/// It is no image, not the one wanted, or names no PDB.
pub fn pdb_of(file: &[u8], wanted: &ImageId) -> Result<PdbId, String> {
    let headers = Headers::of(file).ok_or_else(|| format!("it is no image: {}", super::file::beginning(file)))?;
    if (headers.time_stamp, headers.size) != (wanted.time_stamp, wanted.size) {
        let found = ImageId { time_stamp: headers.time_stamp, size: headers.size, name: String::new() };
        return Err(format!("it is the image {}, not {}", found.key(), wanted.key()));
    }
    let (rva, size) = headers.debug.ok_or("the image has no debug directory")?;
    let start = headers.offset(rva).ok_or("the image's debug directory lies in none of its sections")?;
    let entries = usize::try_from(size / 28).unwrap_or(0).min(MOST_ENTRIES);
    (0..entries)
        .find_map(|i| record(file, start.checked_add(i.checked_mul(28)?)?))
        .ok_or_else(|| "the image's debug directory names no PDB".into())
}

/// The CodeView record of one `IMAGE_DEBUG_DIRECTORY`: "RSDS", GUID, age, file name.
fn record(file: &[u8], entry: usize) -> Option<PdbId> {
    if u32_at(file, entry.checked_add(12)?)? != CODEVIEW {
        return None;
    }
    let length = usize::try_from(u32_at(file, entry.checked_add(16)?)?).ok()?.min(24 + 512);
    let start = usize::try_from(u32_at(file, entry.checked_add(24)?)?).ok()?;
    let raw = file.get(start..start.checked_add(length)?)?;
    let text = raw.strip_prefix(b"RSDS")?.get(20..)?;
    let name = text.get(..text.iter().position(|b| *b == 0)?)?;
    let name = std::str::from_utf8(name).ok()?.rsplit(['\\', '/']).next()?;
    // Three little-endian groups, then eight bytes.
    let rest: String = raw.get(12..20)?.iter().map(|b| format!("{b:02X}")).collect();
    let guid = format!("{:08X}{:04X}{:04X}{rest}", u32_at(raw, 4)?, u16_at(raw, 8)?, u16_at(raw, 10)?);
    super::store::checked(&PdbId { name: name.into(), guid, age: u32_at(raw, 20)? }).ok()
}

/// What leads to the debug directory.
struct Headers {
    time_stamp: u32,
    size: u32,
    /// RVA and bytes of the debug directory.
    debug: Option<(u32, u32)>,
    /// RVA, bytes in the file and file offset of each section.
    sections: Vec<(u32, u32, u32)>,
}

impl Headers {
    fn of(file: &[u8]) -> Option<Self> {
        if !file.starts_with(b"MZ") {
            return None;
        }
        let pe = usize::try_from(u32_at(file, 0x3c)?).ok()?;
        let head = file.get(pe..)?;
        if !head.starts_with(b"PE\0\0") {
            return None;
        }
        let (count, optional) = (usize::from(u16_at(head, 6)?), usize::from(u16_at(head, 20)?));
        // The directories begin where PE32 and PE32+ differ in length; their number stands before them.
        let directories = match u16_at(head, 24)? {
            0x10b => 24 + 96,
            0x20b => 24 + 112,
            _ => return None,
        };
        let entry = directories + DEBUG * 8;
        let known = u32_at(head, directories - 4)? as usize > DEBUG && entry + 8 <= optional.saturating_add(24);
        let debug = if known { u32_at(head, entry).zip(u32_at(head, entry + 4)) } else { None };
        let table = optional.checked_add(24)?;
        let section = |i: usize| {
            let at = table.checked_add(i.checked_mul(40)?)?;
            Some((
                u32_at(head, at.checked_add(12)?)?,
                u32_at(head, at.checked_add(16)?)?,
                u32_at(head, at.checked_add(20)?)?,
            ))
        };
        Some(Self {
            time_stamp: u32_at(head, 8)?,
            size: u32_at(head, 24 + 56)?,
            debug: debug.filter(|(rva, size)| *rva != 0 && *size >= 28),
            sections: (0..count.min(MOST_SECTIONS)).map_while(section).collect(),
        })
    }
    /// Where an RVA stands in the file.
    fn offset(&self, rva: u32) -> Option<usize> {
        let inside = |(start, length, _): &&(u32, u32, u32)| rva.checked_sub(*start).is_some_and(|at| at < *length);
        let (start, _, file) = self.sections.iter().find(inside)?;
        usize::try_from(rva.checked_sub(*start)?.checked_add(*file)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }
    /// A PE32+ image of one section with a debug directory of two entries, the second CodeView.
    fn image() -> Vec<u8> {
        let mut f = vec![0; 0x800];
        put(&mut f, 0, b"MZ");
        put(&mut f, 0x3c, &0x80u32.to_le_bytes());
        put(&mut f, 0x80, b"PE\0\0\x64\x86\x01\0");
        put(&mut f, 0x88, &0x1234_5678u32.to_le_bytes());
        put(&mut f, 0x94, &240u16.to_le_bytes());
        put(&mut f, 0x98, &0x20bu16.to_le_bytes());
        put(&mut f, 0x98 + 56, &0x5000u32.to_le_bytes());
        put(&mut f, 0x98 + 108, &16u32.to_le_bytes());
        put(&mut f, 0x98 + 112 + 48, &[0x1100u32.to_le_bytes(), 56u32.to_le_bytes()].concat());
        put(
            &mut f,
            0x98 + 240 + 12,
            &[0x1000u32.to_le_bytes(), 0x400u32.to_le_bytes(), 0x400u32.to_le_bytes()].concat(),
        );
        put(&mut f, 0x500 + 12, &16u32.to_le_bytes());
        put(
            &mut f,
            0x500 + 28 + 12,
            &[2u32.to_le_bytes(), 40u32.to_le_bytes(), 0u32.to_le_bytes(), 0x600u32.to_le_bytes()].concat(),
        );
        put(
            &mut f,
            0x600,
            b"RSDS\x67\x45\x23\x01\xab\x89\xef\xcd\x01\x23\x45\x67\x89\xab\xcd\xef\x01\0\0\0nt\\ntkrnlmp.pdb\0",
        );
        f
    }
    fn wanted() -> ImageId {
        ImageId { name: "ntoskrnl.exe".into(), time_stamp: 0x1234_5678, size: 0x5000 }
    }

    #[test]
    fn an_image_names_its_pdb() {
        let id = pdb_of(&image(), &wanted()).unwrap();
        assert_eq!((id.name.as_str(), id.key().as_str()), ("ntkrnlmp.pdb", "0123456789ABCDEF0123456789ABCDEF1"));
        assert_eq!(wanted().key(), "123456785000");
    }
    #[test]
    fn another_image_is_refused_by_name() {
        let why = pdb_of(&image(), &ImageId { size: 0x6000, ..wanted() }).unwrap_err();
        assert_eq!(why, "it is the image 123456785000, not 123456786000");
        assert!(pdb_of(b"<html>", &wanted()).unwrap_err().contains("<html>"));
    }
    #[test]
    fn damage_is_an_error() {
        let good = image();
        for end in 0..good.len() {
            let _ = pdb_of(&good[..end], &wanted());
        }
        for at in 0..good.len() {
            for value in [0, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = pdb_of(&bad, &wanted());
            }
        }
    }
}
