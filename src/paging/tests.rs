#![allow(clippy::precedence, reason = "entries read as the manual writes them")]
use super::testing::Memory;
use super::*;
use crate::dump::testing::{Dice, page_of};
use crate::symbols::types::{Member, Type, Types};

/// Addresses with known content: the flat model that reads are held against.
struct Flat {
    /// By virtual page: the physical page and whether the dump has it, or why there is none.
    pages: std::collections::BTreeMap<u64, Value<u64>>,
    present: std::collections::BTreeSet<u64>,
}

impl Flat {
    fn byte(&self, va: u64) -> Value<(u8, u64)> {
        let pfn = (*self.pages.get(&(va / 4096)).unwrap_or(&Err(Absent::NotMapped)))?;
        if !self.present.contains(&pfn) {
            return Err(Absent::NotInDump);
        }
        // As `page_of` fills them.
        let word = pfn << 16 | va % 4096 / 8;
        Ok((word.to_le_bytes()[(va % 8) as usize], pfn * 4096 + va % 4096))
    }
    /// Compares one read, byte for byte, with its holes and origins.
    fn check(&self, space: &Space<'_>, dump: &Dump, va: u64, len: u32) {
        let got = space.fetch(Va(va), len);
        assert_eq!(got.len(), len);
        assert_eq!(got.va(), Some(Va(va)));
        let mut bytes: Vec<Value<u8>> = vec![Err(Absent::NoSymbol); len as usize];
        for (at, data) in got.present() {
            for (i, b) in data.iter().enumerate() {
                bytes[at as usize + i] = Ok(*b);
            }
        }
        for (at, n, why) in got.holes() {
            bytes[at as usize..][..n as usize].fill(Err(why));
        }
        for i in 0..len {
            let want = self.byte(va + u64::from(i));
            assert_eq!(bytes[i as usize], want.map(|w| w.0), "{va:#x}+{i} of {len}");
        }
        // Origins and typed reads at both ends of every page, and everywhere in short reads.
        for i in (0..len).filter(|i| len < 64 || (va + u64::from(*i) + 2) % 4096 < 4) {
            let place = got.place(i);
            let want = self.byte(va + u64::from(i)).ok().map(|w| Pa(w.1));
            assert_eq!((place.va, place.pa), (Some(Va(va + u64::from(i))), want));
            assert_eq!(place.file, want.and_then(|p| dump.file_offset(p)).map(At::in_dump));
            if let Some(f) = place.file {
                assert_eq!(Ok(dump.map()[f.dump_offset().unwrap() as usize]), bytes[i as usize]);
            }
            for n in [1, 2, 4, 8].into_iter().filter(|n| i + n <= len) {
                let want: Value<Vec<u8>> = bytes[i as usize..][..n as usize].iter().copied().collect();
                assert_eq!(got.at(i, n).map(<[u8]>::to_vec), want);
                let number = space.number(Va(va + u64::from(i)), n);
                assert_eq!(number, want.map(|w| le(&w).unwrap()));
            }
        }
        let first_hole = bytes.iter().position(Result::is_err).unwrap_or(len as usize);
        assert_eq!(got.prefix().len(), first_hole);
    }
}

