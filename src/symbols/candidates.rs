//! Every kernel's symbol file in a folder, whatever build it is of: for dumps that do not name their PDB.

use super::cache::entries;
use super::{KERNEL_PDBS, Machine, file, pdb};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Files of a folder that are listed. A lab's store of all kernels has some thousands.
const LISTED: usize = 8192;
/// Endings of symbol files.
const ENDINGS: [&str; 6] = [".pdb", ".pd_", ".json", ".json.xz", ".json.gz", ".sym"];

/// Symbol files of kernels in a folder (or the file itself): in it, in a symbol store's `name/KEY/file` with one tier or
/// two, in a Volatility pack's `windows/name/file`. Sorted; what a link leads to counts once.
pub(super) fn files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_path_buf()];
    }
    let mut out = BTreeSet::new();
    let mut take = |paths: Vec<PathBuf>| {
        for path in paths {
            if out.len() < LISTED && is_symbol_file(&path) {
                out.insert(path);
            }
        }
    };
    take(entries(place));
    for name in KERNEL_PDBS {
        let tier = name.get(..2).unwrap_or_default();
        for base in [place.join(name), place.join(tier).join(name)] {
            for below in entries(&base) {
                if below.is_dir() { take(entries(&below)) } else { take(vec![below]) }
            }
        }
        for pack in ["windows", "symbols/windows"] {
            take(entries(&place.join(pack).join(name)));
        }
    }
    out.into_iter().collect()
}

fn is_symbol_file(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    // Half-written files begin with a dot.
    !name.starts_with('.') && ENDINGS.iter().any(|e| name.ends_with(e)) && path.is_file()
}

/// Whether a file is worth reading as a whole: its beginning, or of a PDB its header, does not speak against it.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn may_serve(path: &Path, machine: Machine) -> Result<bool, String> {
    match file::kind_of(path).map_err(|e| e.to_string())? {
        Some(file::Kind::Pdb) => {
            let (_, own) = pdb::outline(path).map_err(|e| e.to_string())?;
            Ok(own.is_none_or(|m| m == machine))
        }
        Some(_) => Ok(true),
        // Other programs' JSON and the like: no symbol file at all, and nobody's loss, unless its name says it is one.
        None if named_as_kernel(path) => Err(format!("{}: {}", path.display(), file::beginning_of(path))),
        None => Ok(false),
    }
}

fn named_as_kernel(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    KERNEL_PDBS.iter().any(|k| name.starts_with(k.trim_end_matches("pdb")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_is_listed_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut made = Vec::new();
        for place in [
            "any-name.pdb",
            "ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290B1/ntkrnlmp.pdb",
            "ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290C1/ntkrnlmp.pd_",
            "nt/ntkrpamp.pdb/89284D0CA6ACC8274B9A44BD5AF9290D1/ntkrpamp.pdb",
            "windows/ntkrnlmp.pdb/89284D0CA6ACC8274B9A44BD5AF9290B-1.json.xz",
            "ntoskrnl.pdb/89284D0CA6ACC8274B9A44BD5AF9290B-1.json",
        ] {
            let path = dir.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            made.push(path);
        }
        for other in ["readme.txt", "hal.pdb/1/hal.pdb", ".half.pdb"] {
            let path = dir.path().join(other);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        made.sort();
        assert_eq!(files(dir.path()), made);
        assert_eq!(files(&made[0]), [made[0].clone()]);
    }
}
