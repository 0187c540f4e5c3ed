//! What the sources ask of a kernel, read from their text: every `layout!` and every name in quotes.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use dumpwalk::symbols::types::Types;
use dumpwalk::symbols::{Machine, PdbId, Symbols, table};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folder of shared test data, where there is one.
pub fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let named = std::env::var_os("DUMPWALK_SHARED").map(PathBuf::from);
    let found = [Some(beside), named].into_iter().flatten().find(|p| p.is_dir());
    if found.is_none() {
        println!("skipped: no shared test data (set DUMPWALK_SHARED)");
    }
    found
}

/// A table of a real kernel, as the shared data has it.
pub struct Table {
    /// File name without extension, that of a variant with `-variant`.
    pub name: String,
    /// What it says.
    pub symbols: Symbols,
    /// What it was made from, as `kernels.txt` says it.
    pub basis: &'static str,
    /// Behind the version: `-pae`, `-first`, or nothing.
    pub suffix: String,
    /// All types, not only those that dumpwalk named when it was made.
    pub whole: bool,
    /// The table it was computed from.
    from: Option<String>,
}

/// Tables of a few members only.
const PARTIAL: &str = "-partial";

/// All tables of real kernels, sorted by processor, version and what follows it; variants behind whole ones.
pub fn tables() -> Vec<Table> {
    let mut found: Vec<Table> = files().into_iter().filter(|t| t.suffix != PARTIAL).collect();
    mend(&mut found);
    let x64: BTreeMap<String, Types> = found.iter().map(|t| (t.name.clone(), t.symbols.types.clone())).collect();
    for table in found.iter_mut().filter(|t| t.symbols.machine == Some(Machine::Arm64)) {
        align_handle_table(table);
        entry_of_handle_table(table, &x64);
    }
    let version = |t: &Table| -> Vec<u32> {
        t.symbols.version.as_deref().unwrap().split('.').map(|p| p.parse().unwrap()).collect()
    };
    // Before 8, kernels of 32 bits come with and without PAE: those with, behind.
    found.sort_by_key(|t| {
        (t.symbols.machine, t.suffix == "-pae", version(t), t.suffix.is_empty(), !t.whole, t.name.clone())
    });
    found
}

/// Tables of kernels with PAE were computed from those without. Whoever did so laid out again what holds an entry of page tables, but
/// also `_SLIST_HEADER`, which has eight bytes on every x86 kernel, and what holds one: the stated table of 7601.24000, a kernel
/// with PAE, has it and `_KPRCB` as kernels without (23418) do. So what holds no entry is as without PAE where a list header explains
/// the difference, and left out where nothing does; and the table computed from that of 7601.24000, which had PAE, is left out.
fn mend(tables: &mut Vec<Table>) {
    let without: BTreeMap<String, Types> =
        tables.iter().filter(|t| t.whole).map(|t| (t.name.clone(), t.symbols.types.clone())).collect();
    let from = |t: &Table| t.from.as_ref().filter(|_| t.suffix == "-pae").and_then(|name| without.get(name));
    tables.retain(|t| from(t).is_none_or(|types| types.size_of("_MMPTE") == Some(4)));
    for table in tables.iter_mut() {
        let Some(types) = from(table) else { continue };
        let names: Vec<Box<str>> = table.symbols.types.types.keys().cloned().collect();
        for name in names {
            let Some(theirs) = types.get(&name) else { continue };
            if table.symbols.types.get(&name) == Some(theirs) || holds(types, &name, &["_MMPTE", "_HARDWARE_PTE"]) {
                continue;
            }
            table.symbols.types.types.remove(&name);
            if holds(types, &name, &["_SLIST_HEADER"]) {
                table.symbols.types.types.insert(name, theirs.clone());
            }
        }
    }
}

