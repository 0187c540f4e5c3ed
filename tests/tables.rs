//! The built-in tables are made from the full ones here, and held current.
//!
//! `DUMPWALK_BLESS=1 cargo test --test tables` writes `symbols/tables/` anew, after a new `layout!` or a new full table;
//! then build and run it again, since what is compiled in is compared too.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod sources;

use dumpwalk::symbols::globals::Globals;
use dumpwalk::symbols::types::{Enum, Types};
use dumpwalk::symbols::{Machine, PdbId, Symbols, builtin};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sources::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

const MACHINES: [Machine; 3] = [Machine::X86, Machine::X64, Machine::Arm64];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("symbols/tables")
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

/// The files of `symbols/tables/`, by name.
type Files = BTreeMap<String, String>;

/// A kernel as `kernels.txt` names it.
struct Kernel {
    version: String,
    id: Option<PdbId>,
    has_globals: bool,
}

/// A distinct layout: what is kept of one table, and of all that are the same in it.
struct Layout {
    machine: Machine,
    key: String,
    basis: &'static str,
    symbols: Symbols,
    kernels: Vec<Kernel>,
}

/// What is kept of a table: the types that are named, and all they hold. Names of one enumeration that differ in
/// nothing but their order are taken from the table that has them first.
fn kept(table: &Symbols, named: &BTreeSet<String>, enums: &mut Vec<(String, Enum)>) -> Symbols {
    let mut out = Symbols { globals: Globals::default(), origin: String::new(), ..table.clone() };
    let wanted = reached(&table.types, named);
    out.types.types.retain(|name, _| wanted.contains(name.as_ref()));
    out.types.enums.retain(|name, _| wanted.contains(name.as_ref()));
    for (name, e) in &mut out.types.enums {
        match enums.iter().find(|(n, known)| *n == **name && same_enum(known, e)) {
            Some((_, known)) => *e = known.clone(),
            None => enums.push((name.to_string(), e.clone())),
        }
    }
    out
}

fn same_enum(a: &Enum, b: &Enum) -> bool {
    let sorted = |e: &Enum| e.names.iter().cloned().collect::<BTreeSet<_>>();
    a.size == b.size && a.names.len() == b.names.len() && sorted(a) == sorted(b)
}

fn version_of(text: &str) -> Vec<u32> {
    text.split('.').map(|p| p.parse().unwrap()).collect()
}

/// Build and revision, and what follows: `17763.437`, `26100-first`.
fn key(table: &Table) -> String {
    let version = table.symbols.version.as_deref().unwrap();
    format!("{}{}", version.splitn(3, '.').nth(2).unwrap(), table.suffix)
}

/// The distinct layouts of all tables, in order, each with all its kernels.
fn layouts(tables: &[Table], looked_at: &[(String, PdbId, String)]) -> Vec<Layout> {
    let named = sources::quoted();
    let mut enums = Vec::new();
    let mut out: Vec<Layout> = Vec::new();
    for table in tables {
        let symbols = kept(&table.symbols, &named, &mut enums);
        let machine = symbols.machine.unwrap();
        let mut kernels: Vec<Kernel> = looked_at
            .iter()
            .filter(|(_, _, variant)| *variant == table.name)
            .map(|(version, id, _)| Kernel { version: version.clone(), id: Some(id.clone()), has_globals: false })
            .collect();
        let has_globals = table.symbols.id.is_some() && !table.symbols.globals.is_empty();
        let (version, id) = (symbols.version.clone().unwrap(), symbols.id.clone());
        kernels.push(Kernel { version, id, has_globals });
        let twin = out.iter_mut().find(|l| l.machine == machine && l.symbols.types == symbols.types);
        match twin {
            Some(twin) => twin.kernels.extend(kernels),
            None => {
                out.push(Layout { machine, key: key(table), basis: table.basis, symbols, kernels });
            }
        }
    }
    // A kernel is named once: where its own table is, else where it was looked at.
    let own: BTreeSet<(String, u32)> = out
        .iter()
        .flat_map(|l| l.kernels.iter().filter(|k| k.has_globals))
        .filter_map(|k| k.id.as_ref().map(|id| (id.guid.clone(), id.age)))
        .collect();
    let mut seen = BTreeSet::new();
    for layout in &mut out {
        layout.kernels.sort_by_key(|k| (version_of(&k.version), !k.has_globals));
        layout.kernels.retain(|k| {
            let Some(id) = &k.id else { return true };
            let id = (id.guid.clone(), id.age);
            (k.has_globals || !own.contains(&id)) && seen.insert(id)
        });
        layout.kernels.dedup_by(|b, a| a.version == b.version && b.id.is_none());
    }
    // Of a variant that only its own kernel's whole table had, nothing is left.
    out.retain(|l| !l.kernels.is_empty());
    // A variant is called by a kernel whose whole table may be another layout: then by the latest of the others.
    let mut keys = BTreeSet::new();
    for layout in &mut out {
        if !keys.insert((layout.machine, layout.key.clone())) {
            let latest = &layout.kernels.last().unwrap().version;
            layout.key = latest.splitn(3, '.').nth(2).unwrap().to_owned();
            assert!(keys.insert((layout.machine, layout.key.clone())), "two layouts are called {}", layout.key);
        }
    }
    out
}

