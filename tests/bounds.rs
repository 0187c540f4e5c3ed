//! Dumps of a few megabytes that would take hours or all memory: each is answered with what there is, and says what was
//! left out.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{open, samples, write};
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::report::Format;

/// The sample, changed by `change` (the file's bytes and what it is of).
fn changed(change: impl FnOnce(&mut Vec<u8>, &Case)) -> Option<(tempfile::TempDir, Case)> {
    let Some(sample) = samples().into_iter().find(|s| s.name == "win10-22h2/full") else {
        println!("skipped: no sample win10-22h2/full");
        return None;
    };
    let mut bytes = std::fs::read(&sample.path).unwrap();
    change(&mut bytes, &open(&sample.path, &sample.symbols).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memory.dmp");
    std::fs::write(&path, bytes).unwrap();
    let case = open(&path, &sample.symbols).unwrap();
    Some((dir, case))
}

/// The rows and notes of an analysis.
fn answered(case: &Case, name: &str, ask: &Ask) -> (Vec<serde_json::Value>, Vec<String>) {
    let analysis = ALL.iter().find(|a| a.name == name).unwrap();
    let written = write(case, analysis, ask, &[Format::Json]).unwrap().remove(0);
    let notes = written.finished.notes.iter().filter(|n| n.loss).map(|n| n.text.clone()).collect();
    (serde_json::from_slice(&written.bytes).unwrap(), notes)
}

/// A process whose page-table root names itself by every entry of the user half.
#[test]
fn page_tables_that_name_themselves() {
    let mut victim = 0;
    let Some((_dir, case)) = changed(|bytes, case| {
        let kernel = case.kernel().unwrap();
        let processes = kernel.processes().unwrap().list;
        let process = processes.iter().find(|p| p.name().is_ok_and(|n| n == "explorer.exe")).unwrap();
        victim = process.pid().unwrap();
        let root = process.dtb().unwrap();
        let at = usize::try_from(case.dump.file_offset(root).unwrap()).unwrap();
        for slot in 0..256 {
            bytes[at + slot * 8..at + slot * 8 + 8].copy_from_slice(&(root.0 | 0x67).to_le_bytes());
        }
    }) else {
        return;
    };
    let ask = Ask { pids: vec![victim], ..Ask::default() };
    for name in ["workingset", "memmap"] {
        let (rows, losses) = answered(&case, name, &ask);
        assert!(!rows.is_empty() && rows.len() < 1 << 18, "{name}: {} rows", rows.len());
        assert!(losses.iter().any(|l| l.contains("name the same tables again and again")), "{name}: {losses:?}");
    }
}

/// The process addresses of a case with those of their page-table roots' tree roots, and where the tree's root stands in the file.
fn vad_roots(case: &Case) -> Vec<(u64, usize)> {
    let kernel = case.kernel().unwrap();
    let root = kernel.symbols.types.member("_EPROCESS", "VadRoot.Root").unwrap();
    let space = kernel.space();
    let of = |p: &dumpwalk::kernel::process::Process<'_>| {
        let field = p.offset()?.add(root.offset.into());
        let at = case.dump.file_offset(space.translate(field).ok()?)?;
        Some((space.pointer(field).ok()?.0, usize::try_from(at).ok()?))
    };
    kernel.processes().unwrap().list.iter().filter_map(of).filter(|(root, _)| *root != 0).collect()
}

/// All processes name one tree of address ranges: it is one process's, and the others say so.
#[test]
fn one_vad_tree_for_all_processes() {
    let (mut sharers, mut nodes) = (0, 0);
    let Some((_dir, case)) = changed(|bytes, case| {
        let roots = vad_roots(case);
        let tree = |p: &dumpwalk::kernel::process::Process<'_>| p.ranges(&case.kernel().unwrap().space()).vads.len();
        nodes = case.kernel().unwrap().processes().unwrap().list.iter().map(tree).max().unwrap();
        sharers = roots.len();
        for (_, at) in &roots {
            bytes[*at..at + 8].copy_from_slice(&roots[0].0.to_le_bytes());
        }
    }) else {
        return;
    };
    assert!(sharers > 3, "{sharers}");
    let (rows, losses) = answered(&case, "vadinfo", &Ask::default());
    assert!(!rows.is_empty() && rows.len() <= sharers * nodes, "{} rows of {sharers} processes", rows.len());
    let told = losses.iter().filter(|l| l.contains("a tree belongs to one process")).count();
    assert_eq!(told, sharers - 1, "{losses:?}");
}

