//! The kernel is found on every road, and every road ends at the same kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod program;

use dumpwalk::addr::{Pa, Va};
use dumpwalk::dump::{Arch, Dump, Kind};
use dumpwalk::kernel::{Kernel, find, kdbg};
use dumpwalk::paging::Mode;
use dumpwalk::symbols::store::{Options, Store};
use dumpwalk::symbols::types::Types;
use dumpwalk::symbols::{Fallback, Machine, PdbId, SymbolSource, Symbols, builtin};
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
    let time = |p: &Path| p.metadata().and_then(|m| m.modified()).ok();
    if time(&to) > time(dump) {
        return to;
    }
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let opened = Dump::open(dump).unwrap();
    let mut out = tempfile::NamedTempFile::new_in(to.parent().unwrap()).unwrap();
    for run in opened.runs() {
        for i in 0..run.count {
            let page = opened.page(dumpwalk::addr::Pfn(run.pfn.0 + i)).unwrap();
            if page != &[0; 4096] {
                out.seek(SeekFrom::Start((run.pfn.0 + i) * 4096)).unwrap();
                out.write_all(page).unwrap();
            }
        }
    }
    let end = opened.highest_page().unwrap().0 + 1;
    out.as_file().set_len(end * 4096).unwrap();
    out.persist(&to).unwrap();
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
        assert_eq!(k.format.invalid_mask, Some(mask), "{what}: InvalidPteMask");
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

/// A copy of a crash dump in memory, to be damaged.
struct Damaged {
    bytes: Vec<u8>,
    sample: program::Sample,
    /// The kernel as it is found in the whole dump.
    whole: Kernel,
}

/// Samples of each way to translate whose roots name themselves.
const DAMAGED: [&str; 6] = ["win7-sp1", "win8.1", "win10-22h2", "win11-21h2-la57", "win11-24h2", "winxp-sp3-x86"];

fn to_damage() -> impl Iterator<Item = Damaged> {
    let chosen = program::own_samples().into_iter().filter(|s| DAMAGED.contains(&s.name.as_str()));
    chosen.map(|sample| {
        let whole = ["full.dmp", "bitmap.dmp"];
        let dump = sample.dumps.iter().find(|d| whole.iter().any(|w| d.ends_with(w))).unwrap();
        let whole = kernel(dump, &sample.store).unwrap();
        Damaged { bytes: std::fs::read(dump).unwrap(), sample, whole }
    })
}

impl Damaged {
    fn wipe(&mut self, at: Pa, len: usize) {
        let from = self.whole.dump.file_offset(at).unwrap() as usize;
        self.bytes[from..from + len].fill(0);
    }
    /// Wipes what the crash-dump header says of the kernel: page-table root, list heads, debugger block.
    /// (`_DUMP_HEADER64`: 0x10, 0x20, 0x28, 0x80; `_DUMP_HEADER32`: 0x10, 0x18, 0x1c, 0x60.)
    fn wipe_header(&mut self) {
        let fields: &[(usize, usize)] = match self.whole.arch {
            Arch::X86 => &[(0x10, 4), (0x18, 8), (0x60, 4)],
            _ => &[(0x10, 8), (0x20, 16), (0x80, 8)],
        };
        for (at, len) in fields {
            self.bytes[*at..at + len].fill(0);
        }
    }
    /// Wipes the page of the kernel image's own headers.
    fn wipe_image_headers(&mut self) {
        let at = self.whole.space().translate(self.whole.base).unwrap();
        self.wipe(at, 4096);
    }
    /// Wipes the debug record in the kernel image.
    fn wipe_record(&mut self) {
        let all: Vec<Pa> = {
            let space = self.whole.space();
            let image = space.fetch(self.whole.base, self.whole.size.unwrap());
            let mut all = Vec::new();
            for (start, bytes) in image.present() {
                let at = (0u64..).zip(bytes.windows(4)).filter(|(_, w)| w == b"RSDS");
                all.extend(at.map(|(at, _)| space.translate(self.whole.base.add(u64::from(start) + at)).unwrap()));
            }
            all
        };
        assert_eq!(all.len(), 1);
        self.wipe(all[0], 24);
    }
    /// Wipes the first words of the low stub (a far jump: 0xe9), where the machine has one.
    fn wipe_stub(&mut self) {
        for pa in (1..0xa0).map(|pfn| Pa(pfn * 4096)) {
            if self.whole.dump.page(pa.pfn()).is_some_and(|page| page[0] == 0xe9) {
                self.wipe(pa, 8);
            }
        }
    }
    /// Takes the entries with which tables name themselves from every root.
    fn wipe_self_maps(&mut self) {
        let width = if self.whole.mode == Mode::X86 { 4 } else { 8 };
        let mut entries = Vec::new();
        for root in self.sample.truth["processes"].as_array().unwrap().iter().filter_map(|p| p["dtb"].as_u64()) {
            let Some(page) = self.whole.dump.page(Pa(root).pfn()) else { continue };
            for (i, raw) in page.chunks_exact(width).enumerate() {
                let entry = raw.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
                if entry & 1 == 1 && entry & 0x000f_ffff_ffff_f000 == root {
                    entries.push(Pa(root + (width * i) as u64));
                }
            }
        }
        assert!(entries.len() > 1);
        entries.into_iter().for_each(|at| self.wipe(at, width));
    }
    /// The kernel found in what is left.
    fn find(&self, store: &Path) -> Result<Kernel, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.bytes).unwrap();
        kernel(file.path(), store)
    }
    /// What must be found whatever is gone.
    fn same(&self, found: &Kernel) {
        let (what, truth) = (&self.sample.name, &self.sample.truth);
        let (road, held) = (&found.road.taken, found.road.checks.join("\n    "));
        println!("{what}: {road} ({})\n    {held}", found.road.sureness());
        assert_eq!(found.base, Va(number(truth, "kernel_base")), "{what}: base");
        assert_eq!(found.size.map(u64::from), Some(number(truth, "kernel_size")), "{what}: size");
        assert_eq!(found.root, Pa(number(truth, "dtb")), "{what}: root");
        assert_eq!(found.system, Some(Va(number(&truth["processes"][0], "eprocess"))), "{what}: System");
        for (name, key) in
            [("PsActiveProcessHead", "ps_active_process_head"), ("PsLoadedModuleList", "ps_loaded_module_list")]
        {
            assert_eq!(found.global(name), Some(Va(number(truth, key))), "{what}: {name}");
        }
        assert_eq!(found.verify().failed, [""; 0], "{what}");
    }
}

