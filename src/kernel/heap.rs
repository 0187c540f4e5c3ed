//! The heaps of a process: NT heaps (`_HEAP`) with their segments and large blocks, and segment heaps (`_SEGMENT_HEAP`).

use super::peb::{Peb, Shapes};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::Place;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Bits, Here, Layout, LayoutError, Link};
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashSet;

layout! {
    /// `_HEAP`.
    pub struct NtHeap: "_HEAP" {
        /// 0xEEFFEEFF.
        signature: u32 = "Signature",
        /// `HEAP_…`.
        flags: u32 = "Flags",
        /// Flags forced by gflags or a debugger.
        force_flags: u32 = "ForceFlags",
        /// Bytes free, in units of the heap's granularity.
        free: u64 = "TotalFreeSize",
        /// Blocks too large for a segment.
        large: Here = "VirtualAllocdBlocks",
        /// The segments, since Vista.
        segments: Here = "SegmentList",
        /// The segments' array, before.
        segment_array: Here = "Segments",
        /// 0 none, 1 look-aside lists, 2 low fragmentation.
        front_end: u8 = "FrontEndHeapType",
    }
}
layout! {
    /// `_HEAP_SEGMENT`.
    pub struct NtSegment: "_HEAP_SEGMENT" {
        /// 0xFFEEFFEE.
        signature: u32 = "SegmentSignature" | "Signature",
        /// Link in the heap's list, since Vista.
        links: Link = "SegmentListEntry",
        /// Its first byte.
        base: Va = "BaseAddress",
        /// Pages reserved.
        pages: u32 = "NumberOfPages",
        /// Of them not committed.
        uncommitted: u32 = "NumberOfUnCommittedPages",
        /// The heap it belongs to.
        heap: Va = "Heap",
    }
}
layout! {
    /// `_HEAP_VIRTUAL_ALLOC_ENTRY`: the head of a large block.
    pub struct NtLarge: "_HEAP_VIRTUAL_ALLOC_ENTRY" {
        /// Link in the heap's list.
        links: Link = "Entry",
        /// Bytes committed.
        committed: u64 = "CommitSize",
        /// Bytes reserved.
        reserved: u64 = "ReserveSize",
    }
}
layout! {
    /// `_SEGMENT_HEAP`. In the public symbols since 17763.
    pub struct SegmentHeap: "_SEGMENT_HEAP" {
        /// 0xDDEEDDEE.
        signature: u32 = "Signature",
        /// `HEAP_…`.
        flags: u32 = "GlobalFlags",
        /// The tree of large blocks.
        large: Here = "LargeAllocMetadata",
        /// The two contexts of segments.
        contexts: Here = "SegContexts",
        /// Pages of large blocks.
        large_reserved: u64 = "LargeReservedPages",
        /// Of them committed.
        large_committed: u64 = "LargeCommittedPages",
        /// All pages reserved.
        reserved: u64 = "MemStats.TotalReservedPages",
        /// All pages committed.
        committed: u64 = "MemStats.TotalCommittedPages",
    }
}
layout! {
    /// `_HEAP_SEG_CONTEXT`.
    pub struct SegmentContext: "_HEAP_SEG_CONTEXT" {
        /// Rounds an address down to its segment.
        mask: u64 = "SegmentMask",
        /// The segments.
        segments: Here = "SegmentListHead",
    }
}
layout! {
    /// `_HEAP_LARGE_ALLOC_DATA`: a node of the tree of large blocks.
    pub struct SegmentLarge: "_HEAP_LARGE_ALLOC_DATA" {
        /// Lower.
        left: Va = "TreeNode.Left",
        /// Higher.
        right: Va = "TreeNode.Right",
        /// Where the block lies; the low 16 bits count unused bytes.
        address: u64 = "VirtualAddress",
        /// Pages.
        pages: Bits = "AllocatedPages",
    }
}
layout! {
    /// `_RTL_RB_TREE`.
    pub struct RbTree: "_RTL_RB_TREE" {
        /// The root.
        root: Va = "Root",
        /// Links are stored as their exclusive-or with the tree's own address.
        encoded: Bits = "Encoded",
    }
}

/// The mark of an NT heap, of a segment of one, and of a segment heap. No symbol names them; they are the same in every Windows seen
/// since XP (segment heap: since 10240), and each heap carries its own at `_HEAP.Signature` and its kin.
const NT_HEAP: u32 = 0xeeff_eeff;
const NT_SEGMENT: u32 = 0xffee_ffee;
const SEGMENT_HEAP: u32 = 0xddee_ddee;

