//! Ranges of addresses say what walks to each of their pages say.

#![allow(clippy::precedence, reason = "entries read as the manual writes them")]
use super::testing::Memory;
use super::tests::{PROTOTYPES, section, types_19045};
use super::*;
use crate::dump::testing::Dice;

#[test]
fn regions_skip_what_is_empty() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x1000), Pa(0x5000), 12);
    m.set_entry(Va(0x3000), 12, 0x80);
    m.map(Va(0x7fff_0000_0000), Pa(0x20_0000), 21);
    m.map(Va(0xffff_ffff_ffff_f000), Pa(0x6000), 12);
    let dump = m.dump();
    let space = m.space(&dump);
    let all: Vec<_> = space.regions(Va(0), Va(u64::MAX)).map(|r| (r.va.0, r.size, r.found.map(|m| m.pa.0))).collect();
    assert_eq!(
        all,
        [
            (0x1000, 0x1000, Ok(0x5000)),
            (0x3000, 0x1000, Err(Fault::DemandZero)),
            (0x7fff_0000_0000, 0x20_0000, Ok(0x20_0000)),
            (0xffff_ffff_ffff_f000, 0x1000, Ok(0x6000)),
        ]
    );
    let some: Vec<_> = space.regions(Va(0x7fff_0000_1000), Va(0x7fff_0000_1fff)).collect();
    assert_eq!((some.len(), some[0].size), (1, 0x1000));
}

/// The quick walk over a range says of every page what a walk to that page alone says.
#[test]
fn regions_and_single_walks_agree() {
    /// Stretches of prototypes between stretches of none.
    struct Stretches(Vec<(u64, u64, u64)>);
    impl Prototypes for Stretches {
        fn prototypes(&self, va: Va) -> Result<Prototyped, u64> {
            let Some((from, to, first)) = self.0.iter().find(|r| r.1 > va.0) else { return Err(u64::MAX - va.0) };
            let page = va.page().0.checked_sub(*from).ok_or_else(|| from - va.0)? / 4096;
            Ok(Prototyped { first: Va(first + page * 8), pages: (to - from) / 4096 - page })
        }
    }
    let mut dice = Dice::new(7);
    let (mut found, mut by_vad, mut alike) = (0, 0, 0);
    for _ in 0..20 {
        // Prototypes: two pages of the kernel's, in a row by address.
        let mut words: Vec<u64> = Vec::new();
        for i in 0..1024u64 {
            // Half of them say what the one before says: a file's pages that are not in memory do.
            words.push(match dice.below(10) {
                0 => 0,
                1 => 0x777_0c0 | i << 12 & 0xf000,
                2 => (0x777 + dice.below(4)) << 12 | 0x863,
                3 => 0x80,
                4 => (0xffff_8000_0000_0000 + (i << 8)) << 16 | 0x4c0,
                _ => words.last().copied().unwrap_or(0x80),
            });
        }
        let mut m = section(&[]).memory;
        let mut kernel = Memory::new(Mode::X64, Pa(0x80_0000));
        for (i, word) in words.iter().enumerate() {
            let at = PROTOTYPES + 8 * i as u64;
            if i % 512 == 0 {
                kernel.map(Va(at), Pa(0x40_0000 + 8 * i as u64), 12);
            }
            kernel.write(Pa(0x40_0000 + 8 * i as u64), &word.to_le_bytes());
        }
        m.pages.extend(kernel.pages);
        // Entries in three tables next to each other, empty stretches between; a fourth table does not exist, a large page comes after.
        let mut at = 0x4000_0000u64;
        while at < 0x4060_0000 {
            let word = match dice.below(5) {
                0 => 0,
                1 => 0x80,
                2 => (PROTOTYPES + 8 * dice.below(1024)) << 16 | 0x480,
                3 => 0xffff_ffff_0000_0480,
                _ => (0x777 + dice.below(4)) << 12 | 0x867,
            };
            m.set_entry(Va(at), 12, word);
            at += 4096 * (1 + dice.below(2) * dice.below(200));
        }
        m.map(Va(0x4080_0000), Pa(0x20_0000), 21);
        let mut ranges = Vec::new();
        let mut from = 0x4000_0000u64;
        while from < 0x40c0_0000 {
            let pages = 1 + dice.below(300);
            let first = PROTOTYPES + 8 * dice.below(1024 - pages);
            ranges.push((from, from + pages * 4096, first));
            from += (pages + dice.below(100)) * 4096;
        }
        let dump = m.dump();
        let mut format = Format::resolve(Mode::X64, &types_19045());
        format.invalid_mask = Some(0);
        let space =
            m.space(&dump).with_kernel(Pa(0x80_0000)).with_format(format).with_vads(Box::new(Stretches(ranges)));
        let mut expected = Vec::new();
        for page in 0x3fff0..0x40e00u64 {
            let alone = Space::walk(&space, Va(page * 4096));
            if !matches!(alone, Err(Fault::Unmapped)) {
                by_vad += u32::from(alone.is_ok_and(|m| matches!(m.via, Via::Vad(_))));
                expected.push((page * 4096, alone));
            }
        }
        let mut all = Vec::new();
        for r in space.regions(Va(0x3fff_0000), Va(0x40df_ffff)) {
            let large = r.found.is_ok_and(|m| m.size > 4096);
            assert_eq!(r.each, if large { r.size } else { 4096 });
            alike += u32::from(r.each < r.size);
            for i in 0..r.size / 4096 {
                let found = r.found.map(|m| Mapping { pa: m.pa.add(i * 4096), ..m });
                all.push((r.va.0 + i * 4096, found));
            }
        }
        assert!(all == expected);
        found += all.len();
    }
    assert!(found > 10_000 && by_vad > 1000 && alike > 1000, "{found} pages, {by_vad} by the VADs, {alike} runs");
}

