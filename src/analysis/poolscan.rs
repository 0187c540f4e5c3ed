//! `poolscan`: pool allocations by tag.

use super::{Analysis, Ask, Case, Switch, scans};
use crate::error::{Error, Result};
use crate::kernel::scan::tags::{Kind as Scanned, Tag};
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};

/// The register's entry.
pub static POOLSCAN: Analysis = Analysis {
    name: "poolscan",
    about: "Pool allocations with given tags, in physical memory",
    help: "Lists every pool header with one of the tags, with and without the protected bit. Without --tag those of every kind of object \
           that the other scans look for. A header may be a freed allocation's remains; allocations larger than a page and those of the \
           segment heap's small buckets have none.\n\nExample: dumpwalk poolscan memory.dmp --tag Proc,Thre",
    columns: &COLUMNS,
    switches: &[Switch { name: "tag", value: Some("TAGS"), about: "Tags, separated by commas" }],
    run,
};

const COLUMNS: [Column; 6] = [
    col("tag", Kind::Text, "The tag, without its protected bit"),
    wide("protected", Kind::Bool, "Whether the protected bit is set (objects until Windows 7)"),
    col("offset", Kind::Hex, "Virtual address of the pool header"),
    scans::PHYSICAL,
    col("size", Kind::Number, "Bytes of the allocation by its header, the header included"),
    col("pool_type", Kind::Hex, "PoolType"),
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
    let found = kernel.scan_pool(&tags, &ask.progress, &mut notes)?;
    notes.into_iter().for_each(|n| sink.note(n));
    for (pool, va) in found {
        let cells: [Cell; COLUMNS.len()] = [
            pool.tag.to_string().into(),
            pool.tag.is_protected().into(),
            va.map_or(Cell::Absent(crate::value::Absent::NotMapped), Cell::from),
            pool.pa.into(),
            pool.size.into(),
            Cell::Hex(pool.kind),
        ];
        let place = crate::bytes::Place { va, pa: Some(pool.pa), file: kernel.dump.file_offset(pool.pa) };
        sink.row(Row::new(cells.into()).at(place))?;
    }
    Ok(())
}
