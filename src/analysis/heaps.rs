//! `heaps`: the heaps of each process.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::heap::{Block, Heap, HeapKind, NtHeap, SegmentHeap};
use crate::kernel::peb::layout_for;
use crate::kernel::process::Process;
use crate::kernel::sides::Sides;
use crate::kernel::vad_tree::{self, Tree};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
use crate::value::{Absent, Note, Value};

/// The register's entry.
pub static HEAPS: Analysis = Analysis {
    name: "heaps",
    about: "Heaps of each process: NT heaps and segment heaps, with what they own",
    help: "One row for each heap in the PEB's array, of both bitnesses. Reserved and committed count the bytes of all segments and large blocks of \
           an NT heap; a segment heap counts its own pages. Flags that a debugger or gflags forces tell of a watched process.\n\n\
           Example: dumpwalk heaps memory.dmp --pid 1234 --format json",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

/// A heap of a process.
#[derive(Debug)]
pub struct Heaps;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// The process's own memory.
    memory: &'a Space<'a>,
    tree: &'a Tree,
    heap: &'a Heap,
    /// The PEB's array.
    array: Value<Va>,
    default: Value<bool>,
}
who::of_process!(Heaps, Of);

impl Of<'_> {
    fn count(&self, large: bool) -> Cell {
        self.heap.kind.map(|_| self.heap.blocks.iter().filter(|b| b.large == large).count() as u64).into()
    }
    fn pointer_at(&self) -> Option<Place> {
        let width: u64 = if self.heap.wow64 { 4 } else { self.memory.pointer_size().into() };
        Some(self.memory.place(self.array.ok()?.add(u64::from(self.heap.index).saturating_mul(width))))
    }
    fn in_nt(&self, field: At<NtHeap>) -> Option<Place> {
        let layout = layout_for(self.process.kernel, self.heap.wow64).ok()?;
        Some(self.memory.place(field.of(layout, self.heap.base)?))
    }
    fn either(&self, nt: At<NtHeap>, segment: At<SegmentHeap>) -> Option<Place> {
        match self.heap.kind.ok()? {
            HeapKind::Nt => self.in_nt(nt),
            HeapKind::Segment => {
                let layout = layout_for(self.process.kernel, self.heap.wow64).ok()?;
                Some(self.memory.place(segment.of(layout, self.heap.base)?))
            }
        }
    }
}

