//! Pages in every state: what the page tables say of planted pages equals what was planted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use dumpwalk::addr::{Pa, Va};
use dumpwalk::dump::{Dump, Kind};
use dumpwalk::kernel::{Kernel, find};
use dumpwalk::paging::{Fault, Space, Via};
use dumpwalk::symbols::store::{Options, Store};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// One planted page.
fn check(space: &Space<'_>, page: &Value, what: &str) {
    let va = Va(page["va"].as_u64().unwrap());
    let pa = page["pa"].as_u64().or_else(|| Some(page["pfn"].as_u64()? * 4096)).map(Pa);
    let offset = page["offset"].as_u64();
    let found = space.walk(va);
    let what = format!("{what} {va}: {found:?}");
    match page["kind"].as_str().unwrap() {
        "transition" => {
            let mapping = found.as_ref().unwrap_or_else(|_| panic!("{what}"));
            assert_eq!((Some(mapping.pa), mapping.via), (pa, Via::Transition), "{what}");
        }
        "prototype" => {
            let mapping = found.as_ref().unwrap_or_else(|_| panic!("{what}"));
            assert_eq!(Some(mapping.pa), pa, "{what}");
            assert_eq!(mapping.via, Via::Prototype(Va(page["prototype"].as_u64().unwrap())), "{what}");
        }
        "zero" | "demandzero" => assert_eq!(found, Err(Fault::DemandZero), "{what}"),
        "pagefile" => match found {
            Err(Fault::PageFile { number: Some(n), offset: at }) => {
                assert_eq!(Some(at), offset, "{what}");
                assert!(page["file"].as_u64().is_none_or(|f| f == u64::from(n)), "{what}");
            }
            _ => panic!("{what}"),
        },
        // Which page file is the store is a global that not every sample has.
        "compressed" => match found {
            Err(Fault::Compressed { offset: at, .. } | Fault::PageFile { number: Some(2), offset: at }) => {
                assert_eq!(Some(at), offset, "{what}");
            }
            _ => panic!("{what}"),
        },
        other => panic!("{what}: planted as {other}"),
    }
    if let Some(first) = page["first8"].as_u64() {
        assert_eq!(space.number(va, 8), Ok(first), "{what}");
    }
}

fn opened(dump: &std::path::Path, store: &std::path::Path) -> Option<Kernel> {
    let dump = Arc::new(Dump::open(dump).unwrap());
    let memory = !matches!(dump.kind, Kind::Triage | Kind::Summary | Kind::UserMinidump);
    let options = Options { folders: vec![store.into()], offline: true, ..Options::default() };
    memory.then(|| find::find(&dump, &Store::new(options)).unwrap())
}

#[test]
fn planted_pages_are_told() {
    let mut samples = program::shared_samples();
    samples.extend(program::own_samples());
    let mut pages = 0;
    for sample in &samples {
        for dump in &sample.dumps {
            let Some(k) = opened(dump, &sample.store) else { continue };
            // Kernel dumps have the page tables of user space, not its pages.
            let whole = !matches!(k.dump.kind, Kind::BitmapKernel | Kind::RangeKernel);
            for process in sample.truth["processes"].as_array().unwrap() {
                let Some(root) = process["dtb"].as_u64() else { continue };
                let space = k.space_of(Pa(root));
                let what = format!("{} {} {}", sample.name, dump.file_name().unwrap().display(), process["name"]);
                for page in process["paging"].as_array().into_iter().flatten() {
                    pages += 1;
                    let mut page = page.clone();
                    if !whole {
                        page["first8"] = Value::Null;
                    }
                    check(&space, &page, &what);
                }
                for page in process["proto_ptes"].as_array().into_iter().flatten() {
                    pages += 1;
                    let va = Va(page["va"].as_u64().unwrap());
                    let mapping = space.walk(va).unwrap_or_else(|f| panic!("{what} {va}: {f:?}"));
                    assert_eq!(mapping.pa, Pa(page["pfn"].as_u64().unwrap() * 4096), "{what} {va}");
                    assert!(matches!(mapping.via, Via::Prototype(_)), "{what} {va}: {mapping:?}");
                }
            }
            for page in sample.truth["large_pages"].as_array().into_iter().flatten() {
                let va = Va(page["va"].as_u64().unwrap());
                let mapping = k.space().walk(va).unwrap_or_else(|f| panic!("{} {va}: {f:?}", sample.name));
                assert_eq!(Some(mapping.pa.0), page["pa"].as_u64(), "{} {va}", sample.name);
                assert_eq!(Some(mapping.size), page["size"].as_u64(), "{} {va}", sample.name);
                if k.dump.page(mapping.pa.pfn()).is_some() {
                    assert_eq!(k.space().number(va, 8).ok(), page["first8"].as_u64(), "{} {va}", sample.name);
                }
                pages += 1;
            }
        }
    }
    println!("{pages} pages");
    assert!(samples.is_empty() || pages > 0);
}

