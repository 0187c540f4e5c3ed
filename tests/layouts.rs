//! Every `layout!` against every known kernel: what resolves where is written down in `layouts.expected.txt`.
//!
//! A typing error in a field would be silent, so a path that no known kernel has is an error here, unless
//! its type is of newer kernels (listed below). `DUMPWALK_BLESS=1 cargo test --test layouts` writes the file anew;
//! read the difference before you commit it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod sources;

use sources::Table;
use std::collections::BTreeSet;
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
];

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
            assert!(
                lacking.is_empty() || !line.indispensable(&d.ty),
                "{}.{}: {:?}",
                d.ty,
                line.accessor,
                names(&lacking)
            );
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
