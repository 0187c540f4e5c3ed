//! The first header of kernel crash dumps (`PAGEDU64`, `PAGEDUMP`): what it tells, checked and masked.
//!
//! Nothing here is trusted further than it was checked: pointers are hints, and the page-table root is that of
//! whatever context crashed.

use super::{Arch, Header, raw, sniff};
use crate::addr::{Pa, Va};
use crate::bytes::u32_at;
use crate::time::FileTime;
use crate::value::Note;

/// The two widths of a crash-dump header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// `PAGEDUMP`: one page.
    Bits32,
    /// `PAGEDU64`: two pages.
    Bits64,
}

impl Width {
    /// Recognises a header by its first eight bytes.
    pub fn of(map: &[u8]) -> Option<Self> {
        match map.get(..8)? {
            b"PAGEDU64" => Some(Self::Bits64),
            b"PAGEDUMP" => Some(Self::Bits32),
            _ => None,
        }
    }
    /// Bytes of the header; what follows depends on the type.
    pub fn header_size(self) -> usize {
        match self {
            Self::Bits32 => raw::HEADER32,
            Self::Bits64 => raw::HEADER64,
        }
    }
    /// Runs that fit the header's memory descriptor.
    pub fn runs_room(self) -> u32 {
        let (head, run) = match self {
            Self::Bits32 => (raw::size::<raw::Memory32>(), raw::size::<raw::Run32>()),
            Self::Bits64 => (raw::size::<raw::Memory64>(), raw::size::<raw::Run64>()),
        };
        let room = raw::MEMORY_BYTES.saturating_sub(head).checked_div(run).unwrap_or(0);
        u32::try_from(room).unwrap_or(0)
    }
    /// The runs of physical memory that the header describes: page and count. None where there is no such list.
    pub fn runs(self, map: &[u8]) -> Vec<(u64, u64)> {
        let count = match self {
            Self::Bits64 => raw::read::<raw::Memory64>(map, raw::MEMORY64).map(|m| m.runs),
            Self::Bits32 => raw::read::<raw::Memory32>(map, raw::MEMORY32).map(|m| m.runs),
        };
        let count = count.filter(|n| (1..=self.runs_room()).contains(n)).unwrap_or(0);
        (0..count as usize).map_while(|i| self.run(map, i)).collect()
    }
    /// Page and count of the `i`-th run.
    pub fn run(self, map: &[u8], i: usize) -> Option<(u64, u64)> {
        match self {
            Self::Bits32 => {
                let at = raw::MEMORY32.checked_add(8)?.checked_add(i.checked_mul(8)?)?;
                let r: raw::Run32 = raw::read(map, at)?;
                Some((r.page.into(), r.count.into()))
            }
            Self::Bits64 => {
                let at = raw::MEMORY64.checked_add(16)?.checked_add(i.checked_mul(16)?)?;
                let r: raw::Run64 = raw::read(map, at)?;
                Some((r.page, r.count))
            }
        }
    }
}

/// A header, and what decides how the rest of the file is read.
pub struct Parsed {
    /// What it tells.
    pub header: Header,
    /// `DumpType`.
    pub dump_type: u32,
    /// The processor.
    pub arch: Option<Arch>,
}

/// Reads the header of a file that begins with one.
pub fn parse(map: &[u8], width: Width, notes: &mut Vec<Note>) -> Result<Parsed, String> {
    let size = width.header_size();
    if map.len() < size {
        return Err(format!(
            "a Windows crash dump cut off inside its header: {} bytes, the header alone has {size}. Copy the file again",
            map.len()
        ));
    }
    let cut = || "the file ends inside its header".to_string();
    let parsed = match width {
        Width::Bits64 => {
            let head: raw::Head64 = raw::read(map, 0).ok_or_else(cut)?;
            let tail: raw::Tail64 = raw::read(map, raw::TAIL64).ok_or_else(cut)?;
            let arch = arch(head.machine, 0x30, notes);
            let header = Header {
                major: head.major,
                build: head.minor,
                dtb: root64(head.directory_table_base, arch),
                module_list: kernel64(head.loaded_module_list),
                process_head: kernel64(head.active_process_head),
                kdbg: kernel64(head.debugger_data),
                processors: processors(head.processors, notes),
                bugcheck: head.bugcheck,
                bugcheck_parameters: [head.parameter1, head.parameter2, head.parameter3, head.parameter4],
                bugcheck_at: raw::BUGCHECK64.0,
                parameters_at: raw::BUGCHECK64.1,
                parameter_size: 8,
                pae: None,
                system_time: time(tail.system_time),
                system_time_at: raw::SYSTEM_TIME64,
                uptime: number(tail.uptime),
                context: context(map, raw::CONTEXT64, arch),
                exception: exception(map, raw::EXCEPTION64, 0x98),
                comment: comment(&tail.comment),
                product_type: product(tail.product_type),
                suite_mask: filled(tail.suite_mask),
                secondary_state: filled(tail.secondary_state),
                attributes: attributes(tail.attributes),
            };
            Parsed { header, dump_type: tail.dump_type, arch }
        }
        Width::Bits32 => {
            let head: raw::Head32 = raw::read(map, 0).ok_or_else(cut)?;
            let tail: raw::Tail32 = raw::read(map, raw::TAIL32).ok_or_else(cut)?;
            let arch = arch(head.machine, 0x20, notes);
            let text = map.get(raw::COMMENT32..raw::COMMENT32.saturating_add(128)).unwrap_or_default();
            let header = Header {
                major: head.major,
                build: head.minor,
                dtb: root32(head.directory_table_base),
                module_list: kernel32(head.loaded_module_list),
                process_head: kernel32(head.active_process_head),
                kdbg: kernel32(head.debugger_data),
                processors: processors(head.processors, notes),
                bugcheck: head.bugcheck,
                bugcheck_parameters: [head.parameter1, head.parameter2, head.parameter3, head.parameter4]
                    .map(u64::from),
                bugcheck_at: raw::BUGCHECK32.0,
                parameters_at: raw::BUGCHECK32.1,
                parameter_size: 4,
                // The filler's 'P' where an old writer left it alone.
                pae: match head.pae_enabled {
                    0 => Some(false),
                    1 => Some(true),
                    _ => None,
                },
                system_time: time(tail.system_time),
                system_time_at: raw::SYSTEM_TIME32,
                uptime: number(tail.uptime),
                context: context(map, raw::CONTEXT32, arch),
                exception: exception(map, raw::EXCEPTION32, 0x50),
                comment: comment(text),
                product_type: product(tail.product_type),
                suite_mask: filled(tail.suite_mask),
                secondary_state: filled(tail.secondary_state),
                attributes: None,
            };
            Parsed { header, dump_type: tail.dump_type, arch }
        }
    };
    Ok(parsed)
}

