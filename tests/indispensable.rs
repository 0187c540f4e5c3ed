//! What nothing is read without is in every kernel there is a table of, spelt so: those of `../shared`, where it is there, and the
//! forge's. Tables that were reduced to what this program asks for are held to it too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sources;

use dumpwalk::symbols::{indispensable, table};
use std::path::{Path, PathBuf};

/// Computed tables in which no source says where the field lies.
const UNKNOWN: [&str; 2] =
    ["arm64-10.0.16299.15: _EPROCESS.UniqueProcessId", "arm64-10.0.17134.1: _EPROCESS.UniqueProcessId"];

/// The tables in a folder.
fn tables(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "txt")).collect()
}

#[test]
fn every_kernel_has_what_nothing_is_read_without() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/forge/layouts")];
    folders.extend(
        sources::shared()
            .into_iter()
            .flat_map(|shared| ["layouts", "layouts-variants", "layouts-more"].map(|folder| shared.join(folder))),
    );
    let (mut kernels, mut lacking) = (0, Vec::new());
    for folder in folders {
        let mut here = 0;
        for path in tables(&folder) {
            let text = std::fs::read_to_string(&path).unwrap();
            if !text.starts_with("# kernel ") {
                continue;
            }
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let types = table::parse(&text, &name).unwrap().types;
            // The debugger block's own layout, and lists of single members.
            if types.get("_KPROCESS").is_none() || name.ends_with("-partial") {
                continue;
            }
            here += 1;
            for need in indispensable::ALL {
                if types.member(need.ty, need.field).is_none() {
                    lacking.push(format!("{name}: {}.{}", need.ty, need.field));
                }
            }
        }
        println!("{}: {here} kernels", folder.file_name().unwrap().to_string_lossy());
        kernels += here;
    }
    assert!(kernels > 20, "{kernels} kernels");
    lacking.retain(|field| !UNKNOWN.contains(&field.as_str()));
    assert!(lacking.is_empty(), "{} fields are lacking:\n{}", lacking.len(), lacking.join("\n"));
}

/// The list names only what a `layout!` asks for, once.
#[test]
fn every_indispensable_field_is_asked_for() {
    let declared = sources::layouts();
    for need in indispensable::ALL {
        let asked =
            |d: &&sources::Declared| d.ty == need.ty && d.lines.iter().any(|l| l.paths.iter().any(|p| p == need.field));
        assert!(declared.iter().any(|d| asked(&d)), "{}.{}", need.ty, need.field);
        assert_eq!(indispensable::ALL.iter().filter(|n| n.field == need.field).count(), 1, "{}", need.field);
        assert!(need.why.split(' ').count() > 2, "{}: no reason", need.field);
    }
}