/// A region of small pages of every kind beside a large page, in memory with holes, in a file of shuffled runs.
fn forge(mode: Mode, large: u8, base: u64, dice: &mut Dice) -> (Memory, Flat, Dump) {
    let mut m = Memory::new(mode, Pa(0x10_0000));
    let mut flat = Flat { pages: Default::default(), present: Default::default() };
    let mut pfn = 0x2000 + dice.below(64);
    let span = 1u64 << large;
    for i in 0..24u64 {
        let va = base + span - 24 * 4096 + i * 4096;
        let kind = dice.below(10);
        pfn = if dice.below(2) == 0 { pfn + 1 } else { 0x2000 + dice.below(64) };
        let soft = |bits: u64| if mode == Mode::X86 { bits & 0xffff_ffff } else { bits };
        let found = match kind {
            0..=5 => {
                m.map(Va(va), Pa(pfn * 4096), 12);
                Ok(pfn)
            }
            6 if mode != Mode::Arm64 => {
                m.set_entry(Va(va), 12, pfn * 4096 | 0x880);
                Ok(pfn)
            }
            7 if mode != Mode::Arm64 => {
                m.set_entry(Va(va), 12, 0x80);
                Err(Absent::DemandZero)
            }
            8 if mode != Mode::Arm64 => {
                m.set_entry(Va(va), 12, soft(0x1234_0001_2080));
                Err(Absent::PagedOut)
            }
            _ => Err(Absent::NotMapped),
        };
        flat.pages.insert(va / 4096, found);
    }
    // A large page follows, only partly in the dump.
    let large_pfn = 0x8000 & !(span / 4096 - 1);
    m.map(Va(base + span), Pa(large_pfn * 4096), large);
    for i in 0..span / 4096 {
        flat.pages.insert((base + span) / 4096 + i, Ok(large_pfn + i));
    }
    let chosen: Vec<u64> = (0x2000..0x2080).chain(large_pfn..large_pfn + 40).filter(|_| dice.below(5) > 0).collect();
    for pfn in chosen {
        *m.page(pfn) = page_of(pfn);
        flat.present.insert(pfn);
    }
    let dump = m.dump_in(|runs| {
        for i in (1..runs.len()).rev() {
            runs.swap(i, dice.below(i as u64 + 1) as usize);
        }
        // The header has room for 42 runs; tables come first into it, what does not fit is not in the dump.
        runs.sort_by_key(|r| r.0 >= 0x2000);
        runs.truncate(42);
        let turn = dice.below(runs.len() as u64) as usize;
        runs.rotate_left(turn);
    });
    flat.present.retain(|p| dump.page(crate::addr::Pfn(*p)).is_some());
    (m, flat, dump)
}

fn reads_equal_the_flat_model(mode: Mode, large: u8, base: u64, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let (m, flat, dump) = forge(mode, large, base, &mut dice);
        let space = m.space(&dump);
        let first = base + (1 << large) - 25 * 4096;
        // Every alignment around every page border, with lengths that stop before, at and after the next one.
        for page in 0..28 {
            let border = first + page * 4096;
            for start in border - 9..border + 9 {
                for len in [1, 8, 9, 17] {
                    flat.check(&space, &dump, start, len);
                }
            }
            let start = border + dice.below(4096);
            flat.check(&space, &dump, start, 4096 - (start % 4096) as u32);
            flat.check(&space, &dump, start, 1 + dice.below(5 * 4096) as u32);
        }
        flat.check(&space, &dump, first, 66 * 4096);
        for _ in 0..50 {
            let va = first + dice.below(27 * 4096);
            let want = flat.pages.get(&(va / 4096)).copied().unwrap_or(Err(Absent::NotMapped));
            assert_eq!(space.translate(Va(va)), want.map(|p| Pa(p * 4096 + va % 4096)));
        }
    }
}

#[test]
fn reads_on_x64() {
    reads_equal_the_flat_model(Mode::X64, 21, 0x7ff6_1220_0000, 0..4);
    reads_equal_the_flat_model(Mode::X64, 21, 0xffff_f800_0000_0000, 6..8);
}
#[test]
fn reads_on_x64_across_a_table_border() {
    // The large page starts a new page directory and a new PDPT entry.
    reads_equal_the_flat_model(Mode::X64, 21, 0x7fff_c000_0000 - (1 << 21), 0..2);
}
#[test]
fn reads_on_la57() {
    reads_equal_the_flat_model(Mode::La57, 21, 0xff11_2233_4420_0000, 0..4);
    reads_equal_the_flat_model(Mode::La57, 21, 0x00ff_1234_5560_0000, 4..6);
}
#[test]
fn reads_on_x86() {
    reads_equal_the_flat_model(Mode::X86, 22, 0x7740_0000, 0..3);
    reads_equal_the_flat_model(Mode::X86, 22, 0x8180_0000, 3..5);
}
#[test]
fn reads_on_pae() {
    reads_equal_the_flat_model(Mode::Pae, 21, 0x7740_0000, 0..4);
    reads_equal_the_flat_model(Mode::Pae, 21, 0xbfe0_0000, 4..6);
}
#[test]
fn reads_on_arm64() {
    reads_equal_the_flat_model(Mode::Arm64, 21, 0x7ff6_1220_0000, 0..4);
    reads_equal_the_flat_model(Mode::Arm64, 21, 0xffff_f803_0020_0000, 4..6);
}