/// The rows of `workingset`, offline; with one row for each range of one process if asked.
fn workingset(dump: &Path, store: &Path, ranges_of: Option<u64>) -> Vec<Value> {
    let mut args = vec!["workingset".to_owned(), dump.display().to_string()];
    args.extend(["--offline", "--format", "json", "--symbols"].map(str::to_owned));
    args.push(store.display().to_string());
    if let Some(pid) = ranges_of {
        args.extend(["--vads".to_owned(), "--pid".to_owned(), pid.to_string()]);
    }
    let ran = program::dumpwalk(&args);
    assert!(matches!(ran.code, 0 | 4), "{}: {}", dump.display(), ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Counted range by range, a process has as many shared, own and locked pages as counted at once; a range of private memory shares none,
/// a mapped file has none of its own.
#[test]
fn the_ranges_of_a_working_set_add_up() {
    let (mut seen, mut images) = (0, 0);
    for sample in program::own_samples().iter().filter(|s| !s.truth["working_sets"].is_null()) {
        let Some(dump) = sample.dumps.iter().find(|d| d.file_name().is_some_and(|n| n == "full.dmp")) else { continue };
        for whole in workingset(dump, &sample.store, None).iter().filter(|r| r["shared"] != 0) {
            let pid = whole["pid"].as_u64().unwrap();
            let ranges = workingset(dump, &sample.store, Some(pid));
            for column in ["shared", "unshared", "locked"] {
                let sum: u64 = ranges.iter().map(|r| r[column].as_u64().unwrap()).sum();
                assert_eq!(Some(sum), whole[column].as_u64(), "{} {pid} {column}", sample.name);
            }
            for r in &ranges {
                let none = if r["type"] == "private" { "shared" } else { "unshared" };
                assert_eq!(r[none], 0, "{} {pid}: {r}", sample.name);
                images += u64::from(r["type"] == "image" && r["shared"].as_u64() > Some(0));
            }
            seen += 1;
        }
    }
    assert!(seen > 0 && images > 0, "no sample with a database of page frames: {seen} {images}");
}

/// A page that a process maps and the database calls free: who owns it cannot be told, and neither can the sums it would belong to.
#[test]
fn a_page_the_database_calls_free_is_no_count() {
    let samples = program::own_samples();
    let sample = samples.iter().find(|s| s.name == "win10-22h2").unwrap();
    let dump = sample.dumps.iter().find(|d| d.file_name().is_some_and(|n| n == "full.dmp")).unwrap();
    let kernel = opened(dump, &sample.store).unwrap();
    let (space, size) = (kernel.space(), kernel.symbols.types.size_of("_MMPFN").unwrap());
    let process = sample.truth["processes"].as_array().unwrap().iter().find(|p| p["name"] == "lsass.exe").unwrap();
    let of_process = kernel.space_of(Pa(process["dtb"].as_u64().unwrap()));
    // The page of the PEB is the process's own.
    let page = of_process.walk(Va(process["peb"].as_u64().unwrap())).unwrap().pa.pfn();
    let database = space.pointer(kernel.global("MmPfnDatabase").unwrap()).unwrap();
    let entry = database.add(page.0 * u64::from(size));
    let at = usize::try_from(space.fetch(entry, size).place(0).file.and_then(|at| at.dump_offset()).unwrap()).unwrap();
    let mut bytes = std::fs::read(dump).unwrap();
    assert!(bytes[at..at + size as usize].iter().any(|b| *b != 0));
    bytes[at..at + size as usize].fill(0);
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("changed.dmp");
    std::fs::write(&changed, bytes).unwrap();
    let (before, after) = (workingset(dump, &sample.store, None), workingset(&changed, &sample.store, None));
    assert_eq!(before.len(), after.len());
    for (was, is) in before.iter().zip(&after) {
        if is["pid"] == process["pid"] {
            for column in ["shared", "unshared", "locked"] {
                assert!(was[column].is_u64() && is[column].is_null(), "{column}: {} {}", was[column], is[column]);
            }
            assert_eq!(was["valid"], is["valid"], "what the page tables say needs no database");
        } else {
            assert_eq!(was, is);
        }
    }
}
