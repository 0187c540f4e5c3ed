//! Symbol sources against each other: the same kernel read from a PDB, a table and an ISF file is the same.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use dumpwalk::symbols::types::{Enum, Member, Type};
use dumpwalk::symbols::{Symbols, isf, pdb, table};
use std::path::{Path, PathBuf};

/// The folder of shared test data, where there is one.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let named = std::env::var_os("DUMPWALK_SHARED").map(PathBuf::from);
    let found = [Some(beside), named].into_iter().flatten().find(|p| p.is_dir());
    if found.is_none() {
        println!("skipped: no shared test data");
    }
    found
}

fn layout_table(shared: &Path, name: &str) -> Symbols {
    let path = shared.join("layouts").join(name);
    table::parse(&std::fs::read_to_string(&path).unwrap(), name).unwrap()
}

/// The sample PDBs, by GUID and age.
fn sample_pdb(shared: &Path, key: &str) -> Symbols {
    let name = if key == "E64C442BAADFEED33AD6670D0E5C22A11" { "ntkrpamp.pdb" } else { "ntkrnlmp.pdb" };
    pdb::read(&shared.join("samples/symbols").join(name).join(key).join(name)).unwrap()
}

/// What differs between two types of one name: `None` when nothing does. Not `exact`: the members' type names aside.
fn difference(name: &str, a: &Type, b: &Type, exact: bool) -> Option<String> {
    if (a.size, a.is_union) != (b.size, b.is_union) {
        return Some(format!("{name}: {:#x} {} and {:#x} {}", a.size, a.is_union, b.size, b.is_union));
    }
    for field in a.members.keys().chain(b.members.keys()) {
        let (x, y) = (a.members.get(field), b.members.get(field));
        let place = |m: Option<&Member>| m.map(|m| (m.offset, m.size, m.bits));
        if place(x) != place(y) || exact && x != y {
            return Some(format!("{name}.{field}: {x:?} and {y:?}"));
        }
    }
    None
}

fn sorted(e: &Enum) -> Vec<(i64, &str)> {
    let mut names: Vec<_> = e.names.iter().map(|(v, n)| (*v, n.as_ref())).collect();
    names.sort_unstable();
    names
}

/// Every type, enumeration and symbol of the table is in the PDB, the same.
fn equal(pdb: &Symbols, table: &Symbols, exact: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, want) in &table.types.types {
        match pdb.types.get(name) {
            None => wrong.push(format!("{name}: not in the PDB")),
            Some(got) => wrong.extend(difference(name, got, want, exact)),
        }
    }
    for (name, want) in &table.types.enums {
        match pdb.types.enums.get(name) {
            Some(got) if got.size == want.size && sorted(got) == sorted(want) => {}
            got => wrong.push(format!("enum {name}: {got:?} and {want:?}")),
        }
    }
    for (name, rva) in table.globals.iter() {
        if pdb.rva(name) != Some(rva) {
            wrong.push(format!("symbol {name}: {:x?} and {rva:x}", pdb.rva(name)));
        }
    }
    wrong
}

#[test]
fn a_pdb_equals_the_table_of_the_same_kernel() {
    let Some(shared) = shared() else { return };
    for (key, name) in [
        ("339E74133576439CBCDF7E0229DA37731", "x64-6.1.7601.24540.txt"),
        ("2038699598EB2734C05212AC2B364BDC1", "x64-10.0.26100.txt"),
        ("E64C442BAADFEED33AD6670D0E5C22A11", "x86-10.0.10240.16384.txt"),
    ] {
        let (pdb, table) = (sample_pdb(&shared, key), layout_table(&shared, name));
        assert_eq!(pdb.id.as_ref().unwrap().key(), key);
        assert!(pdb.notes.is_empty(), "{:?}", pdb.notes);
        assert_eq!(pdb.machine, table.machine);
        if let Some(id) = &table.id {
            assert_eq!(pdb.id.as_ref(), Some(id));
        }
        // The PDBs without a real identity were made from the table and simplify types it only names.
        let wrong = equal(&pdb, &table, table.id.is_some());
        assert!(wrong.is_empty(), "{name}: {} differ\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
        assert!(pdb.types.types.len() > 700 && pdb.globals.len() > 2900, "{key}");
    }
}

#[test]
fn a_volatility_symbol_file_equals_the_table_of_the_same_kernel() {
    let Some(shared) = shared() else { return };
    let isf = isf::read(&shared.join("real/symbols/5278AFF86C341677D7D7835C85B7B844-1.json.xz")).unwrap();
    assert!(isf.notes.is_empty(), "{:?}", isf.notes);
    let table = layout_table(&shared, "x64-10.0.19041.804.txt");
    assert_eq!((&isf.id, isf.machine), (&table.id, table.machine));
    let wrong = equal(&isf, &table, true);
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
    assert!(isf.globals.len() > 30_000);
}
