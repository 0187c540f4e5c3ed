//! What pieces of secondary data mean: their GUIDs by name, and those that say what machine it was and what ran.
//!
//! A GUID is named by the global that holds it in Windows' own images (public symbols), or by its owner's public source. A piece
//! is decoded only where its bytes bear out its form; forms were read off real dumps of builds 19041 (x64) and 22000 (ARM64).

use super::smbios::Smbios;
use crate::bytes::{u16_at, u32_at};
use crate::dump::{Dump, Piece, Tag};
use crate::utf16;

/// GUID, who writes it, what it holds.
#[rustfmt::skip]
static NAMES: &[(&str, &str, &str)] = &[
    ("00afe9c4-940d-4213-8016-cd3719b5bc20", "nt!PopBlackBoxNtfsGuid", "NTFS log"),
    ("00dae7ca-6833-45c5-b147-bdaed7b61fd6", "hvservice!HbEvtSystemDiagLogCrashdumpAreaGuid", "Hyper-V start log"),
    ("270a33fd-3da6-460d-ba89-3c1bae21e39b", "watchdog!WdDxgkSecondaryDataGUID", "graphics kernel state"),
    ("2b4ae195-a64d-4f04-8ede-7e4f981bd42a", "nt!GUID_TRIAGEDUMP_DATA", "triage data blocks"),
    ("2b88b710-1c93-4f7c-b06c-655ecc50decc", "nt!EtwSecondaryDumpDataGuid", "event trace buffers"),
    ("4ee76bd8-3cf4-44a0-a0ac-3937643e37a3", "nt!PopBlackBoxCodeIntegrityGuid", "code integrity log"),
    ("54c84888-01d1-4c1e-bed6-282c98241303", "Wdf01000!WdfDumpGuid", "driver framework log"),
    ("5bc8704a-6cb7-4378-ac72-ad06e2416e4a", "nt!CarSecondaryDataGuid", "driver verifier rules"),
    ("65755a40-f146-43ea-8c91-36b85728fd35", "crashdmp!CRASHDUMP_GUID_ID", "crash dump driver"),
    ("6c7ac389-4313-47dc-9f34-a8800a0fb56c", "mssmbios!SMBiosGuidBios", "processor values of the registry"),
    ("80cc79cf-a719-4af1-bf97-fe29ff76ebc1", "nt!PopBlackBoxWinLogonGuid", "winlogon log"),
    ("9276c055-eb87-425c-b8b5-04e4d247f6cd", "pci!PCI_CFG_RECORD_GUID", "PCI configuration"),
    ("b0692a5e-6b7b-4073-8a7c-604e35032970", "nt!HvlSkCrashdumpGuid", "secure kernel crash data"),
    ("b7631941-532a-4cd6-b1b1-edb5917d4557", "nt!PopBlackBoxPnpGuid", "Plug and Play log"),
    ("bc5c008f-1e3a-44d7-988d-86f6884c6758", "mssmbios!SMBiosGuidSMBios", "SMBIOS tables"),
    ("bf2297dc-34ba-11dc-868a-e19155d89593", "nvlddmkm (GUID_KMD_DUMP_TAG)", "NVIDIA graphics driver state"),
    ("c939c73b-17dc-4a44-904c-e2d987f52649", "storport!GUID_STORPORT_PAGING_DEVICE_DUMP", "paging device"),
    ("d03dc06f-d88e-44c5-ba2a-fae035172d19", "mssmbios!SMBiosGuidRegisters", "CPUID"),
    ("da82441d-7142-4bc1-b844-0807c5a4b67f", "storport!GUID_DEVICEDUMP_DRIVER_STORAGE_PORT", "storage port state"),
    ("e83b40d2-b0a0-4842-abea-71c9e3463dd1", "mssmbios!SMBiosGuidAcpi", "ACPI tables"),
    ("f57308df-cc45-4e01-ad76-29a4ebb010ec", "nt!PopBlackBoxBsdGuid", "boot status data"),
    ("f87e4a4c-c5a1-4d2f-bff0-d5de63a5e4c3", "Wdf01000!WdfDumpGuid2", "driver framework log"),
];
const SMBIOS: &str = "SMBIOS tables";
const REGISTRY: &str = "processor values of the registry";
const CPUID: &str = "CPUID";
const PROGRAM: &str = "path of the program";

