//! Heaps of user mode in the PEB's list: NT heaps and segment heaps.
//!
//! Their marks are the ones that debuggers show: 0xEEFFEEFF (heap), 0xFFEEFFEE (segment), 0xDDEEDDEE (segment heap).

use std::sync::Arc;

use super::user::User;
use crate::layout::Layouts;
use crate::machine::{Machine, Obj};
use crate::memory::PAGE;
use crate::truth::Json;

/// Pages a heap reserves, and commits.
const PAGES: (u64, u64) = (16, 2);

/// What user mode looks like: the machine's own, or the 32-bit one of a 64-bit machine.
pub struct Shape {
    /// Its structures.
    pub layouts: Arc<Layouts>,
}

impl Shape {
    fn obj(&self, ty: &str) -> Obj {
        Obj::new(&self.layouts, ty)
    }
    fn words(&self, values: &[u64]) -> Vec<u8> {
        let narrow = self.layouts.pointer() == 4;
        let word = |v: &u64| if narrow { (*v as u32).to_le_bytes().to_vec() } else { v.to_le_bytes().to_vec() };
        values.iter().flat_map(word).collect()
    }
}

/// Plants them from `next` on and enters them into the PEB.
pub fn plant(m: &mut Machine, shape: &Shape, kinds: &[String], u: &mut User, peb: u64, next: &mut u64) -> Vec<Json> {
    let mut truth = Vec::new();
    let mut list = Vec::new();
    for kind in kinds {
        let base = *next;
        let ty = if kind == "segment" && shape.layouts.has("_SEGMENT_HEAP") { "_SEGMENT_HEAP" } else { "_HEAP" };
        if ty == "_HEAP" {
            heap(m, shape, u, base)
        } else {
            segment_heap(m, shape, u, base)
        }
        u.private(base, PAGES.0, PAGES.1, 4);
        truth.push(
            Json::object()
                .with("base", base)
                .with("kind", if ty == "_HEAP" { "nt" } else { "segment" })
                .with("flags", 2u64)
                .with("reserved", PAGES.0 * PAGE)
                .with("committed", PAGES.1 * PAGE),
        );
        list.push(base);
        *next += (PAGES.0 * PAGE).next_multiple_of(0x1_0000);
    }
    if list.is_empty() {
        return truth;
    }
    let array = u.alloc(shape.layouts.pointer() * 16);
    let bytes = shape.words(&list);
    u.write(m, array, &bytes);
    for (field, value) in [("ProcessHeaps", array), ("ProcessHeap", list[0])] {
        let at = peb + shape.layouts.offset("_PEB", field);
        u.write(m, at, &shape.words(&[value]));
    }
    for (field, value) in [("NumberOfHeaps", list.len() as u32), ("MaximumNumberOfHeaps", 16)] {
        let at = peb + shape.layouts.offset("_PEB", field);
        u.write(m, at, &value.to_le_bytes());
    }
    truth
}

/// A ring of list entries in user memory.
fn ring(m: &mut Machine, shape: &Shape, u: &mut User, entries: &[u64]) {
    for (i, at) in entries.iter().enumerate() {
        let (next, last) = (entries[(i + 1) % entries.len()], entries[(i + entries.len() - 1) % entries.len()]);
        let bytes = shape.words(&[next, last]);
        u.write(m, *at, &bytes);
    }
}

fn heap(m: &mut Machine, shape: &Shape, u: &mut User, base: u64) {
    let size = shape.layouts.size("_HEAP");
    let end = base + PAGES.0 * PAGE;
    let mut h = shape.obj("_HEAP");
    h.set("Signature", 0xEEFF_EEFF).set("Flags", 2).set("VirtualMemoryThreshold", 0xFF00);
    h.set("SegmentReserve", 0x10_0000).set("SegmentCommit", 0x2000);
    // The heap begins with its first segment.
    h.set("SegmentSignature", 0xFFEE_FFEE).set("Heap", base).set("BaseAddress", base).set("NumberOfPages", PAGES.0);
    h.set("FirstEntry", base + size).set("LastValidEntry", end).set("NumberOfUnCommittedPages", PAGES.0 - PAGES.1);
    h.set("NumberOfUnCommittedRanges", 1).set("TotalFreeSize", 0x80).set_opt("FrontEndHeapType", 2);
    u.write(m, base, &h.bytes);
    let at = |field: &str| base + shape.layouts.offset("_HEAP", field);
    let (list, link) = (at("SegmentList"), at("SegmentListEntry"));
    let alone = [at("VirtualAllocdBlocks"), at("FreeLists"), at("UCRSegmentList"), at("UCRList")];
    ring(m, shape, u, &[list, link]);
    for at in alone {
        ring(m, shape, u, &[at]);
    }
    u.write(m, base + PAGE, &[0]);
}

fn segment_heap(m: &mut Machine, shape: &Shape, u: &mut User, base: u64) {
    let mut h = shape.obj("_SEGMENT_HEAP");
    h.set("Signature", 0xDDEE_DDEE).set("GlobalFlags", 2);
    h.set_opt("MemStats.TotalReservedPages", PAGES.0).set_opt("MemStats.TotalCommittedPages", PAGES.1);
    u.write(m, base, &h.bytes);
    for i in 0..2 {
        if let Some(place) = shape.layouts.find("_SEGMENT_HEAP", &format!("SegContexts[{i}].SegmentListHead")) {
            ring(m, shape, u, &[base + place.offset]);
        }
    }
    u.write(m, base + PAGE, &[0]);
}