#[test]
fn a_gigabyte_page() {
    for (mode, va) in
        [(Mode::X64, 0xffff_8000_4000_0000), (Mode::La57, 0xff00_0000_4000_0000), (Mode::Arm64, 0xffff_8000_4000_0000)]
    {
        let mut m = Memory::new(mode, Pa(0x10_0000));
        m.map(Va(va), Pa(0x4000_0000), 30);
        *m.page(0x5_2345) = page_of(0x5_2345);
        let dump = m.dump();
        let space = m.space(&dump);
        let at = Va(va + 0x1234_5678);
        assert_eq!(space.translate(at), Ok(Pa(0x5234_5678)), "{mode:?}");
        assert_eq!(space.walk(at).unwrap().size, 1 << 30);
        assert_eq!(space.number(at, 8), Ok(0x5_2345 << 16 | 0x678 / 8));
        assert_eq!(space.fetch(at.add(0x1000), 4).at(0, 4), Err(Absent::NotInDump));
        assert_eq!(space.translate(Va(va + (1 << 30))), Err(Absent::NotMapped));
    }
}

#[test]
fn four_megabyte_pages_reach_above_4_gb() {
    let mut m = Memory::new(Mode::X86, Pa(0x10_0000));
    // PSE-36: bits 20–13 are address bits 39–32.
    m.set_entry(Va(0x8040_0000), 22, 0x0080_00e7 | 0x2 << 13);
    let dump = m.dump();
    assert_eq!(m.space(&dump).translate(Va(0x8041_2345)), Ok(Pa(0x2_0081_2345)));
    assert_eq!(m.space(&dump).translate(Va(0x1_8041_2345)), Err(Absent::NotMapped));
}

#[test]
fn the_root_may_carry_flags_and_pae_roots_need_no_page() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x1000), Pa(0x5000), 12);
    let dump = m.dump();
    assert_eq!(Space::new(&dump, Mode::X64, Pa(0x10_0002)).translate(Va(0x1010)), Ok(Pa(0x5010)));
    assert_eq!(Space::new(&dump, Mode::X64, Pa(0x8000_0000_0010_0fff)).translate(Va(0x1010)), Ok(Pa(0x5010)));

    let mut m = Memory::new(Mode::Pae, Pa(0x10_0060));
    m.map(Va(0xc000_1000), Pa(0x12_3456_7000), 12);
    let dump = m.dump();
    assert_eq!(m.space(&dump).translate(Va(0xc000_1abc)), Ok(Pa(0x12_3456_7abc)));
}

#[test]
fn rights_are_those_of_all_levels() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x1000), Pa(0x5000), 12);
    m.set_entry(Va(0x2000), 12, 0x8000_0000_0000_6005);
    let pde = m.entry(Va(0x1000), 21);
    let entry = m.read(pde, 8);
    m.write(pde, &(entry & !4).to_le_bytes());
    let dump = m.dump();
    let space = m.space(&dump);
    for _ in 0..2 {
        let rights = |va| space.walk(Va(va)).unwrap().rights.unwrap();
        assert_eq!(rights(0x1000), Rights { write: true, user: false, execute: true });
        assert_eq!(rights(0x2000), Rights { write: false, user: false, execute: false });
    }
}

#[test]
fn addresses_that_are_none() {
    let m = Memory::new(Mode::X64, Pa(0x10_0000));
    let dump = m.dump();
    let space = m.space(&dump);
    assert_eq!(space.walk(Va(0x8000_0000_0000)), Err(Fault::NonCanonical));
    assert_eq!(space.walk(Va(0x7fff_ffff_ffff)), Err(Fault::Unmapped));
    assert_eq!(space.walk(Va(u64::MAX)), Err(Fault::Unmapped));
    let wraps = space.fetch(Va(u64::MAX - 3), 16);
    assert_eq!(wraps.holes().collect::<Vec<_>>(), [(0, 16, Absent::NotMapped)]);
    let whole = space.fetch(Va(0x7fff_ffff_0000), 0x2_0000);
    assert_eq!(whole.holes().collect::<Vec<_>>(), [(0, 0x2_0000, Absent::NotMapped)]);
    let lost = Space::new(&dump, Mode::X64, Pa(0x7777_7000));
    assert_eq!(lost.walk(Va(0x1000)), Err(Fault::TableNotInDump { table: Pa(0x7777_7000) }));
    assert_eq!(lost.translate(Va(0x1000)), Err(Absent::NotInDump));
}

