//! What the tests of this layer share.

use super::{Kernel, find};
use crate::addr::Va;
use crate::dump::Arch;
use crate::paging::Mode;
use crate::paging::pte::Format;
use crate::paging::testing::Memory;
use crate::symbols::resolved::Resolved;
use crate::symbols::{Symbols, table};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of the shared data beside the project; says so where there is none.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let root = if beside.is_dir() { Some(beside) } else { std::env::var_os("DUMPWALK_SHARED").map(PathBuf::from) };
    let found = root.map(|r| r.join(name)).filter(|f| f.exists());
    if found.is_none() {
        println!("skipped: {name} is not there (set DUMPWALK_SHARED)");
    }
    found
}

/// The layouts of 22 real kernels, by file name; none where the tables are not there.
pub fn kernels() -> Vec<(String, Symbols)> {
    let Some(folder) = shared("layouts") else { return Vec::new() };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let name = |f: &Path| f.file_stem().unwrap().to_string_lossy().into_owned();
    files
        .iter()
        .filter(|f| name(f).starts_with('x') && f.extension().is_some_and(|e| e == "txt"))
        .map(|f| (name(f), table::parse(&std::fs::read_to_string(f).unwrap(), &name(f)).unwrap()))
        .collect()
}

/// A kernel without an image in memory made by hand, with the layouts of a known one (`x64-10.0.19045.2965`); `None` where the
/// tables are not there.
pub fn kernel(memory: &Memory, like: &str) -> Option<Kernel> {
    let file = shared(&format!("layouts/{like}.txt"))?;
    let symbols = table::parse(&std::fs::read_to_string(file).unwrap(), like).unwrap();
    let x86 = matches!(memory.mode, Mode::X86 | Mode::Pae);
    Some(Kernel {
        dump: Arc::new(memory.dump()),
        arch: if x86 { Arch::X86 } else { Arch::X64 },
        mode: memory.mode,
        root: memory.root,
        base: Va(0xffff_f800_0000_0000),
        size: None,
        build: None,
        pdb: None,
        road: find::Road::default(),
        format: Format::of_mode(memory.mode),
        symbols,
        notes: Vec::new(),
        resolved: Resolved::default(),
        vad_roots: crate::kernel::vad_tree::Roots::default(),
        exports: super::pe::Exports::default(),
        kdbg: None,
        system: None,
        met: find::Met::default(),
        copied: None,
        paged: crate::kernel::paged::Paged::default(),
    })
}
