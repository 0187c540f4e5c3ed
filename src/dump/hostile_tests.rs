//! Whatever the bytes are: opening ends with a dump or an error, and what an opened dump answers is true of its file.

use super::testing::*;
use super::tests::{bitmap, full32, full64, ranges, summary};
use super::*;
use crate::addr::Va;

/// Damaged files per container. `DUMPWALK_HOSTILE=10` makes ten times as many.
const CASES: u64 = 1500;

/// Asks an opened dump everything, and holds its answers against the file.
fn question(dump: &Dump, dice: &mut Dice) {
    let map = dump.map();
    let mut pages = 0u64;
    let mut end_of_last = 0u64;
    for run in dump.runs() {
        assert!(run.count > 0 && run.file >= end_of_last, "{run:?}");
        end_of_last = run.file + run.count * 4096;
        assert!(end_of_last <= map.len() as u64, "{run:?} ends past the file");
        pages += run.count;
        for pfn in [run.pfn.0, run.pfn.0 + run.count - 1, run.pfn.0 + dice.below(run.count)] {
            let at = run.file + (pfn - run.pfn.0) * 4096;
            assert_eq!(dump.file_offset(Pfn(pfn).base().add(5)), Some(at + 5));
            assert_eq!(dump.page(Pfn(pfn)).unwrap()[..], map[at as usize..at as usize + 4096]);
        }
        assert!(dump.highest_page().unwrap().0 >= run.pfn.0 + run.count - 1);
    }
    assert_eq!(pages, dump.page_count());
    for pfn in (0..8).map(|_| dice.roll() >> dice.below(64)) {
        let page = dump.page(Pfn(pfn));
        assert_eq!(page.is_some(), dump.file_offset(Pfn(pfn).base()).is_some() && pfn < 1 << 52, "{pfn:#x}");
    }
    let inside = |bytes: &[u8], at: u64| assert_eq!(bytes, &map[at as usize..at as usize + bytes.len()]);
    if let Some(t) = dump.triage() {
        for part in [t.process(), t.thread(), t.prcb(), t.stack(), t.kdbg()].into_iter().flatten() {
            inside(part.bytes, part.file);
        }
        blocks(t.blocks(), map, dice, |va, len| t.bytes(va, len));
        assert!(t.drivers().iter().all(|d| d.file < map.len() as u64));
        assert!(t.unloaded().len() <= 64);
    }
    if let Some(u) = dump.minidump() {
        blocks(u.blocks(), map, dice, |va, len| u.bytes(va, len));
        for t in u.threads().iter().take(50) {
            let _ = t.context.map(|c| u.registers(c));
        }
        let _ = u.exception().and_then(|e| e.context).map(|c| u.registers(c));
        assert!(u.modules().iter().all(|m| m.file < map.len() as u64));
    }
    if let Some(h) = &dump.header {
        for (at, len) in [h.context, h.exception].into_iter().flatten() {
            assert!(at + u64::from(len) <= map.len() as u64);
        }
    }
    assert!(dump.notes.len() < 200, "{} notes", dump.notes.len());
}
fn blocks<'d>(list: &[Block], map: &[u8], dice: &mut Dice, read: impl Fn(Va, usize) -> Value<(&'d [u8], u64)>) {
    for pair in list.windows(2) {
        assert!(pair[0].va.0 + pair[0].len <= pair[1].va.0, "{pair:?}");
    }
    for b in list.iter().take(200) {
        assert!(b.len > 0 && b.file + b.len <= map.len() as u64, "{b:?}");
        let inside = dice.below(b.len);
        let (bytes, at) = read(b.va.add(inside), 64).unwrap();
        assert_eq!((at, bytes.len() as u64), (b.file + inside, 64.min(b.len - inside)));
        assert_eq!(bytes, &map[at as usize..at as usize + bytes.len()]);
    }
}

/// Damages a file in one to four places, mostly where headers are, and perhaps cuts it.
fn damage(file: &[u8], heads: &[(usize, usize)], dice: &mut Dice) -> Vec<u8> {
    let mut bad = file.to_vec();
    for _ in 0..1 + dice.below(4) {
        let (from, len) = heads[dice.below(heads.len() as u64) as usize];
        let at = (from + dice.below(len as u64) as usize).min(bad.len() - 1);
        let extreme =
            [0, 1, 0x7fff_ffff, 0x8000_0000, u64::from(u32::MAX), 1 << 40, 1 << 63, u64::MAX, file.len() as u64];
        let word = extreme[dice.below(extreme.len() as u64) as usize].to_le_bytes();
        match dice.below(4) {
            0 => bad[at] ^= 1 << dice.below(8),
            1 => bad[at] = dice.roll() as u8,
            2 => {
                let at = at & !3;
                let end = (at + 4).min(bad.len());
                bad[at..end].copy_from_slice(&word[..end - at]);
            }
            _ => {
                let at = at & !7;
                let end = (at + 8).min(bad.len());
                bad[at..end].copy_from_slice(&word[..end - at]);
            }
        }
    }
    if dice.below(3) == 0 {
        let whole = bad.len() as u64;
        bad.truncate(1 + dice.below(whole) as usize);
    }
    bad
}