#[test]
fn a_missing_table_is_not_a_missing_mapping() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.set_entry(Va(0x4000_0000), 30, 0x7777_7067);
    m.set_entry(Va(0x4000_0000 - 0x1000), 12, 0);
    let dump = m.dump();
    let bytes = m.space(&dump).fetch(Va(0x4000_0000 - 0x1000), 0x3000);
    assert_eq!(
        bytes.holes().collect::<Vec<_>>(),
        [(0, 0x1000, Absent::NotMapped), (0x1000, 0x2000, Absent::NotInDump)]
    );
}

#[test]
fn a_page_of_a_pattern_is_not_in_the_dump() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    for (va, pa) in [(0x1000, 0x5000), (0x2000, 0x6000), (0x3000, 0x7000)] {
        m.map(Va(va), Pa(pa), 12);
    }
    m.write(Pa(0x5000), &[0x11; 0x1000]);
    m.write(Pa(0x6000), &[0xed, 0xfe, 0xad, 0xde].repeat(0x400));
    m.write(Pa(0x7000), &[0x22; 0x1000]);
    let dump = m.dump();
    let space = m.space(&dump);
    assert_eq!(space.translate(Va(0x2000)), Ok(Pa(0x6000)), "the machine had it there");
    assert_eq!(space.number(Va(0x2008), 8), Err(Absent::NotInDump));
    let across = space.fetch(Va(0x1800), 0x2000);
    assert_eq!(across.holes().collect::<Vec<_>>(), [(0x800, 0x1000, Absent::NotInDump)]);
    assert_eq!(across.at(0x1800, 2), Ok(&[0x22, 0x22][..]));
    assert_eq!(dump.met().len(), 1);
}
#[test]
fn a_page_table_of_a_pattern_maps_nothing() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x1000), Pa(0x5000), 12);
    let table = m.entry(Va(0x1000), 12).page();
    m.write(table, &[0xed, 0xfe, 0xad, 0xde].repeat(0x400));
    let dump = m.dump();
    assert_eq!(m.space(&dump).translate(Va(0x1000)), Err(Absent::NotInDump));
    assert!(dump.met()[0].loss);
}
#[test]
fn the_user_side_ends_where_the_kernel_begins() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    let (user, kernel) = (Va(0x7fff_ffff_f000), Va(0xffff_8000_0000_0000));
    m.map(user, Pa(0x5000), 12);
    m.map(kernel, Pa(0x6000), 12);
    m.write(Pa(0x5000), &[0x11; 0x1000]);
    m.write(Pa(0x6000), &[0x22; 0x1000]);
    let dump = m.dump();
    assert_eq!(m.space(&dump).number(kernel, 1), Ok(0x22));
    let space = m.space(&dump).user_side(Va(0x7fff_ffff_ffff));
    assert_eq!(space.number(user, 1), Ok(0x11));
    assert_eq!(space.number(kernel, 1), Err(Absent::Implausible));
    assert_eq!(space.fetch(user.add(0xff0), 0x20).at(0, 0x10), Ok(&[0x11; 16][..]));
    assert_eq!(space.fetch(user.add(0xff0), 0x20).at(0, 0x11), Err(Absent::Implausible));
    assert!(space.regions(Va(0), Va(u64::MAX)).all(|r| r.va <= Va(0x8000_0000_0000)));
}
#[test]
fn a_text_gives_the_part_there_is() {
    use crate::symbols::layout::Counted;
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x1000), Pa(0x5000), 12);
    let text: Vec<u8> = "whoami /all".encode_utf16().flat_map(u16::to_le_bytes).collect();
    m.write(Pa(0x5ff0), &text[..16]);
    let dump = m.dump();
    let space = m.space(&dump);
    let of = |buffer, length| space.text(Counted { length, maximum: length, buffer });
    let cut = of(Va(0x1ff0), 22).unwrap();
    assert_eq!((&*cut, cut.cut_by()), ("whoami /", Some(Absent::NotMapped)));
    assert_eq!(of(Va(0x1ff0), 12).unwrap().whole(), Ok("whoami"));
    assert_eq!(of(Va(0x2000), 12), Err(Absent::NotMapped));
    assert_eq!(of(Va(0x1ff0), 13), Err(Absent::Implausible));
    let notes = dump.met();
    assert!(notes[0].loss && notes[0].text.starts_with("1 texts"), "{notes:?}");
}
#[test]
fn a_table_on_the_standby_list_is_still_good() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x1000), Pa(0x5000), 12);
    let pde = m.entry(Va(0x1000), 21);
    let entry = m.read(pde, 8);
    m.write(pde, &(entry & !0xfff | 0x880).to_le_bytes());
    let dump = m.dump();
    assert_eq!(m.space(&dump).translate(Va(0x1010)), Ok(Pa(0x5010)));
}

