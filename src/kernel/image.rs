//! An executable image in memory: its headers, its symbols' identity and its version resource, as far as the pages are there.
//!
//! Everything is read by its address in the mapped image, never as a file: sections lie where the loader put them.

use super::verinfo::{self, Version};
use crate::addr::Va;
use crate::bytes::{Bytes, Place, u16_at, u32_at};
use crate::paging::Space;
use crate::symbols::PdbId;
use crate::value::{Absent, Value};

/// Bytes of headers looked at. Section tables end well inside the first page of every image the system linker makes.
const HEADERS: u32 = 0x1000;
/// Sections an image can have: the loader refuses more (`IMAGE_FILE_HEADER.NumberOfSections`, documented limit 96).
const MOST_SECTIONS: u16 = 96;

/// One section of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Up to eight characters.
    pub name: String,
    /// Offset from the base.
    pub rva: u32,
    /// Bytes in memory.
    pub size: u32,
    /// `IMAGE_SCN_…`.
    pub characteristics: u32,
}

impl Section {
    /// `IMAGE_SCN_MEM_EXECUTE`.
    #[must_use]
    pub const fn executable(&self) -> bool {
        self.characteristics & 0x2000_0000 != 0
    }
    /// `IMAGE_SCN_MEM_WRITE`.
    #[must_use]
    pub const fn writable(&self) -> bool {
        self.characteristics & 0x8000_0000 != 0
    }
}

/// The headers of an image, as documented in Microsoft's "PE Format".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it lies.
    pub base: Va,
    /// `IMAGE_FILE_MACHINE_…`.
    pub machine: u16,
    /// Seconds since 1970 when it was linked; a hash in reproducible builds.
    pub timestamp: u32,
    /// `IMAGE_FILE_…`.
    pub characteristics: u16,
    /// PE32+ rather than PE32.
    pub wide: bool,
    /// Offset of the entry point; 0 for none.
    pub entry: u32,
    /// Where it wanted to be.
    pub preferred_base: u64,
    /// Bytes when mapped.
    pub size: u32,
    /// Bytes of headers.
    pub header_size: u32,
    /// The check sum.
    pub checksum: u32,
    /// `IMAGE_SUBSYSTEM_…`.
    pub subsystem: u16,
    /// `IMAGE_DLLCHARACTERISTICS_…`.
    pub dll_characteristics: u16,
    /// Sections, as many as their table can be read for.
    pub sections: Vec<Section>,
    /// Offset and size of each data directory.
    pub directories: Vec<(u32, u32)>,
    /// Where the first byte stands.
    pub place: Place,
    /// Offset of the signature (`PE\0\0`), which the file header follows.
    pub signature: u32,
}

/// Offset of a field of the headers from the signature: of `IMAGE_FILE_HEADER` (from 4), and of the optional header (from 24), where the
/// first part is alike in PE32 and PE32+ (winnt.h).
#[derive(Clone, Copy, Debug)]
pub enum HeaderField {
    /// `Machine`.
    Machine = 4,
    /// `TimeDateStamp`.
    TimeStamp = 8,
    /// `AddressOfEntryPoint`.
    Entry = 24 + 16,
    /// `SizeOfImage`.
    Size = 24 + 56,
    /// `CheckSum`.
    CheckSum = 24 + 64,
}

/// Indices of data directories (`IMAGE_DIRECTORY_ENTRY_…`).
const RESOURCES: usize = 2;
const DEBUG: usize = 6;

