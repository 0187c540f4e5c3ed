//! Machines nobody thought of: a scenario from a seed, for property tests.

use crate::rng::Rng;
use crate::scenario::time::SECOND;
use crate::scenario::{Handle, Private, Process, Scenario, Thread};
use crate::truth::Json;

/// Samples whose kernel, images and drivers the random machines borrow.
const BASES: [&str; 6] = ["win7-sp1", "win8.1", "win10-1809", "win10-22h2", "win11-22h2", "win11-24h2"];
/// Types of handles that need no name.
const TYPES: [&str; 7] = ["Event", "Mutant", "Semaphore", "Timer", "IoCompletion", "EtwRegistration", "Section"];
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
    let images =
        s.images.iter().filter(|i| i.wide && i.path.ends_with(".exe")).map(|i| i.path.clone()).collect::<Vec<_>>();
    let mut pid = 0x170;
    for _ in 0..rng.within(10, 24) {
        pid += 4 * rng.within(1, 40);
        if pid % 0x400 == 0 {
            pid += 4;
        }
        let process = process(&mut rng, &s, pid, &images);
        s.processes.push(process);
    }
    s
}

fn process(rng: &mut Rng, s: &Scenario, pid: u64, images: &[String]) -> Process {
    let parent = s.processes[rng.below(s.processes.len() as u64) as usize].pid;
    let create = s.boot + 4 * SECOND + rng.below(s.now - s.boot - 5 * SECOND);
    let exit = rng.once_in(6).then(|| (create + rng.below(s.now - create), rng.below(1 << 32) as u32));
    let name = NAMES[rng.below(NAMES.len() as u64) as usize].to_string();
    let mut p = Process {
        pid,
        ppid: parent,
        session: Some(rng.below(3) as u32),
        user: ["system", "local", "network", "alice", "bob"][rng.below(5) as usize].into(),
        integrity: rng.once_in(3).then(|| [0u32, 0x1000, 0x2000, 0x3000][rng.below(4) as usize]),
        path: Some(images[rng.below(images.len() as u64) as usize].clone()),
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
    for _ in 0..rng.within(1, 6) {
        let offset = 0x1000 + rng.below(0x1000);
        let thread = Thread {
            start: ("ntdll.dll".into(), offset),
            state: rng.below(8),
            reason: rng.below(38),
            ..Thread::default()
        };
        p.threads.push(Thread { exit, ..thread });
    }
    for _ in 0..rng.below(6) {
        p.handles.push(Handle {
            ty: TYPES[rng.below(TYPES.len() as u64) as usize].into(),
            name: String::new(),
            access: rng.below(1 << 21) as u32,
            attributes: rng.below(8),
            extra: None,
            count: if rng.once_in(12) { rng.within(200, 700) } else { rng.within(1, 5) },
        });
    }
    for _ in 0..rng.below(4) {
        let commit = rng.below(3);
        p.vads.push(Private {
            at: 0,
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
            assert!(a.starts_with(b"PAGEDU64"), "seed {seed}");
            assert!(truth.get("processes").is_some());
            if seed < 2 {
                assert!(super::random(seed).0 == a, "seed {seed} does not repeat");
            }
        }
    }
}
