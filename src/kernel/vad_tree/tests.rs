//! Trees laid out in memory as 22 real kernels do it, sound and torn.

use super::*;
use crate::addr::{PAGE_SIZE, Pa};
use crate::dump::Dump;
use crate::kernel::testing::kernels;
use crate::paging::Mode;
use crate::paging::testing::Memory;
use crate::symbols::layout::Field;
use crate::symbols::types::Types;

/// One made-up node.
#[derive(Clone, Copy)]
struct Node {
    page: u64,
    pages: u64,
    protection: u64,
    private: bool,
    commit: u64,
}

struct Forest {
    memory: Memory,
    short: VadShort,
    long: VadLong,
    owner: VadOwner,
    pool: PoolHeader,
    pool_size: u32,
    wide: bool,
    /// Bytes between nodes.
    stride: u64,
}

const EPROCESS: u64 = 0x1000;

impl Forest {
    fn new(types: &Types) -> Self {
        let wide = types.pointer_size == 8;
        let mode = match (wide, types.size_of("_MMPTE_SOFTWARE")) {
            (true, _) => Mode::X64,
            (false, Some(8)) => Mode::Pae,
            (false, _) => Mode::X86,
        };
        let long = VadLong::resolve(types).unwrap();
        Self {
            memory: Memory::new(mode, Pa(0x1000)),
            short: VadShort::resolve(types).unwrap(),
            stride: u64::from(long.span()).next_multiple_of(16) + 16,
            long,
            owner: VadOwner::resolve(types).unwrap(),
            pool: PoolHeader::resolve(types).unwrap(),
            pool_size: types.size_of("_POOL_HEADER").unwrap(),
            wide,
        }
    }
    /// Kernel addresses from a common base on.
    fn va(&self, offset: u64) -> Va {
        Va(if self.wide { 0xffff_9800_0000_0000 } else { 0x8500_0000 } + offset)
    }
    fn node(&self, i: usize) -> Va {
        self.va(0x10_000 + i as u64 * self.stride)
    }
    fn pa(&mut self, va: Va) -> Pa {
        // Pages lie far above the tables, in the order of their addresses.
        let page = (va.0 - self.va(0).0) / PAGE_SIZE;
        let pa = Pa(0x100_0000 + page * PAGE_SIZE);
        if !self.memory.pages.contains_key(&pa.pfn().0) {
            self.memory.map(va.page(), pa, 12);
            self.memory.page(pa.pfn().0);
        }
        pa.add(va.offset_in_page())
    }
    fn put(&mut self, object: Va, field: Value<Field>, value: u64) {
        let Ok(field) = field else { return };
        let bytes: Vec<u8> = (0..field.size)
            .map(|i| {
                let pa = self.pa(object.add((field.offset + i).into()));
                self.memory.read(pa, 1) as u8
            })
            .collect();
        let old = crate::bytes::le(&bytes).unwrap();
        let new = match field.bits {
            Some((at, len)) => old & !((u64::MAX >> (64 - u32::from(len))) << at) | value << at,
            None => value,
        };
        for (i, b) in new.to_le_bytes().iter().take(field.size as usize).enumerate() {
            let pa = self.pa(object.add(u64::from(field.offset) + i as u64));
            self.memory.write(pa, &[*b]);
        }
    }
    fn write(&mut self, i: usize, n: Node) {
        let at = self.node(i);
        let short = self.short;
        let last = n.page + n.pages - 1;
        let low = |page: u64| if short.field("start").is_ok_and(|f| f.size == 8) { page } else { page & 0xffff_ffff };
        self.put(at, short.field("start"), low(n.page));
        self.put(at, short.field("end"), low(last));
        self.put(at, short.field("start_high"), n.page >> 32 & 0xff);
        self.put(at, short.field("end_high"), last >> 32 & 0xff);
        self.put(at, short.field("protection"), n.protection);
        self.put(at, short.field("private"), n.private.into());
        self.put(at, short.field("commit"), n.commit);
        let tag = if n.private { b"VadS" } else { b"Vad " };
        let header = at.sub(self.pool_size.into());
        self.put(header, self.pool.field("tag"), u32::from_le_bytes(*tag).into());
    }
    fn link(&mut self, i: usize, side: &str, to: Option<usize>) {
        let at = self.node(i);
        let target = to.map_or(0, |t| self.node(t).0);
        let field = self.short.field(side);
        self.put(at, field, target);
    }
    /// The nodes as a balanced tree; returns its root.
    fn grow(&mut self, range: std::ops::Range<usize>, parent: Option<usize>) -> Option<usize> {
        if range.is_empty() {
            return None;
        }
        let middle = range.start + range.len() / 2;
        let left = self.grow(range.start..middle, Some(middle));
        let right = self.grow(middle + 1..range.end, Some(middle));
        self.link(middle, "left", left);
        self.link(middle, "right", right);
        // The balance in the low bits, as the kernel keeps it.
        let parent = parent.map_or(0, |p| self.node(p).0 | 1);
        let (at, field) = (self.node(middle), self.short.field("parent"));
        self.put(at, field, parent);
        Some(middle)
    }
    fn root(&mut self, root: Option<usize>) {
        let target = root.map_or(0, |r| self.node(r).0);
        let (at, field) = (self.va(EPROCESS), self.owner.field("root"));
        self.put(at, field, target);
    }
    fn walk(&mut self, dump: &Dump) -> Tree {
        self.walk_within(dump, Limit::default())
    }
    fn walk_within(&mut self, dump: &Dump, limit: Limit) -> Tree {
        let space = self.memory.space(dump);
        let layouts = Layouts {
            short: &self.short,
            long: &self.long,
            owner: &self.owner,
            pool: Some((&self.pool, self.pool_size)),
            lacking: None,
        };
        layouts.walk_within(&space, self.va(EPROCESS), limit)
    }
}