impl Image {
    /// The headers at `base`.
    ///
    /// # Errors
    /// Unreadable, or no headers of an image ([`Absent::Implausible`]).
    pub fn read(space: &Space<'_>, base: Va) -> Value<Self> {
        Self::parse(base, &space.fetch(base, HEADERS))
    }
    /// The headers in bytes that begin at `base`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(base: Va, bytes: &Bytes<'_>) -> Value<Self> {
        if bytes.at(0, 2)? != b"MZ" {
            return Err(Absent::Implausible);
        }
        let dos = bytes.at(0, 0x40)?;
        let pe = u32_at(dos, 0x3c).ok_or(Absent::Implausible)?;
        // The loader takes headers at any multiple of 4; those of Windows' linkers lie in the first page.
        if !(4..=HEADERS - 0x200).contains(&pe) {
            return Err(Absent::Implausible);
        }
        let coff = bytes.at(pe, 24)?;
        if coff.get(..4) != Some(b"PE\0\0") {
            return Err(Absent::Implausible);
        }
        let half = |at| u16_at(coff, at).ok_or(Absent::Implausible);
        let (machine, count, optional_size) = (half(4)?, half(6)?.min(MOST_SECTIONS), half(20)?);
        let optional_at = pe.saturating_add(24);
        let optional = bytes.at(optional_at, optional_size.into())?;
        let wide = match u16_at(optional, 0) {
            Some(0x10b) => false,
            Some(0x20b) => true,
            _ => return Err(Absent::Implausible),
        };
        let word = |at| u32_at(optional, at).ok_or(Absent::Implausible);
        let preferred_base =
            if wide { crate::bytes::u64_at(optional, 24).ok_or(Absent::Implausible)? } else { word(28)?.into() };
        let directories_at: usize = if wide { 112 } else { 96 };
        // IMAGE_NUMBEROF_DIRECTORY_ENTRIES is 16.
        let directory_count = word(directories_at.saturating_sub(4))?.min(16);
        let directories = (0..directory_count as usize)
            .filter_map(|i| {
                let at = directories_at.checked_add(i.checked_mul(8)?)?;
                Some((u32_at(optional, at)?, u32_at(optional, at.checked_add(4)?)?))
            })
            .collect();
        let table = optional_at.saturating_add(optional_size.into());
        let sections = (0..u32::from(count)).map_while(|i| {
            let raw = bytes.at(table.checked_add(i.checked_mul(40)?)?, 40).ok()?;
            let name = raw.get(..8)?.split(|c| *c == 0).next()?;
            Some(Section {
                name: String::from_utf8_lossy(name).into_owned(),
                size: u32_at(raw, 8)?,
                rva: u32_at(raw, 12)?,
                characteristics: u32_at(raw, 36)?,
            })
        });
        Ok(Self {
            base,
            machine,
            timestamp: u32_at(coff, 8).ok_or(Absent::Implausible)?,
            characteristics: half(22)?,
            wide,
            entry: word(16)?,
            preferred_base,
            size: word(56)?,
            header_size: word(60)?,
            checksum: word(64)?,
            subsystem: u16_at(optional, 68).ok_or(Absent::Implausible)?,
            dll_characteristics: u16_at(optional, 70).ok_or(Absent::Implausible)?,
            sections: sections.collect(),
            directories,
            place: bytes.place(0),
            signature: pe,
        })
    }
    /// The machine's usual name.
    #[must_use]
    pub const fn machine_name(&self) -> &'static str {
        match self.machine {
            0x14c => "x86",
            0x8664 => "x64",
            0xaa64 => "ARM64",
            0x1c0 | 0x1c4 => "ARM",
            _ => "unknown",
        }
    }
    /// Where a field of its headers is.
    #[must_use]
    pub fn header_at(&self, space: &Space<'_>, field: HeaderField) -> Place {
        space.place(self.at(self.signature).add(field as u64))
    }
    /// The section an offset lies in.
    #[must_use]
    pub fn section_at(&self, rva: u32) -> Option<&Section> {
        self.sections.iter().find(|s| s.rva <= rva && rva < s.rva.saturating_add(s.size))
    }
    fn directory(&self, index: usize) -> Value<(u32, u32)> {
        match self.directories.get(index) {
            Some((rva, size)) if *rva != 0 && *size != 0 => Ok((*rva, *size)),
            _ => Err(Absent::NotApplicable),
        }
    }
    fn at(&self, rva: u32) -> Va {
        self.base.add(rva.into())
    }
    /// The identity of its PDB, from the debug directory.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: the image has none; else why its pages cannot be read.
    pub fn pdb(&self, space: &Space<'_>) -> Value<PdbId> {
        let (rva, size) = self.directory(DEBUG)?;
        // Entries of 28 bytes; images have fewer than ten.
        let entries = space.fetch(self.at(rva), size.min(28 * 32));
        let mut why = Absent::NotApplicable;
        for i in 0..entries.len() / 28 {
            let raw = match entries.at(i.saturating_mul(28), 28) {
                Ok(raw) => raw,
                Err(absent) => {
                    why = absent;
                    continue;
                }
            };
            // IMAGE_DEBUG_TYPE_CODEVIEW is 2.
            let (Some(2), Some(length), Some(at)) = (u32_at(raw, 12), u32_at(raw, 16), u32_at(raw, 20)) else {
                continue;
            };
            // "RSDS", 16 bytes GUID, age, name: at most a path's length.
            let record = space.fetch(self.at(at), length.clamp(24, 24 + 1024));
            match super::pe::code_view(&record) {
                Ok(id) => return Ok(id),
                Err(absent) => why = absent,
            }
        }
        Err(why)
    }
    /// Whether the image was built reproducibly, so that its time stamp is a hash: its debug directory has an entry of type 16
    /// (`IMAGE_DEBUG_TYPE_REPRO` of winnt.h).
    ///
    /// # Errors
    /// Why the debug directory cannot be read whole. An image without one is not reproducible.
    pub fn reproducible(&self, space: &Space<'_>) -> Value<bool> {
        let (rva, size) = match self.directory(DEBUG) {
            Ok(directory) => directory,
            Err(_) => return Ok(false),
        };
        let entries = space.fetch(self.at(rva), size.min(28 * 32));
        let all = entries.all()?;
        Ok(all.chunks_exact(28).any(|raw| u32_at(raw, 12) == Some(16)))
    }
    /// The version resource.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: the image has none; else why its pages cannot be read.
    pub fn version(&self, space: &Space<'_>) -> Value<Version> {
        let (root, size) = self.directory(RESOURCES)?;
        let directory = Resources { space, base: self.at(root), size };
        // RT_VERSION is 16; below it one name (1) and one language.
        let of_type = directory.child(0, Some(16))?;
        let of_name = directory.child(of_type, None)?;
        let of_language = directory.child(of_name, None)?;
        let (rva, length) = directory.leaf(of_language)?;
        // No version resource known is larger than 64 KiB: its own length field has 16 bits.
        let bytes = space.fetch(self.at(rva), length.min(0xffff));
        verinfo::parse(bytes.all()?).ok_or(Absent::Implausible)
    }
}