/// Who writes a piece and what it holds, where that is known.
#[must_use]
pub fn name(tag: Tag) -> Option<(&'static str, &'static str)> {
    let text = tag.to_string();
    let at = NAMES.binary_search_by_key(&text.as_str(), |n| n.0).ok()?;
    NAMES.get(at).map(|n| (n.1, n.2))
}

/// What the secondary data says of the machine and the crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The SMBIOS tables.
    pub smbios: Option<Smbios>,
    /// The processor's name.
    pub processor: Option<String>,
    /// What CPUID said.
    pub cpuid: Option<Cpuid>,
    /// Path of the program that was running, as the kernel names it.
    pub program: Option<String>,
}

/// What CPUID said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpuid {
    /// `AuthenticAMD`.
    pub vendor: String,
    /// Family, model and stepping in one number: EAX of leaf 1.
    pub signature: Option<u32>,
    /// Leaves 0x80000002 to 4: the processor's name.
    pub brand: Option<String>,
}

impl Told {
    /// Of a dump's secondary data.
    #[must_use]
    pub fn of(dump: &Dump) -> Self {
        let mut told = Self::default();
        for piece in dump.secondary().0 {
            told.add(&piece);
        }
        told
    }
    fn add(&mut self, piece: &Piece<'_>) {
        let data = piece.data;
        match name(piece.tag).map(|n| n.1) {
            Some(SMBIOS) => self.smbios = self.smbios.take().or_else(|| Smbios::read(data)),
            Some(REGISTRY) => self.processor = self.processor.take().or_else(|| processor_name(data)),
            Some(CPUID) => self.cpuid = self.cpuid.take().or_else(|| Cpuid::read(data)),
            None => self.program = self.program.take().or_else(|| program(data)),
            Some(_) => {}
        }
    }
}