/// Numbers of the layouts of one processor, in order: what holds from which on.
struct Runs<'a> {
    keys: &'a [&'a str],
    text: String,
    held: Option<u32>,
}

impl<'a> Runs<'a> {
    /// `None` in `numbers`: whatever holds may hold on.
    fn of(keys: &'a [&'a str], numbers: &[Option<Option<u32>>]) -> String {
        let mut runs = Self { keys, text: String::new(), held: None };
        for (at, number) in numbers.iter().enumerate() {
            if let Some(number) = number {
                runs.set(at, *number);
            }
        }
        runs.text
    }
    fn set(&mut self, at: usize, number: Option<u32>) {
        if self.held == number {
            return;
        }
        self.held = number;
        let number = number.map_or("-".into(), |n| format!("{n:x}"));
        write!(self.text, " {}={number}", self.keys[at]).unwrap();
    }
}

const HEAD: &str = "\
# Layouts of Windows kernels, reduced to the structures dumpwalk names and all they hold: src/symbols/builtin/mod.rs says how to
# read this, and what it was made from. Made by: DUMPWALK_BLESS=1 cargo test --test tables
";

fn kernels_text(layouts: &[Layout]) -> String {
    let mut out = HEAD.to_owned();
    for l in layouts {
        writeln!(out, "layout {} {} {}", l.machine.word(), l.key, l.basis).unwrap();
        for k in &l.kernels {
            let (name, key) = match &k.id {
                Some(id) => (id.name.as_str(), format!("{}+{}", id.guid, id.age)),
                None => ("-", "-".into()),
            };
            let globals = if k.has_globals { " globals" } else { "" };
            writeln!(out, " {} {name} {key}{globals}", k.version).unwrap();
        }
    }
    out
}