/// Each page of memory that is not in use is full of what looks like the beginning of a process, a thread or a pool block.
/// What was there before is found all the same, and memory and output stay small.
#[cfg(target_os = "linux")]
#[test]
fn a_flood_of_tags_takes_nothing_from_the_scan() {
    let dir = tempfile::tempdir().unwrap();
    let (calm, flooded) = (dir.path().join("calm.dmp"), dir.path().join("flooded.dmp"));
    let Some(sample) = samples().into_iter().find(|s| s.name == "win10-22h2-attack/full") else {
        println!("skipped: no sample win10-22h2-attack/full");
        return;
    };
    std::fs::copy(&sample.path, &calm).unwrap();
    let mut bytes = std::fs::read(&sample.path).unwrap();
    add_run(&mut bytes, 2816, |end| end + 0x100);
    // A tag in every slot; and in every slot what a process begins with: more of it than are kept of all processes.
    let tags = [0, u64::from(u32::from_le_bytes(*b"Proc")) << 32].map(u64::to_le_bytes);
    let tag = [tags[1], tags[0]].concat();
    let object = [3u64, 0xffff_9000_1234_5670].map(u64::to_le_bytes).concat();
    bytes.extend(tag.iter().copied().cycle().take(512 << 12));
    bytes.extend(object.iter().copied().cycle().take(2304 << 12));
    std::fs::write(&flooded, bytes).unwrap();
    let before = within(&calm, &["psscan", "--format", "jsonl"]);
    assert!(before.lines().count() > 20, "{before}");
    assert_eq!(before, within(&flooded, &["psscan", "--format", "jsonl"]));
    let blocks = within(&flooded, &["poolscan", "--tag", "Proc", "--format", "jsonl"]);
    assert!(blocks.lines().count() > 512 << 8, "{} rows", blocks.lines().count());
}

/// The 64-bit number at an offset of a file.
#[cfg(target_os = "linux")]
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}
#[cfg(target_os = "linux")]
fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Says in a full dump's header (`_PHYSICAL_MEMORY_DESCRIPTOR64`: the number of runs, of pages, and the runs; see src/dump/header.rs) that it
/// has one more run of so many pages, and gives the first: what `first` makes of the page behind the last run. Their bytes are the
/// caller's to append.
#[cfg(target_os = "linux")]
fn add_run(bytes: &mut [u8], pages: u64, first: impl FnOnce(u64) -> u64) -> u64 {
    let runs = usize::try_from(word(bytes, 0x88) & 0xffff_ffff).unwrap();
    let last = 0x98 + 16 * (runs - 1);
    let first = first(word(bytes, last) + word(bytes, last + 8));
    let total = word(bytes, 0x90) + pages;
    bytes[0x88..0x8c].copy_from_slice(&u32::try_from(runs + 1).unwrap().to_le_bytes());
    put(bytes, 0x90, total);
    put(bytes, last + 16, first);
    put(bytes, last + 24, pages);
    first
}

