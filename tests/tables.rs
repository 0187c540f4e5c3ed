//! The built-in tables are made from the full ones here, and held current.
//!
//! `DUMPWALK_BLESS=1 cargo test --test tables` writes `symbols/tables/layouts.txt` anew, after a new `layout!` or a
//! new full table.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod sources;

use dumpwalk::symbols::types::Types;
use dumpwalk::symbols::{Symbols, builtin};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("symbols/tables/layouts.txt")
}

/// The structure or enumeration of a member's type, where it is embedded by value.
fn embedded(ty: &str) -> &str {
    match ty.find('[') {
        Some(at) if ty.ends_with(']') => &ty[..at],
        _ => ty,
    }
}

/// The types that are named, and all they embed.
fn reached(types: &Types, named: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<String> = named.iter().filter(|n| exists(types, n)).cloned().collect();
    while let Some(name) = waiting.pop() {
        if let Some(t) = types.get(&name) {
            let inside = t.members.values().map(|m| embedded(&m.ty)).filter(|n| exists(types, n));
            waiting.extend(inside.filter(|n| !found.contains(*n)).map(str::to_owned));
        }
        found.insert(name);
    }
    found
}

fn exists(types: &Types, name: &str) -> bool {
    types.get(name).is_some() || types.enums.contains_key(name)
}

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A number for each of several kernels, as `abc=10 d=18`.
#[derive(Default, Clone)]
struct ByKernel(BTreeMap<usize, u32>);

impl ByKernel {
    fn text(&self) -> String {
        let mut groups: Vec<(u32, String)> = Vec::new();
        for (kernel, number) in &self.0 {
            let letter = LETTERS[*kernel] as char;
            match groups.iter_mut().find(|(n, _)| n == number) {
                Some((_, letters)) => letters.push(letter),
                None => groups.push((*number, letter.into())),
            }
        }
        groups.iter().map(|(n, letters)| format!(" {letters}={n:x}")).collect()
    }
    fn newest(&self) -> u32 {
        *self.0.values().next_back().unwrap()
    }
}

fn made(kernels: &[(String, Symbols)]) -> String {
    let named = sources::quoted();
    let mut out = String::from(
        "# Layouts of Windows kernels, reduced to the structures dumpwalk names and all they embed: src/symbols/builtin.rs.\n\
         # Facts from the public PDBs of these kernels, by way of Volatility symbol files of JPCERTCC/Windows-Symbol-Tables\n\
         # (BSD-3-Clause), headers of novafacing/vergilius-rs (Apache-2.0) and structures of Rickebo/ntoskrnlib (MIT).\n\
         # Made by: DUMPWALK_BLESS=1 cargo test --test tables\n",
    );
    type Members = BTreeMap<(String, String, u32), ByKernel>;
    let mut structures: BTreeMap<(String, bool), (ByKernel, Members)> = BTreeMap::new();
    let mut enums: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut symbols: BTreeMap<String, ByKernel> = BTreeMap::new();
    for (i, (_, s)) in kernels.iter().enumerate() {
        let letter = LETTERS[i] as char;
        let (name, key) = match &s.id {
            Some(id) => (id.name.clone(), format!("{}+{}", id.guid, id.age)),
            None => ("-".into(), "-".into()),
        };
        let (machine, version) = (s.machine.unwrap().word(), s.version.as_ref().unwrap());
        writeln!(out, "kernel {letter} {machine} {version} {name} {key}").unwrap();
        for name in reached(&s.types, &named) {
            if let Some(t) = s.types.get(&name) {
                let (sizes, members) = structures.entry((name.clone(), t.is_union)).or_default();
                sizes.0.insert(i, t.size);
                for (field, m) in &t.members {
                    let bits = m.bits.map_or(String::new(), |(at, len)| format!(":{at},{len}"));
                    let ty = format!("{}{bits}", m.ty.replace(' ', "%20"));
                    members.entry((field.to_string(), ty, m.size)).or_default().0.insert(i, m.offset);
                }
            }
            if let Some(e) = s.types.enums.get(name.as_str()) {
                let mut text = format!("{name} {:x}", e.size);
                for (value, name) in &e.names {
                    write!(text, " {name}={value}").unwrap();
                }
                enums.entry((name.clone(), text)).or_default().push(letter);
            }
        }
        // Globals hold for one kernel only, so they come where its identity is known.
        for (name, rva) in s.globals.iter().filter(|(name, _)| s.id.is_some() && named.contains(*name)) {
            symbols.entry(name.into()).or_default().0.insert(i, rva);
        }
    }
    for ((name, is_union), (sizes, members)) in &structures {
        let word = if *is_union { "union" } else { "struct" };
        writeln!(out, "{word} {}{}", name.replace(' ', "%20"), sizes.text()).unwrap();
        let mut members: Vec<_> = members.iter().collect();
        members.sort_by_key(|((field, ty, size), offsets)| (offsets.newest(), (*field).clone(), (*ty).clone(), *size));
        for ((field, ty, size), offsets) in members {
            writeln!(out, " {field} {ty} {size:x}{}", offsets.text()).unwrap();
        }
    }
    for ((_, text), letters) in &enums {
        writeln!(out, "enum {letters} {text}").unwrap();
    }
    for (name, rvas) in &symbols {
        writeln!(out, "symbol {name}{}", rvas.text()).unwrap();
    }
    out
}

#[test]
fn the_built_in_tables_are_current() {
    let kernels = sources::kernels();
    if kernels.is_empty() {
        return;
    }
    let text = made(&kernels);
    if std::env::var_os("DUMPWALK_BLESS").is_some() {
        std::fs::write(file(), &text).unwrap();
    }
    let current = std::fs::read_to_string(file()).unwrap();
    assert!(
        text == current,
        "symbols/tables/layouts.txt is not what the sources ask for: DUMPWALK_BLESS=1 cargo test --test tables"
    );
}

/// What is compiled in gives back, for every kernel, what its full table says of every type that is named.
#[test]
fn the_built_in_tables_say_what_the_full_ones_say() {
    let kernels = sources::kernels();
    if kernels.is_empty() {
        return;
    }
    let named = sources::quoted();
    let known = builtin::known();
    assert_eq!(known.len(), kernels.len());
    for (known, (name, full)) in known.iter().zip(&kernels) {
        let reduced = known.load(true);
        assert_eq!((reduced.machine, &reduced.version, &reduced.id), (full.machine, &full.version, &full.id), "{name}");
        let wanted = reached(&full.types, &named);
        assert!(wanted.contains("_EPROCESS") && wanted.contains("_LIST_ENTRY"), "{name}");
        for ty in &wanted {
            assert_eq!(reduced.types.get(ty), full.types.get(ty), "{name} {ty}");
            assert_eq!(reduced.types.enums.get(ty.as_str()), full.types.enums.get(ty.as_str()), "{name} {ty}");
        }
        for (global, rva) in full.globals.iter().filter(|(g, _)| full.id.is_some() && named.contains(*g)) {
            assert_eq!(reduced.rva(global), Some(rva), "{name} {global}");
        }
    }
}

#[test]
fn the_built_in_tables_are_small() {
    assert!(std::fs::metadata(file()).unwrap().len() < 1 << 20);
}