/// A root that maps the kernel image and nothing of its pool, as the one that a process has for user mode while kernel
/// addresses are shadowed: the header may name it, and System is not reached through it.
#[test]
fn a_users_root_in_the_header_is_not_final() {
    for mut broken in to_damage().filter(|b| matches!(b.whole.mode, Mode::X64 | Mode::La57)) {
        let what = broken.sample.name.clone();
        let shift = if broken.whole.mode == Mode::X64 { 39 } else { 48 };
        let slot = |va: u64| (va >> shift & 0x1ff) as usize;
        if broken.whole.mode == Mode::La57 {
            continue; // one entry of the root maps the whole kernel
        }
        let kept = [slot(broken.whole.base.0), slot(0xffff_f780_0000_0000)];
        // The root of a process, of which no other is read here.
        let all = broken.sample.truth["processes"].as_array().unwrap().clone();
        let root = all.iter().rev().filter_map(|p| p["dtb"].as_u64()).find(|dtb| {
            *dtb != number(&broken.sample.truth, "dtb") && broken.whole.dump.page(Pa(*dtb).pfn()).is_some()
        });
        let root = root.unwrap();
        for i in (256..512).filter(|i| !kept.contains(i)) {
            broken.wipe(Pa(root + 8 * i as u64), 8);
        }
        broken.bytes[0x10..0x18].copy_from_slice(&(root | 3).to_le_bytes());
        let found = broken.find(&broken.sample.store).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(!found.road.failed.is_empty(), "{what}: {:?}", found.road);
        broken.same(&found);
    }
}

/// Without the shared page a root says nothing of how many levels it has: System is reached through one number only.
#[test]
fn the_number_of_levels_is_not_a_matter_of_order() {
    for mut broken in to_damage().filter(|b| matches!(b.whole.mode, Mode::X64 | Mode::La57)) {
        let what = broken.sample.name.clone();
        let shared = broken.whole.space().translate(Va(0xffff_f780_0000_0000)).unwrap();
        broken.wipe(shared, 4096);
        broken.bytes[0x10..0x18].fill(0);
        let found = broken.find(&broken.sample.store).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(found.mode, broken.whole.mode, "{what}");
        broken.same(&found);
        // And with nothing of the header.
        broken.wipe_header();
        broken.wipe_stub();
        let found = broken.find(&broken.sample.store).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(found.mode, broken.whole.mode, "{what}");
        broken.same(&found);
    }
}

