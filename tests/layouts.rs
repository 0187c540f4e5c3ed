//! Every `layout!` against every known kernel: what resolves where is written down in `layouts.expected.txt`.
//!
//! A typing error in a field would be silent, so a path that no known kernel has is an error here, unless
//! its type is of newer kernels (listed below). `DUMPWALK_BLESS=1 cargo test --test layouts` writes the file anew;
//! read the difference before you commit it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod sources;

use dumpwalk::symbols::Machine;
use sources::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Types and paths that no known table has, with the reason.
const FUTURE: &[(&str, &str)] = &[
    // Sessions of Windows 11 24H2 and later: the public PDB describes neither (offsets from published structures).
    ("_EPROCESS", "SessionId"),
    ("_PSP_SESSION_SPACE", ""),
    // One declaration for the loader's two structures; only the user-mode one is spelt so.
    ("_KLDR_DATA_TABLE_ENTRY", "ObsoleteLoadCount"),
    // Registers of ARM64: tables have no context of it, and of the trap frame what is published; those a trap frame of x64 does not save.
    ("_CONTEXT", "Cpsr"),
    ("_CONTEXT", "Fp"),
    ("_CONTEXT", "Pc"),
    ("_CONTEXT", "Spsr"),
    ("_KTRAP_FRAME", "Cpsr"),
    ("_KTRAP_FRAME", "R12"),
    ("_KTRAP_FRAME", "R13"),
    ("_KTRAP_FRAME", "R14"),
    ("_KTRAP_FRAME", "R15"),
    // Kernels whose unnamed unions have no field of their own any more (`u`, `u1`, `u2` are gone): 26H1 and later.
    ("_MMVAD_SHORT", "PrivateVadFlags.Enclave"),
    ("_MMVAD_SHORT", "PrivateVadFlags.Graphics"),
    ("_MMVAD_SHORT", "PrivateVadFlags.ShadowStack"),
    ("_MMVAD_SHORT", "PrivateVadFlags.WriteWatch"),
    ("_MMVAD_SHORT", "SharedVadFlags.PrivateFixup"),
    ("_MMVAD_SHORT", "StartingVpnHigher"),
    ("_MMVAD_SHORT", "VadFlags.DeleteInProgress"),
    ("_MMVAD_SHORT", "VadFlags.NoChange"),
    ("_MMVAD_SHORT", "VadFlags.PrivateMemory"),
    ("_MMVAD_SHORT", "VadFlags.Protection"),
    ("_MMVAD_SHORT", "VadFlags.VadType"),
    ("_MMVAD_SHORT", "VadFlags1.CommitCharge"),
    ("_MMVAD_SHORT", "VadFlags1.MemCommit"),
    ("_SUBSECTION", "SubsectionFlags.Protection"),
    ("_SUBSECTION", "SubsectionFlags.SectorEndOffset"),
];

/// Computed tables whose source leaves out where the process's id is: they serve for other structures.
const INCOMPLETE: [&str; 2] = ["arm64-10.0.16299.15", "arm64-10.0.17134.1"];

/// The kernels of `all` that lack something, in words: those of a stretch by its ends, or `all but` those that have it.
fn kernels_in_words(lacking: &[&str], all: &[&str]) -> String {
    if lacking.is_empty() {
        return "none".into();
    }
    if lacking.len() == all.len() {
        return "all".into();
    }
    let lacks: Vec<bool> = all.iter().map(|n| lacking.contains(n)).collect();
    let (lacking, having) = (stretches(&lacks, all), stretches(&lacks.iter().map(|l| !l).collect::<Vec<_>>(), all));
    if lacking.len() <= having.len() { lacking.join(" ") } else { format!("all but {}", having.join(" ")) }
}

fn names<'t>(tables: &[&'t Table]) -> Vec<&'t str> {
    tables.iter().map(|t| t.name.as_str()).collect()
}

/// `first..last` of every stretch that is set.
fn stretches(set: &[bool], all: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < set.len() {
        let end = (at..set.len()).find(|i| !set[*i]).unwrap_or(set.len());
        match end - at {
            0 => {}
            1 => out.push(all[at].to_owned()),
            _ => out.push(format!("{}..{}", all[at], all[end - 1])),
        }
        at = end.max(at + 1);
    }
    out
}