#[test]
fn contiguous_pages_are_borrowed() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    for i in 0..4u64 {
        m.map(Va(0x7000 + i * 4096), Pa((0x300 + i) * 4096), 12);
        *m.page(0x300 + i) = page_of(0x300 + i);
    }
    m.map(Va(0xb000), Pa(0x300_000), 12);
    let dump = m.dump();
    let space = m.space(&dump);
    let bytes = space.fetch(Va(0x7ff0), 0x2020);
    assert!(bytes.is_borrowed());
    assert_eq!(bytes.place(0x2010).pa, Some(Pa(0x30_3000)));
    assert!(space.fetch(Va(0x7ff0), 8).is_borrowed());
    let scattered = space.fetch(Va(0xaff0), 0x20);
    assert!(!scattered.is_borrowed());
    assert_eq!(scattered.place(0x10).pa, Some(Pa(0x30_0000)));
}

#[test]
fn a_huge_read_takes_no_more_than_the_dump_has() {
    // Tables that name themselves: every address is mapped, four gigabytes long.
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    for i in 0..512 {
        m.write(Pa(0x10_0000 + i * 8), &0x10_0067u64.to_le_bytes());
    }
    let dump = m.dump();
    let bytes = m.space(&dump).fetch(Va(0x10_0000), 0x0200_0000);
    assert_eq!(bytes.len(), 0x0200_0000);
    let present: usize = bytes.present().map(|(_, b)| b.len()).sum();
    assert_eq!(present as u64, dump.page_count() * 4096);
    assert_eq!(bytes.holes().last().map(|h| h.2), Some(Absent::Implausible));
    // Unmapped space is skipped by whole tables.
    let m = Memory::new(Mode::X64, Pa(0x10_0000));
    let dump = m.dump();
    assert_eq!(m.space(&dump).fetch(Va(0x10_0001), u32::MAX).holes().count(), 1);
}

fn bits(fields: &[(&str, u8, u8)], size: u32) -> Type {
    let member = |at, len| Member { offset: 0, size, ty: "uint64".into(), bits: Some((at, len)) };
    let members = fields.iter().map(|(n, at, len)| ((*n).into(), member(*at, *len))).collect();
    Type { size, is_union: false, members }
}

/// As `_MMPTE_*` of 10.0.19045.2965 have them.
pub(super) fn types_19045() -> Types {
    let mut t = Types { pointer_size: 8, ..Types::default() };
    let soft = [
        ("SwizzleBit", 4, 1),
        ("Prototype", 10, 1),
        ("Transition", 11, 1),
        ("PageFileLow", 12, 4),
        ("PageFileHigh", 32, 32),
    ];
    t.types.insert("_MMPTE_SOFTWARE".into(), bits(&soft, 8));
    t.types.insert("_MMPTE_TRANSITION".into(), bits(&[("PageFrameNumber", 12, 36)], 8));
    t.types.insert("_MMPTE_PROTOTYPE".into(), bits(&[("ProtoAddress", 16, 48)], 8));
    t.types.insert("_MMPTE_SUBSECTION".into(), bits(&[("SubsectionAddress", 16, 48)], 8));
    t
}

