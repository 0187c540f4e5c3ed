//! `poolscan`: pool allocations by tag.

use super::{Analysis, Answers, Ask, Case, Subject, Switch, scans};
use crate::error::{Error, Result};
use crate::kernel::scan::find::Allocation;
use crate::kernel::scan::tags::{Kind as Scanned, Tag};
use crate::place::At;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::value::Absent;

/// The register's entry.
pub static POOLSCAN: Analysis = Analysis {
    name: "poolscan",
    about: "Pool allocations with given tags, in physical memory",
    help: "Lists every pool header with one of the tags, with and without the protected bit. Without --tag those of every kind of object \
           that the scan knows: processes, threads, drivers, modules, files, mutants, symbolic links, tokens, jobs, registry hives, network \
           endpoints. `object` is the object in the allocation where header and fields bear one out. A header may be a freed allocation's remains; allocations larger than a page and those of the \
           segment heap's small buckets have none.\n\nExample: dumpwalk poolscan memory.dmp --tag Proc,Thre",
    columns: &COLUMNS,
    switches: &[Switch { name: "tag", value: Some("TAGS"), about: "Tags, separated by commas" }],
    subject: Subject::Machine,
    answers: Answers::of_memory(run),
};

const COLUMNS: [Column; 8] = [
    col("tag", Kind::Text, "The tag, without its protected bit"),
    wide("protected", Kind::Bool, "Whether the protected bit is set (objects until Windows 7)"),
    col("offset", Kind::Hex, "Virtual address of the pool header"),
    scans::PHYSICAL,
    col("size", Kind::Number, "Bytes of the allocation by its header, the header included"),
    col("pool_type", Kind::Hex, "PoolType"),
    col("kind", Kind::Text, "What the tag stands for: process, thread, token, job, hive, network_endpoint …"),
    col("object", Kind::Hex, "Address of the object in it, where header and fields bear one out"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let tags: Vec<Tag> = match ask.value("tag") {
        Some(text) => text
            .split(',')
            .map(|t| {
                Tag::parse(t).ok_or_else(|| Error::Usage(format!("a pool tag has one to four characters, not {t:?}")))
            })
            .collect::<Result<_>>()?,
        None => Scanned::ALL.iter().flat_map(|k| k.tags()).filter_map(|t| Tag::parse(t)).collect(),
    };
    let mut notes = Vec::new();
    let scanned = kernel.scan_pool(&tags, &ask.progress, &mut notes, &mut |Allocation { pool, va, kind, object }| {
        let nothing = Cell::Absent(Absent::NotApplicable);
        let cells: [Cell; COLUMNS.len()] = [
            pool.tag.to_string().into(),
            pool.tag.is_protected().into(),
            va.map_or(Cell::Absent(Absent::NotMapped), Cell::from),
            pool.pa.into(),
            pool.size.into(),
            Cell::Hex(pool.kind),
            kind.map_or(nothing.clone(), |k| k.word().into()),
            object.map_or(nothing, |o| o.va.map_or(Cell::Absent(Absent::NotMapped), Cell::from)),
        ];
        let place =
            crate::bytes::Place { va, pa: Some(pool.pa), file: kernel.dump.file_offset(pool.pa).map(At::in_dump) };
        sink.row(Row::new(cells.into()).at(place))
    });
    notes.into_iter().for_each(|n| sink.note(n));
    scanned
}
