//! `poolscan`: pool allocations by tag.

use super::{Analysis, Answers, Ask, Case, Subject, Switch, Takes, scans};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::kernel::scan::find::Allocation;
use crate::kernel::scan::object::PoolHeader;
use crate::kernel::scan::tags::{Kind as Scanned, Tag};
use crate::place::At;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout;
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
    switches: &[Switch {
        name: "tag",
        value: Some(Takes::list("TAGS", |text| tag(text).map(drop))),
        about: "Tags, separated by commas",
    }],
    subject: Subject::Machine,
    answers: Answers::of_memory(run),
};

/// An allocation that the scan met.
struct Allocations;
struct Of<'a> {
    kernel: &'a Kernel,
    allocation: &'a Allocation,
}
impl crate::report::Subject for Allocations {
    type Of<'a> = Of<'a>;
}

impl Of<'_> {
    fn place(&self) -> Place {
        let Allocation { pool, va, .. } = self.allocation;
        Place { va: *va, pa: Some(pool.pa), file: self.kernel.dump.file_offset(pool.pa).map(At::in_dump) }
    }
    fn at(&self, field: layout::At<PoolHeader>) -> Option<Place> {
        let offset = field.of(self.kernel.layout().ok()?, Va(0))?.0;
        Some(self.place().offset_by(offset))
    }
}

const FIELDS: &[Field<Allocations>] = &[
    placed(
        col("tag", Kind::Text, "The tag, without its protected bit"),
        |c| c.allocation.pool.tag.to_string().into(),
        |c| c.at(PoolHeader::tag),
    ),
    placed(
        wide("protected", Kind::Bool, "Whether the protected bit is set (objects until Windows 7)"),
        |c| c.allocation.pool.tag.is_protected().into(),
        |c| c.at(PoolHeader::tag),
    ),
    derived(
        col("offset", Kind::Hex, "Virtual address of the pool header"),
        "the address that maps where the scan met it",
        |c| c.allocation.va.map_or(Cell::Absent(Absent::NotMapped), Cell::from),
    ),
    derived(scans::PHYSICAL, "where the scan met it: it is the row's own place", |c| c.allocation.pool.pa.into()),
    placed(
        col("size", Kind::Number, "Bytes of the allocation by its header, the header included"),
        |c| c.allocation.pool.size.into(),
        |c| c.at(PoolHeader::block_size),
    ),
    placed(
        col("pool_type", Kind::Hex, "PoolType"),
        |c| Cell::Hex(c.allocation.pool.kind),
        |c| c.at(PoolHeader::pool_type),
    ),
    derived(
        col("kind", Kind::Text, "What the tag stands for: process, thread, token, job, hive, network_endpoint …"),
        "tag",
        |c| c.allocation.kind.map_or_else(Cell::default, |k| k.word().into()),
    ),
    derived(
        col("object", Kind::Hex, "Address of the object in it, where header and fields bear one out"),
        "the sizes of the headers before it",
        |c| {
            c.allocation
                .object
                .as_ref()
                .map_or_else(Cell::default, |o| o.va.map_or(Cell::Absent(Absent::NotMapped), Cell::from))
        },
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn tag(text: &str) -> std::result::Result<Tag, String> {
    Tag::parse(text).ok_or_else(|| format!("a pool tag has one to four characters, not {text:?}"))
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let tags: Vec<Tag> = if ask.has("tag") {
        ask.values("tag").map(tag).collect::<std::result::Result<_, _>>().map_err(Error::Usage)?
    } else {
        Scanned::ALL.iter().flat_map(|k| k.tags()).filter_map(|t| Tag::parse(t)).collect()
    };
    let mut notes = Vec::new();
    let scanned = kernel.scan_pool(&tags, &ask.progress, &mut notes, &mut |allocation| {
        let of = Of { kernel, allocation: &allocation };
        sink.row(Row::of(FIELDS, &of, &ask.rows).at(of.place()))
    });
    notes.into_iter().for_each(|n| sink.note(n));
    scanned
}
