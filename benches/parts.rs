//! The parts that whole runs are made of, each by itself: `cargo bench -p dumpwalk-benches`.
//!
//! `DUMPWALK_BENCH_PDB` names a PDB to be measured besides the sample's, `DUMPWALK_BENCH_DUMP` a dump to scan.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dumpwalk::addr::{Pfn, Va};
use dumpwalk::dump::Dump;
use dumpwalk::kernel::Kernel;
use dumpwalk::kernel::handle_table::HandleTables;
use dumpwalk::kernel::paged::Algorithm;
use dumpwalk::kernel::process::{EProcess, Process};
use dumpwalk::kernel::scan::sweep::{Chunk, Pattern, Wanted, sweep};
use dumpwalk::kernel::scan::tags::{Kind, Tag, TagSet};
use dumpwalk::kernel::vad_tree;
use dumpwalk::symbols::{compact, pdb};
use dumpwalk_benches::{open, root, sample};
use std::hint::black_box;
use std::path::PathBuf;

/// The sample whose kernel the parts are measured on.
const SAMPLE: &str = "win10-22h2/full.dmp";

/// One page of physical memory, by each container's lookup.
fn pages(c: &mut Criterion) {
    let mut group = c.benchmark_group("page");
    for (name, file) in [
        ("runs", "win10-22h2/full.dmp"),
        ("bitmap", "win11-24h2/bitmap.dmp"),
        ("ranges", "win10-1903/rdmp9.dmp"),
        ("summary", "win7-sp1/summary.dmp"),
        ("raw", "win10-1809-raw/raw.dd"),
    ] {
        let dump = Dump::open(&sample(file)).expect("the sample opens");
        let held: Vec<Pfn> = dump.runs().flat_map(|r| (0..r.count).map(move |i| Pfn(r.pfn.0 + i))).collect();
        // One after another in a scattered order: 7,919 is prime.
        let mut at = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                at = (at + 7_919) % held.len();
                black_box(dump.page(held[at]).map(|p| p[0]))
            });
        });
    }
    group.finish();
}