#[test]
fn software_entries_by_the_kernels_types() {
    let mut f = Format::resolve(Mode::X64, &types_19045());
    // Without the mask, an entry that it may have turned over tells no offset; one with the swizzle bit does.
    assert_eq!(f.decode(0x0000_3234_0000_1080), pte::Soft::Fault(Fault::Unknown { entry: 0x0000_3234_0000_1080 }));
    assert_eq!(f.decode(0x0000_3234_0000_1090), pte::Soft::Fault(Fault::PageFile { number: Some(1), offset: 0x3234 }));
    f.invalid_mask = Some(0x2000_0000_0000);
    f.virtual_store = Some(2);
    let soft = pte::Soft::Fault;
    assert_eq!(f.decode(0), soft(Fault::Unmapped));
    assert_eq!(f.decode(0x80), soft(Fault::DemandZero));
    assert_eq!(f.decode(0x2000_0000_0080), soft(Fault::DemandZero), "the mask is no offset");
    // Page file 1, page 0x1234, protection 4; masked, and not masked with the swizzle bit.
    assert_eq!(f.decode(0x0000_3234_0000_1080), soft(Fault::PageFile { number: Some(1), offset: 0x1234 }));
    assert_eq!(f.decode(0x0000_3234_0000_1090), soft(Fault::PageFile { number: Some(1), offset: 0x3234 }));
    // A kernel that has no mask writes them so; with one, they read the same.
    assert_eq!(f.decode(0x0000_0234_0000_1080), soft(Fault::PageFile { number: Some(1), offset: 0x234 }));
    // Page 0 of a page file is a page; without a number it is no page at all, only a protection.
    assert_eq!(f.decode(0x2000_0000_1080), soft(Fault::PageFile { number: Some(1), offset: 0 }));
    assert_eq!(f.decode(0x0000_3234_0000_2080), soft(Fault::Compressed { number: 2, offset: 0x1234 }));
    assert_eq!(f.decode(0x0000_2000_1234_5880), pte::Soft::Transition(Pa(0x1234_5000)));
    assert_eq!(f.decode(0x0000_2000_1234_5890), pte::Soft::Transition(Pa(0x2000_1234_5000)));
    assert_eq!(f.decode(0xffff_ffff_0000_0480), soft(Fault::AskVad));
    assert_eq!(f.decode(0xb50d_8c1a_2b38_0490), pte::Soft::Prototype(Va(0xffff_b50d_8c1a_2b38)));
    assert_eq!(
        f.decode_prototype(0xb50d_8c1a_2b38_0490),
        Fault::FileBacked { subsection: Some(Va(0xffff_b50d_8c1a_2b38)) }
    );
    // An address of a prototype with the bit of the mask: as Windows marks it, and as a dump that does not mark it has it.
    assert_eq!(f.decode(0xb50d_ac1a_2b38_0480), pte::Soft::Prototype(Va(0xffff_b50d_8c1a_2b38)));
    let mut plain = f;
    plain.plain_addresses = true;
    assert_eq!(plain.decode(0xb50d_ac1a_2b38_0480), pte::Soft::Prototype(Va(0xffff_b50d_ac1a_2b38)));
    // Without types the number of the page file is unknown, the offset is not.
    let plain = Format::of_mode(Mode::X64);
    assert_eq!(plain.decode(0x0000_1234_0000_1080), soft(Fault::PageFile { number: None, offset: 0x1234 }));
    // Up to build 17134 the number stood in bits 1–4.
    let mut old = types_19045();
    let soft17134 = [("Prototype", 10, 1), ("Transition", 11, 1), ("PageFileLow", 1, 4), ("PageFileHigh", 32, 32)];
    old.types.insert("_MMPTE_SOFTWARE".into(), bits(&soft17134, 8));
    let old = Format::resolve(Mode::X64, &old);
    assert_eq!(old.decode(0x0000_1234_0000_1084), soft(Fault::PageFile { number: Some(2), offset: 0x1234 }));
}

