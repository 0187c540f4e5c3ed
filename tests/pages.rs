//! Pages in every state: what the page tables say of planted pages equals what was planted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use dumpwalk::addr::{Pa, Va};
use dumpwalk::dump::{Dump, Kind};
use dumpwalk::kernel::{Kernel, find};
use dumpwalk::paging::{Fault, Space, Via};
use dumpwalk::symbols::store::{Options, Store};
use serde_json::Value;
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
