//! Machines of the size that people bring: hundreds of processes, tens of gigabytes. Too large to keep; built when asked for.
//!
//! What is planted lies scattered over all of the memory, as on a machine that has run for days. Of the frames that nobody
//! uses some hold what looks like data, the others are zero: holes in the file.

use std::fs::File;
use std::io::{BufWriter, Error, Result};
use std::path::Path;

use crate::container;
use crate::plant;
use crate::rng::Rng;
use crate::scenario::{Handle, ImageFile, Private, Process, Scenario, Thread};
use crate::truth::Json;

/// How large.
#[derive(Debug, Clone)]
pub struct Size {
    /// Physical memory in GiB.
    pub gib: u64,
    /// Processes.
    pub processes: u64,
    /// Threads of all of them, at least.
    pub threads: u64,
    /// Handles of all of them, at least.
    pub handles: u64,
    /// Regions of all of them, at least.
    pub vads: u64,
    /// Modules of all of them, at least.
    pub modules: u64,
    /// Of a hundred frames that nobody uses, how many hold something.
    pub filled: u64,
}

impl Default for Size {
    fn default() -> Size {
        Size { gib: 8, processes: 400, threads: 6_000, handles: 150_000, vads: 60_000, modules: 25_000, filled: 10 }
    }
}

impl Size {
    /// Reads `key=number` words over the default.
    ///
    /// # Errors
    /// When a key is none or a number is none.
    pub fn read(words: &[&str]) -> Result<Size> {
        let mut size = Size::default();
        for word in words {
            let wrong = || Error::other(format!("not understood: {word}"));
            let (key, value) = word.split_once('=').ok_or_else(wrong)?;
            let field = match key {
                "gib" => &mut size.gib,
                "processes" => &mut size.processes,
                "threads" => &mut size.threads,
                "handles" => &mut size.handles,
                "vads" => &mut size.vads,
                "modules" => &mut size.modules,
                "filled" => &mut size.filled,
                _ => return Err(wrong()),
            };
            *field = value.parse().map_err(|_| wrong())?;
        }
        Ok(size)
    }
}

/// Libraries there are; every process maps some of them.
const LIBRARIES: u64 = 240;
/// Threads a user process may have: its stacks lie in the first half of a 2 MB area, 64 KB each.
const MOST_THREADS: u64 = 16;
/// Programs the processes run.
const PROGRAMS: [&str; 4] = ["svchost.exe", "notepad.exe", "lsass.exe", "explorer.exe"];

/// The scenario: the 22H2 sample's machine, and as many ordinary processes as it takes.
///
/// # Panics
/// When there are fewer processes than the sample has, or more threads than they can have.
pub fn scenario(size: &Size) -> Scenario {
    let mut s = Scenario::load("win10-22h2");
    s.name = "large".into();
    let own = s.processes.len() as u64;
    let n = size.processes.checked_sub(own).filter(|n| *n > 0).expect("more processes than the sample has");
    s.images.extend((0..LIBRARIES).map(library));
    // Every process has its program, ntdll and the shared page's region, and the area's two.
    let dlls = size.modules.div_ceil(n).saturating_sub(2).clamp(1, LIBRARIES);
    let threads = size.threads.div_ceil(n).max(1);
    assert!(threads <= MOST_THREADS, "{threads} threads a process; at most {MOST_THREADS}");
    let vads = size.vads.div_ceil(n).saturating_sub(dlls + 2 + threads + 3);
    let mut rng = Rng::named("large");
    for i in 0..n {
        let p = process(&mut rng, &s, i, dlls, threads, vads, size.handles.div_ceil(n));
        s.processes.push(p);
    }
    s
}

fn library(i: u64) -> ImageFile {
    ImageFile {
        path: format!("\\Windows\\System32\\library{i:03}.dll"),
        base: 0x7FF8_0000_0000 + i * 0x100_0000,
        size: 0x1_8000 + 0x5000 * (i % 24),
        wide: true,
        timestamp: 0x5E00_0000 + i as u32,
        ..ImageFile::default()
    }
}