/// What a piece holds, by its GUID or by its bytes.
#[must_use]
pub fn holds(piece: &Piece<'_>) -> Option<&'static str> {
    name(piece.tag).map(|n| n.1).or_else(|| program(piece.data).map(|_| PROGRAM))
}

/// A path of a program: version 1, the bytes of the whole, then UTF-16 that begins with `\Device\` and ends with a zero. (Its
/// GUID, be84d651-a550-4367-8e63-ab792b631f94 in build 22000, has no public name: the form alone says what it is.)
fn program(data: &[u8]) -> Option<String> {
    let head = u32_at(data, 0) == Some(1) && u32_at(data, 4) == u32::try_from(data.len()).ok();
    let text = data.get(8..).filter(|_| head)?;
    let path = utf16::until_nul(text);
    let whole = text.len() == path.encode_utf16().count().saturating_add(1).saturating_mul(2);
    let printable = !path.chars().any(|c| c.is_control() || c == '\u{fffd}');
    (whole && printable && path.starts_with("\\Device\\")).then_some(path)
}

/// `ProcessorNameString` among values of a registry key: bytes of the name and the name (UTF-16), type, bytes of the data and
/// the data.
fn processor_name(data: &[u8]) -> Option<String> {
    let mut at = 0usize;
    // The key has ten values.
    for _ in 0..64 {
        let (name, next) = counted(data, at)?;
        let kind = u16_at(data, next)?;
        let (value, end) = counted(data, next.checked_add(2)?)?;
        // REG_SZ is 1.
        if kind == 1 && utf16::until_nul(name) == "ProcessorNameString" {
            let text = utf16::until_nul(value).trim().to_owned();
            return (!text.is_empty()).then_some(text);
        }
        at = end;
    }
    None
}

/// A count of 16 bits, the bytes it counts, and where they end.
fn counted(data: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let from = at.checked_add(2)?;
    let to = from.checked_add(usize::from(u16_at(data, at)?))?;
    Some((data.get(from..to)?, to))
}

impl Cpuid {
    /// Entries of ten words: subleaf, leaf, EAX to EDX as Windows sees them, EAX to EDX as the processor says.
    fn read(data: &[u8]) -> Option<Self> {
        let words: Vec<u32> = data.chunks_exact(4).filter_map(|c| u32_at(c, 0)).collect();
        let leaf = |wanted: u32| words.chunks_exact(10).find(|e| e.starts_with(&[0, wanted]))?.get(2..6);
        let [_, b, c, d] = *leaf(0)? else { return None };
        let letters = |words: &[u32]| words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let vendor = String::from_utf8(letters(&[b, d, c])).ok();
        let vendor = vendor.filter(|v| v.bytes().all(|b| b.is_ascii_graphic() || b == b' '))?;
        let brand = [0x8000_0002, 0x8000_0003, 0x8000_0004].map(leaf);
        let brand = brand.into_iter().collect::<Option<Vec<_>>>().map(|parts| letters(&parts.concat()));
        let brand = brand.map(|b| b.split(|b| *b == 0).next().unwrap_or_default().to_vec());
        let brand = brand.and_then(|b| String::from_utf8(b).ok()).map(|b| b.trim().to_owned());
        Some(Self {
            vendor,
            signature: leaf(1).and_then(|l| l.first().copied()),
            brand: brand.filter(|b| !b.is_empty()),
        })
    }
    /// Family, model and stepping, as both makers count them (the extended parts are added where the base says so).
    #[must_use]
    pub fn family_model_stepping(&self) -> Option<(u32, u32, u32)> {
        let s = self.signature?;
        let (family, model) = (s >> 8 & 0xf, s >> 4 & 0xf);
        let more = if family == 0xf { s >> 20 & 0xff } else { 0 };
        let high = if matches!(family, 6 | 0xf) { s >> 16 & 0xf } else { 0 };
        Some((family.saturating_add(more), high << 4 | model, s & 0xf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn names_are_sorted() {
        assert!(NAMES.is_sorted_by_key(|n| n.0));
        let smbios =
            Tag([0x8f, 0x00, 0x5c, 0xbc, 0x3a, 0x1e, 0xd7, 0x44, 0x98, 0x8d, 0x86, 0xf6, 0x88, 0x4c, 0x67, 0x58]);
        assert_eq!(name(smbios), Some(("mssmbios!SMBiosGuidSMBios", SMBIOS)));
        assert_eq!(name(Tag([0; 16])), None);
    }
    #[test]
    fn a_path_is_told_by_its_form() {
        let piece = |text: &str| {
            let text = wide(text);
            let mut data = 1u32.to_le_bytes().to_vec();
            data.extend((8 + text.len() as u32).to_le_bytes());
            data.extend(text);
            data
        };
        let path = "\\Device\\HarddiskVolume3\\Windows\\explorer.exe";
        assert_eq!(program(&piece(path)).as_deref(), Some(path));
        assert_eq!(program(&piece("ShellRestart")), None);
        assert_eq!(program(&piece("\\Device\\a\u{7}b")), None);
        let mut longer = piece(path);
        longer.extend([0, 0]);
        assert_eq!(program(&longer), None, "its size must be what it says");
        assert_eq!(program(b""), None);
    }
    #[test]
    fn the_processors_name_among_registry_values() {
        let mut data = Vec::new();
        for (name, kind, value) in [
            ("~MHz", 4u16, 3600u32.to_le_bytes().to_vec()),
            ("ProcessorNameString", 1, wide("Forge 7 8-Core Processor   ")),
        ] {
            let name = wide(name);
            data.extend((name.len() as u16).to_le_bytes());
            data.extend(name);
            data.extend(kind.to_le_bytes());
            data.extend((value.len() as u16).to_le_bytes());
            data.extend(value);
        }
        assert_eq!(processor_name(&data).as_deref(), Some("Forge 7 8-Core Processor"));
        assert_eq!(processor_name(&data[..data.len() - 1]), None);
        assert_eq!(processor_name(&[0; 8]), None);
    }
    #[test]
    fn cpuid_of_a_known_processor() {
        // Leaves 0 and 1 of a Ryzen 7 3700X: family 23, model 113, stepping 0.
        let first = |leaf: u32, regs: [u32; 4]| [0, leaf].into_iter().chain(regs).chain(regs).collect::<Vec<u32>>();
        let vendor = [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65];
        let words = [first(0, vendor), first(1, [0x0087_0f10, 0, 0, 0])].concat();
        let data: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let cpuid = Cpuid::read(&data).unwrap();
        assert_eq!((cpuid.vendor.as_str(), cpuid.family_model_stepping()), ("AuthenticAMD", Some((23, 113, 0))));
        assert_eq!(cpuid.brand, None);
        assert_eq!(Cpuid::read(&[0xff; 40]), None);
        assert_eq!(Cpuid::read(&[]), None);
    }
}
