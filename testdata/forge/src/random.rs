//! Machines nobody thought of: a scenario from a seed, for property tests.

use crate::rng::Rng;
use crate::scenario::time::SECOND;
use crate::scenario::{Gone, Handle, Map, Private, Process, Profile, Scenario, Thread};
use crate::truth::Json;

/// Samples whose kernel, images and drivers the random machines borrow.
const BASES: [&str; 12] = [
    "win7-sp1",
    "win8.0",
    "win8.1",
    "win10-1507",
    "win10-1809",
    "win10-1903",
    "win10-22h2",
    "win11-22h2",
    "win11-24h2",
    "win7-sp1-x86",
    "win8.1-x86",
    "win10-1507-x86",
];
/// Types of objects that are more than a body: planted with what they stand for.
const OTHERS: [&str; 7] = ["Type", "Directory", "Process", "Thread", "Token", "File", "Key"];
/// The 32-bit ntdll of the 64-bit machines.
const FOREIGN_NTDLL: &str = "\\Windows\\SysWOW64\\ntdll.dll";
/// Names a process may have: plain, long (cut at fourteen bytes), with blanks, with bytes beyond ASCII.
const NAMES: [&str; 8] = [
    "a.exe",
    "svchost.exe",
    "a-name-much-too-long.exe",
    "with blank.exe",
    "UPPER.EXE",
    "x",
    "=cmd|calc.exe",
    "\u{1b}[31mred.exe",
];

/// The scenario of a seed. It keeps the base's System, Registry and smss, and makes up the rest.
pub fn scenario(seed: u64) -> Scenario {
    let mut rng = Rng::new(seed);
    let mut s = Scenario::load(BASES[rng.below(BASES.len() as u64) as usize]);
    s.name = format!("random-{seed}");
    s.containers = vec!["full".into()];
    s.context = None;
    if s.random_regions {
        s.kernel_base = 0xFFFF_F800_0000_0000 + rng.within(1, 0x3000) * 0x20_0000;
    }
    s.processes.retain(|p| p.pid == 4 || p.minimal || p.name == "smss.exe");
    for p in &mut s.processes {
        p.handles.retain(|h| !["Process", "Token", "Thread"].contains(&h.ty.as_str()));
    }
    for ntdll in s.images.iter_mut().filter(|i| i.path.ends_with("\\ntdll.dll")) {
        ntdll.ring = true;
    }
    // The table of 24H2 has no names for the bits of a page frame's entry.
    s.pfn_database = seed.is_multiple_of(2) && s.build < 26100;
    s.profiles = (0..rng.below(7))
        .map(|n| Profile {
            sid: format!("S-1-5-21-7-8-9-{}", 1101 + n),
            folder: format!("C:\\Users\\user{}", rng.below(1000)),
        })
        .collect();
    let native = s.layout.starts_with("x64");
    let programs = |wide: bool| -> Vec<String> {
        let of_kind = |i: &&crate::scenario::ImageFile| i.wide == wide && i.path.ends_with(".exe");
        s.images.iter().filter(of_kind).map(|i| i.path.clone()).collect()
    };
    let (images, foreign) = (programs(native), if native { programs(false) } else { Vec::new() });
    let mut pid = 0x170;
    // Ids of processes that have ended, and when: they may be given again.
    let mut free: Vec<(u64, u64)> = Vec::new();
    for _ in 0..rng.within(10, 24) {
        pid += 4 * rng.within(1, 40);
        if pid % 0x400 == 0 {
            pid += 4;
        }
        let again = if rng.once_in(3) { free.pop() } else { None };
        let (id, from) = again.unwrap_or((pid, s.boot + 4 * SECOND));
        let process = process(&mut rng, &s, (id, from), &images, &foreign);
        if let Some((ended, _)) = process.exit {
            free.push((id, ended));
        }
        s.processes.push(process);
    }
    s
}

