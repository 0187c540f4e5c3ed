//! What a file that is no dump looks like, so that the error can say it and what to do.

use super::{raw_image, wiped};

/// Signature at an offset, what it is, and what to do about it.
const KNOWN: &[(usize, &[u8], &str, &str)] = &[
    (0, b"PK\x03\x04", "a ZIP archive (AFF4 images are ZIP archives too)", "extract the dump and open that"),
    (0, b"\x1f\x8b", "gzip-compressed", "decompress it (gunzip) and open the result"),
    (0, b"\xfd7zXZ\0", "xz-compressed", "decompress it (xz -d) and open the result"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "extract the dump and open that"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "decompress it (zstd -d) and open the result"),
    (0, b"\x50\x2a\x4d\x18", "zstd-compressed (in frames)", "decompress it (zstd -d) and open the result"),
    (0, b"\x02\x21\x4c\x18", "LZ4-compressed (legacy form)", "decompress it (lz4 -d) and open the result"),
    (0, b"\x89LZO\0\x0d\x0a\x1a\x0a", "LZO-compressed", "decompress it (lzop -d) and open the result"),
    (0, b"MSWIM\0\0\0", "a WIM archive", "extract the dump and open that"),
    (0, b"BZh", "bzip2-compressed", "decompress it (bzip2 -d) and open the result"),
    (0, b"\x04\x22\x4d\x18", "LZ4-compressed", "decompress it (lz4 -d) and open the result"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "extract the dump and open that"),
    (0, b"MSCF", "a cabinet archive", "extract the dump and open that"),
    (0, b"ustar", "a tar archive", "extract the dump and open that"),
    (257, b"ustar", "a tar archive", "extract the dump and open that"),
    (0, b"hibr", "a Windows hibernation file", "convert it to a raw image first; hibernation files are not supported"),
    (0, b"HIBR", "a Windows hibernation file", "convert it to a raw image first; hibernation files are not supported"),
    (
        0,
        b"wake",
        "a Windows hibernation file after resume",
        "its contents are mostly gone; hibernation files are not supported",
    ),
    (
        0,
        b"WAKE",
        "a Windows hibernation file after resume",
        "its contents are mostly gone; hibernation files are not supported",
    ),
    (
        0,
        b"RSTR",
        "a Windows hibernation file while resuming",
        "convert it to a raw image first; hibernation files are not supported",
    ),
    (0, b"AVML", "an AVML image (version 2, compressed)", "convert it first (`avml-convert --format raw`)"),
    (
        0,
        b"ZDMP",
        "a compressed dump of DumpIt (.zdmp)",
        "uncompress it with DumpIt's own tool (Z2Dmp) and open the result",
    ),
    (
        0,
        b"\x14\x20\x28\x01",
        "a saved state of Hyper-V (.vmrs)",
        "convert it to a crash dump or a raw image on a Hyper-V machine first",
    ),
    (0, b"\xff\x06\0\0sNaPpY", "Snappy-compressed", "decompress it (snzip -d) and open the result"),
    (0, b"\xff\x06\0\0S2sTwO", "S2-compressed", "decompress it (s2d) and open the result"),
    (0, b"HPAK", "an HPAK image of HBGary's FastDump", "extract the memory section (its tool FDPro can) and open that"),
    (
        0,
        b"\x7fVirtualBox SavedState",
        "a saved state of VirtualBox (.sav)",
        "write a core of the running machine (`VBoxManage debugvm NAME dumpvmcore`) and convert it to a raw image",
    ),
    (0, b"Xen saved domain", "a saved state of Xen", "write a core (`xl dump-core`) and convert it to a raw image"),
    (0, b"LinuxGuestRecord", "a saved state of Xen", "write a core (`xl dump-core`) and convert it to a raw image"),
    (
        0,
        b"QEVM",
        "a QEMU saved state",
        "write a Windows dump (`dump-guest-memory -w`) or a raw image (`pmemsave`) instead",
    ),
    (
        0,
        b"LibvirtQemudSave",
        "a libvirt saved state",
        "write a raw image instead (`virsh dump --memory-only --format win-dmp`)",
    ),
    (
        0,
        b"LibvirtQemudPart",
        "a libvirt saved state that was not finished",
        "write a raw image instead (`virsh dump --memory-only --format win-dmp`)",
    ),
    (
        0,
        b"KDUMP   ",
        "a kdump-compressed image (QEMU `dump-guest-memory -z`, `-l` or `-s`, `virsh dump --format kdump-zlib`, makedumpfile)",
        "write a Windows dump (`dump-guest-memory -w`, `--format win-dmp`) or an uncompressed image instead",
    ),
    (
        0,
        b"makedumpfile",
        "a kdump-compressed image in flattened form (QEMU `dump-guest-memory -z`, makedumpfile)",
        "write a Windows dump (`dump-guest-memory -w`, `--format win-dmp`) or an uncompressed image instead",
    ),
    (0, b"EVF\x09\x0d\x0a\xff\x00", "an EnCase image (E01)", "export it as a raw image first"),
    (0, b"EVF2\x0d\x0a\x81\0", "an EnCase image (Ex01)", "export it as a raw image first"),
    (0, b"LVF\x09\x0d\x0a\xff\0", "a logical EnCase image (L01)", "export the dump in it and open that"),
    (0, b"AFF10\x0d\x0a", "an AFF disk image", "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump"),
    (0, b"QFI\xfb", "a QCOW2 disk image", "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump"),
    (0, b"conectix", "a VHD disk image", "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump"),
    (0, b"vhdxfile", "a VHDX disk image", "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump"),
    (0, b"KDMV", "a VMDK disk image", "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump"),
    (
        64,
        b"\x7f\x10\xda\xbe",
        "a VDI disk image",
        "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump",
    ),
    (0x8001, b"CD001", "an ISO image", "that is a disk, not memory; look inside it for a dump"),
    (0, b"MZ", "a Windows program or driver", "dumpwalk opens memory dumps"),
    (0, b"Microsoft C/C++ MSF", "a PDB symbol file", "give its directory with --symbols and name the dump here"),
    (0, b"%PDF", "a PDF document", "dumpwalk opens memory dumps"),
    (0, b"regf", "a registry hive", "dumpwalk opens memory dumps"),
    (0, b"ElfFile\0", "a Windows event log", "dumpwalk opens memory dumps"),
    (3, b"NTFS    ", "an NTFS volume", "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump"),
    (
        512,
        b"EFI PART",
        "a disk image with a GPT",
        "that is a disk, not memory; look inside it for MEMORY.DMP or Minidump",
    ),
    (
        0,
        b"PAGE",
        "something like a Windows crash dump, but its second word is neither DU64 nor DUMP",
        "the header is damaged; copy the file again",
    ),
    (0, b"HDMP", "a heap dump of a debugger", "dumpwalk opens memory dumps"),
    (0, b"EGAP", "a Windows crash dump with its bytes swapped", "copy the file again without conversion"),
];

