//! From a pool allocation to the object in it: the optional headers before `_OBJECT_HEADER` are told by its `InfoMask`.

use crate::addr::{PAGE_SIZE, Pa};
use crate::bytes::Bytes;
use crate::dump::Dump;
use crate::kernel::Kernel;
use crate::layout;
use crate::place::At;
use crate::symbols::layout::{Bits, Here, Layout, LayoutError, View};
use crate::symbols::types::Types;
use crate::value::{Absent, Value};

layout! {
    /// `_POOL_HEADER`.
    pub struct PoolHeader: "_POOL_HEADER" {
        /// `BlockSize`, in units of the header's own size (16 bytes on 64-bit machines, 8 on x86).
        block_size: Bits = "BlockSize",
        /// `PoolType`.
        pool_type: Bits = "PoolType",
        /// `PoolTag`.
        tag: u32 = "PoolTag",
    }
}
layout! {
    /// `_OBJECT_HEADER`, as much of it as tells whether it is one.
    pub struct ScanHeader: "_OBJECT_HEADER" {
        /// `PointerCount`.
        pointers: i64 = "PointerCount",
        /// `HandleCount`.
        handles: i64 = "HandleCount",
        /// Which optional headers lie before it (since 7).
        info_mask: u8 = "InfoMask",
        /// The type's index (since 7), encoded since 10.
        type_index: u8 = "TypeIndex",
        /// The object itself.
        body: Here = "Body",
    }
}

/// The optional headers in the order of their `InfoMask` bits, as the types of this kernel's PDB give them; a kernel that lacks one of the
/// later ones has the next in its place. Audit information came with 8, revocation and padding with later builds.
const OPTIONAL: [&str; 9] = [
    "_OBJECT_HEADER_CREATOR_INFO",
    "_OBJECT_HEADER_NAME_INFO",
    "_OBJECT_HEADER_HANDLE_INFO",
    "_OBJECT_HEADER_QUOTA_INFO",
    "_OBJECT_HEADER_PROCESS_INFO",
    "_OBJECT_HEADER_AUDIT_INFO",
    "_OBJECT_HEADER_EXTENDED_INFO",
    "_OBJECT_HEADER_HANDLE_REVOCATION_INFO",
    "_OBJECT_HEADER_PADDING_INFO",
];

/// A pool header that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Where it stands.
    pub pa: Pa,
    /// Bytes of the allocation, the header included; 0 where the header does not say.
    pub size: u64,
    /// `PoolType`.
    pub kind: u64,
    /// The tag, with its protected bit.
    pub tag: super::tags::Tag,
}

/// Finds objects in pool allocations.
#[derive(Debug)]
pub struct Finder<'k> {
    pool: &'k PoolHeader,
    pool_size: u64,
    header: &'k ScanHeader,
    body: u64,
    /// Bytes of all optional headers together, by the mask that says which there are.
    sums: Box<[u64; 256]>,
    /// Bytes of all of them.
    room: u64,
    /// Where in the header its mask is.
    mask: Option<u64>,
}