/// The columns of a heap.
pub const FIELDS: &[Field<Heaps>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    derived(col("index", Kind::Number, "Place in the process's array"), "its place in the PEB's array", |c| {
        c.heap.index.into()
    }),
    placed(col("base", Kind::Hex, "Address of the heap"), |c| c.heap.base.into(), |c| c.pointer_at()),
    placed(
        col("kind", Kind::Text, "nt or segment"),
        |c| {
            c.heap
                .kind
                .map(|kind| match kind {
                    HeapKind::Nt => "nt",
                    HeapKind::Segment => "segment",
                })
                .into()
        },
        |c| c.either(NtHeap::signature, SegmentHeap::signature),
    ),
    derived(col("default", Kind::Bool, "The process's default heap"), "base, and ProcessHeap of the PEB", |c| {
        c.default.into()
    }),
    derived(wide("wow64", Kind::Bool, "Of the 32-bit side"), "which PEB names it", |c| c.heap.wow64.into()),
    placed(
        col("flags", Kind::Texts, "HEAP_… flags without the prefix"),
        |c| c.heap.flags.map(flag_names).into(),
        |c| c.either(NtHeap::flags, SegmentHeap::flags),
    ),
    placed(
        wide("flags_value", Kind::Hex, "The flags as a number"),
        |c| Cell::hex(c.heap.flags),
        |c| c.either(NtHeap::flags, SegmentHeap::flags),
    ),
    placed(
        wide("force_flags", Kind::Hex, "Flags forced by a debugger or gflags"),
        |c| Cell::hex(c.heap.force_flags),
        |c| c.in_nt(NtHeap::force_flags),
    ),
    placed(
        wide("front_end", Kind::Text, "none, look_aside or low_fragmentation (NT heaps)"),
        |c| c.heap.front_end.and_then(front_end).into(),
        |c| c.in_nt(NtHeap::front_end),
    ),
    derived(col("segments", Kind::Number, "Segments"), "the heap's list of segments", |c| c.count(false)),
    derived(col("large_blocks", Kind::Number, "Single large allocations"), "the heap's list of large blocks", |c| {
        c.count(true)
    }),
    derived(
        col("reserved", Kind::Number, "Bytes reserved"),
        "the segments and large blocks of an NT heap, the counters of a segment heap",
        |c| c.heap.reserved.into(),
    ),
    derived(
        col("committed", Kind::Number, "Bytes committed"),
        "the segments and large blocks of an NT heap, the counters of a segment heap",
        |c| c.heap.committed.into(),
    ),
    derived(
        wide("blocks", Kind::Nested, "Each segment and large block: base, reserved, committed, large"),
        "the heap's lists of segments and large blocks",
        |c| Cell::List(c.heap.blocks.iter().map(block).collect()),
    ),
    derived(
        wide("vads", Kind::Texts, "First byte of each VAD that a part of the heap lies in"),
        "base, blocks, and the process's address ranges",
        |c| Cell::List(vads(c.tree, c.heap)),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let sides = Sides::of(kernel).map_err(|e| kernel.unreadable(&e))?;
    each_process(case, ask, sink, |space, process, sink| rows(&sides, process, space, ask, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    sides: &Sides<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    for side in sides.of_process(process, space) {
        let (heaps, notes) = match side.heaps(&memory.space) {
            Ok(found) => found,
            Err(Absent::NotApplicable) => continue,
            Err(why) => {
                tell(process, [Note::loss(format!("its heaps are {why}"))], sink);
                continue;
            }
        };
        tell(process, notes, sink);
        let peb = side.view(&memory.space);
        let (default, array) = match &peb {
            Ok(peb) => (peb.heap(), peb.heaps()),
            Err(why) => (Err(*why), Err(*why)),
        };
        for heap in &heaps {
            let default = default.map(|d| d == heap.base);
            let of = Of { process, memory: &memory.space, tree: &memory.tree, heap, array, default };
            sink.row(Row::of(FIELDS, &of, &ask.rows).at(heap.place))?;
        }
    }
    Ok(())
}

fn block(b: &Block) -> Cell {
    Cell::Object(vec![
        ("base".into(), b.base.into()),
        ("reserved".into(), b.reserved.into()),
        ("committed".into(), b.committed.into()),
        ("large".into(), b.large.into()),
    ])
}

/// The VADs that the heap itself and its parts lie in, each once, by address.
fn vads(tree: &Tree, heap: &Heap) -> Vec<Cell> {
    let places = heap.blocks.iter().map(|b| b.base).chain([heap.base]);
    let mut found: Vec<_> = places.filter_map(|va| vad_tree::find(&tree.vads, va)).map(|v| v.start).collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().map(Cell::from).collect()
}

/// `_HEAP.FrontEndHeapType`.
fn front_end(kind: u8) -> Value<&'static str> {
    match kind {
        0 => Ok("none"),
        1 => Ok("look_aside"),
        2 => Ok("low_fragmentation"),
        _ => Err(Absent::Implausible),
    }
}

/// `HEAP_…` of the Windows driver kit's `ntifs.h`.
const FLAGS: [(u32, &str); 16] = [
    (0x1, "NO_SERIALIZE"),
    (0x2, "GROWABLE"),
    (0x4, "GENERATE_EXCEPTIONS"),
    (0x8, "ZERO_MEMORY"),
    (0x10, "REALLOC_IN_PLACE_ONLY"),
    (0x20, "TAIL_CHECKING_ENABLED"),
    (0x40, "FREE_CHECKING_ENABLED"),
    (0x80, "DISABLE_COALESCE_ON_FREE"),
    (0x100, "SETTABLE_USER_VALUE"),
    (0x1_0000, "CREATE_ALIGN_16"),
    (0x2_0000, "CREATE_ENABLE_TRACING"),
    (0x4_0000, "CREATE_ENABLE_EXECUTE"),
    (0x1000_0000, "LOCK_USER_ALLOCATED"),
    (0x2000_0000, "VALIDATE_PARAMETERS_ENABLED"),
    (0x4000_0000, "VALIDATE_ALL_ENABLED"),
    (0x8000_0000, "SKIP_VALIDATION_CHECKS"),
];

fn flag_names(flags: u32) -> Vec<std::borrow::Cow<'static, str>> {
    let mut names: Vec<std::borrow::Cow<'static, str>> =
        FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| (*n).into()).collect();
    // Bits 12 to 15 are the heap's class: private, process, kernel, GDI …
    const CLASSES: [&str; 9] =
        ["", "CLASS_1", "CLASS_2", "CLASS_3", "CLASS_4", "CLASS_5", "CLASS_6", "CLASS_7", "CLASS_8"];
    if let Some(class) = CLASSES.get((flags >> 12 & 0xf) as usize).filter(|c| !c.is_empty()) {
        names.push((*class).into());
    }
    let rest = FLAGS.iter().fold(flags & !0xf000, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        names.push(format!("{rest:#x}").into());
    }
    names
}