fn processor_text(layouts: &[&Layout], tables: &[Table]) -> String {
    let mut out = HEAD.to_owned();
    let keys: Vec<&str> = layouts.iter().map(|l| l.key.as_str()).collect();
    type Members = BTreeMap<(String, String, u32), BTreeMap<usize, u32>>;
    let mut structures: BTreeMap<(String, bool), (BTreeMap<usize, u32>, Members)> = BTreeMap::new();
    let mut enums: BTreeMap<(String, String), BTreeSet<usize>> = BTreeMap::new();
    for (i, l) in layouts.iter().enumerate() {
        for (name, t) in &l.symbols.types.types {
            let (sizes, members) = structures.entry((name.to_string(), t.is_union)).or_default();
            sizes.insert(i, t.size);
            for (field, m) in &t.members {
                let bits = m.bits.map_or(String::new(), |(at, len)| format!(":{at},{len}"));
                let ty = format!("{}{bits}", m.ty.replace(' ', "%20"));
                members.entry((field.to_string(), ty, m.size)).or_default().insert(i, m.offset);
            }
        }
        for (name, e) in &l.symbols.types.enums {
            let names: String = e.names.iter().map(|(value, name)| format!(" {name}={value}")).collect();
            enums.entry((name.to_string(), format!("{:x}\n{names}", e.size))).or_default().insert(i);
        }
    }
    for ((name, is_union), (sizes, members)) in &structures {
        let word = if *is_union { "union" } else { "struct" };
        let all: Vec<_> = (0..keys.len()).map(|i| Some(sizes.get(&i).copied())).collect();
        writeln!(out, "{word} {}{}", name.replace(' ', "%20"), Runs::of(&keys, &all)).unwrap();
        let newest = |offsets: &BTreeMap<usize, u32>| *offsets.values().next_back().unwrap();
        let mut members: Vec<_> = members.iter().collect();
        members.sort_by_key(|((field, ty, size), offsets)| (newest(offsets), field.clone(), ty.clone(), *size));
        for ((field, ty, size), offsets) in members {
            // Where the structure is not, nothing is asked of its members.
            let all: Vec<_> =
                (0..keys.len()).map(|i| sizes.contains_key(&i).then(|| offsets.get(&i).copied())).collect();
            writeln!(out, " {field} {ty} {size:x}{}", Runs::of(&keys, &all)).unwrap();
        }
    }
    for ((name, text), has) in &enums {
        let (size, names) = text.split_once('\n').unwrap();
        let all: Vec<_> = (0..keys.len()).map(|i| Some(has.contains(&i).then_some(1))).collect();
        writeln!(out, "enum {name} {size}{} :{names}", Runs::of(&keys, &all)).unwrap();
    }
    // Globals hold for one kernel only, so they come where its identity is known.
    let named = sources::quoted();
    let mut symbols: BTreeMap<String, String> = BTreeMap::new();
    for t in tables.iter().filter(|t| t.symbols.id.is_some() && t.symbols.machine == Some(layouts[0].machine)) {
        for (name, rva) in t.symbols.globals.iter().filter(|(name, _)| named.contains(*name)) {
            let version = t.symbols.version.as_deref().unwrap();
            write!(symbols.entry(name.into()).or_default(), " {version}={rva:x}").unwrap();
        }
    }
    for (name, rvas) in &symbols {
        writeln!(out, "symbol {name}{rvas}").unwrap();
    }
    out
}

fn made(tables: &[Table]) -> Files {
    let layouts = layouts(tables, &sources::looked_at());
    let mut files = Files::from([("kernels.txt".to_owned(), kernels_text(&layouts))]);
    for machine in MACHINES {
        let of_machine: Vec<&Layout> = layouts.iter().filter(|l| l.machine == machine).collect();
        files.insert(format!("{}.txt", machine.word()), processor_text(&of_machine, tables));
    }
    files
}