/// The header page of the kernel image is gone: the module list tells where it lies, the record in the image its PDB.
#[test]
fn without_the_kernels_own_headers() {
    for mut broken in to_damage() {
        let what = broken.sample.name.clone();
        broken.wipe_image_headers();
        let by_header = broken.find(&broken.sample.store).unwrap_or_else(|e| panic!("{what}: {e}"));
        broken.same(&by_header);
        assert_eq!(by_header.road.taken, "crash-dump header", "{what}");
        assert!(!by_header.road.doubts.is_empty(), "{what}: that the headers are gone is told");
        broken.wipe_header();
        let by_memory = broken.find(&broken.sample.store).unwrap_or_else(|e| panic!("{what}: {e}"));
        broken.same(&by_memory);
        assert_ne!(by_memory.road.taken, "crash-dump header", "{what}");
        for found in [by_header, by_memory] {
            assert_eq!((&found.pdb, found.build), (&broken.whole.pdb, broken.whole.build), "{what}");
        }
    }
}

/// No header, no root that can be told by its looks, no debug record and no symbols: processes that bear themselves out
/// lead to the kernel. Without their names nothing is left, and that is said.
#[test]
fn by_processes_alone() {
    let nowhere = tempfile::tempdir().unwrap();
    for mut broken in to_damage() {
        let what = broken.sample.name.clone();
        broken.wipe_header();
        broken.wipe_image_headers();
        broken.wipe_record();
        broken.wipe_self_maps();
        broken.wipe_stub();
        let found = broken.find(nowhere.path()).unwrap_or_else(|e| panic!("{what}: {e}"));
        broken.same(&found);
        assert_eq!(found.road.taken, "processes in memory that bear themselves out", "{what}");
        assert_eq!((&found.pdb, &found.symbols.id), (&None, &None), "{what}");
        for process in broken.sample.truth["processes"].as_array().unwrap() {
            let name = process["name"].as_str().unwrap().as_bytes();
            let name = &name[..name.len().min(14)];
            for at in 0..broken.bytes.len() - name.len() {
                if broken.bytes[at..].starts_with(name) {
                    broken.bytes[at..at + name.len()].fill(b'?');
                }
            }
        }
        let why = broken.find(nowhere.path()).unwrap_err();
        assert!(why.contains("processes: none in memory bears itself out"), "{what}: {why}");
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
    // The computed table of the same build is taken, and the dump bears it out.
    let arm = kernel(&folder.join("arm64-22000.dmp"), &folder).unwrap();
    assert_eq!((arm.base, arm.root, arm.build), (Va(0xffff_f803_f2e0_0000), Pa(0x946a_a000), Some(22000)));
    assert!(arm.notes.iter().any(|n| !n.loss && n.text.contains("arm64-10.0.22000.318 (computed")), "{:?}", arm.notes);
    assert_eq!(arm.verify().failed, [""; 0]);
    assert_eq!(arm.kdbg.as_ref().unwrap().field("SizeEProcess"), Some(0xc80));
    assert_eq!(arm.global("PsActiveProcessHead"), arm.dump.header.as_ref().unwrap().process_head);
}

/// No symbols at all: the built-in layouts serve after the dump bears them out, or the kernel is refused. Never a wrong one.
#[test]
fn without_symbols() {
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-symbols");
    std::fs::create_dir_all(&nowhere).unwrap();
    for sample in samples() {
        for dump in sample.dumps.iter().filter(|d| holds_a_kernel(d)) {
            let what = format!("{} {}", sample.name, dump.file_name().unwrap().display());
            let k = kernel(dump, &nowhere).unwrap_or_else(|e| panic!("{what}: {e}"));
            println!("{what}: {}", k.symbols.origin);
            let truth = &sample.truth;
            assert_eq!(k.root, Pa(number(truth, "dtb")), "{what}: root");
            assert_eq!(k.system, Some(Va(number(&truth["processes"][0], "eprocess"))), "{what}: System");
            for (name, key) in
                [("PsActiveProcessHead", "ps_active_process_head"), ("PsLoadedModuleList", "ps_loaded_module_list")]
            {
                assert_eq!(k.global(name), Some(Va(number(truth, key))), "{what}: {name}");
            }
            // A built-in table of this very kernel needs no excuse, any other one does.
            let told = k.notes.iter().any(|n| n.text.contains("exact symbols not found"));
            assert_eq!(told, k.symbols.id != k.pdb, "{what}: {:?}", k.notes);
        }
    }
}

/// Offers one table and nothing else.
struct Only(Symbols);

impl SymbolSource for Only {
    fn load(&self, _: &PdbId) -> dumpwalk::error::Result<Symbols> {
        Err(dumpwalk::error::Error::NoSymbols("none here".into()))
    }
    fn fallbacks(&self, _: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(std::iter::once(self.0.clone()))
    }
}

/// Tables of another revision of the dump's own build that every check passes where nothing else is offered: only beside each other
/// do they show that fields have moved (`find/doubts.rs`). That of 10240.17770 has `VadRoot` where these dumps have `VadHint`, which is the
/// root there as well.
const OF_THIS_BUILD: &[&str] = &["x64-6.1.7601.23418", "x86-10.0.10240.17770"];

/// Layouts of another build are refused, unless all that is asked of them is the same. Measured: every dump with the nearest tables
/// and every eighth of the others; with all where `DUMPWALK_ALL_TABLES` is set.
#[test]
fn layouts_of_another_build_are_refused() {
    let machine = |k: &Kernel| match k.arch {
        Arch::X86 => Machine::X86,
        Arch::X64 => Machine::X64,
        Arch::Arm64 => Machine::Arm64,
    };
    let (mut refused, mut same, mut taken) = (0, 0, Vec::new());
    for sample in samples() {
        let Some(path) = sample.dumps.iter().find(|d| holds_a_kernel(d)) else { continue };
        let right = kernel(path, &sample.store).unwrap();
        let wanted = Fallback { machine: machine(&right), build: right.build, revision: None };
        let all = std::env::var_os("DUMPWALK_ALL_TABLES").is_some();
        let tables = builtin::nearest(&wanted).enumerate().filter(|(i, _)| all || *i < 12 || i % 8 == 0);
        for (_, table) in tables {
            let origin = table.origin.clone();
            match find::find(&right.dump, &Only(table)).map(|k| differences(&k.symbols.types, &right.symbols.types)) {
                Err(_) => refused += 1,
                Ok(differ) if differ.is_empty() => same += 1,
                Ok(differ) => taken.push(format!("{}: {origin}: {}", sample.name, differ.join(" "))),
            }
        }
    }
    println!("{refused} refused, {same} taken that agree, {} taken that do not:\n{}", taken.len(), taken.join("\n"));
    // Nothing reads them. Moved between revisions of one build, or between Server 2022 and Windows 11 21H2, whose sizes are the same.
    let harmless = [
        "_EPROCESS.MmProcessLinks",
        "_KPROCESS.MultiGroup",
        "_KPROCESS.PpmPolicy",
        "_KPROCESS.VaSpaceDeleted",
        "_KTHREAD.EtwStackTraceApcInserted",
        "_KTHREAD.IptSaveArea",
        "_KTHREAD.KernelStackResident",
        "_KTHREAD.PpmPolicy",
        "_KTHREAD.ResourceIndex",
        "_KTHREAD.SystemAffinityTokenListHead",
        "_TOKEN.VariablePart",
    ];
    let wrong = |line: &String| line.split(' ').skip(4).any(|field| !harmless.contains(&field));
    let known = |line: &String| OF_THIS_BUILD.iter().any(|t| line.contains(&format!(": built-in table {t}:")));
    let wrong: Vec<_> = taken.iter().filter(|line| wrong(line) && !known(line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 3 * same, "{refused} refused, {same} taken");
}

/// Structures that analyses rest on.
const LOOKED_AT: [&str; 17] = [
    "_EPROCESS",
    "_KPROCESS",
    "_ETHREAD",
    "_KTHREAD",
    "_TOKEN",
    "_HANDLE_TABLE",
    "_MMVAD",
    "_MMVAD_SHORT",
    "_OBJECT_HEADER",
    "_PEB",
    "_FILE_OBJECT",
    "_CONTROL_AREA",
    "_SUBSECTION",
    "_KLDR_DATA_TABLE_ENTRY",
    "_LDR_DATA_TABLE_ENTRY",
    "_DRIVER_OBJECT",
    "_OBJECT_TYPE",
];

/// Fields of one name in both that lie elsewhere. Fillers are left out, and what is not read because its place is not sure.
fn differences(a: &Types, b: &Types) -> Vec<String> {
    let filler = |name: &str| ["Reserved", "Spare", "Padding", "Unused"].iter().any(|f| name.contains(f));
    LOOKED_AT
        .iter()
        .filter_map(|ty| Some((ty, a.get(ty)?, b.get(ty)?)))
        .flat_map(|(ty, x, y)| {
            let fields = x.members.iter().filter(move |(name, m)| {
                !filler(name)
                    && !m.is_unsure()
                    && y.members.get(*name).is_some_and(|o| (o.offset, o.bits) != (m.offset, m.bits))
            });
            fields.map(move |(name, _)| format!("{ty}.{name}"))
        })
        .collect()
}
