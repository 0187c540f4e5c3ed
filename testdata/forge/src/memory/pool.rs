//! The kernel pools: blocks with a `_POOL_HEADER` and a tag, as the pre-segment-heap allocator lays them out.

use std::collections::BTreeMap;

/// Which pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// Non-paged.
    NonPaged,
    /// Non-paged, in a large page. Only part of that page is in the dump, which loses some tools the whole of it when they
    /// scan; so it holds nothing that scans look for.
    Large,
    /// Paged.
    Paged,
}

impl PoolKind {
    /// `PoolType` in the header of a block in use: the pool's number and bit 1 for "in use" from Vista on, number + 1 before.
    pub fn header_type(self, vista: bool) -> u64 {
        match self {
            PoolKind::NonPaged | PoolKind::Large => 1 + u64::from(vista),
            PoolKind::Paged => 2 + u64::from(vista),
        }
    }
}

/// One pool's bookkeeping; the machine maps the pages.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Which.
    pub kind: PoolKind,
    /// First address of the pool.
    pub base: u64,
    /// Next page never used.
    pub next: u64,
    /// Pages with room: address, bytes used, size of the last block.
    pub open: Vec<(u64, u64, u64)>,
    /// Blocks of a page or more: address, tag, size.
    pub big: Vec<(u64, [u8; 4], u64)>,
    /// By size of block: the open pages before this one have no room for it. Pages only fill up, so it only grows.
    full_until: BTreeMap<u64, usize>,
}

impl Pool {
    /// An empty pool.
    pub fn new(kind: PoolKind, base: u64) -> Pool {
        Pool { kind, base, next: base, open: Vec::new(), big: Vec::new(), full_until: BTreeMap::new() }
    }

    /// Room for `size` bytes, header included, in an open page: address and size of the block before it.
    pub fn fit(&mut self, size: u64) -> Option<(u64, u64)> {
        let from = self.full_until.entry(size).or_insert(0);
        while self.open.get(*from).is_some_and(|(_, used, _)| used + size > 0x1000) {
            *from += 1;
        }
        let (page, used, last) = self.open.get_mut(*from)?;
        let out = (*page + *used, *last);
        (*used, *last) = (*used + size, size);
        Some(out)
    }
}