/// As `_MMPTE_*` of 5.1.2600.5512 without PAE have them: the prototype's address is in two parts, and relative.
#[test]
fn a_prototype_whose_address_is_split_is_asked_of_the_vad() {
    let mut t = Types { pointer_size: 4, ..Types::default() };
    let soft = [("PageFileLow", 1, 4), ("Prototype", 10, 1), ("Transition", 11, 1), ("PageFileHigh", 12, 20)];
    t.types.insert("_MMPTE_SOFTWARE".into(), bits(&soft, 4));
    t.types.insert("_MMPTE_TRANSITION".into(), bits(&[("PageFrameNumber", 12, 20)], 4));
    let proto = [("ProtoAddressLow", 1, 7), ("ReadOnly", 8, 1), ("WhichPool", 9, 1), ("ProtoAddressHigh", 11, 21)];
    t.types.insert("_MMPTE_PROTOTYPE".into(), bits(&proto, 4));
    let f = Format::resolve(Mode::X86, &t);
    assert_eq!(f.decode(0x0012_3600 | 0x400), pte::Soft::Fault(Fault::AskVad));
    assert_eq!(f.decode(0x0000_5080), pte::Soft::Fault(Fault::PageFile { number: Some(0), offset: 5 }));
}

/// A process with one page behind a prototype, whose kernel half is only in the kernel's own tables.
pub(super) struct Section {
    pub(super) memory: Memory,
    kernel: Pa,
}
pub(super) const PROTOTYPES: u64 = 0xffff_a000_0000_1000;
pub(super) fn section(prototypes: &[u64]) -> Section {
    let mut memory = Memory::new(Mode::X64, Pa(0x10_0000));
    let mut kernel = Memory::new(Mode::X64, Pa(0x80_0000));
    kernel.map(Va(PROTOTYPES), Pa(0x40_0000), 12);
    for (i, p) in prototypes.iter().enumerate() {
        kernel.write(Pa(0x40_0000 + 8 * i as u64), &p.to_le_bytes());
        memory.set_entry(Va(0x1_0000 + 4096 * i as u64), 12, (PROTOTYPES + 8 * i as u64) << 16 | 0x480);
    }
    memory.pages.extend(kernel.pages);
    *memory.page(0x777) = page_of(0x777);
    Section { memory, kernel: kernel.root }
}

#[test]
fn prototypes_are_followed_through_the_kernel() {
    let s = section(&[0x77_7863, 0x77_78c0, 0x80, 0xffff_8000_1234_5000 << 16 | 0x4c0, 0x0000_0099_0000_1080, 0]);
    let dump = s.memory.dump();
    let mut format = Format::resolve(Mode::X64, &types_19045());
    format.invalid_mask = Some(0);
    let space = s.memory.space(&dump).with_kernel(s.kernel).with_format(format);
    let walk = |i: u64| space.walk(Va(0x1_0010 + 4096 * i)).map(|m| (m.pa, m.via));
    assert_eq!(walk(0), Ok((Pa(0x77_7010), Via::Prototype(Va(PROTOTYPES)))));
    assert_eq!(walk(1), Ok((Pa(0x77_7010), Via::Prototype(Va(PROTOTYPES + 8)))));
    assert_eq!(walk(2), Err(Fault::DemandZero));
    assert_eq!(walk(3), Err(Fault::FileBacked { subsection: Some(Va(0xffff_8000_1234_5000)) }));
    assert_eq!(walk(4), Err(Fault::PageFile { number: Some(1), offset: 0x99 }));
    assert_eq!(walk(5), Err(Fault::Unmapped));
    assert_eq!(space.number(Va(0x1_0000), 8), Ok(0x777 << 16));
    // Without the kernel's root the prototype itself is unreadable, and says so.
    let alone = s.memory.space(&dump);
    let why = Fault::Prototype { pte: Va(PROTOTYPES), why: Absent::NotMapped };
    assert_eq!(alone.walk(Va(0x1_0000)), Err(why));
}