/// `IMAGE_FILE_MACHINE_*`.
fn arch(machine: u32, at: usize, notes: &mut Vec<Note>) -> Option<Arch> {
    match machine {
        0x014c => Some(Arch::X86),
        0x8664 => Some(Arch::X64),
        0xaa64 => Some(Arch::Arm64),
        other => {
            notes
                .push(Note::info(format!("the header's machine type at {at:#x} is {other:#x}: not x86, x64 or ARM64")));
            None
        }
    }
}
/// A page-table root: page-aligned, inside the physical address space. The low bits of CR3 are flags or a PCID,
/// bit 63 its no-flush flag; ARM64 keeps an address-space id in the top 16 bits.
fn root64(value: u64, arch: Option<Arch>) -> Option<Pa> {
    let mask = if arch == Some(Arch::Arm64) { 0x0000_ffff_ffff_f000 } else { 0x000f_ffff_ffff_f000 };
    number(value).map(|v| v & mask).filter(|v| *v != 0).map(Pa)
}
/// With PAE the root is a table of 32 bytes, aligned to its size; without, a page.
fn root32(value: u32) -> Option<Pa> {
    filled(value).map(|v| u64::from(v & !0x1f)).filter(|v| *v != 0).map(Pa)
}
/// A kernel-half pointer, of four or five levels of paging.
fn kernel64(value: u64) -> Option<Va> {
    (value >= 0xff00_0000_0000_0000 && value != u64::MAX).then_some(Va(value))
}
fn kernel32(value: u32) -> Option<Va> {
    (value >= 0x8000_0000 && value != u32::MAX).then_some(Va(value.into()))
}
fn processors(count: u32, notes: &mut Vec<Note>) -> u32 {
    // 2,048 logical processors are the most that any Windows supports.
    if count == 0 || count > 2048 {
        notes.push(Note::info(format!("the header's number of processors is {count}")));
    }
    count
}
/// A number that was written: neither zero nor filler.
fn number(value: u64) -> Option<u64> {
    (value != 0 && value != raw::FILL64).then_some(value)
}
fn filled(value: u32) -> Option<u32> {
    (value != 0 && value != raw::FILL32).then_some(value)
}
/// `_DUMP_FILE_ATTRIBUTES`: ten flags are known; more bits are the filler.
fn attributes(value: u32) -> Option<u32> {
    (value < 1 << 10).then_some(value)
}
/// `NtProductType`: workstation, domain controller, server.
fn product(value: u32) -> Option<u32> {
    (1..=3).contains(&value).then_some(value)
}
/// A time between 1980 and 2100; anything else was never a clock.
fn time(value: u64) -> Option<FileTime> {
    const FROM: u64 = 119_600_064_000_000_000;
    const TO: u64 = 157_469_184_000_000_000;
    (FROM..TO).contains(&value).then_some(FileTime(value))
}
/// The CONTEXT record, where its flags name the header's processor. Sizes and flag bits: `_CONTEXT` of the public
/// PDBs for x86 (0x2cc) and x64 (0x4d0), the SDK's `ARM64_NT_CONTEXT` (0x390).
fn context(map: &[u8], at: usize, arch: Option<Arch>) -> Option<(u64, u32)> {
    let (flags_at, bit, size) = match arch? {
        Arch::X86 => (0, 0x0001_0000, 0x2cc),
        Arch::X64 => (0x30, 0x0010_0000, 0x4d0),
        Arch::Arm64 => (0, 0x0040_0000, 0x390),
    };
    let flags = u32_at(map, at.checked_add(flags_at)?)?;
    (flags & 0xffff_0000 & !0xf800_0000 == bit).then_some((at as u64, size))
}
/// The exception record, where it has a code.
fn exception(map: &[u8], at: usize, size: u32) -> Option<(u64, u32)> {
    filled(u32_at(map, at)?).map(|_| (at as u64, size))
}
/// The comment up to its end mark, where one was written.
fn comment(bytes: &[u8]) -> Option<String> {
    if bytes.chunks_exact(4).all(|c| c == b"PAGE") {
        return None;
    }
    let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
    (!text.is_empty() && text != b"PAGE").then(|| sniff::latin(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::testing::{header32, header64, put};

    fn parse64(edit: impl FnOnce(&mut Vec<u8>)) -> (Parsed, Vec<Note>) {
        let mut map = header64(1);
        edit(&mut map);
        let mut notes = Vec::new();
        (parse(&map, Width::Bits64, &mut notes).unwrap(), notes)
    }

    #[test]
    fn the_page_table_root_is_masked() {
        // Real DumpIt dumps carry a PCID in the low bits (0x1ad002), live ones the no-flush bit.
        let (p, _) = parse64(|m| put(m, 0x10, &0x8000_0000_001a_d002u64.to_le_bytes()));
        assert_eq!(p.header.dtb, Some(Pa(0x1a_d000)));
        let (p, _) = parse64(|m| put(m, 0x10, &7u64.to_le_bytes()));
        assert_eq!(p.header.dtb, None);
        let (p, _) = parse64(|m| {
            put(m, 0x30, &0xaa64u32.to_le_bytes());
            put(m, 0x10, &0x0042_0002_200c_0001u64.to_le_bytes());
        });
        assert_eq!((p.arch, p.header.dtb), (Some(Arch::Arm64), Some(Pa(0x2_200c_0000))));
        let mut map = header32(1);
        put(&mut map, 0x10, &0x2f8_0038u32.to_le_bytes());
        let p = parse(&map, Width::Bits32, &mut Vec::new()).unwrap();
        assert_eq!(p.header.dtb, Some(Pa(0x2f8_0020)), "a PAE root is aligned to 32 bytes");
    }
    #[test]
    fn fillers_and_user_pointers_are_absent() {
        let (p, notes) = parse64(|m| {
            let end = m.len();
            m[8..end].chunks_mut(4).for_each(|c| c.copy_from_slice(b"PAGE"));
        });
        let h = p.header;
        assert_eq!((h.dtb, h.module_list, h.process_head, h.kdbg), (None, None, None, None));
        assert_eq!((h.system_time, h.uptime, h.context, h.exception, h.comment), (None, None, None, None, None));
        assert_eq!((h.product_type, h.suite_mask, p.arch), (None, None, None));
        assert!(notes.iter().any(|n| n.text.contains("machine type at 0x30")));
        let (p, _) = parse64(|m| put(m, 0x28, &0x7ff6_0000_0000u64.to_le_bytes()));
        assert_eq!(p.header.process_head, None);
    }
    #[test]
    fn what_is_written_is_read() {
        let (p, notes) = parse64(|m| {
            put(m, 8, &[15, 0, 0, 0, 0x65, 0x4a, 0, 0]);
            put(m, 0x38, &0x7eu32.to_le_bytes());
            put(m, 0x40, &0xffff_ffff_c000_0005u64.to_le_bytes());
            put(m, 0xfa8, &132_583_451_020_698_125u64.to_le_bytes());
            put(m, 0xfb0, b"made by hand\0");
            put(m, 0x1030, &77u64.to_le_bytes());
            put(m, 0x378, &0x0010_001fu32.to_le_bytes());
            put(m, 0xf00, &0x8000_0003u32.to_le_bytes());
        });
        let h = p.header;
        assert_eq!((h.major, h.build, h.bugcheck, h.bugcheck_parameters[0]), (15, 19045, 0x7e, 0xffff_ffff_c000_0005));
        let at = |at: u64| u32_at(&header64(1), usize::try_from(at).unwrap());
        assert!(at(h.bugcheck_at).is_some() && h.parameters_at == 0x40 && h.parameter_size == 8);
        assert_eq!(h.system_time, Some(FileTime(132_583_451_020_698_125)));
        assert_eq!((h.uptime, h.comment.as_deref()), (Some(77), Some("made by hand")));
        assert_eq!((h.context, h.exception), (Some((0x348, 0x4d0)), Some((0xf00, 0x98))));
        assert!(notes.is_empty(), "{notes:?}");
    }
    #[test]
    fn a_context_of_another_processor_is_not_one() {
        let (p, _) = parse64(|m| put(m, 0x378, &0x0001_001fu32.to_le_bytes()));
        assert_eq!(p.header.context, None);
    }
    #[test]
    fn a_cut_header_says_so() {
        let why = parse(&header64(1)[..0x1fff], Width::Bits64, &mut Vec::new()).err().unwrap();
        assert!(why.contains("8191 bytes") && why.contains("8192"), "{why}");
    }
}
