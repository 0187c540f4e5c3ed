//! The kernel is found on every road, and every road ends at the same kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod program;

use dumpwalk::addr::{Pa, Va};
use dumpwalk::dump::{Dump, Kind};
use dumpwalk::kernel::{Kernel, find, kdbg};
use dumpwalk::symbols::store::{Options, Store};
use serde_json::Value;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn kernel(dump: &Path, store: &Path) -> Result<Kernel, String> {
    let dump = Arc::new(Dump::open(dump).map_err(|e| e.to_string())?);
    let options = Options { folders: vec![store.into()], offline: true, ..Options::default() };
    find::find(&dump, &Store::new(options))
}

/// The same memory as an image of it: physical address is file offset. Holes stay holes of the file.
fn raw_image(dump: &Path, name: &str) -> PathBuf {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("raw-images").join(format!("{name}.raw"));
    if to.exists() {
        return to;
    }
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let part = to.with_extension(format!("part{}", std::process::id()));
    let opened = Dump::open(dump).unwrap();
    let mut out = std::fs::File::create(&part).unwrap();
    for run in opened.runs() {
        for i in 0..run.count {
            let page = opened.page(dumpwalk::addr::Pfn(run.pfn.0 + i)).unwrap();
            if page.iter().any(|b| *b != 0) {
                out.seek(SeekFrom::Start((run.pfn.0 + i) * 4096)).unwrap();
                out.write_all(page).unwrap();
            }
        }
    }
    let end = opened.highest_page().unwrap().0 + 1;
    out.set_len(end * 4096).unwrap();
    drop(out);
    std::fs::rename(part, &to).unwrap();
    to
}

fn number(truth: &Value, key: &str) -> u64 {
    truth[key].as_u64().unwrap_or_else(|| panic!("no {key}"))
}

fn check(k: &Kernel, truth: &Value, what: &str) {
    println!("{what}: {} ({})", k.road.taken, k.road.sureness());
    for line in &k.road.checks {
        println!("    held: {line}");
    }
    for line in &k.road.doubts {
        println!("    doubt: {line}");
    }
    for note in &k.notes {
        println!("    note: {}", note.text);
    }
    assert_eq!(k.base, Va(number(truth, "kernel_base")), "{what}: base");
    assert_eq!(k.size.map(u64::from), Some(number(truth, "kernel_size")), "{what}: size");
    assert_eq!(k.root, Pa(number(truth, "dtb")), "{what}: root");
    assert_eq!(k.build.map(u64::from), Some(number(truth, "build")), "{what}: build");
    assert_eq!(k.system, Some(Va(number(&truth["processes"][0], "eprocess"))), "{what}: System");
    let pdb = k.pdb.as_ref().unwrap();
    match truth["pdb"].as_str() {
        Some(key) => assert_eq!(pdb.key(), key, "{what}: PDB"),
        None => assert_eq!(pdb.guid, truth["pdb"]["guid"].as_str().unwrap().to_uppercase(), "{what}: PDB"),
    }
    for (name, key) in
        [("PsActiveProcessHead", "ps_active_process_head"), ("PsLoadedModuleList", "ps_loaded_module_list")]
    {
        assert_eq!(k.global(name), Some(Va(number(truth, key))), "{what}: {name}");
    }
    let block = k.kdbg.as_ref().unwrap_or_else(|| panic!("{what}: no debugger data block"));
    let at = truth["kdbg"].as_u64().unwrap_or_else(|| number(&truth["kdbg"], "address"));
    assert_eq!(block.va, Va(at), "{what}: KDBG");
    println!("    kdbg {:?}, {} bytes", block.coding, block.bytes.len());
    if let Some(encoded) = truth["kdbg"]["encoded"].as_bool() {
        assert_eq!(block.coding == kdbg::Coding::Plain, !encoded, "{what}: KDBG");
        assert_eq!(block.bytes.len() as u64, number(&truth["kdbg"], "size"), "{what}: KDBG");
    }
    if let Some(mask) = truth["invalid_pte_mask"].as_u64() {
        assert_eq!(k.format.invalid_mask, mask, "{what}: InvalidPteMask");
    }
    assert_eq!(block.address("PsActiveProcessHead"), k.global("PsActiveProcessHead"), "{what}");
    let checks = k.verify();
    println!("    verified: {checks:?}");
    assert_eq!(checks.failed, [""; 0], "{what}");
    assert!(checks.passed.len() >= 5, "{what}: {checks:?}");
    assert_eq!(k.road.doubts, [""; 0], "{what}");
}

