//! `heaps`: the heaps of each process.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::heap::{Block, Heap, HeapKind};
use crate::kernel::process::Process;
use crate::kernel::sides::Sides;
use crate::kernel::vad_tree::{self, Tree};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

/// The columns of a heap.
pub const COLUMNS: [Column; 18] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("index", Kind::Number, "Place in the process's array"),
    col("base", Kind::Hex, "Address of the heap"),
    col("kind", Kind::Text, "nt or segment"),
    col("default", Kind::Bool, "The process's default heap"),
    wide("wow64", Kind::Bool, "Of the 32-bit side"),
    col("flags", Kind::Texts, "HEAP_… flags without the prefix"),
    wide("flags_value", Kind::Hex, "The flags as a number"),
    wide("force_flags", Kind::Hex, "Flags forced by a debugger or gflags"),
    wide("front_end", Kind::Text, "none, look_aside or low_fragmentation (NT heaps)"),
    col("segments", Kind::Number, "Segments"),
    col("large_blocks", Kind::Number, "Single large allocations"),
    col("reserved", Kind::Number, "Bytes reserved"),
    col("committed", Kind::Number, "Bytes committed"),
    wide("blocks", Kind::Nested, "Each segment and large block: base, reserved, committed, large"),
    wide("vads", Kind::Texts, "First byte of each VAD that a part of the heap lies in"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let sides = Sides::of(kernel).map_err(|e| kernel.unreadable(&e))?;
    each_process(case, ask, sink, |space, process, sink| rows(&sides, process, space, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(sides: &Sides<'k>, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> Result<()> {
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
        let default = side.view(&memory.space).and_then(|peb| peb.heap());
        for heap in &heaps {
            sink.row(row(process, &memory.tree, heap, default.map(|d| d == heap.base)))?;
        }
    }
    Ok(())
}

fn row(process: &Process<'_>, tree: &Tree, heap: &Heap, default: Value<bool>) -> Row {
    let [pid, name] = who::cells(process);
    let count = |large: bool| -> Cell {
        heap.kind.map(|_| heap.blocks.iter().filter(|b| b.large == large).count() as u64).into()
    };
    let hex = |v: Value<u32>| v.map_or_else(Cell::Absent, |v| Cell::Hex(v.into()));
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        who::address(process),
        heap.index.into(),
        heap.base.into(),
        heap.kind
            .map(|k| match k {
                HeapKind::Nt => "nt",
                HeapKind::Segment => "segment",
            })
            .into(),
        default.into(),
        heap.wow64.into(),
        heap.flags.map(flag_names).into(),
        hex(heap.flags),
        hex(heap.force_flags),
        heap.front_end.and_then(front_end).into(),
        count(false),
        count(true),
        heap.reserved.into(),
        heap.committed.into(),
        Cell::List(heap.blocks.iter().map(block).collect()),
        Cell::List(vads(tree, heap)),
    ];
    Row::new(cells.into()).at(heap.place)
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
