//! What only the kernel's own image is asked: its exports, and what its CodeView record names. `goblin` reads both.

use super::image::Image;
use crate::addr::Va;
use crate::bytes::{Bytes, u16_at, u32_at};
use crate::paging::Space;
use crate::symbols::PdbId;
use crate::value::{Absent, Value};
use goblin::pe::debug::{CodeviewPDB70DebugInfo, IMAGE_DEBUG_TYPE_CODEVIEW, ImageDebugDirectory};
use goblin::pe::export::ExportDirectoryTable;
use goblin::pe::options::ParseOptions;
use std::collections::BTreeMap;

/// Exports an image has at most: ordinals are 16 bits wide.
const MOST_EXPORTS: u32 = 0xffff;
/// Bytes of an exported name that are looked at.
const LONGEST_NAME: u32 = 512;
/// Index of the export directory among an image's directories (`IMAGE_DIRECTORY_ENTRY_EXPORT`).
const EXPORTS: usize = 0;

/// The names an image exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// The image's own name, `ntoskrnl.exe`.
    pub name: Option<String>,
    /// Name → RVA. Names on missing pages are left out, forwarders too.
    pub names: BTreeMap<Box<str>, u32>,
    /// Names that could not be read.
    pub unread: u32,
}

impl Exports {
    /// Reads the export directory of a mapped image.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: it exports nothing; else why its directory cannot be read.
    pub fn read(space: &Space<'_>, image: &Image) -> Value<Self> {
        let (rva, size) = match image.directories.get(EXPORTS) {
            Some((rva, size)) if *rva != 0 && *size != 0 => (*rva, *size),
            _ => return Err(Absent::NotApplicable),
        };
        let at = |rva: u32| image.base.add(rva.into());
        let head = space.fetch(at(rva), 40);
        let table = ExportDirectoryTable::parse(head.all()?, 0).map_err(|_| Absent::Implausible)?;
        let text = |rva: u32| {
            let raw = space.until_nul(at(rva), LONGEST_NAME).ok()?;
            String::from_utf8(raw).ok().filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_graphic()))
        };
        let count = table.number_of_name_pointers.min(MOST_EXPORTS);
        let functions = table.address_table_entries.min(MOST_EXPORTS);
        let pointers = space.fetch(at(table.name_pointer_rva), count.saturating_mul(4));
        let ordinals = space.fetch(at(table.ordinal_table_rva), count.saturating_mul(2));
        let addresses = space.fetch(at(table.export_address_table_rva), functions.saturating_mul(4));
        let one = |i: u32| -> Option<(Box<str>, u32)> {
            let name = text(u32_at(pointers.at(i.checked_mul(4)?, 4).ok()?, 0)?)?;
            let ordinal = u16_at(ordinals.at(i.checked_mul(2)?, 2).ok()?, 0)?;
            let address = u32_at(addresses.at(u32::from(ordinal).checked_mul(4)?, 4).ok()?, 0)?;
            Some((name.into(), address))
        };
        let mut out = Self { name: text(table.name_rva), ..Self::default() };
        for i in 0..count {
            match one(i) {
                // An address inside the directory is the text of a forwarder: the function lies in another module.
                Some((_, address)) if rva <= address && address < rva.saturating_add(size) => {}
                Some((name, address)) => {
                    out.names.entry(name).or_insert(address);
                }
                None => out.unread = out.unread.saturating_add(1),
            }
        }
        Ok(out)
    }
    /// The address of an exported name.
    #[must_use]
    pub fn get(&self, base: Va, name: &str) -> Option<Va> {
        Some(base.add((*self.names.get(name)?).into()))
    }
}

/// The PDB that a CodeView record names.
///
/// # Errors
/// Why the record is not there; [`Absent::Implausible`] when it is none.
pub fn code_view(record: &Bytes<'_>) -> Value<PdbId> {
    // Signature, GUID and age must be there; of a name cut by a hole there is no knowing the rest.
    record.at(0, 24)?;
    let raw = record.prefix();
    let entry = ImageDebugDirectory {
        characteristics: 0,
        time_date_stamp: 0,
        major_version: 0,
        minor_version: 0,
        data_type: IMAGE_DEBUG_TYPE_CODEVIEW,
        size_of_data: u32::try_from(raw.len()).map_err(|_| Absent::Implausible)?,
        address_of_raw_data: 0,
        pointer_to_raw_data: 0,
    };
    let parsed = CodeviewPDB70DebugInfo::parse_with_opts(raw, &entry, &ParseOptions::default());
    let Ok(Some(info)) = parsed else { return Err(Absent::Implausible) };
    let mut parts = info.filename.splitn(2, |c| *c == 0);
    let name = parts.next().unwrap_or_default();
    if parts.next().is_none() && raw.len() < record.len() as usize {
        return Err(record.holes().next().map_or(Absent::Implausible, |(_, _, why)| why));
    }
    let name = std::str::from_utf8(name).map_err(|_| Absent::Implausible)?;
    // Some linkers store the whole path.
    let name = name.rsplit(['\\', '/']).next().unwrap_or_default();
    if name.is_empty() || name.contains(char::is_control) {
        return Err(Absent::Implausible);
    }
    Ok(PdbId { name: name.into(), guid: guid(&info.signature), age: info.age })
}

/// A GUID as symbol servers spell it: three little-endian groups, then eight bytes.
fn guid(raw: &[u8; 16]) -> String {
    let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = raw;
    let groups = [*a3, *a2, *a1, *a0, *b1, *b0, *c1, *c0];
    groups.iter().chain(rest).map(|b| format!("{b:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pa;

    fn record(name: &[u8]) -> Vec<u8> {
        let mut raw = b"RSDS".to_vec();
        raw.extend(1..=16u8);
        raw.extend(10u32.to_le_bytes());
        raw.extend(name);
        raw
    }

    #[test]
    fn a_code_view_record() {
        let id = code_view(&Bytes::from_vec(record(b"ntkrnlmp.pdb\0junk"))).unwrap();
        assert_eq!(id.name, "ntkrnlmp.pdb");
        assert_eq!(id.key(), "0403020106050807090A0B0C0D0E0F10A");
        let id = code_view(&Bytes::from_vec(record(br"d:\x\ntoskrnl.pdb"))).unwrap();
        assert_eq!(id.name, "ntoskrnl.pdb");
        assert_eq!(code_view(&Bytes::from_vec(b"NB10".repeat(8))), Err(Absent::Implausible));
        assert_eq!(code_view(&Bytes::from_vec(record(b"\0"))), Err(Absent::Implausible));
        assert_eq!(code_view(&Bytes::from_vec(record(b"\xff\xfe\0"))), Err(Absent::Implausible));
        assert_eq!(code_view(&Bytes::from_vec(b"RSDS".to_vec())), Err(Absent::NotMapped));
    }
    #[test]
    fn a_name_cut_by_a_hole_is_no_name() {
        let mut bytes = Bytes::builder(Some(Va(0x1000)), 64);
        bytes.push(&record(b"ntkrn"), Some(Pa(0x1000)), None);
        bytes.push_hole(32, Absent::NotInDump);
        assert_eq!(code_view(&bytes), Err(Absent::NotInDump));
        let mut bytes = Bytes::builder(Some(Va(0x1000)), 64);
        bytes.push(&record(b"ntkrnlmp.pdb\0"), Some(Pa(0x1000)), None);
        bytes.push_hole(32, Absent::NotInDump);
        assert_eq!(code_view(&bytes).unwrap().name, "ntkrnlmp.pdb");
    }
}