/// Tables of ARM64 were computed from those of x64, and `_HANDLE_TABLE` was left as it is there. Its lists of free handles begin a cache
/// line, which has 128 bytes on ARM64: in a real dump of 22000 the table that System names has its zeros up to 0x80, the first free
/// handle at 0x88, the last at 0x90 and the count of handles at 0x98, and takes 0x100 bytes of pool.
fn align_handle_table(table: &mut Table) {
    const LINE: u32 = 0x80;
    let types = &mut table.symbols.types.types;
    let Some(list) = types.get_mut("_HANDLE_TABLE_FREE_LIST") else { return };
    let old = std::mem::replace(&mut list.size, LINE);
    let whole = types.get_mut("_HANDLE_TABLE").unwrap();
    let from = whole.members["FreeLists"].offset;
    let moved = from.next_multiple_of(LINE) - from;
    for member in whole.members.values_mut().filter(|m| m.offset >= from) {
        member.offset += moved;
        if member.size == old {
            member.size = LINE;
        }
    }
    whole.size = from + moved + LINE;
}

/// Whoever computed the tables of ARM64 laid `_HANDLE_TABLE_ENTRY` out anew as a union of single members, of 8 bytes; it is one of two
/// structures of 16, with nothing that could differ on ARM64. In the same dump `NextHandleNeedingPool` is 0x5400: 21 pages of entries of
/// 16 bytes, and no whole number of pages of entries of 8. So it is the x64 kernel's.
fn entry_of_handle_table(table: &mut Table, x64: &BTreeMap<String, Types>) {
    const ENTRY: &str = "_HANDLE_TABLE_ENTRY";
    let from = table.from.as_deref().unwrap();
    let name = from.strip_prefix("variants/").map_or_else(|| from.to_owned(), |name| format!("{name}-variant"));
    let sibling = &x64[&name];
    table.symbols.types.types.insert(ENTRY.into(), sibling.get(ENTRY).unwrap().clone());
}

/// Whether a type is, or holds by value, one of these.
fn holds(types: &Types, name: &str, what: &[&str]) -> bool {
    let member = |ty: &str| ty.split('[').next().is_some_and(|ty| !ty.starts_with('*') && holds(types, ty, what));
    what.contains(&name) || types.get(name).is_some_and(|t| t.members.values().any(|m| member(&m.ty)))
}

/// The tables that state a few members only.
pub fn partial() -> Vec<Table> {
    files().into_iter().filter(|t| t.suffix == PARTIAL).collect()
}

fn files() -> Vec<Table> {
    let Some(shared) = shared() else { return Vec::new() };
    let mut found = Vec::new();
    for (folder, whole) in [("layouts", true), ("layouts-more", true), ("layouts-variants", false)] {
        for entry in std::fs::read_dir(shared.join(folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            if path.extension().is_some_and(|e| e == "txt") && text.starts_with("# kernel ") {
                let symbols = table::parse(&text, &name).unwrap();
                let suffix = name.splitn(3, '-').nth(2).map_or(String::new(), |s| format!("-{s}"));
                let name = if whole { name } else { format!("{name}-variant") };
                let from =
                    text.split("# computed from ").nth(1).and_then(|f| f.split(".txt").next()).map(str::to_owned);
                found.push(Table { name, symbols, basis: basis(&text), suffix, whole, from });
            }
        }
    }
    found
}

/// What the head of a table says that it was made from.
fn basis(text: &str) -> &'static str {
    let head: Vec<&str> = text.lines().take_while(|l| l.starts_with("# ")).collect();
    let says = |what: &str| head.iter().any(|l| l.starts_with("# ") && l.contains(what));
    if head.iter().any(|l| l.starts_with("# computed")) {
        "computed"
    } else if says("symbol file (ISF)") {
        "pdb"
    } else if says("vergilius-rs") {
        "headers"
    } else if says("_vtypes.py") {
        "stated"
    } else {
        "structures"
    }
}

/// The whole tables of real kernels, by name.
pub fn kernels() -> Vec<(String, Symbols)> {
    tables().into_iter().filter(|t| t.whole).map(|t| (t.name, t.symbols)).collect()
}