/// Why a file cannot be taken as a raw image: it is something else, or nothing. `None` when it may be memory.
pub fn not_raw(map: &[u8]) -> Option<String> {
    for (at, magic, what, next) in KNOWN {
        if map.get(*at..).is_some_and(|rest| rest.starts_with(magic)) {
            return Some(format!("{what}, not a Windows memory dump ({} at {at:#x}); {next}", quote(magic)));
        }
    }
    if all_zero(map) {
        return Some(format!(
            "all zeros ({} bytes): a dump that was never written (Windows does that when the disk is full) or a failed acquisition; acquire it again",
            map.len()
        ));
    }
    let head = map.get(..4096).unwrap_or(map);
    if is_text(head) {
        return Some(format!("a text file (it begins with {}), not a memory dump", first_line(head)));
    }
    if is_disk(map) {
        return Some(
            "a disk image (it has a partition table, or the footer of a VHD), not memory; look inside it for MEMORY.DMP or Minidump".into(),
        );
    }
    if wiped::is_hibernation_file(map) {
        return Some(
            "a Windows hibernation file whose header was wiped when Windows resumed (compressed blocks follow an empty first page); what is \
             left of it is no raw image, and hibernation files are not supported"
                .into(),
        );
    }
    // A header page of zeros before a body: the writer fills the header last.
    if map.get(0x2000..0x2008).is_some_and(|m| matches!(m, b"SDMPDUMP" | b"FDMPDUMP")) {
        return Some(
            "a Windows crash dump whose first header was never written (its second header stands at 0x2000): Windows was stopped while it wrote the file. It cannot be opened; look for another dump of the machine".into(),
        );
    }
    if map.len() < UNFINISHED && map.get(..0x2000).is_some_and(zero) && map.windows(4).any(|w| w == b"TRGD") {
        return Some(
            "a triage dump whose header was never written (its end mark TRGD is there, its first 8192 bytes are zeros): the disk was full, or Windows was stopped. It cannot be opened; look for another dump of the machine".into(),
        );
    }
    if map.len() < raw_image::SMALLEST {
        return Some(format!(
            "neither a Windows crash dump (PAGEDU64, PAGEDUMP) nor a minidump (MDMP): it begins with {}; and {} bytes are too few for a raw image of memory",
            quote(map.get(..8).unwrap_or(map)),
            map.len()
        ));
    }
    None
}

/// A master boot record with a table of partitions, or the footer of a VHD of fixed size. Page 0 of a machine's memory holds neither:
/// firmware loads the boot record elsewhere.
fn is_disk(map: &[u8]) -> bool {
    let footer = map.len().checked_sub(512).and_then(|at| map.get(at..)).is_some_and(|f| f.starts_with(b"conectix"));
    let table = map.get(0x1be..0x1fe).filter(|_| map.get(0x1fe..0x200) == Some(b"\x55\xaa"));
    let partitions = table.is_some_and(|table| {
        let used = |p: &&[u8]| p.get(4).is_some_and(|kind| *kind != 0);
        let right = |p: &[u8]| matches!(p.first(), Some(0 | 0x80)) && p.get(8..16).is_some_and(|at| !zero(at));
        let (entries, _) = table.as_chunks::<16>();
        let entries: Vec<&[u8]> = entries.iter().map(|e| e.as_slice()).collect();
        entries.iter().any(used) && entries.iter().all(|p| zero(p) || (used(p) && right(p)))
    });
    footer || partitions
}