fn nodes(count: usize, from: u64) -> Vec<Node> {
    (0..count as u64)
        .map(|i| Node { page: from + i * 16, pages: 1 + i % 16, protection: i % 8, private: i % 3 != 0, commit: i % 5 })
        .collect()
}

fn sound(forest: &mut Forest, all: &[Node]) {
    for (i, n) in all.iter().enumerate() {
        forest.write(i, *n);
    }
    let root = forest.grow(0..all.len(), None);
    forest.root(root);
}

#[test]
fn every_kernel_gives_every_node() {
    for (name, symbols) in kernels() {
        let mut forest = Forest::new(&symbols.types);
        let all = nodes(300, 0x10);
        sound(&mut forest, &all);
        let dump = forest.memory.dump();
        let tree = forest.walk(&dump);
        assert_eq!(tree.notes, [], "{name}");
        assert_eq!(tree.vads.len(), all.len(), "{name}");
        for (v, n) in tree.vads.iter().zip(&all) {
            assert_eq!((v.start.0, v.end.0), (n.page * PAGE_SIZE, (n.page + n.pages) * PAGE_SIZE - 1), "{name}");
            assert_eq!(
                (v.protection, v.private, v.commit),
                (Ok(n.protection as u8), Ok(n.private), Ok(n.commit)),
                "{name}"
            );
            assert_eq!(v.kind, Ok(if n.private { Kind::Private } else { Kind::Mapped }), "{name}");
            assert_eq!(v.tag.unwrap().text().unwrap(), if n.private { "VadS" } else { "Vad " }, "{name}");
            assert_eq!(v.mapping.is_some(), !n.private, "{name}");
        }
        // The same nodes as a tree: parents first, none twice.
        let down: Vec<_> = tree.top_down().collect();
        assert_eq!(down.len(), all.len(), "{name}");
        assert_eq!(down[0].depth, 0);
        assert!(down.iter().all(|v| usize::from(v.depth) <= 9), "{name}");
        for pair in tree.vads.windows(2) {
            assert!(tree.at(pair[0].end) == Some(&pair[0]) && tree.at(pair[1].start) == Some(&pair[1]));
        }
        assert_eq!(tree.at(Va(0)), None);
    }
}

#[test]
fn addresses_above_16_tb() {
    // Page numbers of 36 bits: the last pages of the user half.
    for (name, symbols) in kernels().into_iter().filter(|(n, _)| n.starts_with("x64") && !n.contains("9200")) {
        let mut forest = Forest::new(&symbols.types);
        let all = nodes(40, 0x7_fff0_0000);
        sound(&mut forest, &all);
        let dump = forest.memory.dump();
        let tree = forest.walk(&dump);
        let ends: Vec<u64> = tree.vads.iter().map(|v| v.end.0).collect();
        let expected: Vec<u64> = all.iter().map(|n| (n.page + n.pages) * PAGE_SIZE - 1).collect();
        assert_eq!(ends, expected, "{name}");
        assert!(ends.iter().all(|e| *e > 16 << 40));
    }
}