/// A damaged VAD can span all addresses and name prototypes that nobody can read: one answer for each page of them, and an end.
#[test]
fn prototypes_that_cannot_be_read_are_not_asked_one_by_one() {
    struct All;
    impl Prototypes for All {
        fn prototypes(&self, va: Va) -> Result<Prototyped, u64> {
            let page = va.0 / 4096;
            Ok(Prototyped { first: Va(page * 8), pages: (1 << 35) - page })
        }
    }
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x40_1000), Pa(0x5000), 12);
    let dump = m.dump();
    let space = m.space(&dump).with_vads(Box::new(All));
    let some: Vec<_> = space.regions(Va(0), Va(0x7f_ffff)).map(|r| (r.va.0, r.size, r.found.is_ok())).collect();
    // Stretches end with a page of prototypes, and where the tables have an entry of their own.
    assert_eq!(
        some,
        [
            (0, 0x20_0000, false),
            (0x20_0000, 0x20_0000, false),
            (0x40_0000, 0x1000, false),
            (0x40_1000, 0x1000, true),
            (0x40_2000, 0x1f_e000, false),
            (0x60_0000, 0x20_0000, false)
        ]
    );
    let all: Vec<_> = space.regions(Va(0), Va(0x7fff_ffff_ffff)).collect();
    assert!(all.len() < 1 << 18 && all.last().unwrap().is_cut(), "{} regions", all.len());
}

/// A page of tables that map nothing, named by every entry of the level above, is half a terabyte of entries to look at.
#[test]
fn tables_of_nothing_are_not_followed_without_end() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    for (table, next) in [(0x10_0000, 0x10_1000), (0x10_1000, 0x10_2000), (0x10_2000, 0x10_3000u64)] {
        for i in 0..512 {
            m.write(Pa(table + i * 8), &(next | 0x67).to_le_bytes());
        }
    }
    m.write(Pa(0x10_3000), &[0; 8]);
    let dump = m.dump();
    let space = m.space(&dump);
    let all: Vec<_> = space.regions(Va(0), Va(0x7fff_ffff_ffff)).collect();
    assert_eq!(all.len(), 1);
    assert!(all[0].is_cut() && all[0].va.0 > 0x1000_0000);
    assert_eq!(all[0].va.0 + all[0].size, 0x8000_0000_0000);
}

/// A root that names itself by every entry, and one table, page or hole that is named by all entries of the one above:
/// each fills the address space with answers out of a few pages.
#[test]
fn tables_that_are_met_again_and_again_end_the_walk() {
    const ROOT: u64 = 0x10_0000;
    let fill = |m: &mut Memory, table: u64, entry: u64| {
        for slot in 0..256 {
            m.write(Pa(table + slot * 8), &entry.to_le_bytes());
        }
    };
    let (table, large) = (0x67, 0xe7);
    for (name, tables) in [
        ("a root that names itself", vec![(ROOT, ROOT | table)]),
        (
            "one table for all",
            vec![(ROOT, 0x20_0067), (0x20_0000, 0x20_1067), (0x20_1000, 0x20_2067), (0x20_2000, 0x5067)],
        ),
        ("large pages", vec![(ROOT, 0x20_0067), (0x20_0000, 0x20_1067), (0x20_1000, 0x40_0000 | large)]),
        ("tables that are not there", vec![(ROOT, 0x20_0067), (0x20_0000, 0x20_1067), (0x20_1000, 0x7777_7067)]),
        (
            "tables that map nothing",
            vec![(ROOT, 0x20_0067), (0x20_0000, 0x20_1067), (0x20_1000, 0x20_2067), (0x20_2000, 0)],
        ),
    ] {
        let mut m = Memory::new(Mode::X64, Pa(ROOT));
        m.map(Va(0xffff_8000_0000_0000), Pa(0x5000), 12);
        for (at, entry) in tables {
            fill(&mut m, at, entry);
        }
        let dump = m.dump();
        let space = m.space(&dump);
        let all: Vec<_> = space.regions(Va(0), Va(0x7fff_ffff_ffff)).collect();
        assert!(all.len() < 1 << 18 && all.last().unwrap().is_cut(), "{name}: {} regions", all.len());
    }
}