/// Virtual to physical: by a space that has not seen the page, and by one that has.
fn translation(c: &mut Criterion) {
    let case = open(&sample(SAMPLE));
    let kernel = case.kernel().expect("a kernel");
    let list = kernel.processes().expect("processes").list;
    let addresses: Vec<Va> = list.iter().filter_map(Process::offset).collect();
    let mut group = c.benchmark_group("translate");
    group.bench_function("cold", |b| {
        let mut at = 0;
        b.iter_batched(
            || kernel.space(),
            |space| {
                at = (at + 1) % addresses.len();
                let pa = space.translate(addresses[at]);
                (space, black_box(pa))
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("cached", |b| {
        let space = kernel.space();
        b.iter(|| black_box(space.translate(black_box(addresses[0]))));
    });
    group.finish();
}

/// A PDB's bytes to names and layouts, and the same from the cache's table.
fn symbols(c: &mut Criterion) {
    let mut group = c.benchmark_group("symbols");
    group.sample_size(20);
    let own = root().join("symbols/ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290B1/ntkrnlmp.pdb");
    for path in [Some(own), std::env::var_os("DUMPWALK_BENCH_PDB").map(PathBuf::from)].into_iter().flatten() {
        let bytes = std::fs::read(&path).expect("the PDB");
        let size = format!("{} KB", bytes.len() / 1000);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("pdb, {size}"), |b| {
            b.iter(|| black_box(pdb::parse(&bytes, "ntkrnlmp.pdb", "bench").is_ok()));
        });
        let table = compact::encode(&pdb::parse(&bytes, "ntkrnlmp.pdb", "bench").expect("a PDB"));
        group.bench_function(format!("cached table of the pdb, {size}"), |b| {
            b.iter(|| black_box(compact::decode(&table).is_ok()));
        });
    }
    group.finish();
}

/// A structure's fields from its bytes; a list, a tree and a table walked.
fn walks(c: &mut Criterion) {
    let case = open(&sample(SAMPLE));
    let kernel: &Kernel = case.kernel().expect("a kernel");
    let space = kernel.space();
    let list = kernel.processes().expect("processes").list;
    let explorer = list.iter().find(|p| p.name().as_deref() == Ok("explorer.exe")).expect("explorer");
    let at = explorer.offset().expect("an address");
    let mut group = c.benchmark_group("walk");
    group.bench_function("fetch and decode one _EPROCESS", |b| {
        let layout: &EProcess = kernel.layout().expect("a layout");
        b.iter(|| {
            let view = space.view(layout, black_box(at));
            black_box((view.id(), view.token(), view.links()))
        });
    });
    group.throughput(Throughput::Elements(list.len() as u64));
    group.bench_function("list of processes", |b| b.iter(|| black_box(kernel.processes().map(|p| p.list.len()).ok())));
    let layouts = vad_tree::Layouts::of(kernel).expect("layouts");
    group.throughput(Throughput::Elements(layouts.walk(&space, at).vads.len() as u64));
    group.bench_function("tree of VADs", |b| b.iter(|| black_box(layouts.walk(&space, at).vads.len())));
    let tables = HandleTables::of(kernel).expect("layouts");
    let table = explorer.view.handle_table().expect("a table");
    let count = |each: &mut dyn FnMut()| {
        for leaf in tables.leaves(&space, table).0 {
            let _ = tables.handles(&space, leaf, |_| each());
        }
    };
    let mut handles = 0;
    count(&mut || handles += 1);
    group.throughput(Throughput::Elements(handles));
    group.bench_function("table of handles", |b| {
        b.iter(|| {
            let mut n = 0u64;
            count(&mut || n += 1);
            black_box(n)
        });
    });
    group.finish();
}

/// A chunk's candidates.
fn count(chunk: &Chunk<'_>) -> usize {
    let mut n = 0;
    chunk.each(|_| n += 1);
    n
}

/// The pass over physical memory, for every kind of object.
fn scan(c: &mut Criterion) {
    let path = std::env::var_os("DUMPWALK_BENCH_DUMP").map_or_else(|| sample(SAMPLE), PathBuf::from);
    let dump = Dump::open(&path).expect("the dump opens");
    let tags = Kind::ALL.iter().flat_map(|k| k.tags()).filter_map(|t| Tag::parse(t));
    let object = |kind| Pattern { kind, wait_list: 8, pointer: 8 };
    let tags = TagSet::new(tags).expect("few tags");
    let wanted = Wanted { unit: 16, tag_offset: 4, tags, patterns: vec![object(3), object(6)] };
    let mut group = c.benchmark_group("scan");
    group.sample_size(10).throughput(Throughput::Bytes(dump.len()));
    group.bench_function("all kinds", |b| b.iter(|| black_box(sweep(&dump, &wanted, &|_| {}, &count).len())));
    group.finish();
}

/// Pages of the compressed store, as its two algorithms keep them: the sample's own pages, those that get smaller.
fn decompression(c: &mut Criterion) {
    let dump = Dump::open(&sample(SAMPLE)).expect("the sample opens");
    let held = dump.runs().flat_map(|r| (0..r.count).map(move |i| Pfn(r.pfn.0 + i)));
    let pages: Vec<&[u8]> = held.filter_map(|pfn| dump.page(pfn).map(|p| &p[..])).collect();
    let packed = |pack: &dyn Fn(&[u8]) -> Vec<u8>| -> Vec<Vec<u8>> {
        pages.iter().map(|page| pack(page)).filter(|p| p.len() < 4096).collect()
    };
    let kinds = [
        (Algorithm::Xpress, packed(&forge::memory::xpress::compress)),
        (Algorithm::Lz4, packed(&lz4_flex::block::compress)),
    ];
    let mut group = c.benchmark_group("decompress");
    group.throughput(Throughput::Bytes(4096));
    for (algorithm, pages) in kinds {
        let mut at = 0;
        group.bench_function(algorithm.name(), |b| {
            b.iter(|| {
                at = (at + 7_919) % pages.len();
                black_box(algorithm.page(&pages[at])).is_some()
            });
        });
    }
    group.finish();
}

criterion_group!(parts, pages, translation, symbols, walks, scan, decompression);
criterion_main!(parts);