fn process(rng: &mut Rng, s: &Scenario, id: (u64, u64), images: &[String], foreign: &[String]) -> Process {
    let (pid, from) = id;
    let parent = s.processes[rng.below(s.processes.len() as u64) as usize].pid;
    let create = from + rng.below((s.now - from).saturating_sub(SECOND).max(1));
    let exit = rng.once_in(6).then(|| (create + rng.below(s.now - create), rng.below(1 << 32) as u32));
    let wow64 = !foreign.is_empty() && exit.is_none() && rng.once_in(6);
    let programs = if wow64 { foreign } else { images };
    let name = NAMES[rng.below(NAMES.len() as u64) as usize].to_string();
    let mut p = Process {
        pid,
        ppid: parent,
        session: Some(rng.below(3) as u32),
        user: ["system", "local", "network", "alice", "bob"][rng.below(5) as usize].into(),
        integrity: rng.once_in(3).then(|| [0u32, 0x1000, 0x2000, 0x3000][rng.below(4) as usize]),
        path: Some(programs[rng.below(programs.len() as u64) as usize].clone()),
        wow64,
        deep: rng.once_in(5),
        cmdline: format!("{name} --seed {}", rng.below(1000)),
        cwd: "C:\\".into(),
        create,
        exit,
        hidden: rng.once_in(8),
        protection: [0u64, 0, 0, 0x31, 0x61][rng.below(5) as usize],
        name,
        ..Process::default()
    };
    if rng.once_in(2) {
        let there = |name: &&str| s.images.iter().any(|i| i.path.ends_with(&format!("\\{name}")));
        p.dlls = ["kernel32.dll", "KernelBase.dll"].iter().filter(|n| there(n)).map(|n| n.to_string()).collect();
    }
    if wow64 && s.images.iter().any(|i| i.path == FOREIGN_NTDLL) {
        p.dlls.push(FOREIGN_NTDLL.into());
    }
    p.heaps = (0..rng.below(3)).map(|_| ["nt", "segment"][rng.below(2) as usize].to_string()).collect();
    p.guards = rng.once_in(2);
    if rng.once_in(3) {
        // More than the ring holds, now and then.
        let many = if rng.once_in(4) { 80 } else { 6 };
        p.unloaded = (0..rng.within(1, many))
            .map(|n| Gone {
                name: format!("plugin{n}.dll"),
                base: 0x1000_0000 + 0x1_0000 * rng.below(0x1000),
                size: 0x1000 * rng.within(1, 64),
                timestamp: rng.below(1 << 32) as u32,
            })
            .collect();
    }
    if wow64 {
        p.heaps32 = (0..rng.within(1, 3)).map(|_| "nt".to_string()).collect();
    }
    if rng.once_in(5) {
        p.job = Some(format!("\\BaseNamedObjects\\Job{}", rng.below(3)));
    }
    // App containers came with Windows 8.
    if s.nt >= (6, 2) && rng.once_in(6) {
        p.package = Some(format!("S-1-15-2-{}-2-3-4-5-6-7", rng.below(1 << 32)));
        p.capabilities = (0..rng.below(4)).map(|n| format!("S-1-15-3-{}", n + 1)).collect();
    }
    if rng.once_in(6) {
        p.restricted = vec!["S-1-1-0".into(), "S-1-5-12".into(), format!("S-1-5-21-7-8-9-{}", 1101 + rng.below(7))];
    }
    for _ in 0..rng.below(3) {
        let name = rng.once_in(2).then(|| format!("\\BaseNamedObjects\\Shared{pid}x{}", p.maps.len()));
        let protection = [1u64, 4][rng.below(2) as usize];
        p.maps.push(Map { path: None, name, pages: rng.within(1, 9), protection });
    }
    for _ in 0..rng.within(1, 6) {
        let offset = 0x1000 + rng.below(0x1000);
        let thread = Thread {
            start: ("ntdll.dll".into(), offset),
            state: rng.below(8),
            reason: rng.below(36),
            // Threads have descriptions since 1607.
            name: (s.build >= 14393 && rng.once_in(5)).then(|| format!("thread {}", rng.below(100))),
            impersonate: rng.once_in(8).then(|| ["alice", "bob", "network"][rng.below(3) as usize].into()),
            ..Thread::default()
        };
        p.threads.push(Thread { exit, ..thread });
    }
    // A process that has ended has no handles.
    let handles = if exit.is_none() { rng.below(6) } else { 0 };
    let types: Vec<String> =
        crate::plant::types::names(s.nt).into_iter().filter(|t| !OTHERS.contains(&t.as_str())).collect();
    for _ in 0..handles {
        p.handles.push(Handle {
            ty: types[rng.below(types.len() as u64) as usize].clone(),
            name: String::new(),
            access: rng.below(1 << 21) as u32,
            attributes: rng.below(8),
            extra: None,
            count: if rng.once_in(12) { rng.within(200, 700) } else { rng.within(1, 5) },
        });
    }
    for _ in 0..rng.below(4) {
        // Device memory, AWE, write watch, large pages, rotating.
        let kind = if rng.once_in(4) { [1u64, 3, 4, 5, 6][rng.below(5) as usize] } else { 0 };
        let commit = if kind == 0 { rng.below(3) } else { 0 };
        p.vads.push(Private {
            at: 0,
            kind,
            pages: commit + rng.within(1, 40),
            commit,
            protection: [1u64, 2, 3, 4, 6, 0x18][rng.below(6) as usize],
            ..Private::default()
        });
    }
    p
}

/// The full dump of a seed's machine, and its truth.
pub fn random(seed: u64) -> (Vec<u8>, Json) {
    let (dumps, truth) = crate::build(&scenario(seed));
    let bytes = dumps.into_iter().next().map(|d| d.1).unwrap_or_default();
    (bytes, truth)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_builds_and_repeats() {
        for seed in 0..12 {
            let (a, truth) = super::random(seed);
            assert!(a.starts_with(b"PAGEDU"), "seed {seed}");
            assert!(truth.get("processes").is_some());
            if seed < 2 {
                assert!(super::random(seed).0 == a, "seed {seed} does not repeat");
            }
        }
    }
}