fn packed(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

fn unpacked(name: &str) -> String {
    let mut text = String::new();
    GzDecoder::new(&std::fs::read(folder().join(name)).unwrap()[..]).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_built_in_tables_are_current() {
    let tables = sources::tables();
    if tables.is_empty() {
        return;
    }
    let files = made(&tables);
    for (name, text) in &files {
        let path = folder().join(name);
        if std::env::var_os("DUMPWALK_BLESS").is_some() && std::fs::read_to_string(&path).ok().as_ref() != Some(text) {
            std::fs::write(&path, text).unwrap();
            if name != "kernels.txt" {
                std::fs::write(folder().join(format!("{name}.gz")), packed(text)).unwrap();
            }
        }
        assert!(
            std::fs::read_to_string(path).is_ok_and(|current| current == *text),
            "symbols/tables/{name} is not what the sources ask for: DUMPWALK_BLESS=1 cargo test --test tables"
        );
    }
}

/// What is compiled in is what stands there to be read.
#[test]
fn the_packed_tables_are_the_readable_ones() {
    for machine in MACHINES {
        let name = format!("{}.txt", machine.word());
        let text = std::fs::read_to_string(folder().join(&name)).unwrap();
        assert!(unpacked(&format!("{name}.gz")) == text, "{name}.gz: DUMPWALK_BLESS=1 cargo test --test tables");
    }
}

/// What is compiled in gives back, for every table, what it says of every type that is named; and for every kernel
/// that was looked at, its own layout.
#[test]
fn the_built_in_tables_say_what_the_full_ones_say() {
    let tables = sources::tables();
    if tables.is_empty() {
        return;
    }
    let named = sources::quoted();
    let looked_at = sources::looked_at();
    let (mut whole, mut by_id) = (0, 0);
    for table in &tables {
        let full = &table.symbols;
        let wanted = reached(&full.types, &named);
        assert!(wanted.contains("_EPROCESS") && wanted.contains("_LIST_ENTRY"), "{}", table.name);
        let check = |built_in: &Symbols, who: &str| {
            assert_eq!(built_in.machine, full.machine, "{who}");
            assert_eq!(built_in.types.pointer_size, full.types.pointer_size, "{who}");
            for ty in &wanted {
                assert_eq!(built_in.types.get(ty), full.types.get(ty), "{who} {ty}");
                let (a, b) = (built_in.types.enums.get(ty.as_str()), full.types.enums.get(ty.as_str()));
                assert!(a == b || a.zip(b).is_some_and(|(a, b)| same_enum(a, b)), "{who} {ty}");
            }
        };
        // The layout of this table: that of a kernel of its version (and kind) with all its types and no other's.
        let same = |k: &&builtin::Known| {
            Some(k.machine) == full.machine && Some(&k.version) == full.version.as_ref() && {
                let s = k.load(false);
                wanted.iter().all(|ty| s.types.get(ty) == full.types.get(ty))
                    && (s.types.types.len(), s.types.enums.len()) == sizes(&wanted, &full.types)
            }
        };
        if table.whole {
            let known = builtin::known().iter().find(same).unwrap_or_else(|| panic!("{} is not built in", table.name));
            check(&known.load(false), &table.name);
            whole += 1;
        }
        if let Some(id) = full.id.as_ref().filter(|_| table.whole) {
            let exact = builtin::exact(id).unwrap();
            check(&exact, &table.name);
            assert_eq!((&exact.version, &exact.id), (&full.version, &full.id), "{}", table.name);
            for (global, rva) in full.globals.iter().filter(|(g, _)| named.contains(*g)) {
                assert_eq!(exact.rva(global), Some(rva), "{} {global}", table.name);
            }
        }
        for (version, id, _) in looked_at.iter().filter(|(_, _, variant)| *variant == table.name) {
            let exact = builtin::exact(id).unwrap_or_else(|| panic!("{version} is not built in"));
            assert_eq!((exact.version.as_ref(), exact.id.as_ref()), (Some(version), Some(id)));
            check(&exact, version);
            // Globals are those of its own whole table, never another kernel's.
            let own = tables.iter().find(|t| t.whole && t.symbols.id.as_ref() == Some(id));
            assert_eq!(exact.globals.is_empty(), own.is_none(), "{version}");
            by_id += 1;
        }
    }
    println!("{whole} whole tables, {by_id} kernels by their PDB's identity");
    assert_eq!((by_id, whole), (looked_at.len(), tables.iter().filter(|t| t.whole).count()));
}

fn sizes(wanted: &BTreeSet<String>, types: &Types) -> (usize, usize) {
    let structures = wanted.iter().filter(|n| types.get(n).is_some()).count();
    (structures, wanted.iter().filter(|n| types.enums.contains_key(n.as_str())).count())
}

/// What is published of build 28000 says nothing that the layout of 26100 does not say: so it is not built in.
#[test]
fn the_partial_tables_agree_with_the_build_before() {
    let partial = sources::partial();
    let tables = sources::tables();
    for p in &partial {
        let machine = p.symbols.machine;
        let before = tables.iter().find(|t| t.symbols.machine == machine && t.name.ends_with("-10.0.26100")).unwrap();
        let mut members = 0;
        for (name, ty) in &p.symbols.types.types {
            for (field, member) in &ty.members {
                let theirs = before.symbols.types.member(name, field).unwrap_or_else(|| panic!("{name}.{field}"));
                assert_eq!((theirs.offset, theirs.bits), (member.offset, member.bits), "{} {name}.{field}", p.name);
                members += 1;
            }
        }
        assert!(members >= 30, "{}: {members}", p.name);
    }
}

#[test]
fn the_built_in_tables_are_small() {
    let packed = MACHINES.map(|m| format!("{}.txt.gz", m.word()));
    let size = |name: &str| std::fs::metadata(folder().join(name)).unwrap().len();
    let all = packed.iter().map(|n| size(n)).sum::<u64>() + size("kernels.txt");
    println!("{all} bytes compiled in");
    assert!(all < 1 << 20);
}