impl<'k> Finder<'k> {
    /// For this kernel's layouts.
    ///
    /// # Errors
    /// The symbols lack the pool's or the object's header.
    pub fn of(kernel: &'k Kernel) -> Result<Self, LayoutError> {
        let types: &Types = &kernel.symbols.types;
        let header: &ScanHeader = kernel.layout()?;
        let pool: &PoolHeader = kernel.layout()?;
        let sizes: Vec<u64> = OPTIONAL.iter().filter_map(|t| types.size_of(t)).map(u64::from).collect();
        let sum = |mask: usize| {
            let bits = (0..8usize).filter(|i| mask >> i & 1 == 1);
            bits.filter_map(|i| sizes.get(i)).copied().fold(0u64, u64::saturating_add)
        };
        Ok(Self {
            pool,
            pool_size: types.size_of(PoolHeader::TYPE).unwrap_or_else(|| pool.span()).into(),
            header,
            body: header.field("body").map_or(0, |f| f.offset.into()),
            sums: Box::new(std::array::from_fn(sum)),
            room: sizes.iter().copied().fold(0u64, u64::saturating_add),
            mask: header.field("info_mask").ok().map(|f| f.offset.into()),
        })
    }
    /// Bytes between possible starts of an allocation, and where in its header the tag stands.
    #[must_use]
    pub fn unit(&self) -> (usize, usize) {
        let tag = self.pool.field("tag").map_or(4, |f| f.offset as usize);
        (usize::try_from(self.pool_size).unwrap_or(16), tag)
    }
    /// The pool header at `pa`.
    ///
    /// # Errors
    /// Not in the dump.
    pub fn pool(&self, dump: &Dump, pa: Pa) -> Value<Pool> {
        let view = View::new(self.pool, at(dump, pa, self.pool.span()));
        let tag = super::tags::Tag(view.tag()?);
        Ok(Pool { pa, size: view.block_size()?.saturating_mul(self.pool_size), kind: view.pool_type()?, tag })
    }
    /// Where the object's body may start, best first: headers whose `InfoMask` accounts for every byte between the pool's header and the
    /// object's, and whose allocation has room for `least` bytes of object. Kernels before 7 have no mask; there every place is tried by the
    /// caller's own checks.
    pub fn bodies(&self, dump: &Dump, pool: &Pool, least: u64) -> Vec<Pa> {
        // Most places are refused by the mask alone, where the page has it: a flood of tags is looked at fast.
        let page = dump.page(pool.pa.pfn());
        let refused = |header: Pa, before: u64| {
            let mask = self.mask.filter(|_| header.pfn() == pool.pa.pfn()).zip(page).and_then(|(at, page)| {
                page.get(usize::try_from(header.offset_in_page().saturating_add(at)).ok()?).copied()
            });
            mask.is_some_and(|mask| !self.fills(mask, before))
        };
        let mut found = Vec::new();
        let mut before = 0u64;
        while before <= self.room {
            let header = pool.pa.add(self.pool_size).add(before);
            let needed = self.pool_size.saturating_add(before).saturating_add(self.body).saturating_add(least);
            let fits = pool.size == 0 || needed <= pool.size;
            if fits && !refused(header, before) {
                let view = View::new(self.header, at(dump, header, self.header.span()));
                if self.accounts_for(&view, before) {
                    found.push(header.add(self.body));
                }
            }
            before = before.saturating_add(self.pool_size.min(8));
        }
        found
    }
    /// Whether the optional headers of this mask fill the bytes before the header. Since 8 the allocation may be padded in front to
    /// the object's alignment.
    fn fills(&self, mask: u8, before: u64) -> bool {
        let sum = self.sums.get(usize::from(mask)).copied().unwrap_or(0);
        before.wrapping_sub(sum) < self.pool_size
    }
    fn accounts_for(&self, header: &View<'_, ScanHeader>, before: u64) -> bool {
        // An object in use has some references; counts of a freed or foreign place are anything.
        let plausible = |count: Value<i64>| count.is_ok_and(|c| (-1..0x100_0000).contains(&c));
        match header.info_mask() {
            Ok(mask) => self.fills(mask, before) && plausible(header.pointers()) && plausible(header.handles()),
            Err(Absent::NotInBuild) => plausible(header.pointers()) && plausible(header.handles()),
            Err(_) => false,
        }
    }
}

/// Physical bytes: what lies beyond the page's end is a hole, for the next physical page is another allocation's.
#[must_use]
pub fn at(dump: &Dump, pa: Pa, len: u32) -> Bytes<'_> {
    let room = u32::try_from(PAGE_SIZE.saturating_sub(pa.offset_in_page())).unwrap_or(0);
    match dump.bytes(pa, len.min(room) as usize) {
        Ok(data) if data.len() as u64 == u64::from(len) => {
            Bytes::borrowed(data, None, Some(pa), dump.file_offset(pa).map(At::in_dump))
        }
        Ok(data) => {
            let mut bytes = Bytes::builder(None, len);
            bytes.push(data, Some(pa), dump.file_offset(pa).map(At::in_dump));
            bytes.push_hole(len.saturating_sub(u32::try_from(data.len()).unwrap_or(len)), Absent::NotMapped);
            bytes
        }
        Err(why) => Bytes::hole(len, None, why),
    }
}