/// The system makes no array of more heaps than this per process.
const MOST_HEAPS: u32 = 1 << 16;
/// Segments or large blocks followed in one heap.
const MOST_BLOCKS: usize = 1 << 17;

/// What kind of heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapKind {
    /// `_HEAP`.
    Nt,
    /// `_SEGMENT_HEAP`.
    Segment,
}

/// A stretch of memory that belongs to a heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first byte.
    pub base: Va,
    /// Bytes reserved.
    pub reserved: u64,
    /// Bytes committed, where the structure says.
    pub committed: Value<u64>,
    /// A single large allocation, not a segment.
    pub large: bool,
}

/// One heap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heap {
    /// Its place in the process's array.
    pub index: u32,
    /// Its address.
    pub base: Va,
    /// Of the 32-bit side.
    pub wow64: bool,
    /// Its kind; absent where neither mark is there.
    pub kind: Value<HeapKind>,
    /// `HEAP_…`.
    pub flags: Value<u32>,
    /// Flags forced from outside.
    pub force_flags: Value<u32>,
    /// 0 none, 1 look-aside lists, 2 low fragmentation.
    pub front_end: Value<u8>,
    /// Bytes reserved by all blocks.
    pub reserved: Value<u64>,
    /// Bytes committed.
    pub committed: Value<u64>,
    /// Segments and large blocks.
    pub blocks: Vec<Block>,
    /// Where it stands.
    pub place: Place,
}

/// Layouts for one width of code.
#[derive(Clone, Copy, Debug)]
pub struct HeapLayouts<'k> {
    nt: &'k NtHeap,
    nt_segment: &'k NtSegment,
    nt_large: &'k NtLarge,
    segment: Option<(&'k SegmentHeap, &'k SegmentContext, &'k SegmentLarge, &'k RbTree)>,
    /// Bytes of one segment context.
    context_size: Option<u32>,
    /// Offset of the list link in `_HEAP_SEGMENT`.
    pointer: u32,
    wow64: bool,
}