/// The resource tree. All its offsets count from its first byte, but those of the data.
struct Resources<'a, 'd> {
    space: &'a Space<'d>,
    base: Va,
    size: u32,
}

/// Entries in one directory of the tree that are looked at.
const MOST_RESOURCES: u32 = 4096;

impl Resources<'_, '_> {
    /// The offset of the entry with an id (or of the first), below the directory at `at`. The top bit tells that it is a directory again.
    fn child(&self, at: u32, id: Option<u32>) -> Value<u32> {
        let at = at & 0x7fff_ffff;
        if at >= self.size {
            return Err(Absent::Implausible);
        }
        let head = self.space.fetch(self.base.add(at.into()), 16);
        let head = head.all()?;
        let count = |i| u16_at(head, i).map(u32::from).ok_or(Absent::Implausible);
        let count = count(12)?.saturating_add(count(14)?).min(MOST_RESOURCES);
        let entries = self.space.fetch(self.base.add(at.into()).add(16), count.saturating_mul(8));
        for i in 0..count {
            let raw = entries.at(i.saturating_mul(8), 8)?;
            if id.is_none() || u32_at(raw, 0) == id {
                return u32_at(raw, 4).ok_or(Absent::Implausible);
            }
        }
        Err(Absent::NotApplicable)
    }
    /// Offset from the image's base and size of a leaf's data.
    fn leaf(&self, at: u32) -> Value<(u32, u32)> {
        if at & 0x8000_0000 != 0 || at >= self.size {
            return Err(Absent::Implausible);
        }
        let raw = self.space.fetch(self.base.add(at.into()), 16);
        let raw = raw.all()?;
        Ok((u32_at(raw, 0).ok_or(Absent::Implausible)?, u32_at(raw, 4).ok_or(Absent::Implausible)?))
    }
}