#[test]
fn a_prototype_behind_a_prototype_ends() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.set_entry(Va(PROTOTYPES), 12, PROTOTYPES << 16 | 0x480);
    m.set_entry(Va(0x1000), 12, 0x0000_1000_0000_0000 << 16 | 0x480);
    let dump = m.dump();
    let space = m.space(&dump);
    assert!(matches!(space.walk(Va(PROTOTYPES)), Err(Fault::Prototype { why: Absent::Implausible, .. })));
    assert!(
        matches!(space.walk(Va(0x1000)), Err(Fault::Prototype { why: Absent::Implausible, .. })),
        "in the user half"
    );
}

#[test]
fn the_vads_are_asked_where_the_tables_have_nothing() {
    #[derive(Clone, Copy)]
    struct One;
    impl Prototypes for One {
        fn prototypes(&self, va: Va) -> Result<Prototyped, u64> {
            match va.0 {
                0x5000_3000..0x5000_5000 => {
                    let page = (va.0 - 0x5000_3000) / 4096;
                    Ok(Prototyped { first: Va(PROTOTYPES + page * 8), pages: 2 - page })
                }
                0..0x5000_3000 => Err(0x5000_3000 - va.0),
                _ => Err(u64::MAX - va.0),
            }
        }
    }
    let s = section(&[0x77_7863, 0]);
    let dump = s.memory.dump();
    let plain = s.memory.space(&dump).with_kernel(s.kernel);
    assert_eq!(plain.fetch(Va(0x5000_2ff8), 16).holes().count(), 1);
    let space = s.memory.space(&dump).with_kernel(s.kernel).with_vads(Box::new(One));
    assert_eq!(space.walk(Va(0x5000_3000)).unwrap().via, Via::Vad(Va(PROTOTYPES)));
    let bytes = space.fetch(Va(0x5000_1ff8), 0x4000);
    assert_eq!(
        bytes.holes().collect::<Vec<_>>(),
        [(0, 0x1008, Absent::NotMapped), (0x2008, 0x1ff8, Absent::NotMapped)]
    );
    assert_eq!(bytes.at(0x1008, 8), Ok(&(0x777u64 << 16).to_le_bytes()[..]));
    // "Proto: VAD" entries ask too.
    assert_eq!(space.walk(Va(0x1_1000)), Err(Fault::Unmapped));
}

#[test]
fn blocks_of_virtual_memory_read_with_their_gaps() {
    // The real triage dump's own blocks are the model.
    let Some(file) = crate::dump::testing::shared("real/kernel-triage/x64-19041.804.dmp") else { return };
    let dump = Dump::open(&file).unwrap();
    let blocks = dump.triage().unwrap().blocks();
    let space = Space::new(&dump, Mode::Blocks, Pa(0));
    let byte = |va: u64| {
        let block = blocks.iter().find(|b| b.va.0 <= va && va - b.va.0 < b.len);
        block.map(|b| dump.map()[(b.file + va - b.va.0) as usize]).ok_or(Absent::NotInDump)
    };
    let mut gaps = 0;
    for block in blocks.iter().step_by(97) {
        for (start, len) in
            [(block.va.0 - 9, 32u32), (block.va.0, 8), (block.va.0 + block.len - 5, 64), (block.va.0 - 3, 9000)]
        {
            let got = space.fetch(Va(start), len);
            assert_eq!(got.len(), len);
            for i in (0..len).filter(|i| *i < 80 || len - i < 80) {
                let want = byte(start + u64::from(i));
                assert_eq!(got.at(i, 1).map(|b| b[0]), want);
                assert_eq!(got.place(i).file.map(|f| dump.map()[f.dump_offset().unwrap() as usize]), want.ok());
                gaps += u32::from(want.is_err());
            }
        }
        assert_eq!(space.slice(block.va, 4).map(<[u8]>::len), Ok(4.min(block.len as usize)));
        assert_eq!(space.translate(block.va), Err(Absent::NotRecorded));
    }
    assert!(gaps > 100);
    assert_eq!(space.translate(Va(0x1000)), Err(Absent::NotInDump));
    assert_eq!(space.fetch(Va(u64::MAX - 1), 4).holes().map(|h| h.1).sum::<u32>(), 4);
}
