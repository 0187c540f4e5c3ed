//! Pages that are not in physical memory, by sources made by hand: pages that stay, pages in passing, page tables and prototype entries there.

use super::pte::Format;
use super::testing::Memory;
use super::tests::types_19045;
use super::*;
use crate::bytes::Stored;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The pages of page file 0, by number; those above 0x100 are in passing.
struct Pages(BTreeMap<u64, Box<PageBytes>>);

impl Pages {
    fn of<const N: usize>(pages: [(u64, u8); N]) -> Self {
        Self(pages.map(|(n, fill)| (n, Box::new([fill; PAGE_SIZE as usize]))).into())
    }
}

impl Sources for Pages {
    fn find(&self, fault: Fault) -> Value<Page> {
        let (number, offset) = match fault {
            Fault::PageFile { number: Some(0), offset } => (0, offset),
            Fault::Compressed { offset, .. } => (1, offset),
            other => return Err(other.into()),
        };
        let page = self.0.get(&offset).ok_or(Absent::from(fault))?;
        let at = Stored::page_file(number, offset * PAGE_SIZE);
        Ok(if offset > 0x100 { Page::Passing(at, Arc::new(**page)) } else { Page::Kept(At::Stored(at)) })
    }
    fn page(&self, at: At) -> Option<&PageBytes> {
        self.0.get(&(at.stored().offset() / PAGE_SIZE)).map(|page| &**page)
    }
}

/// An entry that names a page of page file 0 (19045's bits), or of the compressed store, 2.
fn away(page: u64) -> u64 {
    page << 32 | 4 << 5 | if page > 0x100 { 2 << 12 } else { 0 }
}

fn format() -> Format {
    let mut format = Format::resolve(Mode::X64, &types_19045());
    (format.invalid_mask, format.virtual_store) = (Some(0), Some(2));
    format
}

#[test]
fn an_object_goes_over_pages_of_all_sources() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x10000), Pa(0x5000), 12);
    m.write(Pa(0x5000), &[1; 0x1000]);
    m.set_entry(Va(0x11000), 12, away(5));
    m.set_entry(Va(0x12000), 12, away(0x205));
    m.set_entry(Va(0x13000), 12, away(0x206));
    let dump = m.dump();
    let sources = Pages::of([(5, 2), (0x205, 3)]);
    let space = m.space(&dump).with_format(format()).with_sources(&sources);
    let all = space.fetch(Va(0x10ff8), 0x3000);
    assert_eq!(all.at(0, 0x10), Ok(&[[1; 8], [2; 8]].concat()[..]));
    assert_eq!(all.at(0x1000, 0x10), Ok(&[[2; 8], [3; 8]].concat()[..]));
    assert_eq!(all.at(0x2000, 0x10), Err(Absent::Compressed));
    assert_eq!(all.place(0).pa, Some(Pa(0x5ff8)));
    let place = all.place(0x10);
    assert_eq!((place.pa, place.file), (None, Some(At::Stored(Stored::page_file(0, 0x5008)))));
    assert_eq!(
        all.place(0x1010).file.map(|at| (at.stored(), at.inside())),
        Some((Stored::page_file(1, 0x20_5000), Some(8)))
    );
    // One page by itself, twice: the second time from the cache.
    for _ in 0..2 {
        assert_eq!(space.slice(Va(0x11010), 4), Ok(&[2; 4][..]));
        assert_eq!(space.number(Va(0x11ffc), 8), Ok(0x0303_0303_0202_0202));
    }
    // What does not stay is not lent, but read.
    assert_eq!(space.slice(Va(0x12010), 4), Err(Absent::Compressed));
    assert_eq!(space.number(Va(0x12010), 4), Ok(0x0303_0303));
    assert_eq!(space.fetch(Va(0x12010), 4).all(), Ok(&[3; 4][..]));
    // It has no physical address, and without sources no bytes.
    assert_eq!(space.translate(Va(0x11010)), Err(Absent::PagedOut));
    let without = m.space(&dump).with_format(format());
    assert_eq!(without.fetch(Va(0x11010), 4).all(), Err(Absent::PagedOut));
    assert_eq!(without.number(Va(0x12010), 4), Err(Absent::Compressed));
}

#[test]
fn a_page_table_that_was_written_away_is_read_where_it_is() {
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.map(Va(0x10000), Pa(0x5000), 12);
    m.write(Pa(0x5000), &[1; 0x1000]);
    let table = m.entry(Va(0x10000), 12).page();
    let bytes: Vec<u8> = m.pages[&(table.0 / PAGE_SIZE)].clone();
    m.set_entry(Va(0x10000), 21, away(7));
    // What lies in its frame now is something else.
    m.write(table, &[0x67; 0x1000]);
    let dump = m.dump();
    let mut sources = Pages(BTreeMap::new());
    let fault = Fault::TableAway { number: Some(0), offset: 7, why: Absent::PagedOut };
    {
        let space = m.space(&dump).with_format(format()).with_sources(&sources);
        assert_eq!(space.walk(Va(0x10010)), Err(fault));
        assert_eq!(space.number(Va(0x10010), 4), Err(Absent::PagedOut));
        // Without sources the same: where the table went, not where the page is.
        assert_eq!(m.space(&dump).with_format(format()).walk(Va(0x10010)), Err(fault));
    }
    sources.0.insert(7, Box::new(bytes.try_into().unwrap()));
    let space = m.space(&dump).with_format(format()).with_sources(&sources);
    for _ in 0..2 {
        assert_eq!(space.number(Va(0x10010), 4), Ok(0x0101_0101));
    }
    // A range is the same page by page: one page, and nothing else of the table's two megabytes.
    let regions: Vec<Region> = space.regions(Va(0), Va(0x3f_ffff)).collect();
    assert_eq!(
        regions.iter().map(|r| (r.va, r.found.map(|m| m.pa))).collect::<Vec<_>>(),
        [(Va(0x10000), Ok(Pa(0x5000)))]
    );
}

#[test]
fn prototype_entries_are_read_where_they_are() {
    let pool = Va(0xffff_b50d_8c1a_2000);
    let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
    m.set_entry(Va(0x10000), 12, pool.0 << 16 | 1 << 10);
    m.set_entry(Va(0x11000), 12, pool.add(8).0 << 16 | 1 << 10);
    m.set_entry(pool, 12, away(9));
    m.pages.entry(5).or_insert_with(|| vec![4; 0x1000]);
    let dump = m.dump();
    let mut sources = Pages::of([(3, 6)]);
    let mut entries = Box::new([0; PAGE_SIZE as usize]);
    // One page in memory, one written away itself.
    entries[..8].copy_from_slice(&0x5867u64.to_le_bytes());
    entries[8..16].copy_from_slice(&away(3).to_le_bytes());
    sources.0.insert(9, entries);
    let space = m.space(&dump).with_format(format()).with_sources(&sources);
    assert_eq!(space.number(Va(0x10010), 4), Ok(0x0404_0404));
    assert_eq!(space.number(Va(0x11010), 4), Ok(0x0606_0606));
    assert_eq!(space.page_behind_prototype(pool.add(8)).place(0).file, Some(At::Stored(Stored::page_file(0, 0x3000))));
    let without = m.space(&dump).with_format(format());
    assert_eq!(without.walk(Va(0x10010)), Err(Fault::Prototype { pte: pool, why: Absent::PagedOut }));
}