impl<'k> HeapLayouts<'k> {
    /// Resolves them.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(shapes: Shapes<'k>, wow64: bool) -> Result<Self, LayoutError> {
        let get = || {
            let heap = shapes.described(wow64)?;
            Some((heap, shapes.get(wow64).ok()?, shapes.get(wow64).ok()?, shapes.get(wow64).ok()?))
        };
        let name = SegmentContext::TYPE;
        let context_size =
            if wow64 { super::narrow::narrow(shapes.types, name).size_of(name) } else { shapes.types.size_of(name) };
        Ok(Self {
            nt: shapes.get(wow64)?,
            nt_segment: shapes.get(wow64)?,
            nt_large: shapes.get(wow64)?,
            segment: get(),
            context_size,
            pointer: shapes.pointer(wow64),
            wow64,
        })
    }

    /// The heaps of one side of a process, in the order of the process's array.
    #[must_use]
    pub fn heaps(&self, space: &Space<'_>, peb: &Peb<'_>) -> (Vec<Heap>, Vec<Note>) {
        let mut notes = Vec::new();
        let (count, array) = match (peb.heap_count(), peb.heaps()) {
            (Ok(count), Ok(array)) => (count, array),
            (Err(why), _) | (_, Err(why)) => {
                notes.push(Note::loss(format!("the number of heaps is {why}")));
                return (Vec::new(), notes);
            }
        };
        let room = peb.heap_room().unwrap_or(count);
        if count > room || count > MOST_HEAPS {
            notes.push(Note::loss(format!("the process counts {count} heaps in room for {room}: not followed")));
            return (Vec::new(), notes);
        }
        let mut heaps = Vec::new();
        for index in 0..count {
            let slot = array.add(u64::from(index).saturating_mul(self.pointer.into()));
            match space.number(slot, self.pointer) {
                Ok(0) => {}
                Ok(base) => heaps.push(self.heap(space, index, Va(base), &mut notes)),
                Err(why) => {
                    notes.push(Note::loss(format!("the array of heaps at {array} is {why} from entry {index} on")));
                    break;
                }
            }
        }
        (heaps, notes)
    }

    fn heap(&self, space: &Space<'_>, index: u32, base: Va, notes: &mut Vec<Note>) -> Heap {
        let nt = space.view(self.nt, base);
        let mut heap = Heap {
            index,
            base,
            wow64: self.wow64,
            kind: Err(Absent::Implausible),
            flags: nt.flags(),
            force_flags: nt.force_flags(),
            front_end: nt.front_end(),
            reserved: Err(Absent::Implausible),
            committed: Err(Absent::Implausible),
            blocks: Vec::new(),
            place: nt.place(),
        };
        match nt.signature() {
            Ok(NT_HEAP) => self.nt_heap(space, &nt, &mut heap, notes),
            other => {
                // A segment heap's mark lies elsewhere; without its type in the symbols it cannot be told.
                let marked = self.segment.map(|(layout, ..)| space.view(layout, base));
                match marked.as_ref().map(|v| v.signature()) {
                    Some(Ok(SEGMENT_HEAP)) => self.segment_heap(space, &mut heap, notes),
                    _ => {
                        let why = match other {
                            Err(why) => why,
                            Ok(_) if self.segment.is_none() => Absent::NoSymbol,
                            Ok(_) => Absent::Implausible,
                        };
                        (heap.kind, heap.flags, heap.force_flags) = (Err(why), Err(why), Err(why));
                        (heap.front_end, heap.reserved, heap.committed) = (Err(why), Err(why), Err(why));
                    }
                }
            }
        }
        heap
    }

    fn nt_heap(
        &self,
        space: &Space<'_>,
        v: &crate::symbols::layout::View<'_, NtHeap>,
        heap: &mut Heap,
        notes: &mut Vec<Note>,
    ) {
        heap.kind = Ok(HeapKind::Nt);
        let mut complete = true;
        for address in self.segment_addresses(space, v, heap.base, notes, &mut complete) {
            let s = space.view(self.nt_segment, address);
            match (s.signature(), s.base(), s.pages(), s.uncommitted()) {
                (Ok(NT_SEGMENT), Ok(base), Ok(pages), uncommitted) => {
                    let bytes = |pages: u32| u64::from(pages).saturating_mul(PAGE_SIZE);
                    let committed = uncommitted.map(|u| bytes(pages.saturating_sub(u)));
                    heap.blocks.push(Block { base, reserved: bytes(pages), committed, large: false });
                }
                (signature, ..) => {
                    complete = false;
                    let why = signature.err().unwrap_or(Absent::Implausible);
                    notes.push(Note::loss(format!("heap {}: segment {address} is {why}", heap.base)));
                }
            }
        }
        match v.large() {
            Ok(head) => {
                let blocks = self.links(space, head, heap.base, "large blocks", notes, &mut complete);
                for address in blocks {
                    let block = space.view(self.nt_large, address);
                    match block.reserved() {
                        Ok(reserved) => {
                            // The head lies inside the block, at its first page.
                            let base = address.page();
                            heap.blocks.push(Block { base, reserved, committed: block.committed(), large: true });
                        }
                        Err(_) => complete = false,
                    }
                }
            }
            Err(_) => complete = false,
        }
        self.total(heap, complete);
    }

    /// The addresses of an NT heap's segments: a list since Vista, an array of 64 before.
    fn segment_addresses(
        &self,
        space: &Space<'_>,
        v: &crate::symbols::layout::View<'_, NtHeap>,
        heap: Va,
        notes: &mut Vec<Note>,
        complete: &mut bool,
    ) -> Vec<Va> {
        match v.segments() {
            Ok(head) => {
                let offset = self.nt_segment.field("links").map_or(0, |f| f.offset);
                self.links(space, head, heap, "segments", notes, complete)
                    .into_iter()
                    .map(|link| link.sub(offset.into()))
                    .collect()
            }
            Err(Absent::NotInBuild) => {
                let (Ok(array), Ok(field)) = (v.segment_array(), self.nt.field("segment_array")) else {
                    return Vec::new();
                };
                let slots = space.fetch(array, field.size);
                let Ok(raw) = slots.all() else {
                    *complete = false;
                    return Vec::new();
                };
                raw.chunks_exact(self.pointer as usize)
                    .filter_map(crate::bytes::le)
                    .filter(|p| *p != 0)
                    .map(Va)
                    .collect()
            }
            Err(_) => {
                *complete = false;
                Vec::new()
            }
        }
    }

    fn segment_heap(&self, space: &Space<'_>, heap: &mut Heap, notes: &mut Vec<Note>) {
        let Some((layout, context, large, tree)) = self.segment else { return };
        let v = space.view(layout, heap.base);
        heap.kind = Ok(HeapKind::Segment);
        heap.flags = v.flags();
        (heap.force_flags, heap.front_end) = (Err(Absent::NotApplicable), Err(Absent::NotApplicable));
        let mut complete = true;
        if let (Ok(contexts), Some(size)) = (v.contexts(), self.context_size) {
            for i in 0..2u64 {
                let c = space.view(context, contexts.add(i.saturating_mul(size.into())));
                let (Ok(mask), Ok(head)) = (c.mask(), c.segments()) else {
                    complete = false;
                    continue;
                };
                // The mask is sign-extended: its lowest set bit is the size of a segment.
                let bytes = 1u64.checked_shl(mask.trailing_zeros()).unwrap_or(0);
                for base in self.links(space, head, heap.base, "segments", notes, &mut complete) {
                    heap.blocks.push(Block {
                        base,
                        reserved: bytes,
                        committed: Err(Absent::NotRecorded),
                        large: false,
                    });
                }
            }
        }
        if let Ok(at) = v.large() {
            self.large_blocks(space, large, tree, at, heap, notes, &mut complete);
        }
        heap.blocks.sort_by_key(|b| (b.base, b.large));
        let bytes = |pages: Value<u64>| pages.map(|p| p.saturating_mul(PAGE_SIZE));
        (heap.reserved, heap.committed) = (bytes(v.reserved()), bytes(v.committed()));
    }

    /// The tree of a segment heap's large blocks.
    #[allow(clippy::too_many_arguments, reason = "one helper of one caller")]
    fn large_blocks(
        &self,
        space: &Space<'_>,
        large: &SegmentLarge,
        tree: &RbTree,
        at: Va,
        heap: &mut Heap,
        notes: &mut Vec<Note>,
        complete: &mut bool,
    ) {
        let t = space.view(tree, at);
        let Ok(root) = t.root() else {
            *complete = false;
            return;
        };
        // An encoded tree keeps its root and its links as the exclusive-or with where they are kept.
        let encoded = t.encoded() == Ok(1);
        let mask = if self.pointer == 4 { u64::from(u32::MAX) } else { u64::MAX };
        let decode =
            |link: Va, kept_at: Va| if encoded && !link.is_null() { Va((link.0 ^ kept_at.0) & mask) } else { link };
        let mut todo = vec![decode(root, at)];
        let mut seen = FxHashSet::default();
        while let Some(node) = todo.pop() {
            if node.is_null() {
                continue;
            }
            if !seen.insert(node) || seen.len() > MOST_BLOCKS {
                *complete = false;
                notes.push(Note::loss(format!("heap {}: the tree of large blocks loops at {node}", heap.base)));
                break;
            }
            let v = space.view(large, node);
            match (v.address(), v.pages()) {
                (Ok(address), Ok(pages)) => {
                    let bytes = pages.saturating_mul(PAGE_SIZE);
                    heap.blocks.push(Block {
                        base: Va(address & !0xffff),
                        reserved: bytes,
                        committed: Ok(bytes),
                        large: true,
                    });
                }
                _ => {
                    *complete = false;
                    notes.push(Note::loss(format!("heap {}: large block's node {node} is unreadable", heap.base)));
                    continue;
                }
            }
            todo.extend([v.right(), v.left()].into_iter().flatten().map(|link| decode(link, node)));
        }
    }

    fn total(&self, heap: &mut Heap, complete: bool) {
        if !complete {
            // A sum over what was found would be too small.
            (heap.reserved, heap.committed) = (Err(Absent::NotMapped), Err(Absent::NotMapped));
            return;
        }
        heap.reserved = Ok(heap.blocks.iter().fold(0u64, |sum, b| sum.saturating_add(b.reserved)));
        heap.committed = heap.blocks.iter().try_fold(0u64, |sum, b| Ok(sum.saturating_add(b.committed?)));
    }

    /// The links of a list, without its head.
    fn links(
        &self,
        space: &Space<'_>,
        head: Va,
        heap: Va,
        what: &str,
        notes: &mut Vec<Note>,
        complete: &mut bool,
    ) -> Vec<Va> {
        let mut out = Vec::new();
        let mut seen = FxHashSet::default();
        let mut at = head;
        loop {
            match space.number(at, self.pointer) {
                Ok(next) if next == head.0 => return out,
                Ok(next) if next != 0 && out.len() < MOST_BLOCKS && seen.insert(next) => {
                    out.push(Va(next));
                    at = Va(next);
                }
                Ok(next) => {
                    *complete = false;
                    notes.push(Note::loss(format!(
                        "heap {heap}: its list of {what} leads from {at} to {next:#x}; not followed"
                    )));
                    return out;
                }
                Err(why) => {
                    *complete = false;
                    if at != head {
                        out.pop();
                    }
                    notes.push(Note::loss(format!("heap {heap}: its list of {what} is {why} at {at}")));
                    return out;
                }
            }
        }
    }
}