fn hammer(name: &str, file: &[u8], heads: &[(usize, usize)]) {
    let times: u64 = std::env::var("DUMPWALK_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut dice = Dice::new(name.bytes().fold(17, |h, b| h * 31 + u64::from(b)));
    question(&open(file).unwrap(), &mut dice);
    let (mut opened, mut refused) = (0u64, 0u64);
    for _ in 0..CASES * times {
        match open(&damage(file, heads, &mut dice)) {
            Ok(dump) => {
                question(&dump, &mut dice);
                opened += 1;
            }
            Err(why) => {
                assert!(why.starts_with("made.dmp: ") && why.len() < 600, "{why}");
                refused += 1;
            }
        }
    }
    println!("{name}: {opened} opened, {refused} refused");
    assert!(opened > 0 && refused > 0, "{name}: {opened} opened, {refused} refused");
}

const RUNS: [(u64, u64); 4] = [(1, 3), (8, 5), (70, 2), (600, 1)];
const FIRST: (usize, usize) = (0, 0x100);
const TYPE: (usize, usize) = (0xf80, 0x40);

#[test]
fn full_dumps() {
    hammer("full64", &full64(&RUNS).0, &[FIRST, TYPE, (0x88, 0x60)]);
    hammer("full32", &full32(&RUNS).0, &[FIRST, TYPE, (0x64, 0x40)]);
}
#[test]
fn bitmap_dumps() {
    hammer("bitmap64", &bitmap(header64(6), &RUNS, b"SDMPDUMP").0, &[FIRST, TYPE, (0x2000, 0x38), (0x2038, 80)]);
    hammer("bitmap32", &bitmap(header32(5), &RUNS, b"FDMPDUMP").0, &[FIRST, TYPE, (0x1000, 0x38), (0x1038, 80)]);
    hammer("summary32", &summary(header32(2), 0x20, &RUNS).0, &[FIRST, TYPE, (0x1000, 0x20), (0x1020, 80)]);
    hammer("summary64", &summary(header64(2), 0x28, &RUNS).0, &[FIRST, TYPE, (0x2000, 0x28), (0x2028, 80)]);
}
#[test]
fn range_dumps() {
    for kind in [8, 9, 0xa] {
        hammer(&format!("ranges{kind:x}"), &ranges(kind, &RUNS).0, &[FIRST, TYPE, (0x2000, 0x30), (0x2030, 0x60)]);
    }
}
#[test]
fn triage_dumps() {
    for wide in [true, false] {
        let blocks: Vec<(u64, Vec<u8>)> = (0..9).map(|i| (0x9000_0000 + i * 100, vec![i as u8; 60])).collect();
        let file = triage::tests::made(wide, &blocks);
        let at = if wide { 0x2000 } else { 0x1000 };
        let lists = (at + 0x600, file.len() - at - 0x600);
        hammer(&format!("triage {wide}"), &file, &[FIRST, TYPE, (at, 0x80), (at, 0x80), (at + 0x100, 0x40), lists]);
    }
}
#[test]
fn user_minidumps() {
    let file = minidump::tests::everything();
    let directory = crate::bytes::u32_at(&file, 12).unwrap() as usize;
    hammer("minidump", &file, &[(0, 32), (directory, 120), (32, directory - 32), (32, directory - 32)]);
}
#[test]
fn real_dumps() {
    for name in [
        "full-dump-heads/x64-19045-dumpit-head.bin",
        "kernel-triage/x64-19041.804.dmp",
        "kernel-triage/arm64-22000.dmp",
        "user-minidump/tiny-exe-with-cet-xsave.dmp",
        "user-minidump/thread_name_list.dmp",
        "user-minidump/x86-14393.dmp",
    ] {
        let Some(path) = shared(&format!("real/{name}")) else { continue };
        let file = std::fs::read(path).unwrap();
        let mut dice = Dice::new(name.len() as u64);
        for _ in 0..60 {
            let heads = [(0, 0x200), (0x1000, 0x1100), (0, file.len())];
            if let Ok(dump) = open(&damage(&file, &heads, &mut dice)) {
                question(&dump, &mut dice);
            }
        }
    }
}
#[test]
fn noise() {
    let mut dice = Dice::new(99);
    for case in 0..3000 {
        let mut file: Vec<u8> = (0..1 + dice.below(0x3000)).map(|_| dice.roll() as u8).collect();
        let magic: &[u8] = [&b"PAGEDU64"[..], b"PAGEDUMP", b"MDMP\x93\xa7\0\0", b""][case % 4];
        let n = magic.len().min(file.len());
        file[..n].copy_from_slice(&magic[..n]);
        if file.len() > 0xf9c {
            file[0xf98..0xf9c].copy_from_slice(&(dice.below(12) as u32).to_le_bytes());
        }
        if let Ok(dump) = open(&file) {
            question(&dump, &mut dice);
        }
    }
}