/// Triage dumps are smaller than this; larger files are not searched for the end mark of one.
const UNFINISHED: usize = 16 << 20;

fn zero(part: &[u8]) -> bool {
    part.iter().all(|b| *b == 0)
}

/// Whether a file holds nothing. All of a small one is looked at; of a large one the first megabytes and a sample.
fn all_zero(map: &[u8]) -> bool {
    const WHOLE: usize = 16 << 20;
    const SAMPLES: usize = 2048;
    if !zero(map.get(..WHOLE).unwrap_or(map)) {
        return false;
    }
    let Some(step) = map.len().checked_div(SAMPLES).filter(|s| *s > 4096 && map.len() > WHOLE) else {
        return map.len() <= WHOLE || zero(map);
    };
    map.chunks(step).all(|c| zero(c.get(..4096).unwrap_or(c)))
        && zero(map.get(map.len().saturating_sub(4096)..).unwrap_or(map))
}

/// Printable ASCII or UTF-16, or valid UTF-8 without controls.
fn is_text(head: &[u8]) -> bool {
    let plain = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e);
    if head.starts_with(b"\xff\xfe") {
        let units = head.get(2..).unwrap_or_default().chunks_exact(2);
        return head.len() > 3 && units.filter(|u| matches!(u, [low, 0] if plain(low))).count() >= head.len() / 3;
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character cut by the end of the window.
        Err(e) if e.valid_up_to().saturating_add(4) > head.len() => {
            std::str::from_utf8(head.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
}

/// The first line of a text, as far as it is printable.
fn first_line(text: &[u8]) -> String {
    let line = text.split(|b| !matches!(b, 0x20..=0x7e)).find(|l| !l.is_empty()).unwrap_or_default();
    quote(line.get(..32).unwrap_or(line))
}

/// Bytes as a reader of an error message sees them best: text where they are text, else hexadecimal.
pub fn quote(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".into();
    }
    if bytes.iter().all(|b| matches!(b, 0x20..=0x7e)) {
        return format!("\"{}\"", latin(bytes));
    }
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    hex.join(" ")
}

/// One byte, one character: no byte is lost and none is an error.
pub fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(bytes: &[u8]) -> String {
        not_raw(bytes).unwrap_or_default()
    }

    #[test]
    fn every_known_signature_is_named() {
        for (at, magic, what, next) in KNOWN {
            let mut file = vec![1u8; 2 << 20];
            file[*at..at + magic.len()].copy_from_slice(magic);
            let said = why(&file);
            assert!(said.contains(what) && said.contains(next), "{said}");
        }
    }
    #[test]
    fn nothing_and_text() {
        assert!(why(&[0; 100]).contains("all zeros (100 bytes)"));
        assert!(why(&vec![0; 20 << 20]).contains("all zeros"));
        assert!(why(b"hello, this is a note\r\n").contains("a text file (it begins with \"hello"));
        assert!(why("\u{feff}größer".as_bytes()).contains("text"));
        assert!(why(b"\xff\xfeh\0e\0l\0l\0o\0").contains("text"));
        assert!(why(&[1, 2, 3, 0xff]).contains("begins with 01 02 03 ff"));
        let mut late = vec![0; 0x2000];
        late.extend(b"SDMPDUMP");
        assert!(why(&late).contains("never written"));
    }
    #[test]
    fn disks_are_told_from_memory() {
        let mut disk = vec![0u8; 1 << 20];
        disk[0x1fe..0x200].copy_from_slice(b"\x55\xaa");
        disk[0x8000..].fill(0x5a);
        assert_eq!(not_raw(&disk), None, "no partition");
        disk[0x1be..0x1ce].copy_from_slice(&[0x80, 1, 1, 0, 7, 254, 255, 255, 0, 8, 0, 0, 0, 0, 16, 0]);
        assert!(why(&disk).contains("partition table"));
        disk[0x1ce] = 0x53;
        assert_eq!(not_raw(&disk), None, "no table has such an entry");
        let mut vhd = vec![0xa5; 1 << 20];
        vhd[(1 << 20) - 512..(1 << 20) - 504].copy_from_slice(b"conectix");
        assert!(why(&vhd).contains("VHD"));
    }
    #[test]
    fn memory_is_not_mistaken() {
        let mut file = vec![0u8; 20 << 20];
        file[17 << 20] = 1;
        // One byte of a sampled page may be missed, a memory full of pages is not.
        file[1 << 20..2 << 20].fill(0xcc);
        assert_eq!(not_raw(&file), None);
        let mut late = vec![0u8; 40 << 20];
        late[20 << 20..].fill(0xcc);
        assert_eq!(not_raw(&late), None);
    }
}
