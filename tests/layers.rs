//! Who may import whom: reads the `use crate::` lines and paths of every source file and holds them to the table in the
//! crate's documentation.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Primitives: import nothing of ours but each other.
const PRIMITIVES: &[&str] =
    &["addr", "bytes", "error", "number", "place", "progress", "regular", "time", "utf16", "value"];

/// A layer and what it may import besides primitives and itself: a whole layer, or one module of it.
const LAYERS: &[(&str, &[&str])] = &[
    ("dump", &[]),
    // A typed view is over bytes that paging fetches, and software entries are read by the kernel's types.
    ("paging", &["dump", "symbols::layout", "symbols::types"]),
    ("symbols", &[]),
    ("report", &[]),
    ("kernel", &["dump", "paging", "symbols"]),
    ("analysis", &["dump", "kernel", "paging", "report", "symbols"]),
    ("cli", &["analysis", "dump", "kernel", "paging", "report", "symbols"]),
];

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The modules a source names after `crate::`, comments and doc links left out, groups (`crate::{a, b::c}`) opened.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .map(|line| line.find("//").filter(|at| !line[..*at].contains('"')).map_or(line, |at| &line[..at]))
        .collect::<Vec<_>>()
        .join("\n");
    let mut out = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        out.insert(std::mem::take(&mut name));
                        continue;
                    }
                    _ => {}
                }
                name.push(c);
            }
            out.insert(name);
        } else {
            out.insert(rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect());
        }
    }
    let two = |n: &String| n.trim().split("::").take(2).collect::<Vec<_>>().join("::");
    out.iter().map(two).filter(|n| !n.is_empty()).collect()
}

#[test]
fn imports_are_read() {
    let seen =
        imports("use crate::{addr::{Pa, Va}, dump};\nlet x = crate::time::now(); // crate::cli\n/// [`crate::kernel`]");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["addr::{Pa, Va}", "dump", "time::now"]);
}

#[test]
fn each_layer_imports_only_what_it_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "the sources are where they were");
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let top = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs");
        if ["lib", "main"].contains(&top) {
            continue;
        }
        let allowed = match LAYERS.iter().find(|(layer, _)| *layer == top) {
            Some((_, allowed)) => *allowed,
            None if PRIMITIVES.contains(&top) => &[],
            None => panic!("{} belongs to no layer: add it to the table here and in src/lib.rs", inside.display()),
        };
        let text = std::fs::read_to_string(&file).unwrap();
        for import in imports(&text) {
            let name = import.split("::").next().unwrap_or_default().to_owned();
            let may = |allowed: &[&str]| allowed.contains(&name.as_str()) || allowed.contains(&import.as_str());
            let known = LAYERS.iter().any(|(layer, _)| *layer == name) || PRIMITIVES.contains(&name.as_str());
            // A macro or a re-export at the crate's root is nobody's layer.
            if known && name != top && !may(allowed) && !may(PRIMITIVES) {
                wrong.push(format!("{} imports crate::{import}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lib_rs_has_no_logic() {
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for line in lib.lines().filter(|l| !l.trim_start().starts_with("//") && !l.trim().is_empty()) {
        let plain = ["pub mod ", "mod ", "pub use ", "#![", "#["].iter().any(|w| line.starts_with(w));
        assert!(plain, "lib.rs: {line}");
    }
}
