//! The forge: builds whole Windows memory dumps of which everything is known.
//!
//! ```text
//! scenario ──► plant: objects on real layouts ──► machine: pages, page tables, pools ──► container: the dump file
//!                 │                                          ▲                             (+ truth.json)
//!                 └── layout: tables of real kernels ────────┴──► pdb: the kernel's symbol file
//! ```
//!
//! It shares no structure, constant or helper with the analyzer: what both believe wrongly would never be found.
//!
//! To add a kind of object: a statement in `scenario/text.rs`, a file in `plant/`, a call in `plant::fill`.
//! To add a container: a file in `container/`, a line in `container::write`.

pub mod container;
pub mod image;
pub mod large;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod pdb;
pub mod plant;
pub mod random;
pub mod rng;
pub mod scenario;
pub mod truth;

pub use random::random;

use std::path::Path;
use std::sync::Arc;

use layout::Layouts;
use scenario::Scenario;
use truth::Json;

/// Builds a scenario: the containers it names, as (file name, bytes), and the truth.
pub fn build(s: &Scenario) -> (Vec<(String, Vec<u8>)>, Json) {
    contained(s, plant::plant(s))
}

/// The same on these layouts instead of those the scenario names.
pub fn build_on(s: &Scenario, layouts: Layouts) -> (Vec<(String, Vec<u8>)>, Json) {
    contained(s, plant::plant_on(s, &Arc::new(layouts)))
}

fn contained(s: &Scenario, planted: plant::Planted) -> (Vec<(String, Vec<u8>)>, Json) {
    let mut dumps: Vec<_> = s
        .containers
        .iter()
        .map(|kind| {
            let (extension, bytes) = container::write(kind, &planted, s);
            (format!("{kind}.{extension}"), bytes)
        })
        .collect();
    dumps.extend(planted.page_files);
    (dumps, planted.truth)
}

/// Builds a scenario into `out/<name>/`.
pub fn build_into(s: &Scenario, out: &Path) -> std::io::Result<()> {
    let folder = out.join(&s.name);
    std::fs::create_dir_all(&folder)?;
    let (dumps, truth) = build(s);
    for (name, bytes) in dumps {
        std::fs::write(folder.join(name), bytes)?;
    }
    std::fs::write(folder.join("truth.json"), format!("{truth}\n"))
}

/// Names of the files with that extension in a folder of this crate, sorted.
fn names(folder: &str, extension: &str) -> std::io::Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        out.extend(name.strip_suffix(extension).map(str::to_string));
    }
    out.sort();
    Ok(out)
}

/// Names of the scenarios that make a sample (the others are only included).
pub fn samples() -> std::io::Result<Vec<String>> {
    let all = names("scenarios", ".scn")?;
    Ok(all.into_iter().filter(|n| n.starts_with("win") || n.starts_with("server")).collect())
}

/// Names of the layout tables of kernels.
pub fn layouts() -> std::io::Result<Vec<String>> {
    let all = names("layouts", ".txt")?;
    Ok(all.into_iter().filter(|n| n.starts_with('x')).collect())
}