#[test]
fn a_loop_is_walked_once() {
    for (name, symbols) in kernels() {
        let mut forest = Forest::new(&symbols.types);
        sound(&mut forest, &nodes(63, 0x10));
        // The highest node's right child is the root.
        forest.link(62, "right", Some(31));
        let dump = forest.memory.dump();
        let tree = forest.walk(&dump);
        assert_eq!(tree.vads.len(), 63, "{name}");
        assert!(tree.notes.iter().any(|n| n.loss && n.text.contains("met before")), "{name}: {:?}", tree.notes);
        assert_eq!(tree.top_down().count(), 63);
    }
}

/// Of a tree that only processes on no list have, what is left of their share.
#[test]
fn a_share_of_nodes_ends_a_walk_and_is_said() {
    for (name, symbols) in kernels() {
        let mut forest = Forest::new(&symbols.types);
        sound(&mut forest, &nodes(300, 0x10));
        let dump = forest.memory.dump();
        let tree = forest.walk_within(&dump, Limit { nodes: 40, unlisted: true, ..Limit::default() });
        assert_eq!(tree.vads.len(), 40, "{name}");
        assert!(tree.notes.iter().any(|n| n.loss && n.text.contains("stopped after 40 nodes")), "{:?}", tree.notes);
    }
}

#[test]
fn what_hangs_below_a_tear_is_missed_and_said() {
    let Some((_, symbols)) = kernels().into_iter().find(|(n, _)| n.contains("19041.804")) else { return };
    let mut forest = Forest::new(&symbols.types);
    sound(&mut forest, &nodes(63, 0x10));
    // The root's right child lies on a page that is not mapped.
    let (at, field) = (forest.node(31), forest.short.field("right"));
    forest.put(at, field, forest.va(0x4000_0000).0);
    let dump = forest.memory.dump();
    let tree = forest.walk(&dump);
    assert_eq!(tree.vads.len(), 32);
    assert!(tree.notes.iter().any(|n| n.loss && n.text.contains("not mapped")), "{:?}", tree.notes);
}

#[test]
fn a_node_whose_end_lies_before_its_start_is_none() {
    let Some((_, symbols)) = kernels().into_iter().find(|(n, _)| n.contains("19041.804")) else { return };
    let mut forest = Forest::new(&symbols.types);
    sound(&mut forest, &nodes(7, 0x10));
    let (at, field) = (forest.node(1), forest.short.field("end"));
    forest.put(at, field, 1);
    let dump = forest.memory.dump();
    let tree = forest.walk(&dump);
    assert_eq!(tree.vads.len(), 4);
    assert!(tree.notes.iter().any(|n| n.loss && n.text.contains("implausible")));
}

#[test]
fn a_tree_as_deep_as_a_list() {
    let Some((_, symbols)) = kernels().into_iter().find(|(n, _)| n.contains("19041.804")) else { return };
    let mut forest = Forest::new(&symbols.types);
    let all = nodes(20_000, 0x10);
    for (i, n) in all.iter().enumerate() {
        forest.write(i, *n);
        forest.link(i, "left", i.checked_sub(1));
    }
    forest.root(Some(all.len() - 1));
    let dump = forest.memory.dump();
    let tree = forest.walk(&dump);
    assert_eq!(tree.vads.len(), all.len());
    assert!(tree.vads.is_sorted_by_key(|v| v.start));
    assert_eq!(tree.top_down().count(), all.len());
}

#[test]
fn a_commit_that_is_not_counted() {
    for (name, symbols) in kernels() {
        let mut forest = Forest::new(&symbols.types);
        let field = forest.short.field("commit").unwrap();
        let bits = field.bits.map_or(field.size * 8, |(_, n)| n.into());
        let all = u64::MAX >> (64 - bits);
        let node = Node { page: 0x7ffe0, pages: 1, protection: 1, private: true, commit: all };
        sound(&mut forest, &[node]);
        let dump = forest.memory.dump();
        let tree = forest.walk(&dump);
        assert_eq!(tree.vads[0].commit, Ok(0), "{name}");
        assert!(tree.vads[0].flags.has("commit_fixed"), "{name}");
    }
}

#[test]
fn a_process_without_memory_has_no_nodes() {
    let Some((_, symbols)) = kernels().into_iter().find(|(n, _)| n.contains("19041.804")) else { return };
    let mut forest = Forest::new(&symbols.types);
    forest.root(None);
    let dump = forest.memory.dump();
    let tree = forest.walk(&dump);
    assert!(tree.vads.is_empty() && tree.notes.is_empty());
}