/// Runs the program with a limit of memory, as the system counts it: the file, 256 MiB, and what the threads' stacks reserve.
#[cfg(target_os = "linux")]
fn within(dump: &std::path::Path, words: &[&str]) -> String {
    let file = std::fs::metadata(dump).unwrap().len() >> 10;
    // Address space, of which stacks and arenas of 2 threads reserve up to 200 MiB that nobody touches.
    let limit = file + (256 << 10) + (200 << 10);
    let script = format!("ulimit -v {limit}; exec \"$0\" \"$@\"");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_dumpwalk"), words[0]]).arg(dump).args(&words[1..]);
    command.args(["--threads", "2", "--offline"]).stdin(std::process::Stdio::null());
    let out = command.output().unwrap();
    let code = out.status.code();
    assert!(
        matches!(code, Some(0 | 4)),
        "{words:?} under {limit} KiB: {code:?} {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// How the processes of a crowd differ.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crowd {
    /// Each has an id of its own; token, handle table, address ranges and threads are one for all.
    OneToken,
    /// They share all that, and one id, which is their parent's too.
    OneId,
}

/// The sample with so many more processes on its active list, each a copy of explorer.exe in a page of its own: in more memory
/// behind the last run, mapped by large pages.
#[cfg(target_os = "linux")]
fn crowd(count: u64, kind: Crowd) -> Option<(tempfile::TempDir, std::path::PathBuf)> {
    use dumpwalk::addr::Va;
    const PAGE: u64 = 4096;
    let sample = samples().into_iter().find(|s| s.name == "win10-22h2/full")?;
    let mut bytes = std::fs::read(&sample.path).unwrap();
    let case = open(&sample.path, &sample.symbols).unwrap();
    let kernel = case.kernel().unwrap();
    // One more run, at a multiple of 2 MB: the tables, then the processes.
    let pages = 512 + count.next_multiple_of(512);
    let first = add_run(&mut bytes, pages, |end| end.next_multiple_of(512));
    let base = bytes.len();
    bytes.resize(base + usize::try_from(pages * PAGE).unwrap(), 0);
    // A free entry of System's top table in the kernel half.
    let root = usize::try_from(case.dump.file_offset(kernel.root).unwrap()).unwrap();
    let slot = (256..512).find(|i| word(&bytes, root + i * 8) == 0).unwrap();
    let table = |n: u64| (first + n) * PAGE;
    put(&mut bytes, root + slot * 8, table(0) | 0x63);
    put(&mut bytes, base, table(1) | 0x63);
    for i in 0..pages / 512 - 1 {
        put(&mut bytes, base + 4096 + usize::try_from(i).unwrap() * 8, ((first + 512 * (i + 1)) * PAGE) | 0xe3);
    }
    let start = 0xffff_0000_0000_0000 | (slot as u64) << 39;
    let processes = kernel.processes().unwrap().list;
    let explorer = processes.iter().find(|p| p.name().is_ok_and(|n| n == "explorer.exe")).unwrap();
    let types = &kernel.symbols.types;
    let offset = |name: &str| u64::from(types.member("_EPROCESS", name).unwrap().offset);
    let (links, id, parent) =
        (offset("ActiveProcessLinks"), offset("UniqueProcessId"), offset("InheritedFromUniqueProcessId"));
    let size = types.size_of("_EPROCESS").unwrap();
    // What stands before an object: the pool's header, quota and handle information, the object's header.
    let before = 0x80;
    let space = kernel.space();
    let copy = space.fetch(Va(explorer.offset().unwrap().0 - before), u32::try_from(before).unwrap() + size);
    let copy = copy.all().unwrap().to_vec();
    let at = |i: u64| start + i * PAGE + before;
    let head = kernel.global("PsActiveProcessHead").unwrap();
    let file = |va: Va| usize::try_from(case.dump.file_offset(space.translate(va).unwrap()).unwrap()).unwrap();
    let tail = Va(word(&bytes, file(head.add(8))));
    for i in 0..count {
        let page = base + usize::try_from((512 + i) * PAGE).unwrap();
        bytes[page..page + copy.len()].copy_from_slice(&copy);
        let object = page + usize::try_from(before).unwrap();
        let next = if i + 1 < count { at(i + 1) + links } else { head.0 };
        let previous = if i > 0 { at(i - 1) + links } else { tail.0 };
        put(&mut bytes, object + usize::try_from(links).unwrap(), next);
        put(&mut bytes, object + usize::try_from(links).unwrap() + 8, previous);
        let own = if kind == Crowd::OneId { 0x7000 } else { 0x1_0000 + i * 4 };
        put(&mut bytes, object + usize::try_from(id).unwrap(), own);
        if kind == Crowd::OneId {
            put(&mut bytes, object + usize::try_from(parent).unwrap(), own);
        }
    }
    put(&mut bytes, file(tail), at(0) + links);
    put(&mut bytes, file(head.add(8)), at(count - 1) + links);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("crowd.dmp");
    std::fs::write(&path, bytes).unwrap();
    Some((dir, path))
}

/// Thousands of processes that share everything: what is asked of each is asked of all by the time and memory of one walk. With
/// `DUMPWALK_CROWD=23000` as many as a table of ids can name.
#[cfg(target_os = "linux")]
#[test]
fn a_crowd_that_shares_everything_is_answered_in_bounded_memory() {
    let count = std::env::var("DUMPWALK_CROWD").map_or(400, |n| n.parse().unwrap());
    for kind in [Crowd::OneToken, Crowd::OneId] {
        let Some((dir, path)) = crowd(count, kind) else {
            println!("skipped: no sample win10-22h2/full");
            return;
        };
        let symbols = common::root().join("symbols");
        let symbols = symbols.to_str().unwrap();
        let rows = within(&path, &["pslist", "--format", "jsonl", "--symbols", symbols]).lines().count();
        assert!(rows as u64 > count, "{kind:?}: {rows} rows");
        for name in ["lifecycle", "triage", "handles", "vadinfo", "mappedfiles", "threads", "tokens", "timeline"] {
            let out = within(&path, &[name, "--format", "jsonl", "--symbols", symbols]);
            assert!(!out.is_empty(), "{kind:?}: {name}");
        }
        if std::env::var_os("DUMPWALK_KEEP").is_some() {
            std::fs::copy(&path, format!("{kind:?}-{count}.dmp")).unwrap();
        }
        drop(dir);
    }
}

/// A handle table whose 262,144 leaves are one page, the one it had: its handles are told once, not for each leaf.
#[cfg(target_os = "linux")]
#[test]
fn handle_leaves_on_one_page_are_read_once() {
    use dumpwalk::addr::Va;
    let Some((_dir, path)) = crowd(1, Crowd::OneToken) else {
        println!("skipped: no sample win10-22h2/full");
        return;
    };
    let symbols = common::root().join("symbols");
    let mut bytes = std::fs::read(&path).unwrap();
    let (pid, before) = {
        let case = open(&path, &symbols).unwrap();
        let kernel = case.kernel().unwrap();
        let space = kernel.space();
        let list = kernel.processes().unwrap().list;
        let (copy, explorer) =
            (list.last().unwrap(), list.iter().find(|p| p.name().is_ok_and(|n| n == "explorer.exe")).unwrap());
        let types = &kernel.symbols.types;
        let member = |ty: &str, name: &str| u64::from(types.member(ty, name).unwrap().offset);
        let table = space.pointer(explorer.offset().unwrap().add(member("_EPROCESS", "ObjectTable"))).unwrap();
        let code = table.add(member("_HANDLE_TABLE", "TableCode"));
        let leaf = match space.pointer(code).unwrap().0 {
            one if one & 3 == 0 => Va(one),
            two => space.pointer(Va(two & !3)).unwrap(),
        };
        // Pages behind the copy's are mapped and empty.
        let (top, middle) = (copy.offset().unwrap().page().add(0x1000), copy.offset().unwrap().page().add(0x2000));
        let file = |va: Va| usize::try_from(case.dump.file_offset(space.translate(va).unwrap()).unwrap()).unwrap();
        for i in 0..512u64 {
            let at = |page: Va| file(page.add(i * 8));
            let (top, middle_at) = (at(top), at(middle));
            bytes[top..top + 8].copy_from_slice(&middle.0.to_le_bytes());
            bytes[middle_at..middle_at + 8].copy_from_slice(&leaf.0.to_le_bytes());
        }
        let code = file(code);
        bytes[code..code + 8].copy_from_slice(&(top.0 | 2).to_le_bytes());
        // As many handles as it may have: all leaves.
        let next = file(table.add(member("_HANDLE_TABLE", "NextHandleNeedingPool")));
        bytes[next..next + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let pid = explorer.pid().unwrap();
        (pid, answered(&case, "handles", &Ask { pids: vec![pid], ..Ask::default() }).0.len())
    };
    std::fs::write(&path, bytes).unwrap();
    let out = within(
        &path,
        &["handles", "--pid", &pid.to_string(), "--format", "jsonl", "--symbols", symbols.to_str().unwrap()],
    );
    let rows = out.lines().count();
    assert!((100..=before).contains(&rows), "{rows} rows, {before} before");
    let case = open(&path, &symbols).unwrap();
    let (_, losses) = answered(&case, "handles", &Ask { pids: vec![pid], ..Ask::default() });
    assert!(losses.iter().any(|l| l.contains("handle table")), "{losses:?}");
}