fn samples() -> Vec<program::Sample> {
    let mut all = program::shared_samples();
    all.extend(program::own_samples());
    all
}

/// Whether page tables and the kernel are in it: not in triage and summary dumps, nor in those of one process.
fn holds_a_kernel(dump: &Path) -> bool {
    let kind = Dump::open(dump).unwrap().kind;
    !matches!(kind, Kind::Triage | Kind::Summary | Kind::UserMinidump)
}

#[test]
fn by_the_header() {
    for sample in samples() {
        for dump in &sample.dumps {
            if !holds_a_kernel(dump) {
                continue;
            }
            let what = format!("{} {}", sample.name, dump.file_name().unwrap().display());
            let k = kernel(dump, &sample.store).unwrap_or_else(|e| panic!("{what}: {e}"));
            check(&k, &sample.truth, &what);
            let raw = k.dump.kind == Kind::Raw;
            assert_eq!(k.road.taken == "crash-dump header", !raw, "{what}");
        }
    }
}

#[test]
fn without_a_header() {
    for sample in samples() {
        let whole = ["full.dmp", "bitmap.dmp", "rdmpA.dmp"];
        let Some(dump) = sample.dumps.iter().find(|d| whole.iter().any(|w| d.ends_with(w))) else { continue };
        let raw = raw_image(dump, &sample.name);
        let what = format!("{} raw", sample.name);
        let k = kernel(&raw, &sample.store).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(k.dump.kind, Kind::Raw);
        check(&k, &sample.truth, &what);
    }
}

/// The block decodes to the same without the kernel's keys: what a dump without symbols has to rely on.
#[test]
fn the_debugger_block_needs_no_symbols() {
    for sample in samples() {
        let Some(dump) = sample.dumps.iter().find(|d| holds_a_kernel(d)) else { continue };
        let k = kernel(dump, &sample.store).unwrap();
        let known = k.kdbg.as_ref().unwrap();
        let alone = kdbg::Kdbg::read(&k.space(), known.va, k.base, None).unwrap();
        assert_eq!(alone.bytes, known.bytes, "{}", sample.name);
        // Every global it names is where the symbols have it.
        let (mut same, mut other) = (0, Vec::new());
        for (name, _) in known.fields() {
            match (known.global(name), k.symbol(name)) {
                (Some(a), Some(b)) if a == b => same += 1,
                (Some(a), Some(b)) => other.push(format!("{name} {a} {b}")),
                _ => {}
            }
        }
        println!("{}: {same} globals agree, {other:?}", sample.name);
        assert!(other.is_empty() && same > 3, "{}: {same}, {other:?}", sample.name);
    }
}

/// Real triage dumps: no page tables, no image, no PDB identity. The header's build names the layouts, the dump bears them out.
#[test]
fn real_triage_dumps() {
    let Some(folder) = program::shared().map(|s| s.join("real/kernel-triage")).filter(|f| f.is_dir()) else { return };
    let x64 = kernel(&folder.join("x64-19041.804.dmp"), &folder).unwrap();
    println!("{:#?}\n{:#?}\n{:?}", x64.road, x64.notes, x64.verify());
    assert_eq!(x64.base, Va(0xffff_f804_7ba0_0000));
    assert_eq!(x64.size, Some(0x0104_6000));
    assert_eq!(x64.root, Pa(0x1a_d000));
    assert_eq!(x64.build, Some(19041));
    assert_eq!(x64.verify().failed, [""; 0]);
    // No table of an ARM64 kernel is known: what needs no structure is answered all the same.
    let arm = kernel(&folder.join("arm64-22000.dmp"), &folder).unwrap();
    assert_eq!((arm.base, arm.root, arm.build), (Va(0xffff_f803_f2e0_0000), Pa(0x946a_a000), Some(22000)));
    assert!(
        arm.notes.iter().any(|n| n.loss && n.text.starts_with("ARM64 structures cannot be read")),
        "{:?}",
        arm.notes
    );
    assert_eq!(arm.kdbg.as_ref().unwrap().field("SizeEProcess"), Some(0xc80));
    assert_eq!(arm.global("PsActiveProcessHead"), arm.dump.header.as_ref().unwrap().process_head);
}
