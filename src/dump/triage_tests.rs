use crate::addr::Va;
use crate::bytes::{u32_at, u64_at};
use crate::dump::testing::*;
use crate::dump::{Arch, Dump, Kind};
use crate::value::Absent;
use std::collections::BTreeMap;

/// A triage dump made by hand: two drivers, one unloaded, blocks of memory.
pub fn made(wide: bool, blocks: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut f = if wide { header64(4) } else { header32(4) };
    let h = f.len();
    put32(&mut f, if wide { 0x1038 } else { 0xf8c }, 0xcff);
    let word = |f: &mut Vec<u8>, at: usize, n: u64| if wide { put64(f, at, n) } else { put32(f, at, n as u32) };
    let kernel: u64 = if wide { 0xffff_f800_0000_0000 } else { 0x8000_0000 };
    // Unloaded drivers.
    let at = h + 0x100;
    put32(&mut f, h + 0x18, at as u32);
    put32(&mut f, at, 1);
    let entry = at + if wide { 8 } else { 4 };
    put(&mut f, entry, &[14, 0, 14, 0]);
    let name = entry + if wide { 16 } else { 8 };
    put(&mut f, name, &utf16("dam.sys"));
    word(&mut f, name + 24, kernel + 0x10_0000);
    word(&mut f, name + if wide { 32 } else { 28 }, kernel + 0x11_0000);
    // Copies of structures.
    for (field, at, fill) in [(0x1c, h + 0x200, 0xc1u8), (0x20, h + 0x300, 0xe1), (0x24, h + 0x400, 0x71)] {
        put32(&mut f, h + field, at as u32);
        put(&mut f, at, &[fill; 0x100]);
    }
    // The stack.
    put32(&mut f, h + 0x28, (h + 0x500) as u32);
    put32(&mut f, h + 0x2c, 0x80);
    word(&mut f, h + 0x48, kernel + 0x5_0000);
    put(&mut f, h + 0x500, &[0x55; 0x80]);
    // Debugger data.
    let kdbg = if wide { 0x70 } else { 0x58 };
    put32(&mut f, h + kdbg, (h + 0x580) as u32);
    put32(&mut f, h + kdbg + 4, 0x40);
    put(&mut f, h + 0x580, &[0x6b; 0x40]);
    word(&mut f, if wide { 0x80 } else { 0x60 }, kernel + 0x6_0000);
    // Drivers and their names.
    let (list, size) = (h + 0x600, if wide { 0x90 } else { 0x4c });
    put32(&mut f, h + 0x30, list as u32);
    put32(&mut f, h + 0x34, 2);
    let pool = list + 2 * 0x90;
    put32(&mut f, h + 0x38, pool as u32);
    for (i, name) in ["\\SystemRoot\\system32\\ntoskrnl.exe", "\\x.sys"].iter().enumerate() {
        let (entry, text) = (list + i * size, pool + i * 0x60);
        put32(&mut f, text, name.encode_utf16().count() as u32);
        put(&mut f, text + 4, &utf16(name));
        put32(&mut f, entry, text as u32);
        word(&mut f, entry + if wide { 0x38 } else { 0x1c }, kernel + 0x1000 * i as u64);
        put32(&mut f, entry + if wide { 0x48 } else { 0x24 }, 0x1000 + i as u32);
        put32(&mut f, entry + if wide { 0x80 } else { 0x44 }, 0xc0 + i as u32);
        put32(&mut f, entry + if wide { 0x88 } else { 0x48 }, 0x70 + i as u32);
    }
    // Data blocks.
    let (list, field) = (pool + 0x200, if wide { 0x78 } else { 0x60 });
    put32(&mut f, h + field, list as u32);
    put32(&mut f, h + field + 4, blocks.len() as u32);
    let mut data = list + blocks.len() * 16;
    for (i, (va, bytes)) in blocks.iter().enumerate() {
        let va = if wide { *va } else { *va as u32 as i32 as i64 as u64 };
        put64(&mut f, list + i * 16, va);
        put32(&mut f, list + i * 16 + 8, data as u32);
        put32(&mut f, list + i * 16 + 12, bytes.len() as u32);
        put(&mut f, data, bytes);
        data += bytes.len();
    }
    put(&mut f, data, b"TRGD");
    put32(&mut f, h + 8, data as u32);
    put32(&mut f, h + 4, data as u32 + 4);
    f
}
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn blocks_are_the_flat_model() {
    let mut dice = Dice::new(4);
    for case in 0..60 {
        let wide = case % 2 == 0;
        let base = if wide { 0xffff_8000_0000_0000u64 } else { 0x9000_0000 };
        let mut model: BTreeMap<u64, u8> = BTreeMap::new();
        let mut blocks: Vec<(u64, Vec<u8>)> = Vec::new();
        for _ in 0..dice.below(20) {
            let (va, len) = (base + dice.below(600), 1 + dice.below(80));
            // The same address has the same byte in every block, as in a real dump.
            let bytes: Vec<u8> = (va..va + len).map(|a| (a.wrapping_mul(0x9e37) >> 3) as u8).collect();
            model.extend((va..).zip(bytes.iter().copied()));
            blocks.push((va, bytes));
        }
        let file = made(wide, &blocks);
        let dump = open(&file).unwrap();
        assert!(dump.notes.is_empty(), "{:?}", dump.notes);
        let t = dump.triage().unwrap();
        for va in base.saturating_sub(10)..base + 700 {
            let len = 1 + dice.below(40) as usize;
            match (t.bytes(Va(va), len), model.get(&va)) {
                (Ok((bytes, at)), Some(_)) => {
                    assert!(!bytes.is_empty() && bytes.len() <= len);
                    assert_eq!(&file[at as usize..at as usize + bytes.len()], bytes);
                    for (i, b) in bytes.iter().enumerate() {
                        assert_eq!(Some(b), model.get(&(va + i as u64)), "case {case} {va:#x}+{i}");
                    }
                    assert_eq!(t.next_kept(Va(va)), Some(Va(va)));
                }
                (Err(why), None) => assert_eq!(why, Absent::NotInDump),
                (got, want) => panic!("case {case} {va:#x}: {got:?}, {want:?}"),
            }
        }
        assert!(t.blocks().windows(2).all(|w| w[0].va.0 + w[0].len <= w[1].va.0));
    }
}
#[test]
fn everything_the_header_gives() {
    for wide in [true, false] {
        let file = made(wide, &[]);
        let dump = open(&file).unwrap();
        let t = dump.triage().unwrap();
        let kernel = if wide { 0xffff_f800_0000_0000 } else { 0x8000_0000 };
        assert_eq!((dump.kind, dump.page_count(), dump.notes.len()), (Kind::Triage, 0, 0));
        assert_eq!(dump.arch, Some(if wide { Arch::X64 } else { Arch::X86 }));
        let nt = &t.drivers()[0];
        assert_eq!(nt.name.as_deref(), Ok("\\SystemRoot\\system32\\ntoskrnl.exe"));
        assert_eq!((nt.base, nt.size, nt.checksum, nt.time_stamp), (Va(kernel), 0x1000, 0xc0, 0x70));
        let x = &t.drivers()[1];
        assert_eq!((x.name.as_deref(), x.base, x.time_stamp), (Ok("\\x.sys"), Va(kernel + 0x1000), 0x71));
        for (driver, field) in t.drivers().iter().zip(0u32..) {
            for (at, want) in driver.fields[1..].iter().zip([0x1000 + field, 0xc0 + field, 0x70 + field]) {
                assert_eq!(u32_at(&file, (driver.file + u64::from(*at)) as usize), Some(want));
            }
        }
        let u = &t.unloaded()[0];
        assert_eq!(
            (u.name.as_deref(), u.start, u.end),
            (Ok("dam.sys"), Va(kernel + 0x10_0000), Va(kernel + 0x11_0000))
        );
        for (part, fill) in [(t.prcb(), 0xc1), (t.process(), 0xe1), (t.thread(), 0x71)] {
            let part = part.unwrap();
            assert_eq!(part.bytes, [fill; 0x100]);
            assert_eq!(file[part.file as usize], fill);
        }
        assert_eq!(t.stack().unwrap().va, Some(Va(kernel + 0x5_0000)));
        assert_eq!(t.bytes(Va(kernel + 0x5_0010), 4).unwrap().0, [0x55; 4]);
        assert_eq!(t.kdbg().unwrap().bytes, [0x6b; 0x40]);
        assert_eq!(t.bytes(Va(kernel + 0x6_003f), 9).unwrap().0, [0x6b]);
    }
}
#[test]
fn damage_is_told() {
    let whole = made(true, &[(0xffff_8000_0000_1000, vec![1; 100])]);
    let cut = open(&whole[..whole.len() - 50]).unwrap();
    let said = |n: &str| cut.notes.iter().any(|note| note.loss && note.text.contains(n));
    assert!(said("truncated") && said("46 of 292 bytes of kept memory"), "{:?}", cut.notes);
    assert_eq!(cut.triage().unwrap().bytes(Va(0xffff_8000_0000_1000), 100).unwrap().0.len(), 54);
    assert!(open(&whole[..0x2040]).unwrap_err().contains("inside its second header"));

    for (at, value, want) in [
        (0x2034, u32::MAX, "room for"),
        (0x207c, u32::MAX, "room for"),
        (0x2008, 0x10, "TRGD"),
        (0x2100, 1000, "unloaded drivers at 0x2100"),
    ] {
        let mut file = whole.clone();
        put32(&mut file, at, value);
        let dump = open(&file).unwrap();
        assert!(dump.notes.iter().any(|n| n.loss && n.text.contains(want)), "{want}: {:?}", dump.notes);
    }
    let mut file = whole.clone();
    put32(&mut file, 0x2600, 0x7fff_0000);
    assert_eq!(open(&file).unwrap().triage().unwrap().drivers()[0].name, Err(Absent::Implausible));
    let mut file = made(true, &[(0xffff_8000_0000_1000, vec![1; 9]), (0xffff_8000_0000_1004, vec![2; 9])]);
    assert!(open(&file).unwrap().notes[0].text.contains("twice with different contents"));
    file[..0x2000].fill(0);
    assert!(open(&file).unwrap_err().contains("triage dump whose header was never written"));
}
#[test]
fn the_real_ones() {
    for (name, arch, code, count, base, size, stamp, dtb, eprocess, ethread, prcb, blocks) in [
        (
            "x64-19041.804.dmp",
            Arch::X64,
            0x1000_007e_u32,
            151,
            0xffff_f804_7ba0_0000u64,
            0x104_6000u32,
            0x0d83_33e6u32,
            0x1a_d000,
            0xa40usize,
            0x898usize,
            Some(0xaf00),
            // Of its 1,831 blocks two lie inside others.
            1829,
        ),
        (
            "arm64-22000.dmp",
            Arch::Arm64,
            0x1c8,
            245,
            0xffff_f803_f2e0_0000,
            0x103_e000,
            0xdf29_1b09,
            0x946a_a000,
            0xc80,
            0x910,
            None,
            679,
        ),
    ] {
        let Some(path) = shared(&format!("real/kernel-triage/{name}")) else { continue };
        let dump = Dump::open(&path).unwrap();
        assert!(dump.notes.is_empty(), "{:?}", dump.notes);
        assert_eq!((dump.kind, dump.arch), (Kind::Triage, Some(arch)));
        let header = dump.header.as_ref().unwrap();
        assert_eq!((header.bugcheck, header.dtb.unwrap().0), (code, dtb));
        let t = dump.triage().unwrap();
        let nt = &t.drivers()[0];
        assert_eq!(t.drivers().len(), count);
        assert!(t.drivers().iter().all(|d| d.name.as_ref().is_ok_and(|n| n.starts_with('\\'))));
        assert_eq!(nt.name.as_deref(), Ok("\\SystemRoot\\system32\\ntoskrnl.exe"));
        assert_eq!((nt.base, nt.size, nt.time_stamp), (Va(base), size, stamp));
        let kdbg = t.kdbg().unwrap();
        assert_eq!(kdbg.bytes.get(0x10..0x14), Some(&b"KDBG"[..]));
        assert_eq!(u64_at(kdbg.bytes, 0x18), Some(base), "KernBase");
        assert_eq!(t.process().unwrap().bytes.len(), eprocess);
        assert_eq!(u64_at(t.process().unwrap().bytes, 0x28), Some(dtb), "its DirectoryTableBase is the header's");
        assert_eq!(t.thread().unwrap().bytes.len(), ethread);
        assert!(prcb.is_none_or(|n| t.prcb().unwrap().bytes.len() == n));
        assert!(t.blocks().len() >= blocks, "{name}: {} blocks, {blocks} expected", t.blocks().len());
        assert!(!t.unloaded().is_empty() && t.unloaded().iter().all(|u| u.name.is_ok() && u.start < u.end));
        let stack = t.stack().unwrap();
        assert_eq!(t.bytes(stack.va.unwrap(), stack.bytes.len()).unwrap().0[..64], stack.bytes[..64]);
        // The context's stack pointer lies in the kept stack.
        let context = header.context.unwrap().0 as usize;
        let sp = u64_at(dump.map(), context + if arch == Arch::X64 { 0x98 } else { 0x100 }).unwrap();
        assert!(t.bytes(Va(sp), 8).is_ok(), "sp {sp:#x}");
    }
}