#[test]
fn what_resolves_where_is_as_written_down() {
    let tables = sources::tables();
    if tables.is_empty() {
        return;
    }
    let declared = sources::layouts();
    assert!(declared.len() > 30, "the sources are not read right: {}", declared.len());
    let mut out = String::from(
        "# Which layout resolves on which known kernel. Made by: DUMPWALK_BLESS=1 cargo test --test layouts\n\
         # layout <name> <type>: the kernels that lack the type; then its fields that some kernel with the type lacks.\n\
         # a..b: all from a to b, in the order of processor and version; of a field, of those that have the type.\n\
         # Variants (reduced when some types were not named yet) count only for the types that they have.\n\
         # A field that a kernel lacks is absent there; an indispensable one (src/symbols/indispensable.rs) is lacked by none.\n",
    );
    let mut nowhere = BTreeSet::new();
    let mut sorted = declared.clone();
    sorted.sort_by_key(|d| (d.ty.clone(), d.name.clone(), d.file.clone()));
    for d in &sorted {
        let has = |t: &&Table| t.symbols.types.get(&d.ty).is_some();
        let with: Vec<&Table> = tables.iter().filter(has).collect();
        let whole: Vec<&Table> = tables.iter().filter(|t| t.whole).collect();
        let without: Vec<&Table> = whole.iter().copied().filter(|t| !has(t)).collect();
        let lack = kernels_in_words(&names(&without), &names(&whole));
        writeln!(
            out,
            "layout {} {}{}",
            d.name,
            d.ty,
            if without.is_empty() { String::new() } else { format!(": {lack}") }
        )
        .unwrap();
        if with.is_empty() {
            nowhere.insert((d.ty.clone(), String::new()));
        }
        for line in &d.lines {
            for path in &line.paths {
                if !with.is_empty() && !with.iter().any(|t| t.symbols.types.member(&d.ty, path).is_some()) {
                    nowhere.insert((d.ty.clone(), path.clone()));
                }
            }
            let lacking: Vec<&Table> = with
                .iter()
                .copied()
                .filter(|t| !line.paths.iter().any(|p| t.symbols.types.member(&d.ty, p).is_some()))
                .collect();
            let incomplete = lacking.iter().all(|t| INCOMPLETE.contains(&t.name.as_str()));
            assert!(incomplete || !line.indispensable(&d.ty), "{}.{}: {:?}", d.ty, line.accessor, names(&lacking));
            if !lacking.is_empty() {
                writeln!(out, " {}: {}", line.accessor, kernels_in_words(&names(&lacking), &names(&with))).unwrap();
            }
        }
    }
    let future: BTreeSet<_> = FUTURE.iter().map(|(t, p)| ((*t).to_owned(), (*p).to_owned())).collect();
    assert_eq!(nowhere, future, "paths that no known kernel has");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layouts.expected.txt");
    if std::env::var_os("DUMPWALK_BLESS").is_some() {
        std::fs::write(&file, &out).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let changed: Vec<&str> = out.lines().filter(|l| !expected.lines().any(|e| e == *l)).collect();
    assert!(out == expected, "not as written down; new lines:\n{}", changed.join("\n"));
}

/// Every bit a layout reads, it reads as the same kind of thing everywhere: the sizes of a path differ by pointer
/// width only where its type does.
#[test]
fn the_sources_are_read_right() {
    let declared = sources::layouts();
    let process = declared.iter().find(|d| d.ty == "_EPROCESS" && d.lines.len() > 10).unwrap();
    let pid = process.lines.iter().find(|l| l.paths.iter().any(|p| p == "UniqueProcessId")).unwrap();
    assert!(pid.indispensable("_EPROCESS") && pid.paths.len() == 1, "{pid:?}");
    assert!(process.lines.iter().any(|l| !l.indispensable("_EPROCESS") && l.paths.len() > 1));
    assert!(declared.iter().all(|d| d.lines.iter().all(|l| l.paths.iter().all(|p| !p.is_empty()))));
}

/// `find/doubts.rs` has every structure that an update moves within one build, of those members that a `layout!` reads: one that the
/// dump's own revision may have elsewhere, and that is not listed, would be read wrongly without a word.
#[test]
fn what_updates_move_is_doubted() {
    let tables = sources::tables();
    if tables.is_empty() {
        return;
    }
    let build = |t: &Table| -> Option<(Option<Machine>, String, String)> {
        let version = t.symbols.version.as_deref()?;
        let build = version.rsplit_once('.')?.0;
        // The service packs of Server 2003 share the number of a build, not its kernel.
        let packs = build.starts_with("5.2.");
        let suffix = if t.suffix == "-pae" { t.suffix.clone() } else { String::new() };
        (!packs).then(|| (t.symbols.machine, build.to_owned(), suffix))
    };
    let declared = sources::layouts();
    let read: BTreeSet<(String, String)> = declared
        .iter()
        .flat_map(|d| d.lines.iter().flat_map(|l| &l.paths).map(|p| (d.ty.clone(), p.clone())))
        .collect();
    let mut moved: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (i, a) in tables.iter().enumerate() {
        for b in tables[..i].iter().filter(|b| build(b).is_some() && build(b) == build(a)) {
            for (ty, path) in &read {
                let (mut ty, [a, b]) = (ty.clone(), [a, b].map(|t| &t.symbols.types));
                for name in path.split('.') {
                    // What a table of few types lacks says nothing.
                    let (Some(x), Some(y)) = (a.get(&ty), b.get(&ty)) else { break };
                    let [x, y] = [x, y].map(|t| t.members.get(name));
                    // A flag that only one has a name for was not in use.
                    let flag = x.xor(y).is_some_and(|m| m.bits.is_some());
                    if !flag && x.map(|m| (m.offset, m.bits)) != y.map(|m| (m.offset, m.bits)) {
                        moved.entry(ty.clone()).or_default().insert(name.to_owned());
                    }
                    match x.or(y) {
                        Some(member) => ty = member.ty.to_string(),
                        None => break,
                    }
                }
            }
        }
    }
    assert!(moved.contains_key("_EPROCESS") && moved.contains_key("_MMSUPPORT"), "{moved:?}");
    let listed = dumpwalk::kernel::find::MOVED_BY_UPDATES;
    moved.retain(|ty, _| !listed.contains(&ty.as_str()));
    assert!(moved.is_empty(), "moved within a build and not in MOVED_BY_UPDATES: {moved:?}");
}