/// Version, identity and layout (a variant's name) of every kernel whose layout was looked at.
pub fn looked_at() -> Vec<(String, PdbId, String)> {
    let Some(shared) = shared() else { return Vec::new() };
    let text = std::fs::read_to_string(shared.join("layouts-variants/kernels.tsv")).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split('\t').map(str::to_owned);
        let (version, key, layout) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let (guid, age) = key.split_once('+').unwrap();
        let id = PdbId { name: "ntkrnlmp.pdb".into(), guid: guid.into(), age: age.parse().unwrap() };
        (version, id, format!("{layout}-variant"))
    };
    text.lines().skip(1).map(line).collect()
}

/// The text of every source file, by path from `src`, sorted.
pub fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, out: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push((path.display().to_string().replace('\\', "/"), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut out = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut out);
    out.sort();
    out
}

/// Every word that stands in quotes anywhere in the sources.
pub fn quoted() -> BTreeSet<String> {
    let word = |s: &&str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || "_.:<>,*".contains(c);
        s.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && s.chars().all(inside)
    };
    sources().iter().flat_map(|(_, text)| text.split('"').filter(word).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// One line of a `layout!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub accessor: String,
    pub paths: Vec<String>,
}

impl Line {
    /// Whether a kernel must have it, of a layout of this type.
    pub fn indispensable(&self, ty: &str) -> bool {
        dumpwalk::symbols::indispensable::ALL.iter().any(|n| n.ty == ty && self.paths.iter().any(|p| p == n.field))
    }
}

/// One `layout!`.
#[derive(Clone, Debug)]
pub struct Declared {
    pub file: String,
    pub name: String,
    pub ty: String,
    pub lines: Vec<Line>,
}

/// Every `layout!` of the sources, those of unit tests aside.
pub fn layouts() -> Vec<Declared> {
    let mut out = Vec::new();
    for (file, text) in sources() {
        // Unit tests stand at the end of a file, in a module of their own, or in a file of their own.
        if file.ends_with("tests.rs") || file.ends_with("testing.rs") {
            continue;
        }
        let code: Vec<&str> = text
            .lines()
            .take_while(|l| !l.starts_with("#[cfg(test)]"))
            .filter(|l| !l.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n");
        for part in code.split("layout! {").skip(1) {
            let (head, body) = part.split_once('{').unwrap();
            let Some((name, ty)) = head.rsplit_once(':') else { continue };
            let name = name.split_whitespace().last().unwrap().to_owned();
            let ty = ty.trim().trim_matches('"').to_owned();
            let body = body.split_once('}').unwrap().0;
            // A path that the macro is given (`$sp`) is not followed.
            let lines = body.split(",\n").map(str::trim).filter(|l| !l.is_empty() && !l.contains('$'));
            let lines: Vec<Line> = lines.map(line).collect();
            let file = file.rsplit_once("/src/").unwrap().1.to_owned();
            if ty.starts_with('$') {
                // A layout inside of a macro: the macro's uses name the types.
                for (name, ty) in uses_of_macro_around(&code, part) {
                    out.push(Declared { file: file.clone(), name, ty, lines: lines.clone() });
                }
            } else {
                out.push(Declared { file, name, ty, lines });
            }
        }
    }
    out
}

/// `Name: "TYPE"` of every use of the macro that `part` lies in.
fn uses_of_macro_around(code: &str, part: &str) -> Vec<(String, String)> {
    let at = code.find(part).unwrap();
    let (_, name) = code[..at].rsplit_once("macro_rules! ").unwrap();
    let name = name.split_whitespace().next().unwrap();
    let beginning = format!("{name}! {{");
    let uses = code.split(&beginning).skip(1).map(|u| {
        let (name, rest) = u.split_once('}').unwrap().0.split_once(':').unwrap();
        (name.trim().to_owned(), rest.split('"').nth(1).unwrap().to_owned())
    });
    uses.collect()
}

/// `pid: u64 = "A.B" | "C"`.
fn line(text: &str) -> Line {
    let (accessor, rest) = text.split_once(':').unwrap_or_else(|| panic!("no layout line: {text}"));
    let (_, paths) = rest.split_once('=').unwrap_or_else(|| panic!("no layout line: {text}"));
    let paths = paths.split('|').map(|p| p.trim().trim_end_matches(',').trim_matches('"').to_owned()).collect();
    Line { accessor: accessor.trim().into(), paths }
}