fn process(rng: &mut Rng, s: &Scenario, i: u64, dlls: u64, threads: u64, vads: u64, handles: u64) -> Process {
    let name = PROGRAMS[(i % PROGRAMS.len() as u64) as usize];
    // Above the ids that threads get, and none of those that the table of ids keeps for itself.
    let pid = 0x10_0000 + 4 * (i + i / 255 + 1);
    let path = s.images.iter().map(|m| &m.path).find(|p| p.ends_with(name)).expect("a program of the sample").clone();
    let thread = |k: u64| Thread {
        start: (if k == 0 { name.into() } else { format!("library{:03}.dll", i % LIBRARIES) }, 0x1000 + 0x10 * k),
        state: 5,
        reason: [15, 5, 0, 6][(k % 4) as usize],
        name: (k == 3).then(|| format!("worker {i}")),
        ..Thread::default()
    };
    Process {
        name: name.into(),
        pid,
        ppid: if i < 16 { 4 } else { 0x10_0000 + 4 * (i / 16 + 1) },
        session: Some((i % 3) as u32),
        user: ["system", "local", "network", "alice"][(i % 4) as usize].into(),
        cmdline: format!("C:{path} -k group{i} -s {:x}", rng.word()),
        cwd: "C:\\Windows\\system32\\".into(),
        path: Some(path),
        create: s.boot + 120 * crate::scenario::time::SECOND + i * 1_234_567,
        dlls: (0..dlls).map(|k| format!("library{:03}.dll", (i + k) % LIBRARIES)).collect(),
        threads: (0..threads).map(thread).collect(),
        handles: handle_list(i, handles),
        vads: (0..vads)
            .map(|k| Private { pages: 1 + k % 16, commit: 1, protection: 4, ..Private::default() })
            .collect(),
        ..Process::default()
    }
}

/// Handles as a service has them: half of them events, the rest of every type.
fn handle_list(i: u64, n: u64) -> Vec<Handle> {
    let one =
        |ty: &str, name: String, access, count| Handle { ty: ty.into(), name, access, count, ..Handle::default() };
    let part = |percent: u64| (n * percent / 100).max(1);
    let mut list: Vec<Handle> =
        (0..part(10))
            .map(|k| one("File", format!("\\Windows\\System32\\data\\{}\\{k}.dat", i % 32), 0x12_0089, 1))
            .chain((0..part(15)).map(|k| {
                one("Key", format!("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor{}\\Product{k}", i % 16), 0x2_0019, 1)
            }))
            .collect();
    for (ty, percent, access) in [
        ("EtwRegistration", 10, 0x804),
        ("Semaphore", 5, 0x1F_0003),
        ("Mutant", 5, 0x1F_0001),
        ("IoCompletion", 2, 0x1F_0003),
        ("Timer", 2, 0x1F_0003),
        ("Section", 1, 0xF_0007),
    ] {
        list.push(one(ty, String::new(), access, part(percent)));
    }
    for (ty, of) in [("Process", "lsass.exe"), ("Thread", "explorer.exe"), ("Token", "explorer.exe")] {
        list.push(one(ty, of.into(), 0x1000, 1));
    }
    list.push(one("Directory", "\\KnownDlls".into(), 3, 1));
    let so_far: u64 = list.iter().map(|h| h.count).sum();
    list.push(one("Event", String::new(), 0x1F_0003, n.saturating_sub(so_far).max(1)));
    list
}

/// What a frame that nobody uses holds: nothing, words without meaning, or text.
fn filler(percent: u64) -> impl FnMut(u64) -> Option<Vec<u8>> {
    move |frame| {
        let mut rng = Rng::new(frame);
        match rng.below(100) {
            n if n >= percent => None,
            n if n % 4 == 0 => {
                Some(b"The quick brown fox jumps over the lazy dog. ".iter().copied().cycle().take(0x1000).collect())
            }
            _ => Some((0..0x200).flat_map(|_| rng.word().to_le_bytes()).collect()),
        }
    }
}

/// Builds the machine's full dump `large.dmp` in a folder, and `large.json`, which counts what it holds.
///
/// # Errors
/// When a file cannot be written.
pub fn build_into(size: &Size, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let s = scenario(size);
    let planted = plant::plant_into(&s, (size.gib << 30) / 0x1000);
    let file = File::create(out.join("large.dmp"))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let length = container::write_sparse(&planted, &s, &mut writer, filler(size.filled))?;
    writer.into_inner().map_err(|e| e.into_error())?.set_len(length)?;
    std::fs::write(out.join("large.json"), format!("{}\n", counts(&planted.truth, length)))
}

/// How many of each there are.
fn counts(truth: &Json, length: u64) -> Json {
    let processes = match truth.get("processes") {
        Some(Json::List(list)) => list.as_slice(),
        _ => &[],
    };
    let of = |key: &str| -> u64 {
        let len = |p: &Json| match p.get(key) {
            Some(Json::List(list)) => list.len() as u64,
            _ => 0,
        };
        processes.iter().map(len).sum()
    };
    Json::object()
        .with("bytes", length)
        .with("processes", processes.len() as u64)
        .with("threads", of("threads"))
        .with("handles", of("handles"))
        .with("vads", of("vads"))
        .with("modules", of("modules"))
}
